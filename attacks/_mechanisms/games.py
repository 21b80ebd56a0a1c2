"""The guessing game of an audit: many runs with and without a canary, scored by an adversary who knows all but one bit.

The invariant: the score is fixed before the runs that it is used on, and the estimator that decides is named before any
run; α is shared among the canaries, so a sound mechanism is called a violation with probability at most α.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attacks._mechanisms.canaries import LOUD, Pair
from attacks._mechanisms.mechanism import Claim, Floats, Mechanism, flatten, releases
from attacks._mechanisms.one_run import one_run, one_run_ceiling, one_run_gaussian
from attacks._mechanisms.replay import Replay
from attacks._statistics.epsilon import ESTIMATORS, Conclusion, Estimator, LowerBound, ceiling, conclude
from defenses.entropy import InsecureSeeded
from ifedpriv.errors import InputError

_PILOT = 200
"""Runs a side from which the score is made where the noise cannot be frozen."""


@dataclass(frozen=True, slots=True)
class Game:
    """What one canary proved.

    Attributes:
        canary: its name.
        bounds: by every estimator, at the same level; the first is the one that decides.
        conclusion: of that one.
        why: one sentence.
    """

    canary: str
    bounds: tuple[LowerBound, ...]
    conclusion: Conclusion
    why: str


@dataclass(frozen=True, slots=True)
class OneRun:
    """What a single run with many canaries proved; informational.

    Attributes:
        canaries: how many had a coin.
        epsilon: by the bound that assumes nothing.
        gaussian: by the bound against a Gaussian claim.
        ceiling: the most that so many canaries can prove, assuming nothing.
    """

    canaries: int
    epsilon: float
    gaussian: float
    ceiling: float


def preregistered(claim: Claim) -> Estimator:
    """The estimator that decides: the Gaussian one where Gaussian noise is declared, else one that assumes nothing."""
    return Estimator.GAUSSIAN if claim.noise is not None else Estimator.BONFERRONI


def play(
    mechanism: Mechanism,
    given: Sequence[Pair],
    claim: Claim,
    found: Replay,
    *,
    trials: int,
    alpha: float,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Game, ...]:
    """Run the game with each canary.

    Canaries whose data without them are the same are compared with the same runs on those data. For each canary the
    runs with and without it are independent, so its bound holds at its level; what canaries have in common does not
    matter to the level of all of them together, which is shared among them by the union bound.

    Args:
        mechanism: what is audited.
        given: the neighbours, a pair for each canary.
        claim: what is declared.
        found: by replaying; its frozen difference is what the adversary looks for, weighed by the noise.
        trials: runs a side.
        alpha: level of all decisions together.
        seed: of the noise that the auditor hands out.
        progress: told of how many sides have been played.
    """
    weights = [_score_of(mechanism, each, found, seed) for each in given]
    level, done = alpha / len(given), 0
    outside: list[Floats] = [np.empty(0)] * len(given)
    for group in _by_base(given):
        label = f"{given[group[0]].name} outside"
        scored = _scores(
            mechanism,
            given[group[0]].without,
            np.stack([weights[i] for i in group]),
            trials,
            InsecureSeeded(seed, label),
        )
        for i, column in zip(group, scored.T, strict=True):
            outside[i] = column
        done += 1
        progress(done)
    games = []
    for i, each in enumerate(given):
        inside = _scores(
            mechanism, each.inside, weights[i][None], trials, InsecureSeeded(seed, f"{each.name} inside")
        )[:, 0]
        games.append(_decided(each.name, inside, outside[i], claim, level, seed))
        done += 1
        progress(done)
    return tuple(games)


def sides(given: Sequence[Pair]) -> int:
    """How many sides the games with these canaries have."""
    return len(given) + len(_by_base(given))


def _by_base(given: Sequence[Pair]) -> list[list[int]]:
    """Places of pairs, together where the data without the canary are the same."""
    groups: list[list[int]] = []
    for i, each in enumerate(given):
        for group in groups:
            first = given[group[0]].without
            if len(first) == len(each.without) and all(map(np.array_equal, first, each.without)):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _decided(canary: str, inside: Floats, outside: Floats, claim: Claim, alpha: float, seed: int) -> Game:
    first = preregistered(claim)
    order = [first, *(each for each in Estimator if each is not first)]
    bounds = tuple(
        LowerBound(
            each,
            ESTIMATORS[each](inside, outside, claim.delta, alpha, seed),
            ceiling(each, len(inside), claim.delta, alpha),
        )
        for each in order
    )
    return Game(canary, bounds, *conclude(bounds[0], claim.epsilon, claim.delta, alpha))


def play_once(
    mechanism: Mechanism, base: Sequence[Floats], claim: Claim, *, canaries: int, alpha: float, seed: int
) -> OneRun | None:
    """One run with many canaries, each put in by a coin; None where the mechanism's noise cannot be frozen.

    Canaries are random directions, which in many dimensions hardly get in each other's way; each is scored by the
    product of the release with what it alone would change.

    Reference:
        Keinan, Shenfeld & Ligett, arXiv 2503.07199, on interference between canaries.
    """
    rng = np.random.default_rng([seed, 23])
    held = [np.array(each, dtype=np.float64) for each in base]
    shape = held[0].shape[1:]
    length = LOUD * max(
        float(np.linalg.norm(each.reshape(len(each), -1), axis=1).max(initial=1.0)) for each in held
    )
    records = rng.normal(size=(canaries, *shape))
    records *= length / np.linalg.norm(records.reshape(canaries, -1), axis=1).reshape(-1, *(1,) * len(shape))
    coins = rng.random(canaries) < 0.5
    empty, _ = flatten(mechanism(held, InsecureSeeded(seed, "one run, frozen")))
    aims = np.empty((canaries, len(empty)))
    for i in range(canaries):
        alone, _ = flatten(
            mechanism(
                [np.concatenate([held[0], records[i][None]]), *held[1:]],
                InsecureSeeded(seed, "one run, frozen"),
            )
        )
        if alone.shape != empty.shape:
            return None
        aims[i] = alone - empty
    everybody = [np.concatenate([held[0], records[coins]]), *held[1:]]
    released, _ = flatten(mechanism(everybody, InsecureSeeded(seed, "one run")))
    if released.shape != empty.shape:
        return None
    norms = np.linalg.norm(aims, axis=1)
    scores = aims @ (released - empty) / np.maximum(norms, 1e-300)
    plain = one_run(scores[coins], scores[~coins], claim.delta, alpha)
    curve = one_run_gaussian(scores[coins], scores[~coins], claim.delta, alpha)
    return OneRun(canaries, plain, curve, one_run_ceiling(canaries, claim.delta, alpha))


def _score_of(mechanism: Mechanism, given: Pair, found: Replay, seed: int) -> Floats:
    """What each number counts: the canary's mark over the variance of its noise, the best test for Gaussian noise."""
    mark = next((each.difference for each in found.frozen if each.pair is given), None)
    if mark is None:
        inside = _runs(mechanism, given.inside, _PILOT, InsecureSeeded(seed, f"{given.name} pilot inside"))
        without = _runs(mechanism, given.without, _PILOT, InsecureSeeded(seed, f"{given.name} pilot outside"))
        if inside.shape != without.shape:
            raise InputError(
                f"releases with and without canary {given.name!r} differ in length",
                "that alone tells them apart; release the same numbers whoever takes part",
            )
        mark = inside.mean(axis=0) - without.mean(axis=0)
    # By array, since noise is declared by array; a number without noise outweighs all others.
    variance = np.empty_like(mark)
    for segment in found.segments:
        at = slice(segment.start, segment.stop)
        variance[at] = found.variance[at].mean()
    smallest = 1e-12 * max(float(variance.max()), float(np.abs(mark).max()) ** 2) + 1e-300
    return np.asarray(mark / np.maximum(variance, smallest), dtype=np.float64)


def _scores(
    mechanism: Mechanism, data: Sequence[Floats], weights: Floats, trials: int, entropy: InsecureSeeded
) -> Floats:
    """The score of each release under each row of weights, ``[trials, rows]``."""
    made = [block @ weights.T for block in releases(mechanism, data, trials, entropy)]
    return np.concatenate(made)


def _runs(mechanism: Mechanism, data: Sequence[Floats], trials: int, entropy: InsecureSeeded) -> Floats:
    return np.concatenate(list(releases(mechanism, data, trials, entropy)))
