"""What lies around a ciphertext: TenSEAL's envelope outside, and the frame of its compression inside.

TenSEAL (0.3.18) hands a ciphertext over in a protocol buffer with a size and a scale beside it. A sender could write
anything there, so only the ciphertext travels, and the envelope is made anew on arrival. Inside, SEAL compresses with
Zstandard (RFC 8878), of which a few bytes can stand for gigabytes; so the blocks are counted before SEAL sees them.

Invariant: `unwrap` gives nothing but the ciphertext, and what `wrap` lets pass decompresses to at most `MAX_INFLATED`.
"""

from __future__ import annotations

import struct

from defenses.errors import FrameError
from defenses.secagg.homomorphic.parameters import Parameters, Scheme

MAX_CIPHERTEXT = 2 * 4096 * 8 + 1024
"""A ciphertext's two polynomials uncompressed, and its headers: nothing longer is looked at."""

_BLOCK = 128 * 1024
_MOST_BLOCKS = 16
MAX_INFLATED = _MOST_BLOCKS * _BLOCK
"""Bytes; what this library writes is one block of 66 kB, and other versions cut finer."""

_SEAL_MAGIC, _SEAL_HEADER, _ZSTD = b"\x5e\xa1\x10", 16, 2
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_RLE, _RESERVED = 1, 3


def wrap(ciphertext: bytes, parameters: Parameters) -> bytes:
    """A ciphertext as TenSEAL reads it.

    Raises:
        FrameError: it is too long, not in SEAL's form, or would take more memory than any ciphertext.
    """
    if not 0 < len(ciphertext) <= MAX_CIPHERTEXT:
        raise FrameError(f"ciphertext has {len(ciphertext)} bytes", f"the longest has {MAX_CIPHERTEXT}")
    if not _inflates_within_bounds(ciphertext):
        raise FrameError("ciphertext is not in the form of this library", "use the same version on every end")
    head, tail = _around(parameters)
    return head + _varint(len(ciphertext)) + ciphertext + tail


def unwrap(whole: bytes, parameters: Parameters) -> bytes:
    """The ciphertext in what TenSEAL wrote."""
    head, tail = _around(parameters)
    # The length's own length depends on it: three bytes from 16,384 on, which every ciphertext is above.
    body = whole[len(head) + 3 : len(whole) - len(tail)]
    if whole != head + _varint(len(body)) + body + tail or not _inflates_within_bounds(body):
        raise RuntimeError("tenseal writes ciphertexts in another form than version 0.3.18 does")
    return body


def _around(parameters: Parameters) -> tuple[bytes, bytes]:
    """What stands before a ciphertext's length, and after the ciphertext.

    Field 1 is a packed list with the number of slots, field 2 the ciphertext, and for CKKS field 3 the scale.
    """
    size = _varint(parameters.slots)
    tail = b"\x19" + struct.pack("<d", parameters.scale) if parameters.scheme is Scheme.CKKS else b""
    return b"\x0a" + _varint(len(size)) + size + b"\x12", tail


def _varint(number: int) -> bytes:
    """A whole number as protocol buffers write it: seven bits a byte, lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _inflates_within_bounds(body: bytes) -> bool:
    """Whether bytes are SEAL's header and then one Zstandard frame of few blocks, and nothing after it."""
    at = _SEAL_HEADER + len(_ZSTD_MAGIC)
    if len(body) <= at or body[:3] != _SEAL_MAGIC or body[5] != _ZSTD or body[_SEAL_HEADER:at] != _ZSTD_MAGIC:
        return False
    descriptor = body[at]
    single, dictionary, size = descriptor >> 5 & 1, descriptor & 3, descriptor >> 6
    if dictionary:
        return False
    at += 1 + (1 - single) + (single, 2, 4, 8)[size]
    for _ in range(_MOST_BLOCKS):
        header = int.from_bytes(body[at : at + 3], "little")
        last, kind, length = header & 1, header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == _RLE else length)
        if kind == _RESERVED or length > _BLOCK or at > len(body):
            return False
        if last:
            return at + 4 * (descriptor >> 2 & 1) == len(body)
    return False
