"""The wire: one fixed header and one packed payload, the same in both directions.

`docs/wire.md` is the specification, and a test holds it to this file. Invariant: on any bytes whatever,
`peek` and `decode` either succeed or raise `FrameError`, and allocate no more than the input justifies.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

from defenses.codec import Precision, decode_values, encode_values, payload_size
from defenses.errors import FrameError
from defenses.upload import MAX_U32, Layout, Upload, UploadKind

__all__ = [
    "HEADER_FIELDS",
    "HEADER_SIZE",
    "MAGIC",
    "SERVER",
    "VERSION",
    "DecodedFrame",
    "FrameHeader",
    "Precision",
    "decode",
    "encode",
    "frame_size",
    "peek",
]

MAGIC = b"IF"
VERSION = 1
SERVER = MAX_U32
"""The sender number of the server, in frames that it sends to clients."""

HEADER_FIELDS: tuple[tuple[str, str], ...] = (
    ("magic", "2s"),
    ("version", "B"),
    ("tag", "B"),
    ("layout", "H"),
    ("length", "I"),
    ("round", "I"),
    ("sender", "I"),
    ("weight", "f"),
    ("crc", "I"),
)
"""Name and `struct` code of every header field, little-endian and without gaps."""

_HEADER = struct.Struct("<" + "".join(code for _, code in HEADER_FIELDS))
HEADER_SIZE = _HEADER.size
_CRC_AT = HEADER_SIZE - 4

KIND_CODES = {
    UploadKind.VECTOR: 1,
    UploadKind.COEFFICIENTS: 2,
    UploadKind.WEIGHTS: 3,
    UploadKind.SCORES: 4,
    UploadKind.CLUSTERS: 5,
    UploadKind.PROMPTS: 6,
    UploadKind.COUNTS: 7,
}
PRECISION_CODES = {Precision.FP32: 1, Precision.FP16: 2, Precision.INT8: 3, Precision.INT4: 4}
_KINDS = {code: kind for kind, code in KIND_CODES.items()}
_PRECISIONS = {code: precision for precision, code in PRECISION_CODES.items()}


@dataclass(frozen=True, slots=True, repr=False)
class FrameHeader:
    """What can be read of a frame without its layout.

    Attributes:
        kind: what the numbers are.
        precision: how they travel.
        layout_digest: 16 bits that name the layout.
        length: bytes of the payload.
        round: number of the round.
        sender: number of the client, or `SERVER`.
        weight: above 0 and finite.
    """

    kind: UploadKind
    precision: Precision
    layout_digest: int
    length: int
    round: int
    sender: int
    weight: float

    def __repr__(self) -> str:
        return f"FrameHeader({self.kind}, {self.precision}, round={self.round}, sender={self.sender})"


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """A frame's content.

    Attributes:
        upload: the arrays as they arrived, that is after rounding to the precision.
        sender: number of the client, or `SERVER`.
        precision: how the numbers travelled.
    """

    upload: Upload
    sender: int
    precision: Precision


def frame_size(layout: Layout, kind: UploadKind, precision: Precision) -> int:
    """Bytes of a whole frame, header included; the numbers themselves make no difference."""
    return HEADER_SIZE + payload_size(layout, UploadKind(kind), Precision(precision))


def encode(upload: Upload, sender: int, precision: Precision) -> bytes:
    """One frame.

    Args:
        upload: what to send.
        sender: number of the client, or `SERVER`.
        precision: how its numbers travel.

    Raises:
        FrameError: a number is too large for the precision, or the sender is no u32.
    """
    if not 0 <= sender <= MAX_U32:
        raise FrameError(f"sender is {sender}", f"use 0 to {MAX_U32 - 1}, or the server's number")
    precision = Precision(precision)
    layout = upload.layout
    payload = encode_values(layout.flatten(upload.arrays), layout, upload.kind, precision)
    tag = KIND_CODES[upload.kind] << 4 | PRECISION_CODES[precision]
    fields = (MAGIC, VERSION, tag, layout.digest, len(payload), upload.round, sender, upload.weight)
    head = _HEADER.pack(*fields, 0)[:_CRC_AT]
    return head + struct.pack("<I", _crc(head, payload)) + payload


def peek(data: bytes) -> FrameHeader:
    """The header of a frame that is whole and undamaged; the payload's numbers are not looked at.

    Raises:
        FrameError: anything about the bytes is not as the specification says.
    """
    if len(data) < HEADER_SIZE:
        raise FrameError(f"frame has {len(data)} bytes, less than a header of {HEADER_SIZE}")
    magic, version, tag, layout, length, round_number, sender, weight, crc = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FrameError("frame does not begin with the magic bytes 'IF'")
    if version != VERSION:
        raise FrameError(f"frame has version {version}", f"this program reads version {VERSION}")
    if length != len(data) - HEADER_SIZE:
        raise FrameError(f"frame announces {length} bytes of payload and carries {len(data) - HEADER_SIZE}")
    if crc != _crc(data[:_CRC_AT], memoryview(data)[HEADER_SIZE:]):
        raise FrameError("frame's checksum does not match", "it was damaged on the way; send it again")
    kind, precision = _KINDS.get(tag >> 4), _PRECISIONS.get(tag & 0x0F)
    if kind is None:
        raise FrameError(f"frame has the unknown kind {tag >> 4}")
    if precision is None:
        raise FrameError(f"frame has the unknown precision {tag & 0x0F}")
    if not (math.isfinite(weight) and weight > 0):
        raise FrameError("frame's weight is not above 0 and finite")
    return FrameHeader(kind, precision, layout, length, round_number, sender, weight)


def decode(data: bytes, layout: Layout) -> DecodedFrame:
    """The content of a frame.

    Args:
        data: one whole frame, nothing after it.
        layout: what both ends agreed on; a frame carries only its digest.

    Raises:
        FrameError: anything about the bytes is not as the specification says.
    """
    header = peek(data)
    if header.layout_digest != layout.digest:
        raise FrameError(
            f"frame's layout {header.layout_digest:#06x} is not {layout.digest:#06x}, the one agreed on",
            "use the same model and configuration on both ends",
        )
    flat = decode_values(data[HEADER_SIZE:], layout, header.kind, header.precision)
    upload = Upload(layout.unflatten(flat), header.weight, header.round, header.kind)
    return DecodedFrame(upload, header.sender, header.precision)


def _crc(head: bytes, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(head))
