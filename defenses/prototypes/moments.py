"""Groups from moments: where several means lie, worked out of sums in which nobody is in a block of their own.

k-means needs a start, and with few clients and no point to start from it ends anywhere. The moments of all points up
to the third fix the means of a mixture, so that two sums do what many restarts would. The second sum is short: it is
taken in the few directions in which the first found that points differ.

The invariant: a point of length r has packed moments of length r^2 and r^3, so that a bound on points bounds what one
client adds to a sum.

Reference: Anandkumar, Ge, Hsu, Kakade and Telgarsky, *Tensor Decompositions for Learning Latent Variable Models*, JMLR
15 (2014), section 4 and Algorithm 1 (the power method with deflation). A constant coordinate is appended to each point,
since their theorem wants means that are independent, and means around a common centre are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from defenses.errors import UserError

Float64Array = npt.NDArray[np.float64]

_STARTS, _STEPS = 40, 100
_LEAST = 1e-3
"""Directions whose variance is below this share of the largest are noise, and are not blown up by whitening."""


def second_size(n: int) -> int:
    """How many numbers the second moments of ``n`` coordinates are."""
    return n * (n + 1) // 2


def third_size(n: int) -> int:
    """How many numbers the third moments of ``n`` coordinates are."""
    return n * (n + 1) * (n + 2) // 6


def second_moments(point: npt.NDArray[np.floating]) -> Float64Array:
    """Products of all pairs of coordinates, ``[n (n + 1) / 2]``; those of two different ones times the root of 2."""
    rows, columns, factors = _pairs(len(point))
    wide = np.asarray(point, dtype=np.float64)
    return np.asarray(wide[rows] * wide[columns] * factors, dtype=np.float64)


def unpacked_second(packed: npt.NDArray[np.floating], n: int) -> Float64Array:
    """The symmetric matrix ``[n, n]`` of packed second moments."""
    rows, columns, factors = _pairs(n)
    matrix = np.zeros((n, n))
    matrix[rows, columns] = np.asarray(packed, dtype=np.float64) / factors
    matrix[columns, rows] = matrix[rows, columns]
    return matrix


def third_moments(point: npt.NDArray[np.floating]) -> Float64Array:
    """Products of all triples of coordinates, each times the root of how often it stands in the cube."""
    triples, factors = _triples(len(point))
    wide = np.asarray(point, dtype=np.float64)
    return np.asarray(wide[triples].prod(axis=1) * factors, dtype=np.float64)


def unpacked_third(packed: npt.NDArray[np.floating], n: int) -> Float64Array:
    """The symmetric cube ``[n, n, n]`` of packed third moments."""
    triples, factors = _triples(n)
    cube = np.zeros((n, n, n))
    values = np.asarray(packed, dtype=np.float64) / factors
    for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        cube[triples[:, a], triples[:, b], triples[:, c]] = values
    return cube


@cache
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float64Array]:
    rows, columns = np.triu_indices(n)
    return rows, columns, np.where(rows == columns, 1.0, np.sqrt(2.0))


@cache
def _triples(n: int) -> tuple[npt.NDArray[np.intp], Float64Array]:
    triples = np.asarray(list(combinations_with_replacement(range(n), 3)), dtype=np.intp).reshape(-1, 3)
    different = 1 + (np.diff(triples, axis=1) > 0).sum(axis=1)
    return triples, np.sqrt(np.asarray([0.0, 1.0, 3.0, 6.0])[different])


def principal(mean: npt.NDArray[np.floating], second: Float64Array) -> tuple[Float64Array, Float64Array]:
    """In which directions points differ most.

    Args:
        mean: ``[n]``.
        second: raw second moments, the mean of outer products, ``[n, n]``.

    Returns:
        Variances, largest first, ``[n]``, and their directions as rows, ``[n, n]``; a direction's largest coordinate is
        positive, so that two machines agree on its sign.
    """
    wide = np.asarray(mean, dtype=np.float64)
    variances, columns = np.linalg.eigh(second - np.outer(wide, wide))
    rows = columns.T[::-1]
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    return variances[::-1].copy(), rows * np.where(signs == 0, 1.0, signs)[:, None]


def groups_by_gap(variances: npt.NDArray[np.floating], most: int, least_ratio: float) -> int:
    """How many groups there are: one more than the variances that stand out.

    Args:
        variances: largest first.
        most: the most groups there may be.
        least_ratio: how many times the next variance the last of those that stand out must be; 1 group if none is.
    """
    usable = np.maximum(np.asarray(variances, dtype=np.float64), 0.0)
    last = min(most, len(usable)) - 1
    if last < 1 or usable[0] == 0:
        return 1
    floor = usable[0] * _LEAST
    ratios = np.maximum(usable[:last], floor) / np.maximum(usable[1 : last + 1], floor)
    best = int(ratios.argmax())
    return best + 2 if ratios[best] >= least_ratio else 1


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Means of groups, and which share of the points each has.

    Attributes:
        means: ``[k, n]``.
        shares: ``[k]``, of sum 1.
    """

    means: Float64Array
    shares: Float64Array


