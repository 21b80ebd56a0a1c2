"""The label mix behind a vector, by least squares on the classes' mean activations.

The invariant: class means come from public texts, to which an attacker can add any label word of the public task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attacks._base.attack import Answer, Histogram, Knowledge
from attacks._base.space import Space, read, relabelled
from attacks._base.targets import Floats, Target
from ifedpriv.backbone.backbone import Backbone

_TEXTS = 200
"""Public texts that are read under every label."""


def label_mixes(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess the shares of all classes in each vector.

    In the space of public texts, a vector is near the mix of class means. What the texts add has the covariance within
    a class over the number of examples; generalised least squares, with shares that are not negative and sum to 1.
    """
    shown = relabelled(knowledge, _TEXTS)
    vectors = read(backbone, knowledge, shown, "reading labelled public texts")
    labels = np.array([example.label for example in shown])
    space = Space.of(vectors, targets)
    points = space.enter(vectors)
    classes = knowledge.task.n_classes
    means = np.stack(
        [
            points[labels == c].mean(axis=0) if (labels == c).any() else points.mean(axis=0)
            for c in range(classes)
        ]
    )
    within = np.var(points - means[labels], axis=0)
    answers = []
    for target in targets:
        point = space.enter(target.vector)
        examples = target.examples or _count(point, means, within, space.rounding)
        shares = mix(point, means, within / examples + space.rounding)
        if target.examples:
            shares = whole(shares, target.examples)
        answers.append(Answer(target.who, Histogram(tuple(map(float, shares)), examples)))
    return tuple(answers)


def mix(point: Floats, means: Floats, variance: Floats) -> Floats:
    """Non-negative shares that sum to 1 and bring the mix of means nearest to the point.

    Args:
        point: ``[directions]``.
        means: ``[classes, directions]``.
        variance: of the point along each direction.
    """
    from scipy.optimize import nnls

    weights = 1 / np.sqrt(variance)
    table, aim = (means * weights).T, point * weights
    # The sum is held by a row that outweighs all others.
    strong = 1e3 * float(np.abs(table).max()) * np.sqrt(len(table))
    shares, _ = nnls(np.vstack([table, np.full((1, len(means)), strong)]), np.append(aim, strong))
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def whole(shares: Floats, examples: int) -> Floats:
    """The nearest shares that are multiples of one in ``examples`` (largest remainders)."""
    counts = np.floor(shares * examples)
    for index in np.argsort(counts - shares * examples, kind="stable")[: examples - int(counts.sum())]:
        counts[index] += 1
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _count(point: Floats, means: Floats, within: Floats, rounding: Floats) -> int:
    """How many examples, from how far the point is from the best mix of means."""
    shares = mix(point, means, within + rounding)
    squared = float(np.sum((point - shares @ means) ** 2 / (within + rounding)))
    return max(1, round((len(point) - len(means)) / max(squared, 1e-9)))
