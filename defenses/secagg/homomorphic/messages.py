"""The three frames of a homomorphic round, as `docs/secure_aggregation.md` writes them down.

An upload goes from a client to the server, a request from the server to the key holder with the sum of uploads,
and an opening from the key holder back with the sum in whole numbers. Invariant: on any bytes whatever, `decode`
succeeds or raises `FrameError`; and encoding what it gave makes the same bytes again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from defenses.errors import FrameError
from defenses.frame import KIND_CODES
from defenses.secagg.homomorphic.ciphertext import MAX_CIPHERTEXT
from defenses.secagg.homomorphic.parameters import MAX_CLIENTS, Scheme
from defenses.upload import UploadKind

MAGIC = b"IH"
VERSION = 1
KEY_ID_BYTES = 8

HEADER_FIELDS: tuple[tuple[str, str], ...] = (
    ("magic", "2s"),
    ("version", "B"),
    ("type", "B"),
    ("scheme", "B"),
    ("kind", "B"),
    ("layout", "H"),
    ("round", "I"),
    ("sender", "I"),
    ("key", "8s"),
    ("length", "I"),
    ("crc", "I"),
)
"""Name and `struct` code of every header field, little-endian and without gaps."""

_HEADER = struct.Struct("<" + "".join(code for _, code in HEADER_FIELDS))
HEADER_SIZE = _HEADER.size
_CRC_AT = HEADER_SIZE - 4


class MessageType(IntEnum):
    """What a frame carries."""

    UPLOAD = 1
    REQUEST = 2
    OPENING = 3


SCHEME_CODES = {Scheme.CKKS: 1, Scheme.BFV: 2}
_SCHEMES = {code: scheme for scheme, code in SCHEME_CODES.items()}
_KINDS = {code: kind for kind, code in KIND_CODES.items()}


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """One frame of a homomorphic round.

    Attributes:
        type: what it carries.
        scheme: which encryption.
        kind: what the numbers are.
        layout: digest of the layout.
        round: number of the round.
        sender: number of the client, of the server or of the key holder.
        key: names the run's keys, 8 bytes.
        clients: whose uploads are in it, ascending; empty in an upload.
        parts: ciphertexts in order; in an opening the packed sum alone.
    """

    type: MessageType
    scheme: Scheme
    kind: UploadKind
    layout: int
    round: int
    sender: int
    key: bytes
    clients: tuple[int, ...]
    parts: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The frame."""
        payload = b"" if self.type is MessageType.UPLOAD else _pack_clients(self.clients)
        if self.type is MessageType.OPENING:
            payload += self.parts[0]
        else:
            payload += b"".join(struct.pack("<I", len(part)) + part for part in self.parts)
        head = _HEADER.pack(
            MAGIC,
            VERSION,
            self.type,
            SCHEME_CODES[self.scheme],
            KIND_CODES[self.kind],
            self.layout,
            self.round,
            self.sender,
            self.key,
            len(payload),
            0,
        )[:_CRC_AT]
        return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload

    def __repr__(self) -> str:
        return (
            f"Message({self.type.name}, {self.scheme}, {self.kind}, round={self.round}, sender={self.sender}, "
            f"{len(self.parts)} parts)"
        )


def decode(data: bytes) -> Message:
    """The content of a frame; ciphertexts are cut apart and not looked at.

    Raises:
        FrameError: anything about the bytes is not as the specification says.
    """
    if len(data) < HEADER_SIZE:
        raise FrameError(f"frame has {len(data)} bytes, less than a header of {HEADER_SIZE}")
    magic, version, code, scheme, kind, layout, number, sender, key, length, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FrameError("frame does not begin with the magic bytes 'IH' of an encrypted round")
    if version != VERSION:
        raise FrameError(f"frame has version {version}", f"this program reads version {VERSION}")
    if length != len(data) - HEADER_SIZE:
        raise FrameError(f"frame announces {length} bytes of payload and carries {len(data) - HEADER_SIZE}")
    body = memoryview(data)[HEADER_SIZE:]
    if crc != zlib.crc32(body, zlib.crc32(data[:_CRC_AT])):
        raise FrameError("frame's checksum does not match", "it was damaged on the way; send it again")
    if code not in tuple(MessageType) or scheme not in _SCHEMES or kind not in _KINDS:
        raise FrameError(f"frame has type {code}, scheme {scheme} and kind {kind}, of which one is unknown")
    what = MessageType(code)
    clients: tuple[int, ...] = ()
    if what is not MessageType.UPLOAD:
        clients, body = _unpack_clients(body)
    parts = (bytes(body),) if what is MessageType.OPENING else tuple(_cut(body))
    return Message(what, _SCHEMES[scheme], _KINDS[kind], layout, number, sender, key, clients, parts)


def _pack_clients(clients: Sequence[int]) -> bytes:
    return struct.pack(f"<I{len(clients)}I", len(clients), *clients)


def _unpack_clients(body: memoryview) -> tuple[tuple[int, ...], memoryview]:
    count = int.from_bytes(body[:4], "little")
    end = 4 + 4 * count
    if not 1 <= count <= MAX_CLIENTS or len(body) < end:
        raise FrameError("frame's list of clients is empty, too long or cut off")
    clients = struct.unpack_from(f"<{count}I", body, 4)
    if list(clients) != sorted(set(clients)):
        raise FrameError("frame's list of clients is not ascending, each once")
    return clients, body[end:]


def _cut(body: memoryview) -> list[bytes]:
    parts = []
    while body:
        size = int.from_bytes(body[:4], "little")
        if len(body) < 4 or not 1 <= size <= min(MAX_CIPHERTEXT, len(body) - 4):
            raise FrameError("frame's ciphertexts do not fill it exactly")
        parts.append(bytes(body[4 : 4 + size]))
        body = body[4 + size :]
    if not parts:
        raise FrameError("frame carries no ciphertext")
    return parts
