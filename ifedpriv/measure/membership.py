"""How well losses tell training examples from others of the same distribution.

The one invariant: the threshold is chosen on other examples than those it is judged on, so that an attack cannot look
better than it is; and what is reported is an advantage, since guessing already succeeds half of the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ifedpriv.measure.intervals import Interval, clopper_pearson

Floats = NDArray[np.float64]
LOW_RATE = 0.01
"""The false positive rate at which an attack has to name members almost for certain."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What the attack achieved on the half that no choice was made on.

    Attributes:
        threshold: examples with a loss up to this are called members.
        members: how many members it was judged on.
        others: how many that were none.
        true_rate: share of members called members, with its exact interval.
        false_rate: share of others called members, likewise.
        advantage: the first less the second: 0 for guessing, 1 for certainty, below 0 by chance.
        advantage_interval: from the two exact intervals, each at such a level that both hold together.
        auc: chance that a member's loss is below another's, ties counting half.
        auc_interval: DeLong's.
        low_rate: share of members found with at most 1% of the others called members.
        low_rate_interval: exact, for the threshold that does so here.
    """

    threshold: float
    members: int
    others: int
    true_rate: float
    true_interval: Interval
    false_rate: float
    false_interval: Interval
    advantage: float
    advantage_interval: Interval
    auc: float
    auc_interval: Interval
    low_rate: float
    low_rate_interval: Interval


def yeom(
    shadow_members: Floats, shadow_others: Floats, members: Floats, others: Floats, level: float = 0.95
) -> Membership:
    """The loss threshold attack.

    Args:
        shadow_members: losses of members that only the threshold is chosen by, ``[n]``; likewise ``shadow_others``.
        shadow_others: see there.
        members: losses of other members, which it is judged on.
        others: losses of examples that nobody trained on, as many and of the same distribution.
        level: of all intervals.

    Reference:
        Yeom et al., CSF 2018 (arXiv 1709.01604), section 3, with the threshold from shadow data; true positives at low
        false positive rates: Carlini et al., S&P 2022 (arXiv 2112.03570).
    """
    for losses in (shadow_members, shadow_others, members, others):
        if losses.ndim != 1 or losses.size == 0 or not np.isfinite(losses).all():
            raise ValueError("losses must be lists of finite numbers, not empty")
    threshold = best_threshold(shadow_members, shadow_others)
    hits, alarms = int((members <= threshold).sum()), int((others <= threshold).sum())
    true_rate, false_rate = hits / len(members), alarms / len(others)
    # Both hold at once with the level asked for, by Bonferroni.
    both = 1 - (1 - level) / 2
    found, false = clopper_pearson(hits, len(members), both), clopper_pearson(alarms, len(others), both)
    few = np.sort(others)[int(LOW_RATE * len(others))]
    certain = int((members < few).sum())
    return Membership(
        threshold=threshold,
        members=len(members),
        others=len(others),
        true_rate=true_rate,
        true_interval=clopper_pearson(hits, len(members), level),
        false_rate=false_rate,
        false_interval=clopper_pearson(alarms, len(others), level),
        advantage=true_rate - false_rate,
        advantage_interval=Interval(
            found.low - false.high, found.high - false.low, level, "two Clopper-Pearson intervals"
        ),
        auc=area(members, others),
        auc_interval=_delong(members, others, level),
        low_rate=certain / len(members),
        low_rate_interval=clopper_pearson(certain, len(members), level),
    )


def best_threshold(members: Floats, others: Floats) -> float:
    """The loss up to which calling an example a member gives the largest advantage on these examples."""
    values = np.unique(np.concatenate([members, others]))
    inside = np.searchsorted(np.sort(members), values, side="right") / len(members)
    outside = np.searchsorted(np.sort(others), values, side="right") / len(others)
    return float(values[int(np.argmax(inside - outside))])


def area(members: Floats, others: Floats) -> float:
    """The area under the ROC curve of ``-loss``."""
    return float(_placements(members, others)[0].mean())


def _placements(members: Floats, others: Floats) -> tuple[Floats, Floats]:
    """For each member the share of others with a higher loss, and the reverse for each other; ties count half."""
    low, high = np.sort(others), np.sort(members)
    above = (
        len(low)
        - (np.searchsorted(low, members, side="left") + np.searchsorted(low, members, side="right")) / 2
    )
    below = (np.searchsorted(high, others, side="left") + np.searchsorted(high, others, side="right")) / 2
    return above / len(low), below / len(high)


def _delong(members: Floats, others: Floats, level: float) -> Interval:
    """DeLong's interval on the logit scale, which keeps it within 0 and 1; wide open at the ends."""
    one, other = _placements(members, others)
    value = float(one.mean())
    if min(len(one), len(other)) < 2:
        return Interval(0.0, 1.0, level, "DeLong")
    error = math.sqrt(float(one.var(ddof=1)) / len(one) + float(other.var(ddof=1)) / len(other))
    if not 0 < value < 1:
        # The rule of three: no misordered pair among n shows that they are rarer than about 3 / n.
        reach = min(1.0, -math.log(1 - level) / min(len(one), len(other)))
        return Interval(
            0.0 if value == 0 else 1 - reach, reach if value == 0 else 1.0, level, "rule of three"
        )
    half = float(special.ndtri((1 + level) / 2)) * error / (value * (1 - value))
    centre = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-(centre + side * half))) for side in (-1, 1))
    return Interval(low, high, level, "DeLong")
