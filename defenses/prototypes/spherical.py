"""Clusters by direction: cosine similarity, the nearest of several centres, and k-means on the sphere.

`spherical_kmeans` sees every point. It is what a federation is measured against that only ever sees sums.
The invariant: a point or a centre of norm zero has no direction, and is as near to everything as anything else.

Reference: Dhillon and Modha, *Concept Decompositions for Large Sparse Text Data Using Clustering*, Machine Learning
42 (2001); Arthur and Vassilvitskii, *k-means++*, SODA 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from defenses.errors import UserError

Float64Array = npt.NDArray[np.float64]


def unit(rows: npt.NDArray[np.floating]) -> Float64Array:
    """Rows ``[..., n]`` at length 1; those of norm zero stay zero."""
    wide = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    scaled: Float64Array = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return scaled


def similarities(vector: npt.NDArray[np.floating], centres: npt.NDArray[np.floating]) -> Float64Array:
    """Cosine of ``vector``, of any shape, and each of ``centres``, ``[k, *shape]``; 0 where one has no direction."""
    flat = np.asarray(centres).reshape(len(centres), -1)
    found: Float64Array = unit(flat) @ unit(np.asarray(vector).reshape(-1))
    return found


def nearest(
    vector: npt.NDArray[np.floating],
    centres: npt.NDArray[np.floating],
    alive: npt.NDArray[np.bool_] | None = None,
) -> int:
    """Number of the centre with the largest cosine, the first of equals, among those that are alive."""
    found = similarities(vector, centres)
    return int(np.argmax(found if alive is None else np.where(alive, found, -np.inf)))


def mixture_weights(
    vector: npt.NDArray[np.floating],
    centres: npt.NDArray[np.floating],
    temperature: float,
    alive: npt.NDArray[np.bool_] | None = None,
) -> Float64Array:
    """Softmax of the cosines over ``temperature``, ``[k]``; zero for centres that are not alive."""
    if not temperature > 0:
        raise UserError(f"the temperature of a mix is {temperature}", "use a number above 0")
    found = similarities(vector, centres) / temperature
    found = found if alive is None else np.where(alive, found, -np.inf)
    weights = np.exp(found - found.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """What k-means came to.

    Attributes:
        centres: unit rows ``[k, n]``.
        labels: cluster of each point.
        score: mean cosine of a point and its centre.
    """

    centres: Float64Array
    labels: npt.NDArray[np.int64]
    score: float


def spherical_kmeans(
    points: npt.NDArray[np.floating],
    k: int,
    rng: np.random.Generator,
    *,
    restarts: int = 10,
    iterations: int = 50,
) -> Clustering:
    """The best of several runs of k-means by cosine, each from a k-means++ start.

    Args:
        points: rows ``[points, n]``.
        k: number of clusters.
        rng: draws the starts.
        restarts: how many runs.
        iterations: at most so many steps in each.

    Raises:
        UserError: there are more clusters than points.
    """
    if not 1 <= k <= len(points):
        raise UserError(
            f"the number of clusters is {k} and there are {len(points)} points", "use fewer clusters"
        )
    rows = unit(points)
    best: Clustering | None = None
    for _ in range(restarts):
        centres, labels = _spread(rows, k, rng), np.full(len(rows), -1)
        for _ in range(iterations):
            found = (rows @ centres.T).argmax(axis=1)
            if (found == labels).all():
                break
            labels = found
            sums = np.zeros_like(centres)
            np.add.at(sums, labels, rows)
            # A cluster that has lost everybody stays where it was.
            centres = np.where(np.linalg.norm(sums, axis=1, keepdims=True) > 0, unit(sums), centres)
        cosines = rows @ centres.T
        score = float(cosines.max(axis=1).mean())
        if best is None or score > best.score:
            best = Clustering(centres, cosines.argmax(axis=1).astype(np.int64), score)
    assert best is not None
    return best


def _spread(rows: Float64Array, k: int, rng: np.random.Generator) -> Float64Array:
    """k-means++: each further centre is a point, drawn by its distance from those that are there."""
    chosen = [int(rng.integers(len(rows)))]
    while len(chosen) < k:
        distance = np.maximum(1.0 - (rows @ rows[chosen].T).max(axis=1), 0.0)
        distance[chosen] = 0.0
        total = distance.sum()
        left = np.setdiff1d(np.arange(len(rows)), chosen)
        chosen.append(int(rng.choice(len(rows), p=distance / total) if total > 0 else rng.choice(left)))
    return rows[chosen].copy()
