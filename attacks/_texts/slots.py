"""Which name or number fills each slot of the texts behind a vector, told by a linear probe for every slot.

A slot is where texts of a kind have a name or a number: the first of several names, the last of them, a name by itself,
a number of so many digits. An attacker knows public texts, and can write others: in copies of them it exchanges every
filler for another, so that each is seen often, and all else of a text is seen to stay. What a filler does to the vector
is its copies' mean difference from all copies of their texts, shrunk as far as chance explains it. Numbers are told by
pairs of digits.

The invariant: fillers that are guessed are those of public texts (numbers: any digits), and what they do to a vector
is measured on public texts and their copies alone.

References:
    Song & Raghunathan, Information leakage in embedding models, CCS 2020, section 4 (multi-label classification of
    words), for the probe; Efron & Morris, JASA 68 (1973), for the shrinking.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Answer, Fillers, Knowledge
from attacks._base.names import NUMBER, Span, names_in, ordinary_words
from attacks._base.space import Space, seen
from attacks._base.targets import Floats, Target
from attacks._mixes.labels import counted
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, TaskKind

_COPIES, _MOST_TEXTS, _MOST_NUMBERS = 4, 5000, 1 << 27
"""Copies of each public text, the most texts that are read, and the most numbers in their activations."""
_MOST_FILLERS = 400
"""Of names in one slot, the most frequent."""
_RARE = 0.02
"""Slots that fewer public texts have are left out."""
_RANKED, _BEAM = 50, 64
"""Fillers that are ranked, and beginnings of numbers that are kept."""


class NoSlotsError(Exception):
    """Public texts have no slot; the message is half a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One slot, and what may fill it.

    Attributes:
        name: what it is.
        fillers: of public texts, the most frequent first.
        counts: how often each fills it there.
        expected: how many of one text's strings fill it, on average.
        parts: what each part of a filler may be: the fillers themselves, or pairs of a number's digits.
    """

    name: str
    fillers: tuple[str, ...]
    counts: tuple[int, ...]
    expected: float
    parts: tuple[tuple[str, ...], ...]

    @property
    def is_number(self) -> bool:
        """Whether its fillers are told by digits."""
        return self.fillers[0].isdigit()

    def split(self, filler: str) -> tuple[str, ...]:
        """The parts of a filler."""
        return tuple(re.findall(r"\d\d?", filler)) if self.is_number else (filler,)

    def drawn(self, rng: np.random.Generator) -> str:
        """Any filler, each as likely as any other."""
        return "".join(part[int(rng.integers(len(part)))] for part in self.parts)

    def bets(self, examples: int) -> int:
        """How many of so many texts' fillers are bet on."""
        return min(max(1, round(self.expected * examples)), _RANKED)


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """The slots of public texts.

    Attributes:
        slots: by name, in order.
        places: of each text, where a slot is filled: its name and place.
    """

    slots: Mapping[str, Slot]
    places: tuple[tuple[tuple[str, Span], ...], ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Slots:
        """The slots that some texts have."""
        ordinary = ordinary_words(texts)
        places = [_places(text, ordinary) for text in texts]
        found: dict[str, Counter[str]] = {}
        for text, each in zip(texts, places, strict=True):
            for name, (start, end) in each:
                found.setdefault(name, Counter())[text[start:end]] += 1
        slots = {}
        for name, counts in sorted(found.items()):
            ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_MOST_FILLERS]
            fillers, often = tuple(each[0] for each in ranked), tuple(each[1] for each in ranked)
            if len(fillers) > 1 and counts.total() >= _RARE * len(texts):
                parts = _digits(len(fillers[0])) if fillers[0].isdigit() else (fillers,)
                slots[name] = Slot(name, fillers, often, counts.total() / len(texts), parts)
        kept = tuple(tuple(place for place in each if place[0] in slots) for each in places)
        return cls(slots, kept)

    def prior(self) -> Fillers:
        """What public texts alone say: the most frequent fillers, all of them bet on."""
        ranked = tuple(slot.fillers[:_RANKED] for slot in self.slots.values())
        return Fillers(tuple(self.slots), ranked, tuple(map(len, ranked)))

    def copied(
        self, example: Example, places: Sequence[tuple[str, Span]], rng: np.random.Generator
    ) -> tuple[Example, tuple[tuple[str, str], ...]]:
        """A copy with every filler exchanged, in the answer as well, and what fills each slot now."""
        text, filled = example.text, []
        changed: dict[str, str] = {}
        for name, (start, end) in reversed(places):
            old = text[start:end]
            new = changed.setdefault(old, self.slots[name].drawn(rng))
            text = text[:start] + new + text[end:]
            filled.append((name, new))
        answer = re.sub(r"\w+", lambda found: changed.get(found.group(), found.group()), example.answer)
        return replace(example, text=text, answer=answer), tuple(filled)


def _places(text: str, ordinary: frozenset[str]) -> tuple[tuple[str, Span], ...]:
    found: list[tuple[str, Span]] = []
    for run in names_in(text, ordinary):
        for at, place in enumerate(run):
            kind = "name by itself" if len(run) == 1 else "first name" if at == 0 else "last name"
            found.append((kind if at in (0, len(run) - 1) else "middle name", place))
    found += [(f"number of {len(each.group())} digits", each.span()) for each in NUMBER.finditer(text)]
    return tuple(sorted(found, key=lambda place: place[1]))


