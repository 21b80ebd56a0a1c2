"""How right a guess about one vector is, and when that is much: arithmetic on guesses and truths, nothing read.

The invariant: a metric is computed for a control exactly as for the attack, and every average is over vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import (
    Attribute,
    Bag,
    Content,
    Histogram,
    Links,
    Members,
    Scores,
    Source,
    Texts,
)
from attacks._judging.finding import Gain, Verdict
from attacks._judging.text_metrics import text_metrics
from attacks._statistics.roc import auc, balanced_accuracy, non_members_needed, rate_at
from ifedpriv.embedded.words import CITIES, FIRST_NAMES, LAST_NAMES
from ifedpriv.measure.intervals import bootstrap_mean

ENOUGH_TO_CLAIM = 5
"""Vectors without which no interval over vectors is taken for a claim."""
ENOUGH_TO_CLEAR = 100
"""Vectors without which an attack is not said to be resisted."""
ENOUGH_CANDIDATES = 1000
"""Candidates without which finding a text among them proves little."""
INDIFFERENT = 0.02
"""Difference to the best control that counts as none."""

_NAMES = frozenset(FIRST_NAMES) | frozenset(LAST_NAMES) | frozenset(CITIES)
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d{3,}")


def private_strings(text: str) -> frozenset[str]:
    """What a text names: people and cities of the shipped tasks' world, and numbers of three digits or more."""
    return frozenset(_NUMBER.findall(text)) | (frozenset(_WORD.findall(text)) & _NAMES)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Truth:
    """What is true of one vector.

    Attributes:
        tokens: different content tokens of the texts behind it.
        strings: private strings in them.
        members: indices into the pool of those of its texts that the pool holds.
        examples: how many texts there are.
        shares: of each class.
        content: bool over the vocabulary: tokens that count (see `docs/attacks.md`).
        pool_strings: private strings of each candidate.
        pool_tokens: different content tokens of each candidate.
        decode: one token as text.
        client: whose vector it is; None for all clients together.
        attributes: of each attribute that all its texts have, how many texts have each value.
        texts: the tokens of each text behind it.
    """

    tokens: frozenset[int]
    strings: frozenset[str]
    members: frozenset[int]
    examples: int
    shares: NDArray[np.float64]
    content: NDArray[np.bool_]
    pool_strings: Sequence[frozenset[str]]
    pool_tokens: Sequence[frozenset[int]]
    decode: Callable[[Sequence[int]], str]
    client: int | None = None
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    texts: Sequence[Sequence[int]] = ()


def measure(content: Content, truth: Truth) -> dict[str, float]:
    """All metrics of one guess; larger is better but for the total variation. None where it has none to measure."""
    match content:
        case Bag():
            ranked = [token for token in content.ranked if truth.content[token]]
            said = frozenset(ranked[: content.chosen])
            words = frozenset(truth.decode([token]).strip() for token in said)
            return {
                **_overlap(said, truth.tokens),
                "average precision": average_precision(ranked, truth.tokens),
                **_strings(words, truth),
            }
        case Members():
            said = frozenset(content.ranked[: content.chosen])
            strings = frozenset().union(*(truth.pool_strings[i] for i in said))
            tokens = frozenset().union(*(truth.pool_tokens[i] for i in said))
            return {**_members(said, truth), **_f1(tokens, truth), **_strings(strings, truth)}
        case Texts():
            tokens = frozenset(token for text in content.texts for token in text if truth.content[token])
            strings = frozenset().union(*(private_strings(truth.decode(text)) for text in content.texts))
            whole = text_metrics(content.texts, truth.texts, truth.decode)
            return {**_overlap(tokens, truth.tokens), **whole, **_strings(strings, truth)}
        case Histogram():
            shares = np.asarray(content.shares)
            exact = np.array_equal(np.rint(shares * truth.examples), np.rint(truth.shares * truth.examples))
            return {
                "total variation": float(np.abs(shares - truth.shares).sum() / 2),
                "exact counts": float(exact),
            }
        case Attribute():
            return _attribute(content, truth)
        case Scores():
            return _scores(*told_apart(content, truth.members))
        case Source():
            if not truth.members:
                return {}
            return {"source accuracy": len(content.claimed & truth.members) / len(truth.members)}
        case Links():
            return {"re-identification": float(np.mean([named == truth.client for named in content.named]))}


def _attribute(content: Attribute, truth: Truth) -> dict[str, float]:
    """Of a vector whose texts do not all have the attribute, nothing."""
    counts = truth.attributes.get(content.name)
    if not counts:
        return {}
    true = dict.fromkeys((*content.values, *counts), 0.0)
    true.update({value: count / sum(counts.values()) for value, count in counts.items()})
    said = dict(zip(content.values, content.shares, strict=True))
    return {
        "attribute variation": sum(abs(said.get(value, 0.0) - share) for value, share in true.items()) / 2,
        "attribute accuracy": float(content.likeliest == commonest(counts)),
    }


def commonest(counts: Mapping[str, int]) -> str:
    """The value that most texts have; of several, the first by name."""
    return min(counts, key=lambda value: (-counts[value], value))


