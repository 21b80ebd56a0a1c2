"""The bias-corrected and accelerated bootstrap, for statistics that lean to one side near the end of their range.

The invariant: what is resampled and what is left out are whole clusters, so scores that share a vector are never taken
for independent ones.

Reference:
    Efron, Better bootstrap confidence intervals, JASA 1987; Efron & Tibshirani, An Introduction to the Bootstrap,
    1993, chapter 14 (equations 14.9, 14.14 and 14.15).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]


def acceleration(left_out: ArrayLike) -> float:
    """How the statistic's spread changes with its value, from its values with one cluster left out at a time."""
    values = np.asarray(left_out, dtype=np.float64)
    away = values.mean() - values
    spread = float((away**2).sum())
    return float((away**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0


def bca(value: float, resampled: ArrayLike, left_out: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Both ends of the interval.

    Where all resamples lie on one side of the value, nothing corrects the bias; a tie counts as half on each side, and
    at least half a resample is taken to lie on either.

    Args:
        value: of the statistic on the whole sample.
        resampled: on bootstrap samples of clusters.
        left_out: with each cluster left out in turn.
        level: the coverage to aim at.
    """
    draws = np.asarray(resampled, dtype=np.float64)
    if not len(draws) or not 0 < level < 1:
        raise ValueError(f"{len(draws)} resamples and level {level}: give one or more, and a share")
    below = (np.count_nonzero(draws < value) + np.count_nonzero(draws == value) / 2) / len(draws)
    edge = 0.5 / len(draws)
    bias = float(ndtri(min(max(below, edge), 1 - edge)))
    lean = acceleration(left_out)
    moved = [bias + float(ndtri(share)) for share in ((1 - level) / 2, (1 + level) / 2)]
    shares = [float(ndtr(bias + z / max(1 - lean * z, 1e-9))) for z in moved]
    low, high = np.quantile(draws, shares)
    return float(low), float(high)
