"""Near duplicates: the same text with its numbers and names exchanged, or else with one word changed.

The invariant: a near duplicate is made of its text and of public words alone, in the same way for members and others:
what tells the two apart is what a vector holds of their meaning, and not how they were changed.

Reference:
    Mattern et al., Membership inference attacks against language models via neighbourhood comparison, arXiv 2305.18462,
    on neighbours; here they stand in place of the text, not beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attacks._base.attack import Knowledge
from ifedpriv.data.task import Example

_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][a-z]{2,}\b")
_WORD = re.compile(r"\b[^\W\d_]{4,}\b")


def near_pool(knowledge: Knowledge) -> tuple[Example, ...]:
    """A near duplicate of every candidate, in the pool's order."""
    rng = np.random.default_rng([knowledge.seed, 53])
    texts = [example.text for example in knowledge.public]
    names = sorted({name for text in texts for name in _NAME.findall(text)})
    words = sorted({word for text in texts for word in _WORD.findall(text)})
    return tuple(
        replace(example, text=near_duplicate(example.text, names, words, rng)) for example in knowledge.pool
    )


def near_duplicate(text: str, names: Sequence[str], words: Sequence[str], rng: np.random.Generator) -> str:
    """The text with other numbers of as many digits and other names; with one other word where it has neither.

    Args:
        text: to change.
        names: to take names from.
        words: to take a word from.
        rng: draws.
    """

    def number(found: re.Match[str]) -> str:
        digits = found.group()
        return "".join(_other("0123456789" if i else "123456789", d, rng) for i, d in enumerate(digits))

    def name(found: re.Match[str]) -> str:
        return _other(names, found.group(), rng)

    changed = _NAME.sub(name, _NUMBER.sub(number, text))
    if changed != text:
        return changed
    places = list(_WORD.finditer(text)) or list(re.finditer(r"\S+", text))
    if not places:
        return text
    at = places[int(rng.integers(len(places)))]
    return text[: at.start()] + _other(words, at.group(), rng) + text[at.end() :]


def _other(among: Sequence[str], one: str, rng: np.random.Generator) -> str:
    """One of them that is another than this; this itself where there is none."""
    choices = [each for each in among if each != one]
    return choices[int(rng.integers(len(choices)))] if choices else one
