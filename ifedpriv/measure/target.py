"""When a run has got as far as was asked for beforehand.

The one invariant: a single lucky round reaches nothing, since the median of three has to; and a run that does not get
there is censored at its end, which is told, and never left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

WINDOW = 3
"""Scores whose median has to reach the target."""


def first_reached(scores: Sequence[float], target: float) -> int | None:
    """The place of the first score at which the median of it and the two before reaches the target.

    Args:
        scores: in the order of the rounds.
        target: fixed before the run.

    Returns:
        An index from 2, or None where the target is not reached. Fewer than three scores reach nothing: with one
        or two there is no telling luck from progress.

    Example:
        >>> first_reached([0.2, 0.9, 0.3, 0.6, 0.7], 0.6)
        3
    """
    for place in range(WINDOW - 1, len(scores)):
        if median(scores[place - WINDOW + 1 : place + 1]) >= target:
            return place
    return None
