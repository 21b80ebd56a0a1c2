"""Steps on Poisson samples with noise on whole numbers, as a computer can really draw it.

Invariant: nothing is claimed here that rests on the noise being normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from defenses.accounting.continuous import SampledGaussian
from defenses.accounting.losses import Losses


@dataclass(frozen=True, slots=True)
class SampledDiscreteGaussian(SampledGaussian):
    """As `SampledGaussian`, with discrete Gaussian noise, at any dimension; by Rényi divergences of integer orders.

    Why the normal case's divergences hold. Let P be the noise around a sum and Q the same around that sum and one
    example's clipped, whole row. In the binomial expansion of E_P[(1 - q + q Q/P)^α] for a whole α every term has
    E_P[(Q/P)^k], which is at most exp(k (k-1) Δ² / 2σ²) for discrete Gaussians (Canonne, Kamath, Steinke 2020,
    Proposition 5) and equal to that for normal ones: so the sum is at most the normal case's. The other direction is no
    larger: reflecting whole numbers about half the row swaps P and Q, which is all that Mironov, Talwar and Zhang
    2019, Theorem 5, asks. Orders in between are interpolated as for any divergence.

    Attributes:
        noise_multiplier: σ over the most that an example's row can measure, both in steps of the grid.
        rate: probability of an example to be in a step.
        steps: how many steps.
        delta: see `Mechanism`; of all steps together.
    """

    name: ClassVar[str] = "sampled-discrete-gaussian"
    theorem: ClassVar[str] = (
        "Mironov, Talwar and Zhang 2019, Section 3, with Canonne, Kamath and Steinke 2020, Proposition 5"
    )
    assumes: ClassVar[str] = (
        "every example is in a step with the stated probability, independently of all others and unseen"
    )

    @property
    def gdp(self) -> float | None:
        """None: discrete noise is not exactly Gaussian."""
        return None

    @property
    def loss_scale(self) -> tuple[float, float] | None:  # type: ignore[override]
        """None: no worst pair is claimed."""
        return None

    def losses(self, interval: float) -> Losses | None:  # type: ignore[override]
        """None: no worst pair is claimed."""
        return None
