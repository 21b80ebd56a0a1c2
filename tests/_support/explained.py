"""Holds a recording against the ledger, frame by frame: what a server sees of a private run must have been paid for.

The invariant: a frame passes only if it is named here. One that nobody thought of is unexplained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from defenses.errors import FrameError
from defenses.frame import SERVER, peek
from defenses.ledger import NO_MECHANISM, Ledger
from defenses.secagg.homomorphic import messages as homomorphic
from defenses.secagg.homomorphic.keys import KEY_HOLDER
from defenses.secagg.masked import messages as masked
from defenses.upload import Layout, UploadKind
from defenses.view import Direction, FrameRecord, ServerView

Asks = Mapping[int, tuple[UploadKind, Layout]]
"""What a method asks for in each round."""

STARTS = {
    UploadKind.COEFFICIENTS: "made of the configuration or of public tasks",
    UploadKind.WEIGHTS: "drawn from the configuration's seed",
    UploadKind.PROMPTS: "the task's public words, or drawn from the configuration's seed",
}
"""What may go down before anything of its kind was released, and why it says nothing about a client."""

FOLLOWS = {
    UploadKind.VECTOR: {"vector"},
    UploadKind.COEFFICIENTS: {"beta", "lambda"},
    UploadKind.PROMPTS: {"origin", "prototypes", "taken", "meta"},
    UploadKind.COUNTS: {"members"},
}
"""Arrays of a broadcast that follow from earlier releases of the kind; of all other kinds, what the method asks for."""


@dataclass(frozen=True)
class Seen:
    """What can be read of a frame: its own word for what it is, and what it says of itself."""

    what: str
    round: int
    sender: int
    kind: UploadKind | None = None
    layout: int | None = None


def seen(frame: bytes) -> Seen:
    """A frame of any protocol that private runs use.

    Raises:
        FrameError: it is of none of them.
    """
    if frame[:2] == masked.MAGIC:
        header = masked.peek(frame)
        return Seen(header.kind.__name__, header.round, header.sender)
    if frame[:2] == homomorphic.MAGIC:
        message = homomorphic.decode(frame)
        return Seen(message.type.name, message.round, message.sender, message.kind, message.layout)
    plain = peek(frame)
    return Seen(NUMBERS, plain.round, plain.sender, plain.kind, plain.layout_digest)


NUMBERS = "numbers"
PAYLOAD = {"none": NUMBERS, "masked": "MaskedInput", "bfv": "UPLOAD", "ckks": "UPLOAD"}
"""By the defense's kind, the frame of a client that has its numbers in it: one for each time it is charged."""

_ENCRYPTED = {Direction.UP: {"OPENING"}, Direction.DOWN: {"REQUEST"}}
PROTOCOL: dict[str, dict[Direction, set[str]]] = {
    "none": {},
    "masked": {
        Direction.UP: {"Advertise", "Shares", "Consistency", "Unmask"},
        Direction.DOWN: {"Roster", "Inbox", "Survivors", "Signatures"},
    },
    "bfv": _ENCRYPTED,
    "ckks": _ENCRYPTED,
}
"""Frames of a protocol that hides uploads, each once for each client and round; what they give away is its sum."""


def unexplained(views: Sequence[ServerView], ledger: Ledger, asks: Asks) -> list[str]:
    """Whatever the ledger does not pay for, in words; nothing for a run that keeps its word.

    Args:
        views: all recordings of one run: one, and one more for each time that it was interrupted.
        ledger: of the run.
        asks: of its method.
    """
    charged: Counter[tuple[int, int]] = Counter()
    kinds: dict[int, set[UploadKind | None]] = {}
    found = []
    for event in ledger.events:
        if event.mechanism == NO_MECHANISM:
            found.append(f"nothing protects {event.released!r} of round {event.round}")
        kinds.setdefault(event.round, set()).add(event.kind)
        charged.update((event.round, client) for client in event.by)
    for number, which in kinds.items():
        if which != {asks[number][0]}:
            found.append(f"round {number} is charged for {which}, and asks for {asks[number][0]}")
    payloads: Counter[tuple[int, int]] = Counter()
    for view in views:
        found += _of_one(view, kinds, asks, payloads)
    for key in payloads.keys() | charged.keys():
        if payloads[key] != charged[key]:
            number, client = key
            found.append(
                f"client {client}: {payloads[key]} uploads in round {number}, charged {charged[key]} times"
            )
    return found


