"""From Rényi divergences of every order to one (epsilon, delta).

Invariant: a curve may be any upper bound on the Rényi divergence at real orders above 1, in both directions between
neighbours; every order gives a valid bound on its own, so looking for the best one can only tighten the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

Curve = Callable[[float], float]
"""Order above 1 to Rényi divergence."""

# Orders α by log(α - 1): small ones matter where epsilon is large, large ones where it is small.
_LOG_ORDERS = np.linspace(math.log(0.01), math.log(20_000), 240)
ORDERS: NDArray[np.float64] = 1 + np.exp(_LOG_ORDERS)
"""The orders that are looked at first."""


def epsilon_of(curve: Curve, divergences: NDArray[np.float64], delta: float) -> float:
    """The smallest epsilon, not below 0, that some order proves at this delta.

    At order α: R(α) + log(1 - 1/α) - log(α δ)/(α - 1) (Canonne, Kamath, Steinke 2020, Proposition 12); and 0 where
    the total variation is at most delta by √(1 - exp(-R)) (Bretagnolle, Huber 1979).

    Args:
        curve: bounds the divergence at any order.
        divergences: the same at `ORDERS`.
        delta: above 0 and below 1.
    """
    if _flat_log_delta(divergences) <= math.log(delta):
        return 0.0
    coarse = divergences + np.log1p(-1 / ORDERS) - np.log(ORDERS * delta) / (ORDERS - 1)

    def at(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return curve(order) + math.log1p(-1 / order) - math.log(order * delta) / (order - 1)

    best = int(np.argmin(coarse))
    ends = _LOG_ORDERS[max(best - 1, 0)], _LOG_ORDERS[min(best + 1, len(coarse) - 1)]
    fine = minimize_scalar(at, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return max(0.0, min(float(coarse[best]), float(fine.fun)))


def log_deltas_of(
    divergences: NDArray[np.float64], epsilons: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Logarithms of the smallest deltas that the orders prove at epsilons of 0 and more, by the same theorems."""
    level = (ORDERS - 1) * (divergences + np.log1p(-1 / ORDERS)) - np.log(ORDERS)
    asked = np.atleast_1d(np.asarray(epsilons, dtype=np.float64))
    found = (level - np.outer(asked, ORDERS - 1)).min(axis=1)
    least: NDArray[np.float64] = np.minimum(found, min(0.0, _flat_log_delta(divergences)))
    return least


def _flat_log_delta(divergences: NDArray[np.float64]) -> float:
    least = float(divergences[0])
    return 0.5 * math.log(-math.expm1(-least)) if least > 0 else -math.inf


def between_integers(curve: Callable[[int], float], order: float) -> float:
    """Divergence at a real order from a theorem for integer orders of 2 and more.

    (α - 1) R(α) is convex in α and 0 at α = 1, so a chord lies above it (Wang, Balle, Kasiviswanathan 2019,
    Corollary 10).
    """
    below = math.floor(order)
    if below == order:
        return curve(below)
    weight = order - below
    low = (below - 1) * curve(below) if below > 1 else 0.0
    return ((1 - weight) * low + weight * below * curve(below + 1)) / (order - 1)


def sampled_gaussian_divergence(order: int, noise_multiplier: float, rate: float) -> float:
    """Rényi divergence of one step of the Poisson-sampled Gaussian mechanism, at an integer order, exactly.

    Mironov, Talwar, Zhang 2019, Section 3.3: a binomial sum; the direction of removing a unit is the larger one.
    """
    picked: NDArray[np.float64] = np.arange(order + 1, dtype=np.float64)
    factorials = gammaln(picked + 1)
    terms = (
        factorials[-1]
        - factorials
        - factorials[::-1]
        + picked * math.log(rate)
        + (order - picked) * math.log1p(-rate)
        + (picked * picked - picked) / (2 * noise_multiplier**2)
    )
    most = float(terms.max())
    return max(0.0, (most + math.log(float(np.exp(terms - most).sum()))) / (order - 1))
