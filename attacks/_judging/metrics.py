"""How right a guess about one vector is, and when that is much: arithmetic on guesses and truths, nothing read.

The invariant: a metric is computed for a control exactly as for the attack, and every average is over vectors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import (
    Attribute,
    Bag,
    Content,
    Fillers,
    Histogram,
    Links,
    Members,
    Scores,
    Source,
    Texts,
)
from attacks._base.names import NUMBER, names_in
from attacks._judging.rules import LOW_RATES
from attacks._judging.text_metrics import text_metrics
from attacks._statistics.roc import auc, balanced_accuracy, rate_at
from ifedpriv.embedded.words import CITIES, FIRST_NAMES, LAST_NAMES

_NAMES = frozenset(FIRST_NAMES) | frozenset(LAST_NAMES) | frozenset(CITIES)
_WORD = re.compile(r"[^\W\d_]+")


def private_strings(text: str, ordinary: frozenset[str] = frozenset()) -> frozenset[str]:
    """What a text names: numbers of three digits or more, people and cities of the shipped world, and other names.

    Args:
        text: to look at.
        ordinary: words that texts of the kind write small, which are no names (`attacks._base.names.names_in`).
    """
    names = (text[start:end] for run in names_in(text, ordinary) for start, end in run)
    return _numbers(text) | frozenset(names) | (_words(text) & _NAMES)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


def _numbers(text: str) -> frozenset[str]:
    return frozenset(NUMBER.findall(text))


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
                "recall@S": len(truth.tokens.intersection(ranked[: len(truth.tokens)]))
                / max(1, len(truth.tokens)),
                **_strings(words, truth),
            }
        case Members():
            said = frozenset(content.ranked[: content.chosen])
            strings = frozenset().union(*(truth.pool_strings[i] for i in said))
            tokens = frozenset().union(*(truth.pool_tokens[i] for i in said))
            return {**_members(said, truth), **_f1(tokens, truth), **_strings(strings, truth)}
        case Texts():
            tokens = frozenset(token for text in content.texts for token in text if truth.content[token])
            decoded = [truth.decode(text) for text in content.texts]
            strings = frozenset().union(*(_words(text) | _numbers(text) for text in decoded))
            whole = text_metrics(content.texts, truth.texts, truth.decode)
            return {
                **_overlap(tokens, truth.tokens),
                **_multiset(content.texts, truth),
                **whole,
                **_strings(strings, truth),
            }
        case Fillers():
            return _fillers(content, truth)
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


def _multiset(texts: Sequence[Sequence[int]], truth: Truth) -> dict[str, float]:
    """As `_overlap`, a token counted as often as it occurs in all texts together."""
    said, true = (
        Counter(t for ids in each for t in ids if truth.content[t]) for each in (texts, truth.texts)
    )
    shared = (said & true).total()
    return {
        "multiset precision": shared / max(1, said.total()),
        "multiset recall": shared / max(1, true.total()),
        "multiset F1": 2 * shared / max(1, said.total() + true.total()),
    }


def _fillers(content: Fillers, truth: Truth) -> dict[str, float]:
    if not truth.strings:
        return {}
    said = content.said
    first = [ranked[0] in truth.strings for ranked in content.ranked]
    return {
        **_strings(said, truth),
        "string precision": len(said & truth.strings) / max(1, len(said)),
        "slot accuracy": float(np.mean(first)),
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
