"""Normal noise: in one release, and in steps of training on random samples.

Invariant: amplification by sampling is claimed for Poisson samples alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from defenses.accounting.losses import Losses, gaussian_losses, loss_reach, sampled_gaussian_losses
from defenses.accounting.mechanism import Mechanism, charged, positive, whole
from defenses.accounting.renyi import between_integers, sampled_gaussian_divergence
from defenses.errors import UserError
from defenses.units import Neighbouring


@dataclass(frozen=True, slots=True)
class Gaussian(Mechanism):
    """Normal noise on real numbers, of any dimension: exactly (Δ/σ)-GDP.

    Reference: Balle, Wang 2018, Theorem 8; Dong, Roth, Su 2022, Theorem 2.7. Floating-point noise is not normal; the
    statement of whoever uses it has to say so.

    Attributes:
        sensitivity: L2 sensitivity.
        noise: standard deviation per coordinate.
        delta: see `Mechanism`.
    """

    name: ClassVar[str] = "gaussian"
    noise_field: ClassVar[str] = "noise"
    theorem: ClassVar[str] = "Balle and Wang 2018, Theorem 8"
    assumes: ClassVar[str] = "the noise is normal to the last digit, which floating-point noise is not"
    sensitivity: float
    noise: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "sensitivity", "noise")
        charged(self)

    @property
    def moved(self) -> float:
        """See `Mechanism`."""
        return self.sensitivity

    @property
    def spread(self) -> float:
        """See `Mechanism`."""
        return self.noise

    def with_spread(self, spread: float) -> Self:
        """See `Mechanism`."""
        return replace(self, noise=spread)

    def for_replacement(self) -> Self:
        """See `Mechanism`."""
        return replace(self, sensitivity=2 * self.sensitivity)

    @property
    def gdp(self) -> float:
        """Δ/σ."""
        return self.sensitivity / self.noise

    @property
    def rho(self) -> float:
        """½(Δ/σ)²."""
        return self.gdp**2 / 2

    def renyi(self, order: float) -> float:
        """½ α (Δ/σ)², exactly."""
        return order * self.rho

    @property
    def loss_scale(self) -> tuple[float, float]:
        """See `Mechanism`."""
        return self.gdp, loss_reach(self.gdp)

    def losses(self, interval: float) -> Losses:
        """See `Mechanism`."""
        return gaussian_losses(self.gdp, interval)


@dataclass(frozen=True, slots=True)
class SampledGaussian(Mechanism):
    """Steps of training on Poisson samples: every example is in a step with the same probability, independently.

    Reference: Abadi et al. 2016; Mironov, Talwar, Zhang 2019, Section 3 (divergences); Zhu, Dong, Wang 2022
    (the worst pair). Proved for *add or remove* only. Batches of a fixed size, or taken in turn from a
    shuffled list, are not Poisson samples and not covered: account for them at rate 1.

    Attributes:
        noise_multiplier: standard deviation of the noise over the norm that each example is clipped to.
        rate: probability of an example to be in a step.
        steps: how many steps.
        delta: see `Mechanism`; of all steps together.
    """

    name: ClassVar[str] = "sampled-gaussian"
    noise_field: ClassVar[str] = "noise_multiplier"
    theorem: ClassVar[str] = "Zhu, Dong and Wang 2022; Mironov, Talwar and Zhang 2019"
    assumes: ClassVar[str] = (
        "every example is in a step with the stated probability, independently of all others and unseen, and the "
        "noise is normal to the last digit"
    )
    noise_multiplier: float
    rate: float
    steps: int
    delta: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "noise_multiplier", "rate")
        whole(self, "steps")
        charged(self)
        if self.rate > 1:
            raise UserError(f"{self.name}.rate is {self.rate:g}", "a probability is at most 1")

    @property
    def moved(self) -> float:
        """1: noise is counted in clipping norms."""
        return 1.0

    @property
    def spread(self) -> float:
        """See `Mechanism`."""
        return self.noise_multiplier

    def with_spread(self, spread: float) -> Self:
        """See `Mechanism`."""
        return replace(self, noise_multiplier=spread)

    @property
    def relations(self) -> frozenset[Neighbouring]:
        """*Add or remove*."""
        return frozenset({Neighbouring.ADD_OR_REMOVE})

    def for_replacement(self) -> Self:
        """There is no proof to stand on.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self.name} is proved for {Neighbouring.ADD_OR_REMOVE} only",
            "use that relation, or account for the steps as gaussian with sensitivity 2",
        )

    @property
    def gdp(self) -> float | None:
        """√steps/z at rate 1, where nothing is sampled."""
        return math.sqrt(self.steps) / self.noise_multiplier if self.rate == 1 else None

    def renyi(self, order: float) -> float:
        """Of all steps."""
        if self.rate == 1:
            return self.steps * order / (2 * self.noise_multiplier**2)
        one = between_integers(
            lambda integer: sampled_gaussian_divergence(integer, self.noise_multiplier, self.rate), order
        )
        return self.steps * one

    @property
    def loss_scale(self) -> tuple[float, float]:
        """Of one step: rate √(exp(1/z²) - 1), or less where that is made of rare outcomes."""
        z = self.noise_multiplier
        return min(self.rate * math.sqrt(math.expm1(min(1 / z**2, 700.0))), 1 / z), loss_reach(1 / z)

    def losses(self, interval: float) -> Losses:
        """Of all steps."""
        return sampled_gaussian_losses(self.noise_multiplier, self.rate, interval).repeated(self.steps)
