"""Writes service messages: a frame of one of four domains, filled with attributes and private details.

The one invariant: a text has one slot for every attribute, and names one person, one city and one number, so
that every labelling convention applies to every text. (Five frames use an attribute's word in their own
wording as well, such as ``Patient``; the model that ships was trained on them as they are.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ifedpriv.embedded.words import ATTRIBUTES, CITIES, FIRST_NAMES, LAST_NAMES

TEMPLATE = "{text} =>"
SEPARATOR = "\n"
"""How a demonstration is written: the text, an arrow, the answer, a new line."""

WORD_NOISE = 0.06
"""Chance that an attribute's word comes from another value: it keeps accuracies below 100%, as life does."""

FRAMES: dict[str, tuple[str, ...]] = {
    "support": (
        "Ticket {number} from {first} {last} in {city}: {topic} trouble via {channel}, {mood} about {verdict} "
        "staff, wants the {request} {urgency}.",
        "Helpdesk note: {mood} user {first} {last}, {city}, reports trouble with the {topic} by {channel}; agents were "
        "{verdict}; send the {request} {urgency}, ref {number}.",
        "Case {number}: the {topic} failed again. {first} {last} of {city} wrote through the {channel}, felt "
        "{mood}, called us {verdict}, needs the {request} {urgency}.",
        "Caller {first} {last} ({city}) asks {urgency} for the {request}. Issue: {topic}. Contact: {channel} "
        "{number}. Team was {verdict}, caller {mood}.",
        "Please fix my {topic} {urgency}. Your {channel} team was {verdict} and I am {mood}. The {request} to "
        "{first} {last}, {city}, case {number}.",
    ),
    "bank": (
        "Account {number}, holder {first} {last}, {city}: {mood} over the {topic}, {verdict} clerk at the {channel}, "
        "expects the {request} {urgency}.",
        "Dear bank, {urgency} I need the {request} for the {topic}. Account {number}. The {channel} was {verdict}. "
        "I am {mood}. {first} {last}, {city}.",
        "Branch memo: {first} {last} from {city} came {mood} with the {topic}, found the {channel} {verdict}, wants "
        "the {request} on card {number} {urgency}.",
        "My {topic} is wrong on account {number}. {verdict} service by {channel}. {mood} client {first} {last}, "
        "{city}, hopes for the {request} {urgency}.",
        "Client {first} {last}, {city}, phone 555 {number}, left {mood}: {topic} unclear, {channel} help "
        "{verdict}, {request} due {urgency}.",
    ),
    "clinic": (
        "Patient {first} {last}, {city}, file {number}: {mood} about the {topic}, nurse was {verdict} on the "
        "{channel}, asks the {request} {urgency}.",
        "Clinic message via {channel}: the {topic} for {first} {last} of {city} is missing. Doctors {verdict}, "
        "patient {mood}. Offer the {request} {urgency}, chart {number}.",
        "Ward note {number}: {first} {last} ({city}) feels {mood} after {verdict} care, needs the {topic} and the "
        "{request} {urgency} by {channel}.",
        "To the clinic: give me the {request} {urgency}. My {topic} was lost, the {channel} was {verdict}. {mood}, "
        "{first} {last}, {city}, number {number}.",
        "Relatives of {first} {last} in {city} are {mood}. The {channel} seemed {verdict}. They want the {request} "
        "about the {topic} {urgency}, chart {number}.",
    ),
    "shop": (
        "Review of order {number} by {first} {last}, {city}: {verdict} shop, {topic} went wrong, {mood} buyer, "
        "{request} through {channel} wanted {urgency}.",
        "Order {number}: {mood} with this {verdict} store. The {topic} never worked. {first} {last} from {city} "
        "wants the {request} by {channel} {urgency}.",
        "I bought in {city} and got trouble with the {topic}. Sellers on the {channel} were {verdict}. {mood} now. "
        "{request} {urgency} please. {first} {last}, order {number}.",
        "{verdict} sellers, {mood} customer. {first} {last} of {city} waits for the {request} after the {topic} "
        "mess, promised {urgency} by {channel}, order {number}.",
        "Buyer {first} {last}, {city}, order {number}, says on {channel}: {topic} faulty, reply was {verdict}, so "
        "{mood}. The {request} {urgency} would help.",
    ),
}  # fmt: skip

