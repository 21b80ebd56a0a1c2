"""The Gaussian mechanism, exactly: what (epsilon, delta) a sensitivity of mu standard deviations costs.

A release with noise of standard deviation σ and sensitivity Δ is told apart from its neighbour as well as N(0, 1) from
N(μ, 1) with μ = Δ/σ, and no better: it is μ-GDP (Dong, Roth, Su 2022, Theorem 2.7). Invariant: every function here is
a function of μ alone, in log space where numbers would vanish, so that delta keeps its digits down to 1e-300.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erfcx, erfinv, log_ndtr, ndtri

from defenses.errors import UserError

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
# Below it, a difference of Mills ratios loses digits and their derivative is integrated instead.
_NARROW = 1.0
# Beyond it, 1 + t M(t) is a difference of nearly equal numbers and its asymptotic series has every digit.
_FAR = -25.0
_SMALLEST_MU, _LARGEST_MU = 1e-150, 1e150


def check_delta(delta: float, *, name: str = "delta") -> None:
    """Refuse a failure probability outside (0, 1)."""
    if not 0 < delta < 1:
        raise UserError(f"{name} is {delta:g}", "use a number above 0 and below 1, such as 1e-5")


def check_epsilon(epsilon: float, *, name: str = "epsilon") -> None:
    """Refuse an epsilon that is no bound to aim at."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise UserError(f"{name} is {epsilon:g}", "use a finite number above 0")


def gaussian_mu(sensitivity: float, noise: float) -> float:
    """μ of one release: its sensitivity in standard deviations of its noise."""
    return sensitivity / noise


def compose_mu(mus: Iterable[float]) -> float:
    """μ of several releases together, exactly: the root of the sum of squares (Dong, Roth, Su 2022, Corollary 3.3)."""
    return math.hypot(*mus)


def log_gaussian_delta(epsilon: float, mu: float) -> float:
    """Natural logarithm of `gaussian_delta`; -inf where mu is 0."""
    if mu == 0:
        return -math.inf if epsilon >= 0 else math.log(-math.expm1(epsilon))
    if math.isinf(mu):
        return 0.0
    upper = mu / 2 - epsilon / mu
    lower = upper - mu
    # exp(epsilon) φ(lower) = φ(upper), so delta = φ(upper) (M(upper) - M(lower)) with the Mills ratio M = Φ/φ.
    if mu < _NARROW and upper < 5:
        return _log_density(upper) + math.log(_mills_gap(upper, mu))
    log_ratio = _log_mills(lower) - _log_mills(upper)
    return float(log_ndtr(upper)) + math.log(-math.expm1(log_ratio))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """The smallest delta at which a μ-GDP release is (epsilon, delta)-differentially private.

    Φ(μ/2 - ε/μ) - exp(ε) Φ(-μ/2 - ε/μ), which is exact (Balle, Wang 2018, Theorem 8, with μ = Δ/σ).

    >>> round(gaussian_delta(1.0, 1.0), 6)
    0.126937
    """
    return math.exp(log_gaussian_delta(epsilon, mu))


def gaussian_deltas(epsilons: NDArray[np.float64], mu: float) -> NDArray[np.float64]:
    """`gaussian_delta` at many epsilons; with fewer digits where delta is far below 1e-16."""
    upper = mu / 2 - epsilons / mu
    log_upper = log_ndtr(upper)
    ratio = np.minimum(epsilons + log_ndtr(upper - mu) - log_upper, 0.0)
    found: NDArray[np.float64] = np.exp(log_upper) * -np.expm1(ratio)
    return found


def gaussian_epsilon(delta: float, mu: float) -> float:
    """The smallest epsilon, not below 0, at which a μ-GDP release is (epsilon, delta)-differentially private.

    >>> round(gaussian_epsilon(1e-5, 1.0), 6)
    4.377178
    """
    check_delta(delta)
    target = math.log(delta)
    if mu == 0 or log_gaussian_delta(0.0, mu) <= target:
        return 0.0
    if not mu <= _LARGEST_MU:
        return math.inf
    # delta < Φ(μ/2 - ε/μ), hence this end.
    end = mu * mu / 2 - mu * float(ndtri(delta))
    root = float(
        brentq(lambda epsilon: log_gaussian_delta(epsilon, mu) - target, 0.0, end, xtol=1e-300, rtol=1e-15)
    )
    while log_gaussian_delta(root, mu) > target:
        root = root * (1 + 4e-15)
    return root


def gaussian_mu_for(epsilon: float, delta: float) -> float:
    """The largest μ whose release is (epsilon, delta)-differentially private: noise needs σ = Δ/μ.

    >>> round(1 / gaussian_mu_for(1.0, 1e-5), 6)
    3.730632
    """
    check_delta(delta)
    if not epsilon >= 0:
        raise UserError(f"epsilon is {epsilon:g}", "use 0 or more")
    if epsilon == 0:
        return 2 * math.sqrt(2) * float(erfinv(delta))
    target = math.log(delta)

    def above(log_mu: float) -> float:
        return log_gaussian_delta(epsilon, math.exp(log_mu)) - target

    low = high = math.log(math.sqrt(epsilon))
    while above(low) > 0 and low > math.log(_SMALLEST_MU):
        low -= 1.0
    while above(high) < 0 and high < math.log(_LARGEST_MU):
        high += 1.0
    mu = math.exp(float(brentq(above, low, high, xtol=1e-16, rtol=1e-15)))
    while log_gaussian_delta(epsilon, mu) > target:
        mu *= 1 - 4e-15
    return mu


def _log_density(x: float) -> float:
    return -x * x / 2 - _HALF_LOG_TAU


def _log_mills(x: float) -> float:
    """log(Φ(x)/φ(x))."""
    if x < 5:
        return math.log(float(erfcx(-x / math.sqrt(2)))) + 0.5 * math.log(math.pi / 2)
    return float(log_ndtr(x)) - _log_density(x)


def _mills_gap(upper: float, width: float) -> float:
    """M(upper) - M(upper - width), as the integral of M' over a short interval."""
    half = width / 2
    middle = upper - half
    return half * float(
        sum(w * _mills_slope(middle + half * t) for t, w in zip(_NODES, _WEIGHTS, strict=True))
    )


def _mills_slope(t: float) -> float:
    """M'(t) = 1 + t M(t)."""
    if t > _FAR:
        return 1 + t * math.sqrt(math.pi / 2) * float(erfcx(-t / math.sqrt(2)))
    total, term = 0.0, 1.0
    for n in range(1, 13):
        term *= -(2 * n - 1) / (t * t)
        total -= term
    return total
