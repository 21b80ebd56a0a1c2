"""A vector as a mean of few out of many: sparse non-negative least squares, and whole counts.

The invariant: weights are never negative, and a solution that explains the vector down to its rounding error is
recognised as such, so that the attacker knows when it is right.

Reference: Lawson & Hanson, Solving Least Squares Problems, 1974, chapter 23 (active set); the columns here are many
and the solution is sparse, so no Gram matrix of all columns is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CERTAIN = 3.0
"""A residual below so many times its expectation is rounding and nothing else: the error of a few coarse numbers can
fall together in one direction, and then it is twice its mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Weights of the columns that got any.

    Attributes:
        columns: their indices, heaviest first.
        weights: their weights, above 0, in the same order.
        residual: squared distance that is left, over the number of rows: about 1 is the rounding floor.
    """

    columns: NDArray[np.int64]
    weights: Floats
    residual: float

    @property
    def certain(self) -> bool:
        """Whether nothing but rounding is left."""
        return self.residual <= CERTAIN


def unmix(columns: NDArray[np.floating], vector: Floats, *, at_most: int, floor: float = 1.0) -> Mixture:
    """Non-negative least squares by an active set.

    Args:
        columns: candidates as rows, ``[n, directions]``.
        vector: ``[directions]``.
        at_most: stop when so many columns are in use.
        floor: stop when the residual per row is at or below it.
    """
    size = len(vector)
    norms = np.sqrt(np.einsum("nd,nd->n", columns, columns)) + 1e-300
    pull = columns @ vector
    passive: list[int] = []
    gram, weights = np.zeros((0, 0)), np.zeros(0)
    residual, barred = vector.astype(np.float64), -1
    scale = float(np.sqrt(vector @ vector)) + 1e-300
    for _ in range(2 * at_most + 20):
        if residual @ residual <= floor * size or len(passive) >= at_most:
            break
        gain = (columns @ residual) / norms
        gain[passive] = -np.inf
        if barred >= 0:
            gain[barred] = -np.inf
        best = int(np.argmax(gain))
        if gain[best] <= 1e-9 * scale:
            break
        border = columns[[*passive, best]] @ columns[best]
        gram = np.block([[gram, border[:-1, None]], [border[None, :]]])
        kept, weights = _settle(gram, pull[[*passive, best]], np.append(weights, 0.0))
        # A column that leaves at once would come back for ever.
        barred = -1 if kept[-1] else best
        passive, gram = (
            [c for c, k in zip([*passive, best], kept, strict=True) if k],
            gram[np.ix_(kept, kept)],
        )
        residual = vector - weights @ columns[passive] if passive else vector.astype(np.float64)
    order = np.argsort(-weights, kind="stable")
    used = np.asarray(passive, dtype=np.int64)[order]
    return Mixture(used, weights[order], float(residual @ residual) / size)


def _settle(gram: Floats, pull: Floats, weights: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Least squares on the columns in use, without those that it would make negative: which stay, and their weights."""
    kept = np.ones(len(weights), dtype=bool)
    weights = weights.copy()
    while kept.any():
        local = gram[np.ix_(kept, kept)]
        local[np.diag_indices_from(local)] *= 1 + 1e-12
        wanted = np.linalg.solve(local, pull[kept])
        if (wanted > 0).all():
            return kept, wanted
        current = weights[kept]
        negative = wanted <= 0
        ratio = current[negative] / np.maximum(current[negative] - wanted[negative], 1e-300)
        current = current + ratio.min() * (wanted - current)
        drop = current <= 1e-12
        drop[np.flatnonzero(negative)[np.argmin(ratio)]] = True
        current[drop] = 0.0
        weights[kept] = current
        kept[np.flatnonzero(kept)[drop]] = False
    return kept, np.zeros(0)


def whole_counts(
    columns: NDArray[np.floating], vector: Floats, start: Mixture, total: int, sweeps: int = 12
) -> tuple[NDArray[np.int64], float]:
    """The mean of exactly ``total`` columns, repetition allowed, that is nearest to the vector; by exchanges.

    Starts at the mixture's weights, rounded to multiples of ``1 / total``, and takes one column for another as long as
    that helps.

    Returns:
        How often each column is used, int64 ``[n]``, and the squared distance over the number of rows.
    """
    size = len(vector)
    squares = np.einsum("nd,nd->n", columns, columns) / total**2
    counts = np.zeros(len(columns), dtype=np.int64)
    shares = start.weights * total
    counts[start.columns] = np.floor(shares)
    for index in start.columns[np.argsort(np.floor(shares) - shares, kind="stable")]:
        if counts.sum() < total:
            counts[index] += 1
    _shorten(counts, total)
    while counts.sum() < total:
        residual = vector - _mean(columns, counts, total)
        counts[np.argmin(squares - 2 * (columns @ residual) / total)] += 1
    residual = vector - _mean(columns, counts, total)
    for _ in range(sweeps):
        if residual @ residual <= size:
            break
        pull = (columns @ residual) / total
        held = np.flatnonzero(counts)
        taken = np.union1d(np.argsort(squares - 2 * pull)[:50], held)
        cross = (columns[held] @ columns[taken].T) / total**2
        # |r + (i - j) / total|² - |r|² for i out and j in.
        change = 2 * (pull[held, None] - pull[taken]) + squares[held, None] + squares[taken] - 2 * cross
        out, into = np.unravel_index(int(np.argmin(change)), change.shape)
        if change[out, into] >= -1e-9 * (residual @ residual):
            break
        counts[held[out]] -= 1
        counts[taken[into]] += 1
        residual = vector - _mean(columns, counts, total)
    return counts, float(residual @ residual) / size


def _shorten(counts: NDArray[np.int64], total: int) -> None:
    """Takes what is too many from the smallest counts, the first of equals first, in place."""
    # Weights that noise made add up to far more than 1, and to take their counts one by one took minutes.
    smallest = np.argsort(counts, kind="stable")
    before = np.cumsum(counts[smallest]) - counts[smallest]
    counts[smallest] -= np.clip(counts.sum() - total - before, 0, counts[smallest])


def _mean(columns: NDArray[np.floating], counts: NDArray[np.int64], total: int) -> Floats:
    used = np.flatnonzero(counts)
    return np.asarray((counts[used] / total) @ columns[used], dtype=np.float64)
