"""How unequally a model serves its clients.

The one invariant: nothing is compared with a model that would be fair by being useless. Differences in what is
predicted stand beside those of perfect predictions, which are above 0 wherever clients hold different classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Scores over clients, each client counting once.

    Attributes:
        clients: how many.
        mean: of the clients' scores.
        worst: the lowest.
        best: the highest.
        bottom_decile: mean of the lowest tenth, rounded up to whole clients.
        std: standard deviation over the clients (of these clients, not of others like them).
        variance: its square.
    """

    clients: int
    mean: float
    worst: float
    best: float
    bottom_decile: float
    std: float
    variance: float


def spread(scores: Floats) -> Spread:
    """The spread of one score a client, ``[clients]``."""
    if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("scores must be one finite number a client")
    ordered = np.sort(scores)
    lowest = ordered[: math.ceil(len(ordered) / 10)]
    std = float(ordered.std())
    return Spread(
        len(ordered),
        float(ordered.mean()),
        float(ordered[0]),
        float(ordered[-1]),
        float(lowest.mean()),
        std,
        std**2,
    )


def weights_of(truth: Labels, counts: Labels) -> Floats:
    """Weights of test answers that give them one client's mix of classes; they sum to 1.

    Args:
        truth: class of each test text, ``[n]``.
        counts: how many examples of each class the client holds, ``[classes]``.

    Returns:
        float64 ``[n]``. Classes without a test text cannot be asked about and are left out of the mix; a client
        with no other class, or with none, gets every text evenly.
    """
    asked = np.bincount(truth, minlength=len(counts)).astype(np.float64)
    mix = np.where(asked > 0, counts, 0).astype(np.float64)
    if mix.sum() == 0:
        return np.full(len(truth), 1 / len(truth))
    found: Floats = np.divide(mix / mix.sum(), asked, out=np.zeros_like(asked), where=asked > 0)[truth]
    return found


def rates(labels: Labels, weights: Floats, n_classes: int) -> Floats:
    """The weighted share of each class among ``labels``: float64 ``[classes]``."""
    found = np.bincount(labels, weights=weights, minlength=n_classes).astype(np.float64)
    shares: Floats = found / weights.sum()
    return shares


def parity_difference(rates_by_group: Floats) -> float:
    """Demographic parity difference: the largest gap between two groups in how often one class is predicted.

    Args:
        rates_by_group: P(prediction = class) in each group, ``[groups, classes]``.

    Returns:
        max over classes of (max - min over groups): 0 where all groups get the same mix of answers.

    Reference:
        Dwork et al., ITCS 2012 (arXiv 1104.3913), for two groups; the extreme pair for more.
    """
    return float((rates_by_group.max(axis=0) - rates_by_group.min(axis=0)).max())


def odds_difference(truth: list[Labels], predicted: list[Labels], n_classes: int) -> float | None:
    """Equalised odds: the largest gap between groups in P(prediction = c | truth = k), over all k and c.

    Args:
        truth: for each group, the classes of its texts.
        predicted: likewise, what was answered.
        n_classes: number of classes.

    Returns:
        The gap, 0 for perfect predictions; None where no true class is asked about in two groups.

    Reference:
        Hardt, Price & Srebro, NeurIPS 2016 (arXiv 1610.02413).
    """
    worst: float | None = None
    for true in range(n_classes):
        found = [p[t == true] for t, p in zip(truth, predicted, strict=True) if (t == true).any()]
        if len(found) > 1:
            each = np.stack([np.bincount(p, minlength=n_classes) / len(p) for p in found])
            worst = max(worst or 0.0, parity_difference(each))
    return worst
