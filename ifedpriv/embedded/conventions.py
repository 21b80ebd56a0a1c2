"""Labelling conventions: the private knowledge that only demonstrations reveal.

A convention names one attribute and maps its values to label words, or copies fields of the text. The maps
of one attribute form a Latin rectangle over one shared pool of words: every value meets every word in
exactly one map. So neither a text nor a label word tells which convention holds, zero-shot stays at chance
by construction, and one labelled text is compatible with one convention per attribute.

Tables are derived from SHA-256, not from a random generator, so that they are the same on every platform
and with every library version: the shipped model depends on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

from ifedpriv.embedded.texts import Text
from ifedpriv.embedded.words import ATTRIBUTES, LABEL_POOL, LABEL_PREFIXES

ROTATED = ("verdict", "request")
"""Attributes whose maps come in rotations of shared words: they can contradict each other on one label set."""

COPIES: tuple[tuple[str, ...], ...] = (
    ("first",), ("last",), ("city",), ("number",), ("topic",), ("first", "last"), ("last", "city"),
    ("city", "number"), ("topic", "city"), ("first", "topic"), ("number", "last"), ("topic", "number"),
)  # fmt: skip

_PREFIXED_MAPS = {"desk": 0, "queue": 5}


@dataclass(frozen=True, slots=True)
class Convention:
    """One way to answer.

    Attributes:
        index: position in `all_conventions`.
        key: its invented name, as the instruction calls it.
        attribute: the attribute it sorts by; empty for a copying convention.
        labels: attribute value to label; empty for a copying convention.
        fields: slots copied into the answer, in order; empty for a labelling convention.
    """

    index: int
    key: str
    attribute: str
    labels: tuple[tuple[str, str], ...]
    fields: tuple[str, ...]

    def answer(self, text: Text) -> str:
        """The right answer for a text."""
        if self.fields:
            return " ".join(text.words[slot] for slot in self.fields)
        return dict(self.labels)[text.values[self.attribute]]

    def instruction(self) -> str:
        """One sentence that names the convention, to stand in front of a prompt."""
        if self.fields:
            return f"Copy {' then '.join(self.fields)}.\n"
        return f"Sort by {self.attribute}, scheme {self.key}.\n"


@lru_cache(maxsize=1)
def all_conventions() -> tuple[Convention, ...]:
    """Every convention that the embedded model was shown, in a fixed order."""
    result: list[Convention] = []
    keys = iter(_keys())
    for attribute in ATTRIBUTES:
        values = tuple(ATTRIBUTES[attribute])
        maps = _latin_maps(attribute, len(values))
        rows = [(row, "") for row in maps] + [(maps[_PREFIXED_MAPS[p]], p + " ") for p in LABEL_PREFIXES]
        for row, prefix in rows:
            labels = tuple(
                (value, prefix + LABEL_POOL[word]) for value, word in zip(values, row, strict=True)
            )
            result.append(Convention(len(result), next(keys), attribute, labels, ()))
    first_copy = len(result)
    result.extend(Convention(first_copy + i, "", "", (), fields) for i, fields in enumerate(COPIES))
    return tuple(result)


def unseen_convention(attribute: str, number: int) -> Convention:
    """A map that the embedded model never met: a fresh random injection of values into the pool."""
    values = tuple(ATTRIBUTES[attribute])
    seen = {c.labels for c in all_conventions() if c.attribute == attribute}
    attempt = 0
    while True:
        order = _shuffled(f"unseen/{attribute}/{number}/{attempt}", len(LABEL_POOL))[: len(values)]
        labels = tuple((value, LABEL_POOL[word]) for value, word in zip(values, order, strict=True))
        if labels not in seen:
            return Convention(-1, "", attribute, labels, ())
        attempt += 1


def restricted(convention: Convention, values: tuple[str, ...]) -> Convention:
    """The same convention, for texts that show only some of its attribute's values."""
    return replace(convention, labels=tuple(pair for pair in convention.labels if pair[0] in values))


def contradicting(convention: Convention) -> tuple[Convention, ...]:
    """Conventions that give the same values the same label words, each value another one.

    A convention that is `restricted` is contradicted by others under the same restriction.
    """
    values = tuple(value for value, _ in convention.labels)
    words = {label for _, label in convention.labels}
    others = (restricted(c, values) for c in all_conventions() if c.attribute == convention.attribute)
    return tuple(
        other
        for other in others
        if {label for _, label in other.labels} == words
        and all(a != b for a, b in zip(other.labels, convention.labels, strict=True))
    )


def _latin_maps(attribute: str, n_values: int) -> list[tuple[int, ...]]:
    n_words = len(LABEL_POOL)
    if attribute in ROTATED:
        words = _shuffled(f"base/{attribute}", n_words)
        bases = [words[i : i + n_values] for i in range(0, n_words, n_values)]
        return [tuple(base[turn:] + base[:turn]) for base in bases for turn in range(n_values)]
    columns: list[list[int]] = []
    for value in range(n_values):
        attempt = 0
        while True:
            column = _shuffled(f"{attribute}/{value}/{attempt}", n_words)
            if all(column[row] != other[row] for other in columns for row in range(n_words)):
                columns.append(column)
                break
            attempt += 1
    return list(zip(*columns, strict=True))


def _keys() -> list[str]:
    onsets = ("Bel", "Cor", "Dun", "Fal", "Gar", "Hel", "Jor", "Kel", "Lun", "Mar", "Nev", "Pol")
    rhymes = ("an", "ik", "os", "ume", "eth", "ray", "ost", "ilo", "ux")
    return [onset + rhyme for rhyme in rhymes for onset in onsets]


def _shuffled(seed: str, n: int) -> list[int]:
    return sorted(range(n), key=lambda i: hashlib.sha256(f"ifedpriv/{seed}/{i}".encode()).digest())
