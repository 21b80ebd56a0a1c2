"""Privacy-loss distributions: numerical composition of releases that have no closed form together.

A thin layer over dp-accounting, which is imported when the first distribution is made. Invariant: every
discretisation rounds against us (connect-the-dots, Doroshenko et al. 2022), and mass cut off a tail counts as lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

SMALLEST_DELTA = 1e-10
"""Below it, the rounding errors of the Fourier transforms behind a composition are no longer small beside delta."""

_MOST_POINTS = 300_000


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """How the privacy loss of one or several releases is distributed, in both directions of add or remove.

    Attributes:
        distribution: dp-accounting's ``PrivacyLossDistribution``.
    """

    distribution: Any

    def repeated(self, times: int) -> Losses:
        """The same release so many times."""
        return self if times == 1 else Losses(self.distribution.self_compose(times))

    def then(self, other: Losses) -> Losses:
        """Both releases."""
        return Losses(self.distribution.compose(other.distribution))

    def delta(self, epsilon: float) -> float:
        """An upper bound on delta at any real epsilon; below 0 it is the bound that an attacker's errors obey."""
        return min(1.0, float(self.distribution.get_delta_for_epsilon(epsilon)))

    def epsilon(self, delta: float) -> float:
        """The smallest epsilon, not below 0, whose `delta` is at most this one; inf where there is none."""
        if self.delta(0.0) <= delta:
            return 0.0
        high = 1.0
        while self.delta(high) > delta:
            high *= 2
            if high > 1e5:
                return math.inf
        low = high / 2 if high > 1 else 0.0
        root = float(brentq(lambda epsilon: self.delta(epsilon) - delta, low, high, xtol=1e-12, rtol=1e-12))
        return root if self.delta(root) <= delta else root * (1 + 1e-9)


def gaussian_losses(mu: float, interval: float) -> Losses:
    """Of a μ-GDP Gaussian release, on a grid of losses of this step."""
    return sampled_gaussian_losses(1 / mu, 1.0, interval)


def sampled_gaussian_losses(noise_multiplier: float, rate: float, interval: float) -> Losses:
    """Of one step of the Poisson-sampled Gaussian mechanism (Zhu, Dong, Wang 2022, Theorem 11)."""
    from dp_accounting.pld import privacy_loss_distribution as library

    return Losses(
        library.from_gaussian_mechanism(
            noise_multiplier,
            value_discretization_interval=interval,
            sampling_prob=rate,
            use_connect_dots=True,
        )
    )


def discrete_gaussian_losses(sensitivity: int, noise: float, interval: float) -> Losses:
    """Of one number with discrete Gaussian noise that one unit moves by at most ``sensitivity`` whole steps."""
    from dp_accounting.pld import privacy_loss_distribution as library

    return Losses(
        library.from_discrete_gaussian_mechanism(
            noise, sensitivity, value_discretization_interval=interval, use_connect_dots=True
        )
    )


def profile_losses(
    log_deltas: Callable[[NDArray[np.float64]], NDArray[np.float64]], interval: float
) -> Losses | None:
    """Of releases of which only a bound on delta at every epsilon is known; None where the bound never gets small.

    Every privacy profile has a pair of distributions that dominates the release, also under composition (Zhu, Dong,
    Wang 2022, on dominating pairs). Profiles are convex in exp(ε), so the lower convex hull of points above the true
    profile is above it too; and below ε = 0 it follows from the other direction between the neighbours.

    Args:
        log_deltas: epsilons of 0 and more to the logarithm of a bound on delta that holds in both directions.
        interval: step of the grid of losses.
    """
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld import privacy_loss_distribution as library

    end = 1.0
    while log_deltas(np.array([end]))[0] > math.log(1e-17):
        end *= 1.25
        if end > 200:
            return None
    if end / interval > _MOST_POINTS:
        return None
    steps = np.arange(0, math.ceil(end / interval) + 1)
    deltas = np.minimum(1.0, np.exp(log_deltas(steps * interval)))
    mirrored = 1 - np.exp(-steps * interval) * (1 - deltas)
    grid = np.concatenate([-steps[:0:-1], steps])
    kept = _lower_hull(grid * interval, np.concatenate([mirrored[:0:-1], deltas]))
    values = np.concatenate([mirrored[:0:-1], deltas])[kept]
    return Losses(
        library.PrivacyLossDistribution(
            pld_pmf.create_pmf_pessimistic_connect_dots(interval, grid[kept], np.minimum.accumulate(values))
        )
    )


def _lower_hull(epsilons: NDArray[np.float64], deltas: NDArray[np.float64]) -> list[int]:
    """Indices of the points (exp ε, δ) on the lower convex hull."""
    hull: list[int] = []
    for i in range(len(epsilons)):
        while len(hull) > 1 and _slope(epsilons, deltas, hull[-2], hull[-1]) >= _slope(epsilons, deltas, hull[-1], i):
            hull.pop()
        hull.append(i)
    return hull


def _slope(epsilons: NDArray[np.float64], deltas: NDArray[np.float64], left: int, right: int) -> float:
    run = math.exp(epsilons[left]) * math.expm1(epsilons[right] - epsilons[left])
    return float(deltas[right] - deltas[left]) / run
