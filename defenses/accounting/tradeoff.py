"""What a guarantee leaves to the best possible attacker: how often he is right when he is seldom wrong.

The attacker knows the release, the mechanism and all data but one unit, and says whether that unit was there. His
true-positive rate at a false-positive rate is bounded by the trade-off function (Wasserman, Zhou 2010; Dong, Roth, Su
2022). Invariant: every number here is an upper bound on what any attack can reach, whatever it computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

RATES = (0.001, 0.01, 0.1)
"""The false-positive rates that are reported: 0.1 %, 1 % and 10 %."""

_EPSILONS = np.concatenate([np.linspace(0, 1, 21), np.geomspace(1.05, 40, 60)])
"""Points (ε, δ(ε)) whose lines bound the trade-off; any set is valid, and more of them lose less."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """The most that an optimal membership attacker can reach.

    Attributes:
        true_positives: for each false-positive rate, the largest true-positive rate.
        advantage: the largest difference between the two, over all rates.
    """

    true_positives: dict[float, float]
    advantage: float


def gaussian_tpr(false_positives: float, mu: float) -> float:
    """Largest true-positive rate against a μ-GDP release, exactly: Φ(Φ⁻¹(fpr) + μ)."""
    if not 0 < false_positives < 1:
        return float(false_positives >= 1)
    return float(ndtr(ndtri(false_positives) + mu))


def pair_tpr(false_positives: float, epsilon: float, delta: float) -> float:
    """Largest true-positive rate against an (epsilon, delta)-private release (Kairouz, Oh, Viswanath 2015)."""
    steep = math.exp(min(epsilon, 700.0)) * false_positives + delta
    flat = 1 - math.exp(-epsilon) * max(0.0, 1 - delta - false_positives)
    return min(1.0, steep, flat)


def pair_advantage(epsilon: float, delta: float) -> float:
    """Largest difference of the rates against an (epsilon, delta)-private release."""
    return 1 - 2 * (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))


def gaussian_attacker(mu: float, rates: Sequence[float] = RATES) -> Attacker:
    """The attacker against a μ-GDP release, exactly."""
    return Attacker(
        {rate: gaussian_tpr(rate, mu) for rate in rates}, float(math.erf(mu / (2 * math.sqrt(2))))
    )


def pair_attacker(epsilon: float, delta: float, rates: Sequence[float] = RATES) -> Attacker:
    """The attacker against a release of which one pair (epsilon, delta) is known."""
    return Attacker({rate: pair_tpr(rate, epsilon, delta) for rate in rates}, pair_advantage(epsilon, delta))


def profile_attacker(delta_at: Callable[[float], float], rates: Sequence[float] = RATES) -> Attacker:
    """The attacker against a release of which delta is known, or bounded, at every epsilon of 0 and more.

    Each point of the curve bounds the trade-off by two lines; the least of all is a bound too.
    """
    curve = [(float(epsilon), min(1.0, delta_at(float(epsilon)))) for epsilon in _EPSILONS]
    true_positives = {rate: min(pair_tpr(rate, *point) for point in curve) for rate in rates}
    return Attacker(true_positives, min(pair_advantage(*point) for point in curve))
