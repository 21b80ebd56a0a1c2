"""Keeps the splits apart and cuts them to size.

The one invariant: after `disjoint`, no text of train or validation occurs in test, and none of train in
validation, where texts that differ only in case, punctuation, spacing or HTML escapes count as the same.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ifedpriv.data.task import Example
from ifedpriv.errors import InputError

_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
# One stream of random numbers for each draw, so that changing one cap leaves the other splits as they are.
_STREAMS = {"validation": 0, "max_train": 1, "max_validation": 2, "max_test": 3}


def normalised(text: str) -> str:
    """A text's letters, marks and digits in lower case; the text itself where it has none (as in ``:-)``)."""
    folded = unicodedata.normalize("NFKC", html.unescape(text)).casefold()
    if folded.isascii():
        kept = _NOT_ALPHANUMERIC.sub("", folded)
    else:
        # Marks stay: without its vowel signs, one Devanagari word is another.
        kept = "".join(character for character in folded if unicodedata.category(character)[0] in "LMN")
    return kept or folded.strip()


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many examples were dropped because a later split has their text.

    Attributes:
        train_in_test: training examples whose text is in test.
        validation_in_test: validation examples whose text is in test.
        train_in_validation: training examples whose text is in validation.
    """

    train_in_test: int = 0
    validation_in_test: int = 0
    train_in_validation: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.train_in_test + self.validation_in_test + self.train_in_validation


def disjoint(
    train: Sequence[Example], validation: Sequence[Example], test: Sequence[Example]
) -> tuple[list[Example], list[Example], Dropped]:
    """Drop what test has from validation, and what either has from train; test is never touched."""
    in_test = {normalised(example.text) for example in test}
    kept_validation = [example for example in validation if normalised(example.text) not in in_test]
    in_validation = {normalised(example.text) for example in kept_validation}
    not_in_test = [example for example in train if normalised(example.text) not in in_test]
    kept_train = [example for example in not_in_test if normalised(example.text) not in in_validation]
    dropped = Dropped(
        train_in_test=len(train) - len(not_in_test),
        validation_in_test=len(validation) - len(kept_validation),
        train_in_validation=len(not_in_test) - len(kept_train),
    )
    return kept_train, kept_validation, dropped


def set_aside(train: Sequence[Example], fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Split ``fraction`` of train off as validation, at least one text, copies of a text on the same side.

    Returns:
        What is left of train, and the validation split, each in the old order.
    """
    texts = [normalised(example.text) for example in train]
    distinct = list(dict.fromkeys(texts))
    if len(distinct) < 2:
        raise InputError(
            f"train has {len(distinct)} distinct text, too few to set a validation split aside",
            "give more training rows or a validation file",
        )
    size = min(max(1, round(fraction * len(distinct))), len(distinct) - 1)
    order = _generator(seed, "validation").permutation(len(distinct))
    chosen = {distinct[i] for i in order[:size]}
    kept = [example for example, text in zip(train, texts, strict=True) if text not in chosen]
    aside = [example for example, text in zip(train, texts, strict=True) if text in chosen]
    return kept, aside


def capped(examples: Sequence[Example], limit: int | None, seed: int, option: str) -> list[Example]:
    """A seeded sample of at most ``limit`` examples in the old order; smaller are part of larger ones."""
    if limit is None or limit >= len(examples):
        return list(examples)
    order = _generator(seed, option).permutation(len(examples))
    return [examples[i] for i in np.sort(order[:limit])]


def balanced(
    examples: Sequence[Example], words: Sequence[str], limit: int | None, seed: int
) -> list[Example]:
    """A seeded sample with equally many examples of every class, as ``limit`` and the rarest class allow."""
    n_classes = len(words)
    counts = np.bincount([example.label for example in examples], minlength=n_classes)
    rarest = int(counts.argmin())
    if counts[rarest] == 0:
        raise InputError(
            f"data.balance_test is true, but test has no example of {words[rarest]!r}",
            "add such examples or leave balance_test out",
        )
    if limit is not None and limit < n_classes:
        raise InputError(
            f"data.max_test is {limit}, too few for balance_test with {n_classes} classes",
            f"raise it to at least {n_classes}",
        )
    each = int(counts[rarest]) if limit is None else min(int(counts[rarest]), limit // n_classes)
    order = _generator(seed, "max_test").permutation(len(examples))
    taken = np.zeros(n_classes, dtype=np.int64)
    chosen = []
    for i in order:
        label = examples[i].label
        if taken[label] < each:
            taken[label] += 1
            chosen.append(int(i))
    return [examples[i] for i in sorted(chosen)]


def _generator(seed: int, option: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAMS[option],))))
