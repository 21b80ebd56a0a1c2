"""Divides whole things in proportion.

The one invariant: the shares add up to the total exactly and stay within their bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def apportion(
    total: int, weights: ArrayLike, lower: ArrayLike = 0, upper: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Divide ``total`` by largest remainders (Hamilton's method), within bounds.

    Every share starts at its quota, rounded down and pulled into its bounds. What is then missing goes to the
    shares furthest below their quota, and what is too much is taken from those furthest above; the first wins
    a tie.

    Args:
        total: what is divided.
        weights: finite and not negative, at least one positive; shape ``[n]``.
        lower: the least each may get; scalar or ``[n]``.
        upper: the most each may get, no bound where left out; scalar or ``[n]``.

    Returns:
        int64 ``[n]``, adding up to ``total``.

    Example:
        >>> apportion(10, [5, 3, 1]).tolist()
        [6, 3, 1]
        >>> apportion(10, [5, 3, 1], lower=2).tolist()
        [5, 3, 2]
    """
    share_of = np.asarray(weights, dtype=np.float64)
    if share_of.ndim != 1 or not np.isfinite(share_of).all() or (share_of < 0).any() or share_of.sum() <= 0:
        raise ValueError("weights must be finite, not negative and not all zero, and one-dimensional")
    least = np.broadcast_to(np.asarray(lower, dtype=np.int64), share_of.shape)
    most = np.broadcast_to(np.asarray(total if upper is None else upper, dtype=np.int64), share_of.shape)
    if (least > most).any() or not least.sum() <= total <= most.sum():
        raise ValueError(f"{total} cannot be divided between {least.sum()} and {most.sum()}")
    quota = total * (share_of / share_of.sum())
    shares: NDArray[np.int64] = np.clip(np.floor(quota).astype(np.int64), least, most)
    while (missing := total - int(shares.sum())) != 0:
        if missing > 0:
            i = np.where(shares < most, quota - shares, -np.inf).argmax()
            shares[i] += 1
        else:
            i = np.where(shares > least, shares - quota, -np.inf).argmax()
            shares[i] -= 1
    return shares
