"""Near duplicates: the same text with its numbers and names exchanged, or else with one word changed; and paraphrases.

A paraphrase says the same of the same people in other words: for texts of the shipped writer, in another of its
sentences. Of other texts none is known here.

The invariant: a near duplicate is made of its text and of public words alone, a paraphrase of its text and of the
writer's public sentences, in the same way for members and others: what tells the two apart is what a vector holds of
their meaning, and not how they were changed.

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
from attacks._base.names import NAME
from ifedpriv.data.task import Example
from ifedpriv.embedded.texts import other_wordings

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"\b[^\W\d_]{4,}\b")


def near_pool(knowledge: Knowledge) -> tuple[Example, ...]:
    """A near duplicate of every candidate, in the pool's order."""
    rng = np.random.default_rng([knowledge.seed, 53])
    texts = [example.text for example in knowledge.public]
    names = sorted({name for text in texts for name in NAME.findall(text) if name[0].isupper()})
    words = sorted({word for text in texts for word in _WORD.findall(text)})
    return tuple(
        replace(example, text=near_duplicate(example.text, names, words, rng)) for example in knowledge.pool
    )


def paraphrase_pool(knowledge: Knowledge) -> tuple[Example, ...]:
    """A paraphrase of every candidate, in the pool's order; nothing where some candidate has none."""
    rng = np.random.default_rng([knowledge.seed, 59])
    wordings = [other_wordings(example.text) for example in knowledge.pool]
    if not all(wordings):
        return ()
    return tuple(
        replace(example, text=others[int(rng.integers(len(others)))])
        for example, others in zip(knowledge.pool, wordings, strict=True)
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
        return _other(names, found.group(), rng) if found.group()[0].isupper() else found.group()

    changed = NAME.sub(name, _NUMBER.sub(number, text))
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