FIELDS: tuple[str, ...] = ("first", "last", "city", "number")

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Text:
    """One message with what is known about it.

    Attributes:
        text: the message.
        domain: support, bank, clinic or shop.
        values: attribute name to the value that the labels go by (its word may show another: see WORD_NOISE).
        words: slot name (attribute or field) to the word that stands in the text.
        spans: slot name to the characters ``[start, end)`` that the word takes up.
    """

    text: str
    domain: str
    values: Mapping[str, str]
    words: Mapping[str, str]
    spans: Mapping[str, tuple[int, int]]

    def __repr__(self) -> str:
        """Show shape only, as for every text that stands for a private one."""
        return f"Text(<{len(self.text)} characters>, domain={self.domain!r})"


def write_text(
    rng: np.random.Generator,
    values: Mapping[str, str] | None = None,
    *,
    frames: Mapping[str, tuple[str, ...]] = FRAMES,
    vocabulary: Mapping[str, Mapping[str, tuple[str, ...]]] = ATTRIBUTES,
) -> Text:
    """Write one message.

    Args:
        rng: where every choice comes from.
        values: attribute values to show; those not named are drawn evenly.
        frames: domain to its sentences, all of them or some.
        vocabulary: attribute to value to its words, all of them or some.
    """
    domain = _pick(rng, tuple(frames))
    frame = _pick(rng, frames[domain])
    chosen: dict[str, str] = {}
    words: dict[str, str] = {
        "first": _pick(rng, FIRST_NAMES),
        "last": _pick(rng, LAST_NAMES),
        "city": _pick(rng, CITIES),
        "number": f"{rng.integers(1000, 10000)}",
    }
    for attribute, table in vocabulary.items():
        options = tuple(table)
        value = values[attribute] if values and attribute in values else _pick(rng, options)
        shown = _pick(rng, tuple(v for v in options if v != value)) if rng.random() < WORD_NOISE else value
        chosen[attribute] = value
        words[attribute] = _pick(rng, table[shown])
    return _fill(frame, domain, chosen, words)


def other_wordings(text: str) -> tuple[str, ...]:
    """The same content in the other frames of its domain; nothing for a text that no frame of `FRAMES` has written."""
    for domain, frames in FRAMES.items():
        for frame in frames:
            found = _pattern(frame).fullmatch(text)
            if found:
                words = {
                    slot: word if slot in FIELDS else word.lower() for slot, word in found.groupdict().items()
                }
                return tuple(_fill(other, domain, {}, words).text for other in frames if other != frame)
    return ()


def _fill(frame: str, domain: str, values: dict[str, str], words: dict[str, str]) -> Text:
    text = ""
    spans: dict[str, tuple[int, int]] = {}
    for literal, slot in _pieces(frame):
        text += literal
        if slot:
            word = words[slot]
            sentence_start = not text or text.endswith((". ", ": "))
            if sentence_start and text.rstrip()[-1:] in ("", "."):
                word = word[0].upper() + word[1:]
            spans[slot] = (len(text), len(text) + len(word))
            text += word
    return Text(text, domain, values, words, spans)


@lru_cache(maxsize=64)
def _pieces(frame: str) -> tuple[tuple[str, str], ...]:
    parts = _SLOT.split(frame)
    return tuple(zip(parts[0::2], (*parts[1::2], ""), strict=True))


@lru_cache(maxsize=64)
def _pattern(frame: str) -> re.Pattern[str]:
    return re.compile(
        "".join(re.escape(said) + (f"(?P<{slot}>\\w+)" if slot else "") for said, slot in _pieces(frame))
    )


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
