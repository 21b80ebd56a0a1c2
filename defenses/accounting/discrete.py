"""Noise on whole numbers: discrete Gaussian, sums of its shares, and Skellam.

Invariant: sensitivities are in steps of the grid, and none below 1 is accepted: whole numbers
move by whole steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from defenses.accounting.losses import Losses, discrete_gaussian_losses, loss_reach
from defenses.accounting.mechanism import Mechanism, charged, positive, whole
from defenses.accounting.renyi import between_integers
from defenses.errors import UserError

_WIDEST_LISTED = 2_000.0
"""The largest σ whose outcomes are listed one by one for a privacy-loss distribution."""

_FARTHEST_LISTED = 10.0
"""The largest distance between neighbours, in σ, at which that distribution is worth making."""


class _Shortest(Mechanism):
    """What both discrete Gaussians make of an L2 and, where it is known, an L1 sensitivity."""

    __slots__ = ()
    sensitivity: float
    l1_sensitivity: float | None

    @property
    def moved(self) -> float:
        """The L2 sensitivity, which the L1 sensitivity bounds too."""
        return self.sensitivity if self.l1_sensitivity is None else min(self.sensitivity, self.l1_sensitivity)


def _a_step_or_more(mechanism: Mechanism, field: str) -> None:
    """Refuse a sensitivity below one step of the grid; ``field`` is the one that is named."""
    if mechanism.moved < 1:
        raise UserError(
            f"{mechanism.name}.{field} is {getattr(mechanism, field):g} steps",
            "give it in steps of the grid, where no change is smaller than 1",
        )


@dataclass(frozen=True, slots=True)
class DiscreteGaussian(_Shortest):
    """Discrete Gaussian noise on whole numbers, the same σ in each coordinate: ½(Δ/σ)²-concentrated in any dimension.

    Reference: Canonne, Kamath, Steinke 2020, Theorem 14 (the mechanism), Proposition 12 (to epsilon and delta). In
    one dimension the worst pair is known and its privacy-loss distribution is used; in more, nothing tighter than the
    concentrated bound is claimed.

    Attributes:
        sensitivity: L2 sensitivity in whole steps of the grid.
        noise: σ, in steps.
        dimension: coordinates of the release.
        l1_sensitivity: L1 sensitivity in steps, where it is known to be the smaller one.
        delta: see `Mechanism`.
    """

    name: ClassVar[str] = "discrete-gaussian"
    noise_field: ClassVar[str] = "noise"
    theorem: ClassVar[str] = "Canonne, Kamath and Steinke 2020, Theorem 14"
    assumes: ClassVar[str] = "values are whole steps of the grid before noise is added"
    sensitivity: float
    noise: float
    dimension: int
    l1_sensitivity: float | None = None
    delta: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "sensitivity", "noise", "l1_sensitivity")
        whole(self, "dimension")
        charged(self)
        _a_step_or_more(self, "sensitivity")

    @property
    def spread(self) -> float:
        """See `Mechanism`."""
        return self.noise

    def with_spread(self, spread: float) -> Self:
        """See `Mechanism`."""
        return replace(self, noise=spread)

    def for_replacement(self) -> Self:
        """See `Mechanism`."""
        l1 = None if self.l1_sensitivity is None else 2 * self.l1_sensitivity
        return replace(self, sensitivity=2 * self.sensitivity, l1_sensitivity=l1)

    @property
    def rho(self) -> float:
        """½(Δ/σ)²."""
        return (self.moved / self.noise) ** 2 / 2

    def renyi(self, order: float) -> float:
        """α ½(Δ/σ)²."""
        return order * self.rho

    @property
    def loss_scale(self) -> tuple[float, float] | None:
        """In one dimension; None in more."""
        if self.dimension > 1 or self.noise > _WIDEST_LISTED or self.moved > _FARTHEST_LISTED * self.noise:
            return None
        return self.moved / self.noise, loss_reach(self.moved / self.noise)

    def losses(self, interval: float) -> Losses | None:
        """In one dimension; None in more."""
        if self.loss_scale is None:
            return None
        return discrete_gaussian_losses(math.floor(self.moved), self.noise, interval)


@dataclass(frozen=True, slots=True)
class DistributedDiscreteGaussian(_Shortest):
    """A sum of independent discrete Gaussian shares, as clients add them under secure aggregation.

    The sum of discrete Gaussians is none, but nearly: its probabilities are within a factor exp(±τ/2) of one, per
    coordinate, with τ = 10 Σ_{k<n} exp(-2π² σ² k/(k+1)) for shares of σ ≥ ½ (Kairouz, Liu, Steinke 2021, Proposition 14
    and what it stands on). From there, with s = Δ₂/(√n σ), each of these bounds the divergence of order α:

    1. ½ α s² + ½ τ d (2α - 1)/(α - 1), by the factor itself; raised orders give more than this, so the least over
       orders from α on. (The proposition has this term with a constant of its own; this form follows in a line.)
    2. ½ α (s² + 2 τ Δ₁/(√n σ) + τ² d), the proposition's second term.
    3. ½ α (s + τ √d)², its third.
    4. ½ α (Δ₂/σ)²: one share alone already protects, and the others are post-processing. The only one below σ = ½.

    Attributes:
        sensitivity: L2 sensitivity in whole steps of the grid.
        l1_sensitivity: L1 sensitivity in steps; None for the most that it can be.
        noise_share: σ of each share, in steps.
        shares: how many shares the guarantee counts on: of clients that are honest and stay to the end.
        dimension: coordinates of the release.
        delta: see `Mechanism`; the distance of all shares together.
    """

    name: ClassVar[str] = "distributed-discrete-gaussian"
    noise_field: ClassVar[str] = "noise_share"
    theorem: ClassVar[str] = "Kairouz, Liu and Steinke 2021, Proposition 14"
    assumes: ClassVar[str] = "so many clients add their share, tell nobody, and stay to the end of the round"
    sensitivity: float
    l1_sensitivity: float | None
    noise_share: float
    shares: int
    dimension: int
    delta: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "sensitivity", "l1_sensitivity", "noise_share")
        whole(self, "shares", "dimension")
        charged(self)
        _a_step_or_more(self, "sensitivity")

    @property
    def moved_l1(self) -> float:
        """The L1 sensitivity: given, or at most √d Δ₂, or Δ₂² since no whole number exceeds its square."""
        most = self.moved * min(math.sqrt(self.dimension), self.moved)
        return most if self.l1_sensitivity is None else min(self.l1_sensitivity, most)

    @property
    def spread(self) -> float:
        """√n σ."""
        return math.sqrt(self.shares) * self.noise_share

    def with_spread(self, spread: float) -> Self:
        """See `Mechanism`."""
        return replace(self, noise_share=spread / math.sqrt(self.shares))

    def for_replacement(self) -> Self:
        """See `Mechanism`."""
        l1 = None if self.l1_sensitivity is None else 2 * self.l1_sensitivity
        return replace(self, sensitivity=2 * self.sensitivity, l1_sensitivity=l1)

    @property
    def tau(self) -> float:
        """How far the sum's logarithm of a probability may move from a discrete Gaussian's, over both neighbours."""
        if self.shares == 1:
            return 0.0
        # Terms fall quickly towards exp(-2π²σ²), so the first thousand and a bound on the rest are enough.
        listed = min(self.shares - 1, 1_000)
        scale = 2 * math.pi**2 * self.noise_share**2
        total = math.fsum(math.exp(-scale * k / (k + 1)) for k in range(1, listed + 1))
        rest = self.shares - 1 - listed
        return 10 * (total + rest * math.exp(-scale * listed / (listed + 1)))

    @property
    def rho(self) -> float:
        """The least of the bounds that are linear in the order."""
        alone = (self.moved / self.noise_share) ** 2 / 2
        if self.noise_share < 0.5:
            return alone
        tau, s = self.tau, self.moved / self.spread
        second = s**2 + 2 * tau * self.moved_l1 / self.spread + tau**2 * self.dimension
        third = (s + tau * math.sqrt(self.dimension)) ** 2
        return min(alone, second / 2, third / 2)

    def renyi(self, order: float) -> float:
        """The least of the four bounds."""
        bound = order * self.rho
        if self.noise_share < 0.5:
            return bound
        s, factor = self.moved / self.spread, self.tau * self.dimension / 2
        # ½ a s² + factor (2a - 1)/(a - 1) over a ≥ order is least where ½ s² (a - 1)² = factor.
        best = max(order, 1 + math.sqrt(2 * factor) / s)
        return min(bound, best * s**2 / 2 + factor * (2 * best - 1) / (best - 1))


@dataclass(frozen=True, slots=True)
class Skellam(Mechanism):
    """Differences of Poisson numbers as noise; sums of shares are Skellam again, so only their total counts.

    Reference: Agarwal, Kairouz, Liu 2021, Theorem 3.5: at integer orders α the divergence is at most
    ½ α Δ₂²/μ + min(((2α - 1) Δ₂² + 6 Δ₁)/(4 μ²), 3 Δ₁/(2 μ)). Between integers: `between_integers`.

    Attributes:
        sensitivity_l2: L2 sensitivity in whole steps of the grid.
        sensitivity_l1: L1 sensitivity in steps.
        mu: variance of the noise in the sum, per coordinate: of the shares of clients that are honest and stay.
        delta: see `Mechanism`.
    """

    name: ClassVar[str] = "skellam"
    noise_field: ClassVar[str] = "mu"
    theorem: ClassVar[str] = "Agarwal, Kairouz and Liu 2021, Theorem 3.5"
    assumes: ClassVar[str] = (
        "the clients whose shares make up this variance tell nobody, and stay to the end of the round"
    )
    sensitivity_l2: float
    sensitivity_l1: float
    mu: float
    delta: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "sensitivity_l2", "sensitivity_l1", "mu")
        charged(self)
        _a_step_or_more(self, "sensitivity_l2")

    @property
    def moved(self) -> float:
        """The L2 sensitivity, which the L1 sensitivity bounds too."""
        return min(self.sensitivity_l2, self.sensitivity_l1)

    @property
    def moved_l1(self) -> float:
        """The L1 sensitivity, which is at most Δ₂² since no whole number exceeds its square."""
        return min(self.sensitivity_l1, self.moved**2)

    @property
    def spread(self) -> float:
        """√μ."""
        return math.sqrt(self.mu)

    def with_spread(self, spread: float) -> Self:
        """See `Mechanism`."""
        return replace(self, mu=spread**2)

    def for_replacement(self) -> Self:
        """See `Mechanism`."""
        return replace(self, sensitivity_l2=2 * self.sensitivity_l2, sensitivity_l1=2 * self.sensitivity_l1)

    def renyi(self, order: float) -> float:
        """See the class."""
        return between_integers(self._at_integer, order)

    def _at_integer(self, order: int) -> float:
        l2, l1, variance = self.moved**2, self.moved_l1, self.mu
        extra = min(((2 * order - 1) * l2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
        return order * l2 / (2 * variance) + extra
