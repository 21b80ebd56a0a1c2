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
from scipy.special import gammaln, logsumexp

Curve = Callable[[float], float]
"""Order above 1 to Rényi divergence."""

# Orders α by log(α - 1): small ones matter where epsilon is large, large ones where it is small.
_LOG_ORDERS = np.linspace(math.log(0.01), math.log(20_000), 90)


def epsilon_of(curve: Curve, delta: float) -> float:
    """The smallest epsilon, not below 0, that some order proves at this delta.

    At order α: R(α) + log(1 - 1/α) - log(α δ)/(α - 1) (Canonne, Kamath, Steinke 2020, Proposition 12 and its
    corollary); and 0 where the total variation is at most delta by √(1 - exp(-R)) (Bretagnolle, Huber 1979).
    """
    floor = _flat_log_delta(curve)
    if floor <= math.log(delta):
        return 0.0

    def at(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return curve(order) + math.log1p(-1 / order) - math.log(order * delta) / (order - 1)

    return max(0.0, _least(at))


def log_delta_of(curve: Curve, epsilon: float) -> float:
    """Natural logarithm of the smallest delta that some order proves at this epsilon, by the same theorems."""

    def at(log_order: float) -> float:
        order = 1 + math.exp(log_order)
        return (order - 1) * (curve(order) - epsilon + math.log1p(-1 / order)) - math.log(order)

    return min(0.0, _least(at), _flat_log_delta(curve))


def log_deltas_of(curve: Curve, epsilons: NDArray[np.float64]) -> NDArray[np.float64]:
    """`log_delta_of` at many epsilons of 0 and more, over a fixed set of orders."""
    orders = 1 + np.exp(np.linspace(_LOG_ORDERS[0], _LOG_ORDERS[-1], 400))
    level = (orders - 1) * (np.array([curve(order) for order in orders]) + np.log1p(-1 / orders)) - np.log(
        orders
    )
    chunks = np.array_split(epsilons, max(1, len(epsilons) // 2_000))
    found = np.concatenate([(level - np.outer(chunk, orders - 1)).min(axis=1) for chunk in chunks])
    least: NDArray[np.float64] = np.minimum(found, min(0.0, _flat_log_delta(curve)))
    return least


def _flat_log_delta(curve: Curve) -> float:
    divergence = curve(1 + math.exp(_LOG_ORDERS[0]))
    return 0.5 * math.log(-math.expm1(-divergence)) if divergence > 0 else -math.inf


def _least(at: Callable[[float], float]) -> float:
    values = np.array([at(x) for x in _LOG_ORDERS])
    best = int(np.argmin(values))
    low, high = _LOG_ORDERS[max(best - 1, 0)], _LOG_ORDERS[min(best + 1, len(values) - 1)]
    found = minimize_scalar(at, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    return min(float(values[best]), float(found.fun))


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

    Mironov, Talwar, Zhang 2019, Section 3.3: a binomial sum; the direction of removing an example is the larger one
    (Theorem 5 there).
    """
    picked: NDArray[np.float64] = np.arange(order + 1, dtype=np.float64)
    terms = (
        gammaln(order + 1)
        - gammaln(picked + 1)
        - gammaln(order - picked + 1)
        + picked * math.log(rate)
        + (order - picked) * math.log1p(-rate)
        + (picked * picked - picked) / (2 * noise_multiplier**2)
    )
    return max(0.0, float(logsumexp(terms)) / (order - 1))
