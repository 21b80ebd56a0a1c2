"""Shares of classes in one point that is a mix of known means: arithmetic, and what to expect where noise hides them.

The invariant: what is expected counts for as much as vectors are seen to keep to it, and for nothing where a vector
tells its shares by itself.

References:
    Efron & Morris, Stein's estimation rule and its competitors: an empirical Bayes approach, JASA 68 (1973), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks._base.targets import Floats

_HALF = 0.5
"""Doubt about a share, of one example and of what it was before, beyond which whole counts are not told."""
_WIDTHS = np.geomspace(1e-6, 1, 61)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What is expected of shares before a vector is seen.

    Attributes:
        mean: above 0, ``[classes]``.
        width: of their covariance, in units of that of one text's class: 1 where every vector is of one class, and one
            in k where each has k texts from the same writers.
    """

    mean: Floats
    width: float = 1.0

    @property
    def variance(self) -> Floats:
        """Of each share, ``[classes]``."""
        return np.asarray(self.width * self.mean * (1 - self.mean), dtype=np.float64)

    @classmethod
    def seen(
        cls, mean: Floats, points: Sequence[Floats], variances: Sequence[Floats], means: Floats
    ) -> Expected:
        """With the width under which some vectors are likeliest all together (empirical Bayes).

        Args:
            mean: of the shares, ``[classes]``.
            points: of the vectors, each ``[directions]``.
            variances: of each of these along each direction.
            means: of the classes, ``[classes, directions]``.
        """
        root = np.diag(np.sqrt(mean)) - np.outer(mean, np.sqrt(mean))
        likelihood = np.zeros(len(_WIDTHS))
        for point, variance in zip(points, variances, strict=True):
            aims = root.T @ (means / variance)
            values, turn = np.linalg.eigh(aims @ means.T @ root)
            seen = (turn.T @ (aims @ (point - mean @ means))) ** 2
            along = 1 + np.outer(_WIDTHS, np.maximum(values, 0.0))
            likelihood += (_WIDTHS[:, None] * seen / along - np.log(along)).sum(axis=1) / 2
        return cls(mean, float(_WIDTHS[int(np.argmax(likelihood))]))


def mix(point: Floats, means: Floats, variance: Floats, expected: Expected | None = None) -> Floats:
    """Non-negative shares that sum to 1 and bring the mix of means nearest to the point, and to what is expected.

    Args:
        point: ``[directions]``.
        means: ``[classes, directions]``.
        variance: of the point along each direction.
        expected: of the shares; None for nothing.
    """
    from scipy.optimize import nnls

    weights = 1 / np.sqrt(variance)
    table, aim = (means * weights).T, point * weights
    if expected is not None:
        firm = 1 / np.sqrt(expected.variance)
        table, aim = np.vstack([table, np.diag(firm)]), np.append(aim, expected.mean * firm)
    # The sum is held by a row that outweighs all others.
    strong = 1e3 * float(np.abs(table).max()) * np.sqrt(len(table))
    shares, _ = nnls(np.vstack([table, np.full((1, len(means)), strong)]), np.append(aim, strong))
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def tells(means: Floats, variance: Floats, expected: Expected, examples: int) -> bool:
    """Whether a point tells whole counts: by the covariance of the normal law that `mix` finds the top of."""
    widest = Expected(expected.mean).variance
    covariance = np.linalg.inv((means / variance) @ means.T + np.diag(1 / widest))
    # Shares sum to 1.
    along = covariance.sum(axis=1)
    doubt = np.sqrt(np.maximum(np.diag(covariance) - along**2 / along.sum(), 0.0))
    return bool((doubt < _HALF / examples).all() and (doubt < _HALF * np.sqrt(widest)).all())


def whole(shares: Floats, examples: int) -> Floats:
    """The nearest shares that are multiples of one in ``examples`` (largest remainders)."""
    counts = np.floor(shares * examples)
    for index in np.argsort(counts - shares * examples, kind="stable")[: examples - int(counts.sum())]:
        counts[index] += 1
    return np.asarray(counts / counts.sum(), dtype=np.float64)
