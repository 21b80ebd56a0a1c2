"""What a configuration may say about differential privacy: frozen models, unknown keys forbidden.

Invariant: whatever decides how much noise there is stands here or in the run's public facts, before anything is read.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PublicSpec(_Spec):
    """Texts that are nobody's secret, from which centre, scales and subspace are made.

    Attributes:
        path: JSON Lines of texts that no client holds, with or without labels; left out, the generator of the embedded
            tasks writes some, with labels drawn at random.
        texts: how many are used.
        seed: of the generator and of random labels.
    """

    path: str | None = None
    texts: int = Field(512, ge=16)
    seed: int = Field(0, ge=0)


class VectorPrivacy(_Spec):
    """The context vector's release.

    Attributes:
        share: of the budget, in proportion to the other shares; budgets are squared signal-to-noise ratios here, since
            those are what adds up.
        clip: norm of one unit's row, as a multiple of the norm of a typical public one.
        centre: measure rows from the public mean; without it most of the clip is spent on what everybody shares.
        scale: divide each block (layer, branch) by its public size, so that none dominates the clip.
        by_block: clip each block of a row to an even share of the clip, in place of the whole row to the clip: the same
            noise, and no block of a row can crowd out the others. Blocks need all directions, so ``rank`` must be 0.
        rank: keep only as many directions, those in which public rows vary most; 0 keeps all.
        count_weight: what one example counts, as a share of the clip; only where examples are hidden.
        shrink: pull the noised mean toward the centre (James-Stein), which costs no privacy.
    """

    share: float = Field(0.7, gt=0, le=1)
    clip: float = Field(1.0, gt=0)
    centre: bool = True
    scale: bool = True
    by_block: bool = False
    rank: int = Field(0, ge=0)
    count_weight: float = Field(0.25, gt=0, le=4)
    shrink: bool = True

    @model_validator(mode="after")
    def _blocks_need_all_directions(self) -> VectorPrivacy:
        if self.by_block and self.rank:
            raise ValueError(f"by_block is on and rank is {self.rank}, which mixes blocks; use one of them")
        return self


class CoefficientPrivacy(_Spec):
    """The coefficients' releases, all rounds together.

    Attributes:
        share: of the budget.
        clip: where clients are hidden, norm of a client's change to the broadcast in one round; where examples are,
            norm of one example's gradient.
        steps: only where examples are hidden. ``shared``: a round is one step on the noised sum of all clients'
            gradients, taken by the server. ``local``: each client takes the method's steps by itself (DP-SGD), with
            noise for itself alone, which costs about the root of the number of clients in noise.
        rate: chance with which an example takes part in a step; only where examples are hidden.
    """

    share: float = Field(0.2, gt=0, le=1)
    clip: float = Field(1.0, gt=0)
    steps: Literal["shared", "local"] = "shared"
    rate: float = Field(0.1, gt=0, le=1)


class PromptPrivacy(_Spec):
    """The soft prompts' releases, all rounds together.

    Attributes:
        share: of the budget.
        clip: norm of a client's change to its cluster's prompt in one round, after compression.
    """

    share: float = Field(0.9, gt=0, le=1)
    clip: float = Field(1.0, gt=0)


class CountPrivacy(_Spec):
    """The releases of how many clients are in each cluster, all rounds together.

    Attributes:
        share: of the budget.
    """

    share: float = Field(0.1, gt=0, le=1)


class ClusterPrivacy(_Spec):
    """The releases by which clusters of clients are found: moments and sums of sketches.

    Attributes:
        share: of the budget.
    """

    share: float = Field(0.3, gt=0, le=1)


class ScorePrivacy(_Spec):
    """The guard's held-out scores.

    Attributes:
        share: of the budget.
    """

    share: float = Field(0.1, gt=0, le=1)


class GridPrivacy(_Spec):
    """How bounded rows become whole numbers, and which noise on whole numbers hides them; ``docs/grid.md`` says what
    pays when. Local steps (``coefficients.steps: local``) are noised elsewhere and take no part in it.

    Attributes:
        noise: ``gaussian``, the discrete one; or ``skellam``, shares of which add up to such noise exactly. Sampled
            rows (``coefficients.rate`` below 1) have a theorem for ``gaussian`` alone.
        rotate: turn every row by a public random rotation after the clip, so that no number of a sum stands out and
            the same bits have room for finer steps. Numbers are padded to a power of two.
        rounding: ``nearest``, or ``conditional``: at random with the right mean, anew until a row is no longer than a
            bound that lies below that of ``nearest`` where steps are few.
        seed: of the rotations; public, and each kind of upload and each round has one of its own.
        wrap: the chance, over the whole run, that any number of any sum leaves its ring and comes out wrong; rings are
            then no wider than that takes, and values are sent at as many bits. 0 has room for every sum there can be.
            It is charged to ``delta``, 1 + exp(``epsilon``) times. With trust ``distributed`` and defense ``masked``
            only.
    """

    noise: Literal["gaussian", "skellam"] = "gaussian"
    rotate: bool = False
    rounding: Literal["nearest", "conditional"] = "nearest"
    seed: int = Field(0, ge=0)
    wrap: float = Field(0.0, ge=0, lt=1)

    @property
    def rows_are(self) -> str:
        """What is done to rows that is not done by default, in words; empty for nothing."""
        said = ["rotated"] * self.rotate + ["rounded at random"] * (self.rounding == "conditional")
        return f"rows {' and '.join(said)}" if said else ""


class PrivacySpec(_Spec):
    """Differential privacy for the whole run.

    Attributes:
        unit: whose presence is hidden: one ``example``, or one ``client`` with everything it holds.
        trust: who adds the noise. ``central``: the server, which reads what it adds it to. ``distributed``: the
            clients together, inside a sum that nobody can open; needs a defense that hides single uploads. ``local``:
            each client alone, enough for itself.
        epsilon: the budget of the whole run.
        delta: its failure probability; below one over the number of units.
        bits: a number that travels has 2^(bits-1) - 1 steps on either side of 0.
        max_examples: examples of one client for which there is room; what more would add is cut, which costs accuracy
            and never privacy.
        grid: rounding, rotation, the law of the noise, and the ring of sums.
        dropout: share of a round's clients that may be missing without the guarantee suffering; distributed noise is
            larger for it.
        colluders: share of a round's clients that may tell what noise they added; likewise.
        vector: the context vector.
        coefficients: the coefficients.
        scores: the guard's scores.
        prompts: soft prompts.
        counts: how many clients are in each cluster.
        clusters: moments and sums of sketches.
        public: public texts.
    """

    unit: Literal["example", "client"] = "example"
    trust: Literal["central", "distributed", "local"] = "central"
    epsilon: float = Field(gt=0, le=1000)
    delta: float = Field(1e-5, gt=0, lt=1)
    bits: int = Field(24, ge=8, le=24)
    max_examples: int = Field(1024, ge=1, le=2**16)
    grid: GridPrivacy = GridPrivacy()
    dropout: float = Field(0.0, ge=0, lt=1)
    colluders: float = Field(0.0, ge=0, lt=1)
    vector: VectorPrivacy = VectorPrivacy()
    coefficients: CoefficientPrivacy = CoefficientPrivacy()
    scores: ScorePrivacy = ScorePrivacy()
    prompts: PromptPrivacy = PromptPrivacy()
    counts: CountPrivacy = CountPrivacy()
    clusters: ClusterPrivacy = ClusterPrivacy()
    public: PublicSpec = PublicSpec()

    def least(self, roster: int) -> int:
        """The fewest of a round's clients whose sum has the noise that is promised."""
        return max(1, roster - math.floor(self.dropout * roster)) if self.trust == "distributed" else 1

    def honest(self, roster: int) -> int:
        """Clients whose noise is in every such sum and known to nobody else; 0 if none is certain to be."""
        return max(0, self.least(roster) - math.floor(self.colluders * roster))

    @model_validator(mode="after")
    def _noise_of_many_is_for_distributed(self) -> PrivacySpec:
        for name in ("dropout", "colluders"):
            if getattr(self, name) and self.trust != "distributed":
                raise ValueError(f"{name} counts with trust distributed alone; leave it out")
        return self

    @model_validator(mode="after")
    def _delta_covers_wraps(self) -> PrivacySpec:
        wrap, cost = self.grid.wrap, 1 + math.exp(min(self.epsilon, 700.0))
        if wrap and self.trust != "distributed":
            raise ValueError("grid.wrap counts with trust distributed alone; leave it out")
        if wrap * cost >= self.delta:
            raise ValueError(
                f"grid.wrap is {wrap:g}, which at epsilon {self.epsilon:g} costs {wrap * cost:.3g} of a delta of "
                f"{self.delta:g}; use {0.1 * self.delta / cost:.0e} or less, or leave it out"
            )
        return self
