"""What a configuration may say about a method; imports nothing heavy, so that configs load in no time."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ifedpriv.methods.ficpd_specs import FicpdSpec as FicpdSpec


class CalibrationSpec(BaseModel):
    """How the coefficients are calibrated; the defaults are those of the shipped results.

    Attributes:
        rounds: rounds of coefficients; 0 leaves them at their start.
        steps: optimiser steps a client takes in a round.
        batch_size: examples a step.
        rate: Adam's learning rate at the first round.
        schedule: constant, or a cosine over the rounds that ends at a twentieth of the rate.
        decay: pull toward the identity (λ = 0, β = 1), as decoupled weight decay; 0 for none.
        proximal: FedProx's μ, the pull toward the broadcast coefficients; 0 for none.
        loss: an answer token competes with the whole vocabulary, or with the label words alone (where every label
            is one token; otherwise the vocabulary is used).
        start_lambda: λ before the first round, everywhere.
        start_beta: β before the first round, everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rounds: int = Field(20, ge=0, le=10_000)
    steps: int = Field(4, ge=1)
    batch_size: int = Field(16, ge=1)
    rate: float = Field(0.1, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    decay: float = Field(0.0, ge=0)
    proximal: float = Field(0.0, ge=0)
    loss: Literal["vocabulary", "labels"] = "vocabulary"
    start_lambda: float = 0.1
    start_beta: float = 1.0


class IfedIclSpec(BaseModel):
    """IFed-ICL: one context vector, then rounds of coefficients.

    Attributes:
        kind: names the method.
        position: the token that stands for a demonstration: its last (the separator), the label's last, or the
            prompt's last.
        branches: which branches' coefficients may move; the others stay at the identity. This and the next two
            exist for the ablations of I2CL (arXiv 2405.14660, Tables 3 to 8).
        layers: the same for thirds of the model.
        form: linear moves λ and β, add moves λ alone and keeps β at 1.
        aggregation: uniform over clients, as in the paper; by their numbers of examples; or class by class.
        batch_size: demonstrations per forward pass of the extraction.
        guard: end with a round that compares injection and bare model on held-out examples. Where coefficients are
            public there is no such round, since it would be a release: what the coefficients did on public tasks that
            were kept apart speaks for them.
        coefficients: ``federated``: calibrated in rounds on private data, as in the paper. ``public``: calibrated on
            public tasks beforehand and frozen, so that the vector is all that is released. ``public+rounds``: private
            rounds that start from those.
        coefficients_file: what `ifedpriv coefficients` wrote; left out, the file that ships with the embedded model.
        public_steps: with public coefficients, steps in which they are fitted to the released vector on public texts,
            without labels; 0 for none. Nothing private is used, so it costs no privacy.
        calibration: how the coefficients are calibrated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["ifed_icl"] = "ifed_icl"
    position: Literal["last", "label", "prompt_end"] = "label"
    branches: Literal["both", "attention", "mlp"] = "both"
    layers: Literal["all", "early", "middle", "late"] = "all"
    form: Literal["linear", "add"] = "linear"
    aggregation: Literal["uniform", "count", "class_balanced"] = "uniform"
    batch_size: int = Field(32, ge=1)
    guard: bool = True
    coefficients: Literal["federated", "public", "public+rounds"] = "federated"
    coefficients_file: str | None = None
    public_steps: int = Field(30, ge=0, le=10_000)
    calibration: CalibrationSpec = CalibrationSpec()

    @property
    def frozen(self) -> bool:
        """Whether the coefficients are public and stay as they are, so that the vector is all that is released."""
        return self.coefficients == "public"

    @model_validator(mode="after")
    def _public_coefficients_are_whole(self) -> IfedIclSpec:
        if self.coefficients == "federated":
            if self.coefficients_file is not None:
                raise ValueError(
                    "coefficients_file is set and coefficients is 'federated'; say public or public+rounds, or leave "
                    "the file out"
                )
            return self
        if (self.branches, self.layers, self.form) != ("both", "all", "linear"):
            raise ValueError(
                f"coefficients is {self.coefficients!r}, which come for both branches, all layers and the linear form; "
                "leave branches, layers and form as they are"
            )
        return self


class FedLoraSpec(BaseModel):
    """FedAvg over LoRA adapters (the baseline of the IFed-ICL paper).

    Attributes:
        kind: names the method.
        rank: rank of each adapter.
        alpha: adapters are scaled by alpha / rank.
        targets: last parts of the names of the linear modules that get an adapter; the default means the fused map in
            families that have one.
        rounds: rounds of training.
        steps: optimiser steps a client takes in a round, where ``epochs`` is 0.
        epochs: whole passes over a client's examples in a round, in place of ``steps``; 0 for steps.
        batch_size: examples a step.
        rate: Adam's learning rate at the first round.
        schedule: constant, or a cosine over the rounds that ends at a twentieth of the rate.
        aggregation: uniform over clients, or by their numbers of examples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["fed_lora"] = "fed_lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    rounds: int = Field(15, ge=1)
    steps: int = Field(4, ge=1)
    epochs: int = Field(0, ge=0)
    batch_size: int = Field(16, ge=1)
    rate: float = Field(1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    aggregation: Literal["uniform", "count"] = "count"


MethodSpec = IfedIclSpec | FedLoraSpec | FicpdSpec
