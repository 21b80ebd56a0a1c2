"""Checks that no guessing game can afford: the same noise on neighbouring data, and many noises on the same data.

The invariant: a check compares what was measured with what was declared. What cannot be measured on this mechanism says
so, and is not taken for a pass.

Reference:
    DP-Recorder, arXiv 2602.17454, on replaying neighbours under frozen noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2

from attacks._mechanisms.canaries import Pair
from attacks._mechanisms.mechanism import Claim, Floats, Mechanism, Segment, flatten
from defenses.entropy import InsecureSeeded

ROUNDING = 1e-6
"""Relative excess over the sensitivity that counts as floating-point rounding."""
_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison.

    Attributes:
        name: what was compared.
        holds: whether it is as declared; None where it could not be measured.
        measured: the number that decided, if there is one.
        declared: what it was compared with, if that is a number.
        why: one sentence.
    """

    name: str
    holds: bool | None
    measured: float | None
    declared: float | None
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """What neighbours do to a release while its noise stands still.

    Attributes:
        pair: the neighbours.
        difference: release with the canary less the release without, flat; None if the two are of different length
            or the noise did not stand still.
        why_not: one half-sentence; empty if there is a difference.
    """

    pair: Pair
    difference: Floats | None
    why_not: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """All that was found by replaying.

    Attributes:
        checks: the comparisons.
        frozen: one for each pair.
        variance: of each number over fresh noise, flat.
        segments: where each array stands.
    """

    checks: tuple[Check, ...]
    frozen: tuple[Frozen, ...]
    variance: Floats
    segments: tuple[Segment, ...]


def replay(
    mechanism: Mechanism,
    pairs: Sequence[Pair],
    claim: Claim,
    *,
    repeats: int = 100,
    alpha: float = 0.001,
    seed: int = 0,
) -> Replay:
    """Run all checks on the first pair's data, and sensitivity and exactness on every pair.

    Args:
        mechanism: what is audited.
        pairs: neighbouring data sets.
        claim: what is declared.
        repeats: runs on the same data with fresh noise.
        alpha: level of each check that is a test: a sound mechanism fails it so often.
        seed: of the noise that the auditor hands out.
    """
    data = pairs[0].without
    runs = [flatten(mechanism(data, InsecureSeeded(seed, f"fresh {i}"))) for i in range(repeats)]
    segments = runs[0][1]
    values = np.stack([flat for flat, _ in runs])
    again, _ = flatten(mechanism(data, InsecureSeeded(seed, "fresh 0")))
    still = again.shape == values[0].shape and bool(np.array_equal(again, values[0]))
    frozen = tuple(_freeze(mechanism, each, seed, still) for each in pairs)
    noise = values - values.mean(axis=0)
    variance = noise.var(axis=0, ddof=0) * repeats / (repeats - 1)
    checks = [
        _rounds(claim, segments),
        _fresh(values),
        _exact(values, frozen, segments),
        *_sensitivity(claim, frozen, segments),
        *_variance(claim, noise, segments, alpha),
        *_independence(noise, segments, alpha),
    ]
    return Replay(tuple(checks), frozen, variance, segments)


def _freeze(mechanism: Mechanism, given: Pair, seed: int, still: bool) -> Frozen:
    if not still:
        return Frozen(given, None, "the same entropy gives another release: it draws from somewhere else")
    differences = []
    for i in range(_SEEDS):
        inside, _ = flatten(mechanism(given.inside, InsecureSeeded(seed, f"frozen {i}")))
        without, _ = flatten(mechanism(given.without, InsecureSeeded(seed, f"frozen {i}")))
        if inside.shape != without.shape:
            return Frozen(given, None, "the two releases differ in length, which tells them apart")
        differences.append(inside - without)
    mean = np.mean(differences, axis=0)
    moved = max(float(np.linalg.norm(each - mean)) for each in differences)
    # Rounding at random moves a difference a little; noise that was drawn anew drowns it.
    if moved > 0.5 * float(np.linalg.norm(mean)) + 1e-12:
        return Frozen(given, None, "the noise changes with the data")
    return Frozen(given, mean)


def _rounds(claim: Claim, segments: Sequence[Segment]) -> Check:
    found = 1 + max((segment.round for segment in segments), default=-1)
    why = f"{found} rounds are released, and {claim.rounds} are declared"
    return Check("rounds", found == claim.rounds, found, claim.rounds, why)


def _fresh(values: Floats) -> Check:
    if (values != values[0]).any():
        return Check("fresh noise", True, None, None, "runs under different entropy differ")
    why = "all runs release the same numbers, whatever the entropy: a seed is reused, or there is no noise"
    return Check("fresh noise", False, None, None, why)


