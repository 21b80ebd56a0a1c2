"""What lies around a ciphertext's coefficients: TenSEAL's envelope outside, SEAL's headers and compression inside.

TenSEAL (0.3.18) hands a ciphertext over in a protocol buffer with a size and a scale beside it; in it is SEAL's own
form, compressed with Zstandard. A sender could write anything into any of these, and readers in C++ have ended their
process over it; so none of it travels. What our own library wrote is taken apart here, coefficients travel
(`ciphertext`), and the rest is made anew, uncompressed, for the library of who decrypts.

Invariant: what `wrap` gives differs from what the library itself would write, uncompressed, in coefficients alone.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from defenses.secagg.homomorphic.ciphertext import Coefficients
from defenses.secagg.homomorphic.parameters import Parameters, Scheme

_PARAMETERS_ID = {
    Scheme.CKKS: "ad69ddf249d83e0bbc05c751f0f72d4f0c7811890a1a6a513bcc613f19b654d4",
    Scheme.BFV: "cfc874002171ae909624f5c532aa0b5400b01e3a77e38c05db79b49424e2657f",
}
"""By which hash SEAL knows the parameters of a ciphertext: scheme, degree, prime and plain modulus."""

Version = tuple[int, int]
"""SEAL's own, major and minor; it is in every header that SEAL writes."""

_SEAL = struct.Struct("<HBBBBHQ")
_SEAL_MAGIC = 0xA15E
_PLAIN, _ZSTD = 0, 2


def wrap(coefficients: Coefficients, parameters: Parameters, version: Version) -> bytes:
    """A ciphertext as TenSEAL reads it, uncompressed."""
    head, tail = _around(parameters)
    body = _fields(parameters, version) + coefficients.astype("<u8").tobytes()
    body = _seal_header(version, len(body), _PLAIN) + body
    return head + _varint(len(body)) + body + tail


def unwrap(whole: bytes, parameters: Parameters, version: Version, zstandard: Any) -> Coefficients:
    """The coefficients in what our own TenSEAL wrote; nothing from anywhere else comes here.

    Args:
        whole: as the library gave it.
        parameters: a row of the table.
        version: of the library that wrote it.
        zstandard: the library of that name.
    """
    head, tail = _around(parameters)
    fields = _fields(parameters, version)
    # The length's own length depends on it: three bytes from 16,384 on, which every ciphertext is above.
    body = whole[len(head) + 3 : len(whole) - len(tail)]
    known = whole == head + _varint(len(body)) + body + tail
    known &= body[: _SEAL.size] == _seal_header(version, len(body) - _SEAL.size, _ZSTD)
    size = len(fields) + 16 * parameters.degree
    plain = (
        zstandard.ZstdDecompressor().decompress(body[_SEAL.size :], max_output_size=size) if known else b""
    )
    if len(plain) != size or not plain.startswith(fields):
        raise RuntimeError("tenseal writes ciphertexts in another form than version 0.3.18 does")
    return np.frombuffer(plain, dtype="<u8", offset=len(fields)).astype(np.uint64)


def _seal_header(version: Version, length: int, compression: int) -> bytes:
    """What stands before everything that SEAL writes: who wrote it, and how many bytes follow."""
    return _SEAL.pack(_SEAL_MAGIC, _SEAL.size, *version, compression, 0, _SEAL.size + length)


def _fields(parameters: Parameters, version: Version) -> bytes:
    """What SEAL writes before a ciphertext's coefficients; not aligned, and a list with a header of its own."""
    ckks = parameters.scheme is Scheme.CKKS
    scale = float(parameters.scale) if ckks else 1.0
    shape = struct.pack("<?QQQdQ", ckks, 2, parameters.degree, 1, scale, 1)
    count = 2 * parameters.degree
    return (
        bytes.fromhex(_PARAMETERS_ID[parameters.scheme])
        + shape
        + _seal_header(version, 8 + 8 * count, _PLAIN)
        + struct.pack("<Q", count)
    )


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
