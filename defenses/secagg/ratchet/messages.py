"""The five messages of a ratcheted round, as small as they can be.

Invariant: the header names neither round nor context, because the checksum begins with the binding, in which both are:
a frame of another round reads as a damaged one. `decode` takes exactly what `encode` gives, and raises `FrameError` on
everything else.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from defenses.errors import FrameError
from defenses.secagg.masked.messages import bitmap, places

MAGIC = b"IR"
VERSION = 1
HEADER_FIELDS: tuple[tuple[str, str], ...] = (
    ("magic", "2s"),
    ("tag", "B"),
    ("place", "H"),
    ("crc", "I"),
)
"""Name and `struct` code of every header field, little-endian and without gaps."""
_HEADER = struct.Struct("<" + "".join(code for _, code in HEADER_FIELDS))
HEADER_SIZE = _HEADER.size
_CRC_AT = HEADER_SIZE - 4
SERVER_PLACE = 0xFFFF

MAC_BYTES = 8
SEED_BYTES = 32


class Kind(IntEnum):
    """What a frame carries.

    STEP: the masked input, ring elements. ALIVE: a bitmap of whose arrived. CONFIRM: for each other client alive, a MAC
    of that list. CONFIRMED: the MACs made for the recipient. OPEN: the sender's self seed, then one pair seed for each
    client of the roster that is not alive.
    """

    STEP = 1
    ALIVE = 2
    CONFIRM = 3
    CONFIRMED = 4
    OPEN = 5


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One frame, taken apart.

    Attributes:
        kind: what the body is.
        place: the sender's place in the roster, or `SERVER_PLACE`.
        body: the rest.
    """

    kind: Kind
    place: int
    body: memoryview

    def __repr__(self) -> str:
        return f"Frame({self.kind.name}, place={self.place}, <{len(self.body)} bytes>)"


def encode(kind: Kind, place: int, body: bytes, binding: bytes) -> bytes:
    """One frame of the round that a binding names."""
    head = _HEADER.pack(MAGIC, VERSION << 4 | kind, place, 0)[:_CRC_AT]
    return b"".join((head, struct.pack("<I", _checksum(binding, head, body)), body))


def kind_of(data: bytes) -> Kind:
    """What a frame carries, by its tag alone.

    Raises:
        FrameError: it is too short, or of another protocol or version.
    """
    if len(data) < HEADER_SIZE or data[:2] != MAGIC:
        raise FrameError("frame is none of a ratcheted round")
    if data[2] >> 4 != VERSION:
        raise FrameError(f"frame has version {data[2] >> 4}", f"this program reads version {VERSION}")
    try:
        return Kind(data[2] & 0x0F)
    except ValueError as error:
        raise FrameError(f"frame has the unknown type {data[2] & 0x0F}") from error


def decode(data: bytes, binding: bytes) -> Frame:
    """A frame of the round that a binding names.

    Raises:
        FrameError: it is damaged, of another round, or of another protocol.
    """
    kind = kind_of(data)
    _, _, place, crc = _HEADER.unpack_from(data)
    body = memoryview(data)[HEADER_SIZE:]
    if crc != _checksum(binding, data[:_CRC_AT], body):
        raise FrameError(
            "frame's checksum does not match",
            "it was damaged, or belongs to another round, roster, directory, policy or context",
        )
    return Frame(kind, place, body)


def items(body: memoryview, size: int, count: int) -> list[bytes]:
    """A body of equal parts.

    Raises:
        FrameError: it has another length.
    """
    if len(body) != size * count:
        raise FrameError(f"frame has a body of {len(body)} bytes, where {count} parts of {size} belong")
    return [bytes(body[at : at + size]) for at in range(0, len(body), size)]


def listed(body: memoryview, clients: int) -> tuple[int, ...]:
    """A body that is a bitmap over the roster."""
    (data,) = items(body, (clients + 7) // 8, 1)
    return places(data, clients)


def list_body(alive: tuple[int, ...], clients: int) -> bytes:
    """The inverse of `listed`."""
    return bitmap(alive, clients)


def _checksum(binding: bytes, head: bytes, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(head, zlib.crc32(binding)))
