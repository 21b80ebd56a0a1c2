"""Names and numbers in a text, found by how they are written: what may be private in data of any kind.

The invariant: no list of names is needed, so texts that nobody has seen before have private strings too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NAME = re.compile(r"(?:(?<=[^\W\d_A-Z] )|(?<=[,;:] )|(?<=\())(?![a-z])[^\W\d_][^\W\d_A-Z]{2,}\b")
"""A word with a capital, inside a sentence. Of letters beyond ASCII the pattern knows no size: look whether the first
one is large (`str.isupper`)."""
NUMBER = re.compile(r"\d{3,}")
_WORD = re.compile(r"[^\W\d_]+")

Span = tuple[int, int]


def ordinary_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that some text writes small: a name is none of them."""
    return frozenset(word for text in texts for word in _WORD.findall(text) if word.islower())


def names_in(text: str, ordinary: frozenset[str] = frozenset()) -> tuple[tuple[Span, ...], ...]:
    """Where names stand, as runs of names with nothing but a space between them.

    A name is a word of three letters or more with a capital inside a sentence, which no text writes small. A word that
    begins a sentence is one where such a name follows it, and ``ordinary`` says what is written small.

    Args:
        text: to look at.
        ordinary: what `ordinary_words` finds in texts of the kind; empty where there are none.

    Returns:
        Runs in order, each of places ``(start, end)``.
    """
    places: list[Span] = []
    words = list(_WORD.finditer(text))
    for word, following in zip(words, [*words[1:], None], strict=True):
        begins = bool(ordinary) and len(word.group()) > 2 and _is_written_large(word, ordinary)
        followed = (
            following is not None
            and following.start() == word.end() + 1
            and _is_name(text, following, ordinary)
        )
        if _is_name(text, word, ordinary) or (begins and followed):
            places.append(word.span())
    runs: list[list[Span]] = []
    for place in places:
        if runs and text[runs[-1][-1][1] : place[0]] == " ":
            runs[-1].append(place)
        else:
            runs.append([place])
    return tuple(tuple(run) for run in runs)


def _is_name(text: str, word: re.Match[str], ordinary: frozenset[str]) -> bool:
    return _is_written_large(word, ordinary) and NAME.match(text, word.start()) is not None


def _is_written_large(word: re.Match[str], ordinary: frozenset[str]) -> bool:
    return word.group()[0].isupper() and word.group().lower() not in ordinary
