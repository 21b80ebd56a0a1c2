"""One class for each arrow of `docs/protocol.md`, and their bytes, as `docs/wire.md` writes them down.

Invariant: `decode` takes exactly what `encode` gives; on any other bytes it raises `FrameError`, and it allocates
no more than the input justifies. Sets of clients travel as bitmaps over the roster, so that a list which names
somebody twice, or a stranger, cannot be written.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from defenses.errors import FrameError
from defenses.secagg.masked.channel import TAG_BYTES
from defenses.secagg.masked.keys import KEY_BYTES, SIGNATURE_BYTES
from defenses.secagg.masked.pieces import Items, Listed
from defenses.secagg.masked.shamir import SHARE_BYTES

MAGIC = b"IM"
VERSION = 1
HEADER_FIELDS: tuple[tuple[str, str], ...] = (
    ("magic", "2s"),
    ("version", "B"),
    ("type", "B"),
    ("length", "I"),
    ("round", "I"),
    ("sender", "I"),
    ("binding", "8s"),
    ("crc", "I"),
)
"""Name and `struct` code of every header field, little-endian and without gaps."""
_HEADER = struct.Struct("<" + "".join(code for _, code in HEADER_FIELDS))
HEADER_SIZE = _HEADER.size
_CRC_AT = HEADER_SIZE - 4
_TYPE_AT = 3

COMMITMENT_BYTES = 16
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
DEAL_BYTES = SEALED_BYTES + 2 * COMMITMENT_BYTES
ADVERT_BYTES = 2 * KEY_BYTES + SIGNATURE_BYTES


class Form(StrEnum):
    """How a part of a message travels."""

    FIXED = "fixed"
    BITMAP = "bitmap over the roster"
    ITEMS = "one for each"
    REST = "the rest"


class Part(NamedTuple):
    """A part of a message's body.

    Attributes:
        name: the class's field.
        form: how it travels.
        size: bytes of it, or of each item; 0 where the roster or the layout says.
        meaning: for the documents.
    """

    name: str
    form: Form
    size: int
    meaning: str


class Direction(StrEnum):
    """Who sends a message."""

    UP = "client to server"
    DOWN = "server to client"


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """What all messages have: a code, a direction and parts, in the order in which they travel."""

    CODE: ClassVar[int]
    DIRECTION: ClassVar[Direction]
    PARTS: ClassVar[tuple[Part, ...]]

    def __repr__(self) -> str:
        return type(self).__name__


@dataclass(frozen=True, slots=True, repr=False)
class Advertise(Message):
    """A client's two public keys for the round, signed with its identity key."""

    CODE = 1
    DIRECTION = Direction.UP
    PARTS = (
        Part("channel_key", Form.FIXED, KEY_BYTES, "X25519, for sealing shares"),
        Part("mask_key", Form.FIXED, KEY_BYTES, "X25519, for pair masks"),
        Part("signature", Form.FIXED, SIGNATURE_BYTES, "Ed25519 over binding, sender and both keys"),
    )
    channel_key: bytes
    mask_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Roster(Message):
    """Who has advertised, with the advertisements of the recipient's neighbours."""

    CODE = 2
    DIRECTION = Direction.DOWN
    PARTS = (
        Part("present", Form.BITMAP, 0, "who has advertised"),
        Part("adverts", Form.ITEMS, ADVERT_BYTES, "neighbour that is present: its `Advertise`, ascending"),
    )
    present: tuple[int, ...]
    adverts: Sequence[bytes]


@dataclass(frozen=True, slots=True, repr=False)
class Shares(Message):
    """A client's two secrets in shares, each sealed to its holder."""

    CODE = 3
    DIRECTION = Direction.UP
    PARTS = (
        Part("seed_commitment", Form.FIXED, KEY_BYTES, "hash of the self-mask seed"),
        Part(
            "own_commitments",
            Form.FIXED,
            2 * COMMITMENT_BYTES,
            "hashes of the two shares that the sender keeps",
        ),
        Part(
            "deals",
            Form.ITEMS,
            DEAL_BYTES,
            "neighbour that is present: sealed shares of seed and mask key, then their two hashes, ascending",
        ),
    )
    seed_commitment: bytes
    own_commitments: bytes
    deals: Sequence[bytes]


