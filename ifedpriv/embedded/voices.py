"""Who writes in the embedded world: languages and domains, as parts of the one that its model was trained on.

The one invariant: two languages share no frame and no word of any attribute, and each has words for every value, so
that what is learned in one has to carry over by meaning; and the shipped model has read all of them, since they are
parts of the texts that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ifedpriv.embedded.texts import FRAMES
from ifedpriv.embedded.words import ATTRIBUTES

Frames = Mapping[str, tuple[str, ...]]
Words = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Voice:
    """One way of writing.

    Attributes:
        attributes: what examples written so carry, by name.
        frames: domain to the sentences that it is written in.
        words: attribute to value to the words that show it.
    """

    attributes: Mapping[str, str] = field(default_factory=dict)
    frames: Frames = field(default_factory=lambda: FRAMES)
    words: Words = field(default_factory=lambda: ATTRIBUTES)


LANGUAGES: tuple[str, ...] = ("upland", "lowland")
"""Two invented languages. Names, cities and numbers are the same in both, as with real ones."""


def language(name: str) -> Voice:
    """One of `LANGUAGES`: every second frame of each domain, and every second word of each value."""
    place, count = LANGUAGES.index(name), len(LANGUAGES)
    return Voice(
        {"language": name},
        {domain: frames[place::count] for domain, frames in FRAMES.items()},
        {
            attribute: {value: words[place::count] for value, words in table.items()}
            for attribute, table in ATTRIBUTES.items()
        },
    )


def domain(name: str) -> Voice:
    """One domain's frames alone, with all words."""
    return Voice(frames={name: FRAMES[name]})