def _exact(values: Floats, frozen: Sequence[Frozen], segments: Sequence[Segment]) -> Check:
    """Numbers without noise must not depend on one unit."""
    quiet = values.std(axis=0) <= 1e-12 * (np.abs(values).max(axis=0) + 1e-300)
    for each in frozen:
        if each.difference is None:
            continue
        moved = quiet & (np.abs(each.difference) > 1e-9 * (np.abs(values[0]) + 1e-300))
        if moved.any():
            where = next(s for s in segments if moved[s.start : s.stop].any())
            why = f"{where} has no noise, and canary {each.pair.name!r} changes it"
            return Check("nothing released exactly", False, float(moved.sum()), 0.0, why)
    if all(each.difference is None for each in frozen):
        return Check("nothing released exactly", None, None, None, frozen[0].why_not)
    return Check(
        "nothing released exactly", True, 0.0, 0.0, "numbers without noise are the same for neighbours"
    )


def _sensitivity(claim: Claim, frozen: Sequence[Frozen], segments: Sequence[Segment]) -> list[Check]:
    if claim.sensitivity is None:
        return [Check("sensitivity", None, None, None, "no sensitivity is declared")]
    worst, which = -1.0, ""
    for each in frozen:
        if each.difference is None:
            continue
        for number in range(1 + segments[-1].round):
            parts = [each.difference[s.start : s.stop] for s in segments if s.round == number]
            norm = float(np.linalg.norm(np.concatenate(parts)))
            if norm > worst:
                worst, which = norm, each.pair.name
    missing = [each for each in frozen if each.difference is None]
    if worst < 0:
        return [Check("sensitivity", None, None, claim.sensitivity, missing[0].why_not)]
    holds = worst <= claim.sensitivity * (1 + ROUNDING)
    why = f"canary {which!r} moves a round by {worst:.6g}, and {claim.sensitivity:.6g} is declared"
    found = [Check("sensitivity", holds, worst, claim.sensitivity, why)]
    if missing:
        why = f"not measured for canary {missing[0].pair.name!r}: {missing[0].why_not}"
        found.append(Check("sensitivity of all canaries", None, None, claim.sensitivity, why))
    return found


def _variance(claim: Claim, noise: Floats, segments: Sequence[Segment], alpha: float) -> list[Check]:
    """The variance of each block against the declared one, by a chi-square interval shared among blocks."""
    if claim.noise is None:
        return [Check("noise", None, None, None, "no noise is declared")]
    # An array without any noise is for the check of exact releases; a part without it, among others, is for this.
    noised = [s for s in segments if noise[:, s.start : s.stop].any()]
    blocks = [(s, block) for s in noised for block in s.blocks()]
    if not blocks:
        return [Check("noise", False, 0.0, claim.noise, "there is no noise at all")]
    level = alpha / (2 * len(blocks))
    odd: tuple[float, str] | None = None
    ratios = []
    for segment, block in blocks:
        free = (len(noise) - 1) * (block.stop - block.start)
        squares = float((noise[:, block] ** 2).sum())
        ratios.append(squares / free / claim.noise**2)
        low, high = squares / float(chi2.isf(level, free)), squares / float(chi2.ppf(level, free))
        if not low <= claim.noise**2 <= high and (odd is None or abs(ratios[-1] - 1) > abs(odd[0] - 1)):
            odd = (ratios[-1], str(segment))
    overall = float(np.sqrt(np.mean(ratios))) * claim.noise
    if odd is None:
        why = f"its standard deviation is {overall:.5g}, and {claim.noise:.5g} is declared"
        return [Check("noise", True, overall, claim.noise, why)]
    measured = float(np.sqrt(odd[0])) * claim.noise
    amount = (
        "less than is declared" if odd[0] < 1 else "more than is declared: shares may be drawn from one seed"
    )
    why = f"{odd[1]} has noise of {measured:.5g}, {amount} ({claim.noise:.5g})"
    return [Check("noise", False, measured, claim.noise, why)]


def _independence(noise: Floats, segments: Sequence[Segment], alpha: float) -> list[Check]:
    """Correlation between any two parts of equal size, number by number, over all runs."""
    parts = [(f"{s}", slice(s.start, s.stop)) for s in segments]
    parts += [
        (f"block {i} of {s}", b) for s in segments if len(s.blocks()) > 1 for i, b in enumerate(s.blocks())
    ]
    scaled = [noise[:, block] / (noise[:, block].std() or 1.0) for _, block in parts]
    tried: list[tuple[float, str, str]] = []
    for i, (one, first) in enumerate(parts):
        for j, (other, second) in enumerate(parts[i + 1 :], start=i + 1):
            overlap = first.start < second.stop and second.start < first.stop
            if overlap or first.stop - first.start != second.stop - second.start:
                continue
            products = scaled[i] * scaled[j]
            if products.any():
                tried.append((float(products.sum() / np.sqrt(products.size)), one, other))
    if not tried:
        return [
            Check("independent noise", None, None, None, "there are no two parts of equal size to compare")
        ]
    bar = float(-ndtri(alpha / (2 * len(tried))))
    worst = max(tried, key=lambda each: abs(each[0]))
    if abs(worst[0]) <= bar:
        return [
            Check("independent noise", True, worst[0], bar, f"{len(tried)} pairs of parts are uncorrelated")
        ]
    why = f"the noise of {worst[1]} goes with that of {worst[2]}"
    return [Check("independent noise", False, worst[0], bar, why)]
