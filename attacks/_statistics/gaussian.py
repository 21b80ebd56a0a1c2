"""The Gaussian mechanism's exact trade-off: between its μ, and the ε it has at a δ.

The invariant: everything is computed in logarithms, so that a δ of 1e-12 and an ε of 50 lose no digits.

Reference: Dong, Roth & Su, Gaussian Differential Privacy, arXiv 1905.02383, Corollary 2.13; the same curve as Balle &
Wang, arXiv 1805.06530, Theorem 8, with μ the sensitivity over the noise's standard deviation.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr


def log_delta(mu: float, epsilon: float) -> float:
    """Logarithm of the δ that a mechanism of this μ has at ε; minus infinity where it is 0 in floating point."""
    if mu <= 0:
        return -math.inf
    upper = float(log_ndtr(mu / 2 - epsilon / mu))
    lower = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return upper + math.log1p(-math.exp(lower - upper)) if lower < upper else -math.inf


def epsilon_of(mu: float, delta: float) -> float:
    """The ε of a Gaussian mechanism at δ.

    Args:
        mu: sensitivity over the noise's standard deviation; 0 or less gives 0, infinity gives infinity.
        delta: above 0, below 1.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}; a Gaussian mechanism needs one above 0 and below 1")
    if mu <= 0 or log_delta(mu, 0.0) <= math.log(delta):
        return 0.0
    if math.isinf(mu):
        return math.inf
    high = 1.0
    while log_delta(mu, high) > math.log(delta):
        high *= 2
    return float(brentq(lambda e: log_delta(mu, e) - math.log(delta), 0.0, high, xtol=1e-10))


def mu_of(epsilon: float, delta: float) -> float:
    """The largest μ that is (ε, δ)-differentially private: the inverse of `epsilon_of`."""
    if not 0 < delta < 1 or epsilon < 0:
        raise ValueError(f"epsilon is {epsilon} and delta {delta}; give 0 or more, and a share")
    high = 1.0
    while epsilon_of(high, delta) <= epsilon:
        high *= 2
    return float(brentq(lambda mu: log_delta(mu, epsilon) - math.log(delta), 1e-12, high, xtol=1e-12))