def _of_one(
    view: ServerView,
    kinds: Mapping[int, set[UploadKind | None]],
    asks: Asks,
    payloads: Counter[tuple[int, int]],
) -> Iterator[str]:
    infos = {info.number: info for info in view.facts.rounds}
    for info in infos.values():
        if info.kind not in kinds.get(info.number, ()):
            yield f"round {info.number} of kind {info.kind} was begun and never charged"
    once: Counter[tuple[object, ...]] = Counter()
    for record in view.frames():
        place = f"frame {record.index}, {record.direction} in round {record.round}"
        try:
            told = seen(record.frame)
        except FrameError as error:
            yield f"{place}: {error}"
            continue
        if record.round not in infos or record.round not in kinds:
            yield f"{place}: the round is none of the ledger's"
            continue
        if (told.round, told.sender) != (record.round, record.sender):
            yield f"{place}: says that it is of round {told.round} and client {told.sender}"
        other_end = record.recipient if record.sender == SERVER else record.sender
        once[place.split(", ")[1], told.what, told.kind, told.layout, other_end] += 1
        why = _why_not(record, told, view, kinds, asks)
        if why:
            yield f"{place}, {told.what}: {why}"
        elif record.direction is Direction.UP and told.what == PAYLOAD[view.facts.defense.kind]:
            payloads[record.round, record.sender] += 1
    for (where, what, kind, *_, other_end), times in once.items():
        # Uploads are counted against charges, for all recordings together.
        if times > 1 and not (str(where).startswith("up") and what == PAYLOAD[view.facts.defense.kind]):
            yield f"{where}: {what} of kind {kind} {times} times, with {other_end} at the other end"
    sums = sum(record.direction is Direction.COMPUTED for record in view.frames())
    if sums != len(view.facts.sums):
        yield f"{sums} frames were worked out, and {len(view.facts.sums)} are declared"


def _why_not(
    record: FrameRecord, told: Seen, view: ServerView, kinds: Mapping[int, set[UploadKind | None]], asks: Asks
) -> str:
    """Why a frame is not what its round may show; empty if it is."""
    info = next(each for each in view.facts.rounds if each.number == record.round)
    kind, layout = asks[record.round]
    defense = view.facts.defense.kind
    if told.what in PROTOCOL[defense].get(record.direction, ()):
        partner = {"OPENING": record.sender, "REQUEST": record.recipient}
        if partner.get(told.what, KEY_HOLDER) != KEY_HOLDER:
            return "not with the key holder"
        return "" if told.kind in (None, kind) else f"of kind {told.kind} in a round of {kind}"
    if told.what != (PAYLOAD[defense] if record.direction is Direction.UP else NUMBERS):
        return "no frame that goes this way"
    if record.direction is Direction.DOWN:
        if record.recipient not in info.roster:
            return f"to {record.recipient}, who was not asked"
        earlier = any(told.kind in kinds[number] for number in kinds if number < record.round)
        if not earlier and told.kind not in STARTS:
            return f"of kind {told.kind}, of which nothing was released before"
        sent = view.facts.layout(told.layout or 0)
        names = set() if sent is None else set(sent.names)
        asked = [each for which, each in asks.values() if which is told.kind]
        allowed = FOLLOWS.get(told.kind, {name for each in asked for name in each.names})
        return "" if names and names <= allowed else f"of arrays {sorted(names)}"
    if told.kind not in (None, kind):
        return f"of kind {told.kind} in a round of {kind}"
    if record.direction is Direction.COMPUTED:
        known = told.layout in (info.layout.digest, layout.digest)
        return (
            "" if known and record.sender == record.recipient == SERVER else "not the round's sum or its mean"
        )
    if record.sender not in info.roster:
        return f"from {record.sender}, who was not asked"
    return "" if told.layout in (None, info.layout.digest) else "of another layout than the round's"