@dataclass(frozen=True, slots=True, repr=False)
class Inbox(Message):
    """Who has shared, with what the recipient's neighbours have sealed to it."""

    CODE = 4
    DIRECTION = Direction.DOWN
    PARTS = (
        Part("shared", Form.BITMAP, 0, "who has shared"),
        Part(
            "deals", Form.ITEMS, DEAL_BYTES, "neighbour that has shared: its deal to the recipient, ascending"
        ),
    )
    shared: tuple[int, ...]
    deals: Sequence[bytes]


@dataclass(frozen=True, slots=True, repr=False)
class MaskedInput(Message):
    """The quantised upload and its weight under all masks."""

    CODE = 5
    DIRECTION = Direction.UP
    PARTS = (Part("elements", Form.REST, 0, "ring elements: the numbers in layout order, then the weight"),)
    elements: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Survivors(Message):
    """Whose masked input is in the sum."""

    CODE = 6
    DIRECTION = Direction.DOWN
    PARTS = (Part("alive", Form.BITMAP, 0, "whose masked input arrived"),)
    alive: tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Consistency(Message):
    """A client's word for the two lists that it was shown."""

    CODE = 7
    DIRECTION = Direction.UP
    PARTS = (
        Part("signature", Form.FIXED, SIGNATURE_BYTES, "Ed25519 over binding, sender, `shared` and `alive`"),
    )
    signature: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Signatures(Message):
    """Who has signed, with the signatures of the recipient's neighbours."""

    CODE = 8
    DIRECTION = Direction.DOWN
    PARTS = (
        Part("signed", Form.BITMAP, 0, "who has signed"),
        Part(
            "signatures", Form.ITEMS, SIGNATURE_BYTES, "neighbour that has signed: its signature, ascending"
        ),
    )
    signed: tuple[int, ...]
    signatures: Sequence[bytes]


@dataclass(frozen=True, slots=True, repr=False)
class Unmask(Message):
    """One share for each neighbour: of the seed if it survived, of the mask key if it dropped."""

    CODE = 9
    DIRECTION = Direction.UP
    PARTS = (
        Part("of", Form.BITMAP, 0, "of whom there is a share here"),
        Part("shares", Form.ITEMS, SHARE_BYTES, "client in `of`: the share, ascending"),
    )
    of: tuple[int, ...]
    shares: Sequence[bytes]


MESSAGES: tuple[type[Message], ...] = (
    Advertise,
    Roster,
    Shares,
    Inbox,
    MaskedInput,
    Survivors,
    Consistency,
    Signatures,
    Unmask,
)
_TYPES = {message.CODE: message for message in MESSAGES}


class Header(NamedTuple):
    """What every frame of the protocol begins with; `kind` is the message's class."""

    kind: type[Message]
    length: int
    round: int
    sender: int
    binding: bytes


def encode(message: Message, *, clients: int, round_number: int, sender: int, binding: bytes) -> bytes:
    """One frame.

    Args:
        message: what to send; its items have their parts' sizes.
        clients: size of the roster.
        round_number: number of the round.
        sender: number of the client, or `SERVER`.
        binding: the round's, of which 8 bytes travel.
    """
    pieces: list[bytes | memoryview] = []
    for name, form, _, _ in message.PARTS:
        value: Any = getattr(message, name)
        if form is Form.BITMAP:
            pieces.append(value.bitmap if isinstance(value, Listed) else bitmap(value, clients))
        elif form is Form.ITEMS and not isinstance(value, Items):
            pieces.extend(value)
        else:
            pieces.append(value.block if form is Form.ITEMS else value)
    body = b"".join(pieces)
    fields = (MAGIC, VERSION, message.CODE, len(body), round_number, sender, binding[:8])
    head = _HEADER.pack(*fields, 0)[:_CRC_AT]
    return b"".join((head, struct.pack("<I", _checksum(head, body)), body))


def kind_of(data: bytes) -> type[Message]:
    """The message that a frame carries, by its type alone; nothing else is looked at.

    Raises:
        FrameError: it is too short, or of an unknown type.
    """
    if len(data) < HEADER_SIZE:
        raise FrameError(f"message has {len(data)} bytes, less than a header of {HEADER_SIZE}")
    if data[_TYPE_AT] not in _TYPES:
        raise FrameError(f"message has the unknown type {data[_TYPE_AT]}")
    return _TYPES[data[_TYPE_AT]]


