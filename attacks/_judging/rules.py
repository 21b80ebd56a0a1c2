"""When a number is much: the thresholds of every metric, and the verdict that they make of an attack and its controls.

The invariant: a verdict goes by the 95% interval of the difference to the best control, so what is found as well
without the vector never counts as found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attacks._judging.finding import Gain, Verdict
from attacks._statistics.roc import non_members_needed
from ifedpriv.measure.intervals import bootstrap_mean

ENOUGH_TO_CLAIM = 5
"""Vectors without which no interval over vectors is taken for a claim."""
ENOUGH_TO_CLEAR = 100
"""Vectors without which an attack is not said to be resisted."""
ENOUGH_CANDIDATES = 1000
"""Candidates without which finding a text among them proves little."""
INDIFFERENT = 0.02
"""Difference to the best control that counts as none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a metric is much; in every case, only where the interval is above the best control.

    Attributes:
        works: the least value (the largest for a distance) that can be called working; None where any will do that is
            above the best control.
        severe: the least value for severe, where the best control is below it; None if the metric alone never is.
        relative: ``works`` is a multiple of this control's value.
        lower_is_better: as for a distance.
        any_is_severe: whatever is found beyond what the best control finds is severe.
        worse_is_resisted: an attack that does worse than the best control is resisted, however much worse; else it has
            to be within `INDIFFERENT` of it.
    """

    works: float | None = None
    severe: float | None = None
    relative: str = ""
    lower_is_better: bool = False
    any_is_severe: bool = False
    worse_is_resisted: bool = False


LOW_RATES: Mapping[str, float] = {"TPR at 1% FPR": 0.01, "TPR at 0.1% FPR": 0.001}

RULES: Mapping[str, Rule] = {
    "average precision": Rule(2.0, None, relative="prior only"),
    # What works on words is told by the average precision; so large a share of them is severe.
    "recall@S": Rule(0.8, 0.8),
    # Whoever guesses words or names worse than public texts do knows none; an area below a half could be turned around.
    "token F1": Rule(0.5, 0.8, worse_is_resisted=True),
    "multiset F1": Rule(0.5, 0.8, worse_is_resisted=True),
    "exact match": Rule(0.01, 0.25),
    "private strings": Rule(any_is_severe=True, worse_is_resisted=True),
    "slot accuracy": Rule(),
    "corpus recall": Rule(0.5, 0.95),
    "total variation": Rule(0.5, None, relative="uniform", lower_is_better=True),
    # What works on labels is told by the total variation; so many counts to the last example are severe.
    "exact counts": Rule(0.5, 0.5),
    "attribute variation": Rule(0.5, None, relative="uniform", lower_is_better=True),
    "AUC": Rule(None, 0.9),
    "TPR at 1% FPR": Rule(None, 0.5),
    "TPR at 0.1% FPR": Rule(None, 0.5),
    "source accuracy": Rule(None, 0.9),
    "re-identification": Rule(None, 0.9),
}
"""Metrics that get a verdict; the others are printed without one."""


def interval_of(values: Sequence[float], among: int = 1) -> tuple[float, float] | None:
    """95% interval of the mean by bootstrap over vectors; None for fewer than two.

    Of several intervals of which one is picked, each errs in an even share of 5%.
    """
    if len(values) < 2:
        return None
    found = bootstrap_mean(values, 1 - 0.05 / among)
    return found.low, found.high


def gain_of(
    metric: str,
    values: Sequence[float],
    controls: Mapping[str, Sequence[float]],
    among: int = 1,
    alone: tuple[float, float] | None = None,
) -> Gain | None:
    """A metric's difference to the best control, as `judge` looks at it; None without controls.

    Args:
        metric: one of `RULES`.
        values: one for each vector.
        controls: the same metric of each control.
        among: how many such verdicts there are of which the worst counts.
        alone: of a single vector, an interval of its value.
    """
    if not controls:
        return None
    sign = -1.0 if RULES[metric].lower_is_better else 1.0
    best = max(controls, key=lambda name: sign * float(np.mean(controls[name])))
    gain = sign * (np.asarray(values) - np.asarray(controls[best]))
    interval = interval_of(gain.tolist(), among)
    if alone is not None and len(values) == 1:
        ends = sorted(sign * (end - controls[best][0]) for end in alone)
        interval = ends[0], ends[1]
    return Gain(best, float(gain.mean()), interval)


def judge(
    metric: str,
    values: Sequence[float],
    controls: Mapping[str, Sequence[float]],
    *,
    pool: int = 0,
    precision: float | None = None,
    chance: float | None = None,
    among: int = 1,
    alone: tuple[float, float] | None = None,
) -> tuple[Verdict, str]:
    """What a metric's values over vectors amount to.

    Args:
        metric: one of `RULES`.
        values: one for each vector.
        controls: the same metric of each control, in the same order of vectors.
        pool: number of candidates, for corpus recall and for low false positive rates.
        precision: mean corpus precision, for corpus recall.
        chance: probability of so many members by a blind choice, for a single vector.
        among: how many such verdicts there are of which the worst counts.
        alone: of a single vector, an interval of its value.
    """
    rule = RULES[metric]
    if metric == "corpus recall" and pool < ENOUGH_CANDIDATES:
        return Verdict.NOT_EVALUABLE, f"the pool has {pool} candidates, and a claim needs {ENOUGH_CANDIDATES}"
    needed = non_members_needed(LOW_RATES[metric]) if metric in LOW_RATES else 0
    if pool < needed:
        return Verdict.NOT_EVALUABLE, (
            f"the pool has {pool} candidates, and to certify so low a rate takes {needed} non-members"
        )
    proved_by_chance = chance is not None and chance < 1e-6 / among
    if len(values) < ENOUGH_TO_CLAIM and not proved_by_chance:
        return Verdict.NOT_EVALUABLE, f"{_vectors(len(values))}, and a claim needs {ENOUGH_TO_CLAIM}"
    gain = gain_of(metric, values, controls, among, alone)
    if gain is None:
        return Verdict.NOT_EVALUABLE, "there is no control to compare with"
    low, high = gain.interval or (gain.value, gain.value)
    short = ""
    if low > 0:
        verdict, why = _strength(rule, float(np.mean(values)), controls, gain, precision)
        if verdict is not Verdict.INCONCLUSIVE:
            return verdict, why
        short = why
    if high <= INDIFFERENT and len(values) >= ENOUGH_TO_CLEAR:
        if low >= -INDIFFERENT:
            return Verdict.RESISTED, f"within {INDIFFERENT} of the best control, {gain.control}"
        if rule.worse_is_resisted:
            return Verdict.RESISTED, f"at most {INDIFFERENT} above the best control, {gain.control}"
    return Verdict.INCONCLUSIVE, short or f"the interval reaches the best control, {gain.control}"


def _strength(
    rule: Rule,
    value: float,
    controls: Mapping[str, Sequence[float]],
    gain: Gain,
    precision: float | None,
) -> tuple[Verdict, str]:
    """What a value amounts to whose interval is above the best control."""
    above = f"above the best control, {gain.control}, by {gain.value:.3g}"
    if rule.any_is_severe:
        return Verdict.SEVERE, f"{above}, and any beyond what it finds is severe"
    if rule.relative and rule.relative not in controls:
        return Verdict.INCONCLUSIVE, f"{above}, but there is no control {rule.relative!r} to measure it by"
    past = ""
    if rule.works is not None:
        bar = rule.works * (float(np.mean(controls[rule.relative])) if rule.relative else 1.0)
        enough = value <= bar if rule.lower_is_better else value >= bar
        if not enough:
            return Verdict.INCONCLUSIVE, f"{above}, and short of the threshold of {bar:.3g}"
        past = f", and past the threshold of {bar:.3g}"
    if precision is not None and precision < 0.9:
        return Verdict.INCONCLUSIVE, f"{above}, but precision is {precision:.2f}, below 0.9"
    # Where the best control is past the bar as well, what the vector adds is not what makes it severe.
    if rule.severe is not None and value >= rule.severe > float(np.mean(controls[gain.control])):
        return Verdict.SEVERE, f"{above}, and at least {rule.severe:.3g}"
    return Verdict.WORKS, f"{above}{past}"


def _vectors(count: int) -> str:
    return "there is 1 vector" if count == 1 else f"there are {count} vectors"
