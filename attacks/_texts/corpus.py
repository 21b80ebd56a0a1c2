"""Which texts of a pool a vector is the mean of: closed-world identification.

The invariant: the pool's order and size are all that is used of it beside each candidate's own activations, so members
have no advantage over the others but that they are in the vector. Nothing but a product with the vector, or with what
is left of it, is computed with all candidates of a large pool; the rest is done with those that such products single
out, and they are singled out again from what those leave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Answer, Knowledge, Members, Progress, silent
from attacks._base.space import Space, seen
from attacks._base.targets import Floats, Target
from attacks._mixes.mixture import CERTAIN, Mixture, unmix, whole_counts
from ifedpriv.backbone.backbone import Backbone

MOST = 320
"""The most candidates with a weight; more than the members of any vector that can be told apart at all."""

_ASSUMED = 16
"""Examples behind a vector where nothing is known of their number; it only sets how much noise to expect."""

SHORT = 8192
"""Pools up to this size are unmixed over all candidates; larger ones over a short list."""
_FIRST, _MORE, _TIMES = 1024, 256, 4
"""Candidates that enter the short list of a larger pool at first, and each time that the rest is looked through."""
_ROUGH = 4
"""In between, so much fewer candidates may have a weight: the heaviest are enough to see what they leave."""
_ROWS = 4096
"""Candidates that are put into coordinates at once: the whole of a large pool in float64 would not fit."""


def identify(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess the members of each vector among ``knowledge.pool``.

    A vector is a mean of its members' activations. It is unmixed over all candidates, first in a metric that expects
    members outside the pool; where rounding alone is left, in whole counts, the attack says that it is certain.
    """
    public = seen(backbone, knowledge, knowledge.public, "reading public texts")
    pool = seen(backbone, knowledge, knowledge.pool, "reading candidates")
    return among(public, pool, targets, knowledge.progress)


def among(
    public: NDArray[np.float32],
    pool: NDArray[np.float32],
    targets: Sequence[Target],
    progress: Progress = silent,
) -> tuple[Answer, ...]:
    """Guess the members of each vector from activations alone.

    Args:
        public: of public texts, ``[m, layers, 2, width]``.
        pool: of the candidates, ``[n, layers, 2, width]``.
        targets: the vectors.
        progress: told of progress.
    """
    space = Space.of(public, targets)
    candidates = Candidates(space, pool)
    answers = []
    for done, target in enumerate(targets):
        progress("identifying members", done, len(targets))
        members = identify_one(candidates, space.told(target), space.enter(target.vector), target.examples)
        answers.append(Answer(target.who, members))
    progress("identifying members", len(targets), len(targets))
    return tuple(answers)


class Candidates:
    """A pool in the coordinates of a space, in float32: rounding on any wire is a thousand times coarser.

    Args:
        space: of public texts.
        pool: activations, ``[n, layers, 2, width]``.
    """

    def __init__(self, space: Space, pool: NDArray[np.float32]) -> None:
        self._points = np.empty((len(pool), space.axes.shape[1]), dtype=np.float32)
        flat = pool.reshape(len(pool), -1)
        centre = space.centre.astype(np.float32)
        turn = (space.axes / space.spread[:, None]).astype(np.float32)
        for start in range(0, len(pool), _ROWS):
            self._points[start : start + _ROWS] = (flat[start : start + _ROWS] - centre) @ turn
        self._lengths: dict[bytes, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self._points)

    def weighed(self, chosen: NDArray[np.int64], weights: Floats) -> Floats:
        """Some candidates' coordinates, each times what its direction counts, ``[chosen, directions]``."""
        return np.asarray(self._points[chosen] * weights, dtype=np.float64)

    def gains(self, residual: Floats, weights: Floats) -> NDArray[np.float32]:
        """Each candidate's product with what is left of a vector, over the candidate's own length."""
        key = weights.tobytes()
        if key not in self._lengths:
            squares = (weights**2).astype(np.float32)
            rows = range(0, len(self), _ROWS)
            found = [np.sqrt(self._points[at : at + _ROWS] ** 2 @ squares) for at in rows]
            self._lengths[key] = np.concatenate(found) + np.float32(1e-30)
        wanted = (residual * weights).astype(np.float32)
        return np.asarray(self._points @ wanted / self._lengths[key], dtype=np.float32)


def identify_one(candidates: Candidates, space: Space, point: Floats, examples: int | None) -> Members:
    """Guess the members of one vector.

    Args:
        candidates: the pool.
        space: the pool's, with the vector's own rounding and noise.
        point: the vector's coordinates, ``[directions]``.
        examples: how many there are, if that is known.
    """
    expected = examples or _ASSUMED
    weights = space.weights(2 * expected)
    at_most = min(MOST, max(32, 3 * examples) if examples else MOST, len(candidates))
    short, mixture = _short_list(candidates, point, weights, at_most)
    fine = space.weights(None)
    for total in [examples] if examples else _likely_totals(mixture):
        counts, residual = whole_counts(candidates.weighed(short, fine), point * fine, mixture, total)
        if residual <= CERTAIN and _tells(space, total):
            ranked = short[np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]]
            return Members(tuple(map(int, ranked)), len(ranked), True, "rounding")
    chosen = min(examples, len(mixture.columns)) if examples else _clear_of_the_rest(mixture.weights)
    return Members(tuple(map(int, short[mixture.columns])), chosen, False, "population")


def _short_list(
    candidates: Candidates, point: Floats, weights: Floats, at_most: int
) -> tuple[NDArray[np.int64], Mixture]:
    """The candidates over which a vector is unmixed, in the pool's order, and its mixture over them."""
    aim = point * weights
    if len(candidates) <= SHORT:
        every = np.arange(len(candidates))
        return every, unmix(candidates.weighed(every, weights), aim, at_most=at_most, floor=1e-6)
    short = np.sort(_largest(candidates.gains(aim, weights), _FIRST))
    for _ in range(_TIMES):
        table = candidates.weighed(short, weights)
        mixture = unmix(table, aim, at_most=max(1, at_most // _ROUGH), floor=1e-6)
        gains = candidates.gains(aim - mixture.weights @ table[mixture.columns], weights)
        gains[short] = -np.inf
        short = np.union1d(short, _largest(gains, _MORE))
    return short, unmix(candidates.weighed(short, weights), aim, at_most=at_most, floor=1e-6)


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    return np.asarray(np.argpartition(-values, count)[:count], dtype=np.int64)


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
