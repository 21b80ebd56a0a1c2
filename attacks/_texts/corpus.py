"""Which texts of a pool a vector is the mean of: closed-world identification.

The invariant: the pool's order and size are all that is used of it beside each candidate's own activations, so members
have no advantage over the others but that they are in the vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attacks._base.attack import Answer, Knowledge, Members
from attacks._base.space import Space, read
from attacks._base.targets import Floats, Target
from attacks._mixes.mixture import CERTAIN, Mixture, unmix, whole_counts
from ifedpriv.backbone.backbone import Backbone

MOST = 320
"""The most candidates with a weight; more than the members of any vector that can be told apart at all."""

_ASSUMED = 16
"""Examples behind a vector where nothing is known of their number; it only sets how much noise to expect."""


def identify(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess the members of each vector among ``knowledge.pool``.

    A vector is a mean of its members' activations. It is unmixed over all candidates, first in a metric that expects
    members outside the pool; where rounding alone is left, in whole counts, the attack says that it is certain.
    """
    public = read(backbone, knowledge, knowledge.public, "reading public texts")
    space = Space.of(public, targets)
    candidates = space.enter(read(backbone, knowledge, knowledge.pool, "reading candidates"))
    answers = []
    for done, target in enumerate(targets):
        knowledge.progress("identifying members", done, len(targets))
        members = identify_one(space, candidates, space.enter(target.vector), target.examples)
        answers.append(Answer(target.who, members))
    knowledge.progress("identifying members", len(targets), len(targets))
    return tuple(answers)


def identify_one(space: Space, candidates: Floats, point: Floats, examples: int | None) -> Members:
    """Guess the members of one vector.

    Args:
        space: of public texts.
        candidates: their coordinates, ``[n, directions]``.
        point: the vector's, ``[directions]``.
        examples: how many there are, if that is known.
    """
    expected = examples or _ASSUMED
    weights = space.weights(2 * expected)
    at_most = min(MOST, max(32, 3 * examples) if examples else MOST, len(candidates))
    scaled, aim = candidates * weights, point * weights
    mixture = unmix(scaled, aim, at_most=at_most, floor=1e-6)
    fine = space.weights(None)
    for total in [examples] if examples else _likely_totals(mixture):
        counts, residual = whole_counts(candidates * fine, point * fine, mixture, total)
        if residual <= CERTAIN and _tells(space, total):
            ranked = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
            return Members(tuple(map(int, ranked)), len(ranked), True, "rounding")
    chosen = min(examples, len(mixture.columns)) if examples else _clear_of_the_rest(mixture.weights)
    return Members(tuple(map(int, mixture.columns)), chosen, False, "population")


def _tells(space: Space, total: int) -> bool:
    """Whether one wrong member would show: it adds two examples' variance over the square of their number."""
    return 2 * float(np.mean(space.variance / space.rounding)) / total**2 > 3 * CERTAIN


def _likely_totals(mixture: Mixture) -> list[int]:
    """Numbers of examples for which the largest weights are near whole counts, at most four."""
    if not len(mixture.weights):
        return []
    largest = mixture.weights[: max(1, _clear_of_the_rest(mixture.weights))]
    found = [len(largest), round(1 / float(np.median(largest))), round(1 / float(largest.mean()))]
    return [total for total in dict.fromkeys(found) if 1 <= total <= MOST]


def _clear_of_the_rest(weights: Floats) -> int:
    """Where the weights, largest first, fall most steeply: those before are of members, those behind of noise."""
    if len(weights) < 2:
        return len(weights)
    steps = np.log(weights[:-1]) - np.log(np.maximum(weights[1:], 1e-12))
    # A tail of vanishing weights falls steeply too; only what carries weight is looked at.
    steps[weights[:-1] < 0.1 * weights[0]] = -np.inf
    return int(np.argmax(steps)) + 1