def mixture(
    mean: npt.NDArray[np.floating],
    second: Float64Array,
    third: Float64Array,
    k: int,
    rng: np.random.Generator,
) -> Mixture:
    """The means of ``k`` groups whose points have these raw moments.

    Args:
        mean: ``[n]``.
        second: ``[n, n]``.
        third: ``[n, n, n]``.
        k: number of groups; at most n + 1.
        rng: draws the starts of the power method.
    """
    n = len(mean)
    if not 1 <= k <= n + 1:
        raise UserError(f"{k} groups were asked of moments in {n} directions", f"ask for at most {n + 1}")
    if k == 1:
        return Mixture(np.asarray(mean, dtype=np.float64)[None].copy(), np.ones(1))
    pairs, cube = _lifted(np.asarray(mean, dtype=np.float64), second, third)
    values, columns = np.linalg.eigh(pairs)
    values, columns = values[::-1][:k], columns[:, ::-1][:, :k]
    roots = np.sqrt(np.maximum(values, values[0] * _LEAST))
    whiten = columns / roots
    left = np.einsum("abc,ai,bj,ck->ijk", cube, whiten, whiten, whiten)
    means, shares = np.zeros((k, n)), np.zeros(k)
    for group in range(k):
        value, vector = _strongest(left, rng)
        left = left - value * np.einsum("i,j,k->ijk", vector, vector, vector)
        point = value * (columns * roots) @ vector
        # A group's constant coordinate is 1; where noise has made nothing of it, the direction is all there is.
        means[group] = point[:n] / point[n] if abs(point[n]) > _LEAST else point[:n]
        shares[group] = 1 / max(value, _LEAST) ** 2
    return Mixture(means, shares / shares.sum())


def _lifted(
    mean: Float64Array, second: Float64Array, third: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Second and third moments of the points with a coordinate that is 1."""
    n = len(mean)
    pairs, cube = np.ones((n + 1, n + 1)), np.ones((n + 1, n + 1, n + 1))
    pairs[:n, :n], pairs[:n, n], pairs[n, :n] = second, mean, mean
    cube[:n, :n, :n] = third
    cube[n, :n, :n] = cube[:n, n, :n] = cube[:n, :n, n] = second
    cube[n, n, :n] = cube[n, :n, n] = cube[:n, n, n] = mean
    return pairs, cube


def _strongest(cube: Float64Array, rng: np.random.Generator) -> tuple[float, Float64Array]:
    """The largest of the values that the power method finds from several starts, and its unit vector."""
    vectors = rng.standard_normal((_STARTS, len(cube)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for _ in range(_STEPS):
        moved = np.einsum("ijk,sj,sk->si", cube, vectors, vectors)
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        vectors = np.where(lengths > 0, moved / np.where(lengths > 0, lengths, 1.0), vectors)
    values = np.einsum("ijk,si,sj,sk->s", cube, vectors, vectors, vectors)
    best = int(values.argmax())
    return float(values[best]), vectors[best]
