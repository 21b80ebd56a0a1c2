"""A membership statistic learned from shadow runs: the likelihood ratio of two Gaussians that share a covariance.

The invariant: a run is scored by what was fitted on other runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attacks._statistics.roc import auc, rate_at

Floats = NDArray[np.float64]
FALSE_POSITIVES = 0.1


def shrunk_covariance(centred: Floats) -> Floats:
    """Covariance of ``[n, p]`` rows around 0, shrunk to a multiple of the identity.

    Reference: Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.
    """
    n, p = centred.shape
    sample: Floats = centred.T @ centred / n
    scale = float(np.trace(sample)) / p
    away = float(np.square(sample - scale * np.eye(p)).sum())
    # Of the sum of |x xᵀ - S|², without a matrix for each row.
    fourth = float(np.square(np.square(centred).sum(axis=1)).sum())
    noise = min(away, (fourth / n - float(np.square(sample).sum())) / n)
    weight = noise / away if away > 0 else 1.0
    covariance: Floats = weight * scale * np.eye(p) + (1 - weight) * sample
    return covariance


def likelihood_ratio(members: Floats, others: Floats, points: Floats) -> Floats:
    """Log-likelihood ratios of points ``[k, p]``, fitted on shadows ``[n, p]`` of either kind."""
    means = members.mean(axis=0), others.mean(axis=0)
    within = np.concatenate([members - means[0], others - means[1]])
    spread = within.std(axis=0)
    # What never varies where it was fitted tells nothing that could be weighed.
    varies = spread > 1e-9 * max(float(spread.max(initial=0.0)), 1e-30)
    spread = spread[varies]
    covariance = shrunk_covariance(within[:, varies] / spread)
    apart = (means[0] - means[1])[varies] / spread
    middle = (means[0] + means[1])[varies] / 2
    ratios: Floats = (points[:, varies] - middle) / spread @ np.linalg.solve(covariance, apart)
    return ratios


def cross_scored(members: Floats, others: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Scores of either half of the runs by what was fitted on the other half."""
    for half in (0, 1):
        fitted = members[half::2], others[half::2]
        yield (
            likelihood_ratio(*fitted, members[1 - half :: 2]),
            likelihood_ratio(*fitted, others[1 - half :: 2]),
        )


def power(members: Floats, others: Floats) -> tuple[float, float]:
    """AUC, and true positive rate at 10% false positives, of the shadow statistic; means over both halves."""
    found = [
        (auc(*scores), rate_at(*scores, FALSE_POSITIVES).value) for scores in cross_scored(members, others)
    ]
    return float(np.mean([a for a, _ in found])), float(np.mean([t for _, t in found]))


def permuted(members: Floats, others: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same runs with the labels drawn anew: no statistic can do better than chance on these."""
    everything = rng.permutation(np.concatenate([members, others]))
    return everything[: len(members)], everything[len(members) :]