def _digits(length: int) -> tuple[tuple[str, ...], ...]:
    """Pairs of digits, of which the first is no 0, and a last digit by itself."""
    pairs = tuple(f"{pair:02}" for pair in range(100))
    last = (tuple("0123456789"),) if length % 2 else ()
    return (pairs[10:], *(pairs,) * (length // 2 - 1), *last)


@dataclass(frozen=True, slots=True, eq=False)
class _Effects:
    """What each part of a slot's fillers does to a vector, by part: float64 ``[fillers, directions]``."""

    slot: Slot
    of: tuple[Floats, ...]


def slots(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess what fills each slot of the texts behind each vector.

    A vector of k texts is the mean of texts' activations with the population's variance; a filler moves it by its
    effect over k. Fillers are ranked by the log-likelihood ratio of being there, and their share in public texts.

    Raises:
        NoSlotsError: public texts name nobody and hold no number.
    """
    found = Slots.of([example.text for example in knowledge.public])
    if not found.slots:
        raise NoSlotsError("public texts have no slot that names or numbers fill")
    told = counted(backbone, knowledge, targets)
    texts, filled, base = _copies(backbone, knowledge, found)
    values = seen(backbone, knowledge, texts, "reading copies of public texts")
    space = Space.of(values, targets)
    effects = _effects(space.enter(values), found, filled, base)
    answers = []
    for target in told:
        own = space.told(target)
        point, variance = own.enter(target.vector), own.variance / target.number + own.rounding
        ranked = [_ranked(effect, point, variance, target.number) for effect in effects]
        bets = tuple(effect.slot.bets(target.number) for effect in effects)
        answers.append(Answer(target.who, Fillers(tuple(found.slots), tuple(ranked), bets)))
    return tuple(answers)


def _copies(
    backbone: Backbone, knowledge: Knowledge, found: Slots
) -> tuple[list[Example], list[tuple[tuple[str, str], ...]], NDArray[np.int64]]:
    """Public texts with their copies, what fills their slots, and which text each is of."""
    rng = np.random.default_rng([knowledge.seed, 61])
    classes = knowledge.task.n_classes
    written = knowledge.task.kind is not TaskKind.GENERATION
    public = [
        replace(each, label=i % classes) if written and each.label < 0 else each
        for i, each in enumerate(knowledge.public)
    ]
    own = [
        tuple((name, each.text[start:end]) for name, (start, end) in places)
        for each, places in zip(public, found.places, strict=True)
    ]
    texts, filled, base = list(public), list(own), list(range(len(public)))
    room = min(_MOST_TEXTS, max(2 * len(public), _MOST_NUMBERS // (2 * backbone.n_layers * backbone.width)))
    for _ in range(_COPIES):
        for number, (each, places) in enumerate(zip(public, found.places, strict=True)):
            if places and len(texts) < room:
                copy, now = found.copied(each, places, rng)
                texts.append(copy)
                filled.append(now)
                base.append(number)
    return texts, filled, np.array(base)


def _effects(
    points: Floats, found: Slots, filled: Sequence[tuple[tuple[str, str], ...]], base: NDArray[np.int64]
) -> list[_Effects]:
    """What fillers do, from how copies of one text differ among themselves."""
    copies = np.bincount(base)
    mean = np.zeros((len(copies), points.shape[1]))
    np.add.at(mean, base, points)
    # A text's own part in the mean over its copies is put back.
    apart = np.maximum(copies / np.maximum(copies - 1, 1), 1.0)[base, None]
    rest = (points - (mean / np.maximum(copies, 1)[:, None])[base]) * (copies > 1)[base, None]
    variance = (rest**2 * apart).mean(axis=0)
    effects = []
    for name, slot in found.slots.items():
        of = []
        for at, part in enumerate(slot.parts):
            index = {value: i for i, value in enumerate(part)}
            total, count = np.zeros((len(part), points.shape[1])), np.zeros(len(part))
            for row, each in enumerate(filled):
                for held, filler in each:
                    column = index.get(slot.split(filler)[at]) if held == name else None
                    if column is not None and copies[base[row]] > 1:
                        total[column] += rest[row] * apart[row]
                        count[column] += 1
            of.append(_shrunk(total, count, variance))
        effects.append(_Effects(slot, tuple(of)))
    return effects


def _shrunk(total: Floats, count: Floats, variance: Floats) -> Floats:
    """Means drawn to 0 as far as chance explains their spread, direction by direction (empirical Bayes)."""
    met = count > 0
    if not met.any():
        return np.zeros_like(total)
    means = total / np.maximum(count, 1)[:, None]
    typical = float(count[met].mean())
    true = np.maximum((means[met] ** 2 * count[met, None]).mean(axis=0) - variance, 0.0) / typical
    keep = true / np.maximum(true + variance / np.maximum(count, 1)[:, None], 1e-300)
    return np.asarray(np.where(met[:, None], keep * means, 0.0))


def _ranked(effect: _Effects, point: Floats, variance: Floats, examples: int) -> tuple[str, ...]:
    """What may fill a slot, likeliest first."""
    slot = effect.slot
    scores = [
        of @ (point / variance) / examples - (of**2 / variance).sum(axis=1) / (2 * examples**2)
        for of in effect.of
    ]
    if not slot.is_number:
        order = np.argsort(-(scores[0] + np.log(slot.counts)), kind="stable")[:_RANKED]
        return tuple(slot.fillers[i] for i in order)
    beam = [(0.0, "")]
    for part, score in zip(slot.parts, scores, strict=True):
        longer = [(old + float(score[i]), said + part[i]) for old, said in beam for i in range(len(part))]
        beam = sorted(longer, key=lambda each: (-each[0], each[1]))[:_BEAM]
    return tuple(said for _, said in beam[:_RANKED])