def told_apart(content: Scores, members: frozenset[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of members and of the others, without those that the attacker was told."""
    values = np.array(content.values)
    is_member = np.isin(np.arange(len(values)), list(members))
    judged = ~np.isnan(values)
    return values[is_member & judged], values[~is_member & judged]


def _scores(members: NDArray[np.float64], others: NDArray[np.float64]) -> dict[str, float]:
    if not len(members) or not len(others):
        return {}
    return {
        "AUC": auc(members, others),
        "balanced accuracy": balanced_accuracy(members, others),
        **{name: rate_at(members, others, rate).value for name, rate in LOW_RATES.items()},
    }


def average_precision(ranked: Sequence[int], relevant: frozenset[int]) -> float:
    """Mean, over relevant items, of the precision at each one's rank; an item that is not ranked counts 0."""
    if not relevant:
        return 0.0
    hits = np.array([token in relevant for token in ranked], dtype=bool)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / len(relevant))


def _overlap(said: frozenset[int], truth: Truth | frozenset[int]) -> dict[str, float]:
    true = truth if isinstance(truth, frozenset) else truth.tokens
    shared = len(said & true)
    return {
        "token precision": shared / max(1, len(said)),
        "token recall": shared / max(1, len(true)),
        "token F1": 2 * shared / max(1, len(said) + len(true)),
    }


def _f1(said: frozenset[int], truth: Truth) -> dict[str, float]:
    return {"token F1": _overlap(said, truth.tokens)["token F1"]}


def _strings(said: frozenset[str], truth: Truth) -> dict[str, float]:
    if not truth.strings:
        return {}
    return {"private strings": len(said & truth.strings) / len(truth.strings)}


def _members(said: frozenset[int], truth: Truth) -> dict[str, float]:
    shared = len(said & truth.members)
    return {
        "corpus recall": shared / max(1, len(truth.members)),
        "corpus precision": shared / max(1, len(said)),
    }


@dataclass(frozen=True, slots=True)
class Rule:
    """When a metric is much.

    Attributes:
        lower_is_better: as for a distance.
        works: the least value (the largest for a distance) that can be called working.
        severe: the same for severe; None if the metric alone never is.
        relative: ``works`` is a multiple of this control's value.
    """

    works: float
    severe: float | None = None
    relative: str = ""
    lower_is_better: bool = False


LOW_RATES: Mapping[str, float] = {"TPR at 1% FPR": 0.01, "TPR at 0.1% FPR": 0.001}

RULES: Mapping[str, Rule] = {
    "average precision": Rule(2.0, None, relative="prior only"),
    "token F1": Rule(0.5, 0.8),
    "private strings": Rule(0.1, 0.5),
    "exact match": Rule(0.01, 0.25),
    "corpus recall": Rule(0.5, 0.95),
    "total variation": Rule(0.5, None, relative="uniform", lower_is_better=True),
    "exact counts": Rule(0.25, 0.5),
    "attribute variation": Rule(0.5, None, relative="uniform", lower_is_better=True),
    "AUC": Rule(0.6, 0.9),
    "TPR at 1% FPR": Rule(0.1, 0.5),
    "TPR at 0.1% FPR": Rule(0.05, 0.5),
    "source accuracy": Rule(2.0, 0.9, relative="prior only"),
    "re-identification": Rule(2.0, 0.9, relative="prior only"),
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
    metric: str, values: Sequence[float], controls: Mapping[str, Sequence[float]], among: int = 1
) -> Gain | None:
    """A metric's difference to the best control, as `judge` looks at it; None without controls."""
    if not controls:
        return None
    sign = -1.0 if RULES[metric].lower_is_better else 1.0
    best = max(controls, key=lambda name: sign * float(np.mean(controls[name])))
    gain = sign * (np.asarray(values) - np.asarray(controls[best]))
    return Gain(best, float(gain.mean()), interval_of(gain.tolist(), among))


def judge(
    metric: str,
    values: Sequence[float],
    controls: Mapping[str, Sequence[float]],
    *,
    pool: int = 0,
    precision: float | None = None,
    chance: float | None = None,
    among: int = 1,
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
    gain = gain_of(metric, values, controls, among)
    if gain is None:
        return Verdict.NOT_EVALUABLE, "there is no control to compare with"
    best, value = gain.control, float(np.mean(values))
    low, high = gain.interval or (gain.value, gain.value)
    if low > 0:
        return _strength(metric, rule, value, controls, best, precision)
    if low >= -INDIFFERENT and high <= INDIFFERENT and len(values) >= ENOUGH_TO_CLEAR:
        return Verdict.RESISTED, f"within {INDIFFERENT} of the best control, {best}"
    return Verdict.INCONCLUSIVE, f"the interval reaches the best control, {best}"


def _strength(
    metric: str,
    rule: Rule,
    value: float,
    controls: Mapping[str, Sequence[float]],
    best: str,
    precision: float | None,
) -> tuple[Verdict, str]:
    above = f"above the best control, {best}"
    if rule.relative and rule.relative not in controls:
        return Verdict.INCONCLUSIVE, f"{above}, but there is no control {rule.relative!r} to measure it by"
    bar = rule.works * (float(np.mean(controls[rule.relative])) if rule.relative else 1.0)
    enough = value <= bar if rule.lower_is_better else value >= bar
    if not enough:
        return Verdict.INCONCLUSIVE, f"{above}, but not at the threshold of {bar:.3g}"
    if precision is not None and precision < 0.9:
        return Verdict.INCONCLUSIVE, f"{above}, but precision is {precision:.2f}, below 0.9"
    # Where the best control is past the bar as well, what the vector adds is not what makes it severe.
    if rule.severe is not None and value >= rule.severe > float(np.mean(controls[best])):
        return Verdict.SEVERE, f"{above}, and at least {rule.severe:.3g}"
    return Verdict.WORKS, f"{above}, and past the threshold of {bar:.3g}"


def _vectors(count: int) -> str:
    return "there is 1 vector" if count == 1 else f"there are {count} vectors"
