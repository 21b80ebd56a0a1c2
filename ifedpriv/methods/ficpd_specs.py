"""What a configuration may say about FICPD: soft prompts, their clusters, and the prompt distilled from them.

Invariant: how many rounds of which kind there are follows from here alone, so it is public.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from defenses.privacy_specs import PublicSpec


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TuningSpec(_Spec):
    """How a client tunes its prompt in one round.

    Attributes:
        steps: optimiser steps.
        batch_size: examples a step.
        rate: learning rate, in units of the model's embeddings (the root mean square of their numbers).
        optimiser: Adam, or plain steps.
        estimator: where the gradient is from: ``gradient`` computes it through the model, ``zeroth_order`` estimates it
            from losses alone.
        directions: directions in which a zeroth-order step compares two losses each.
        mu: how far it moves a prompt's numbers along each, in the same units.
        intrinsic: search in a public random subspace of so many dimensions; 0 for all of them.
        norm: λ, the pull toward a short prompt: λ times its norm is added to the loss.
        proximal: μ, the pull toward the prompt that the client began with, its cluster's: μ times the squared distance.
    """

    steps: int = Field(10, ge=1)
    batch_size: int = Field(16, ge=1)
    rate: float = Field(0.05, gt=0)
    optimiser: Literal["adam", "sgd"] = "adam"
    estimator: Literal["gradient", "zeroth_order"] = "gradient"
    directions: int = Field(8, ge=1)
    mu: float = Field(0.1, gt=0)
    intrinsic: int = Field(0, ge=0)
    norm: float = Field(0.0, ge=0)
    proximal: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _subspaces_are_searched(self) -> TuningSpec:
        if self.intrinsic and self.estimator == "gradient":
            raise ValueError(
                f"intrinsic is {self.intrinsic} and estimator is 'gradient', which needs no subspace; leave it out, or "
                "use zeroth_order"
            )
        return self


class MetaSpec(_Spec):
    """How the server distils one prompt from all clusters', on public texts alone.

    Attributes:
        when: at the ``end``, after ``every_round`` of prompts, or ``never``: the mean prompt then stands in.
        method: first-order MAML, Reptile, or one sum over all clusters.
        steps: optimiser steps of the outer loop.
        inner_steps: steps of the inner one.
        inner_rate: its learning rate, in units of the model's embeddings.
        rate: the outer learning rate, likewise.
        batch_size: texts a step.
        new_tokens: the most tokens that the model adds to the beginning of a seed text; 0 takes seed texts as they are.
        public: seed texts, 64 of them unless it says otherwise; without a path, those that the generator of the shipped
            tasks writes.
    """

    when: Literal["end", "every_round", "never"] = "end"
    method: Literal["fomaml", "reptile", "joint"] = "fomaml"
    steps: int = Field(60, ge=1)
    inner_steps: int = Field(3, ge=1)
    inner_rate: float = Field(0.03, gt=0)
    rate: float = Field(0.03, gt=0)
    batch_size: int = Field(16, ge=1)
    new_tokens: int = Field(24, ge=0)
    public: PublicSpec = PublicSpec(texts=64)


class FicpdSpec(_Spec):
    """FICPD: soft prompts in clusters, one sum a round, and a prompt distilled from all of them.

    Attributes:
        kind: names the method.
        access: what a client may do with the model: ``white_box`` allows gradients, ``black_box`` losses only.
        length: L, the virtual tokens of a prompt.
        start: the first prompt: embeddings of the task's own words, or of words drawn from the vocabulary.
        clusters: K, how many prompts the library may have; 1 is one mean over all clients.
        min_members: the fewest clients whose mean becomes a cluster's prompt.
        warmup: rounds of one common prompt, from whose mean the clusters are then told apart.
        splits: steps of clustering over the prompts of the last of them, before anybody tunes further; with one cluster
            there are none.
        rounds: rounds in which clients tune their cluster's prompt. Each round with clusters is a round of counts and
            one of prompts.
        tuning: how a client tunes.
        meta: how the server distils.
    """

    kind: Literal["ficpd"] = "ficpd"
    access: Literal["white_box", "black_box"] = "white_box"
    length: int = Field(20, ge=1, le=1024)
    start: Literal["task", "vocabulary"] = "task"
    clusters: int = Field(4, ge=1, le=64)
    min_members: int = Field(2, ge=1)
    warmup: int = Field(2, ge=1)
    splits: int = Field(2, ge=1)
    rounds: int = Field(8, ge=0, le=10_000)
    tuning: TuningSpec = TuningSpec()
    meta: MetaSpec = MetaSpec()

    @property
    def aggregation(self) -> str:
        """Clients weigh the same: their prompts are added up, and divided by how many they are."""
        return "uniform"

    @model_validator(mode="after")
    def _black_boxes_have_no_gradient(self) -> FicpdSpec:
        if self.access == "black_box" and self.tuning.estimator == "gradient":
            raise ValueError(
                "access is 'black_box' and tuning.estimator is 'gradient', which a black box does not give; use "
                "zeroth_order, or access white_box"
            )
        return self