def peek(data: bytes) -> Header:
    """The header of a frame that is whole and undamaged.

    Raises:
        FrameError: anything about the bytes is not as the specification says.
    """
    if len(data) < HEADER_SIZE:
        raise FrameError(f"message has {len(data)} bytes, less than a header of {HEADER_SIZE}")
    magic, version, code, length, round_number, sender, binding, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FrameError("message does not begin with the magic bytes 'IM'")
    if version != VERSION:
        raise FrameError(f"message has version {version}", f"this program reads version {VERSION}")
    if length != len(data) - HEADER_SIZE:
        raise FrameError(f"message announces {length} bytes and carries {len(data) - HEADER_SIZE}")
    if crc != _checksum(data[:_CRC_AT], memoryview(data)[HEADER_SIZE:]):
        raise FrameError("message's checksum does not match", "it was damaged on the way; send it again")
    if code not in _TYPES:
        raise FrameError(f"message has the unknown type {code}")
    return Header(_TYPES[code], length, round_number, sender, binding)


def _checksum(head: bytes, body: bytes | memoryview) -> int:
    """CRC-32 over head and body; the elements of a masked input, megabytes as a rule, enter as one sum of 64 bits."""
    if head[_TYPE_AT] == MaskedInput.CODE:
        whole = len(body) // 8 * 8
        total = int(np.frombuffer(body[:whole], dtype="<u8").sum(dtype=np.uint64))
        return zlib.crc32(body[whole:], zlib.crc32(total.to_bytes(8, "little"), zlib.crc32(head)))
    return zlib.crc32(body, zlib.crc32(head))


def decode(data: bytes, clients: int) -> tuple[Header, Message]:
    """A frame's header and message.

    Args:
        data: one whole frame, nothing after it.
        clients: size of the roster.

    Raises:
        FrameError: anything about the bytes is not as the specification says.
    """
    header = peek(data)
    return header, read(header, data, clients)


def read(header: Header, data: bytes, clients: int) -> Message:
    """The message of a frame that `peek` has passed; the checksum is not computed again.

    Raises:
        FrameError: the body is not what the message's type has.
    """
    body, at = memoryview(data)[HEADER_SIZE:], 0
    values: list[Any] = []
    for _, form, size, _ in header.kind.PARTS:
        end = len(body)
        if form is Form.FIXED:
            end = at + size
        elif form is Form.BITMAP:
            end = at + (clients + 7) // 8
        elif form is Form.ITEMS and (end - at) % size:
            raise _misfit(header)
        if end > len(body):
            raise _misfit(header)
        piece, at = body[at:end], end
        if form is Form.BITMAP:
            values.append(places(bytes(piece), clients))
        elif form is Form.FIXED:
            values.append(bytes(piece))
        else:
            values.append(Items(piece, size) if form is Form.ITEMS else piece)
    if at != len(body):
        raise _misfit(header)
    return header.kind(*values)


def _misfit(header: Header) -> FrameError:
    return FrameError(f"message {header.kind.__name__} has a body of {header.length} bytes, which cannot be")


def bitmap(chosen: Iterable[int], clients: int) -> bytes:
    """Places in the roster as bits: place i is bit i mod 8 of byte i // 8."""
    return _bitmap(tuple(chosen), clients)


# One list goes to every client of a round, and comes back from many.
@lru_cache(maxsize=64)
def _bitmap(chosen: tuple[int, ...], clients: int) -> bytes:
    bits = np.zeros(clients, dtype=np.bool_)
    bits[list(chosen)] = True
    return np.packbits(bits, bitorder="little").tobytes()


@lru_cache(maxsize=64)
def places(data: bytes, clients: int) -> tuple[int, ...]:
    """The inverse of `bitmap`, ascending.

    Raises:
        FrameError: a bit beyond the roster is 1.
    """
    found = np.flatnonzero(np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little"))
    if len(found) and found[-1] >= clients:
        raise FrameError("a list of clients has a bit beyond the roster")
    return tuple(found.tolist())
