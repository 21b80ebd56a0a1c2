"""From a key to a mask as long as the vector, added or taken away in place.

A mask is the AES-256-CTR keystream under a key that serves one pair (or one client) in one round and nothing
else, read as little-endian ring elements. Invariant: no keystream byte is ever used twice, since a key makes
one stream from counter 0 and the stream is used once; nothing is folded, reduced or rounded on the way, so
each element is uniform over the ring's whole carrier.

Reference: Bonawitz et al., CCS 2017, section 4.0.2; AES-CTR: NIST SP 800-38A.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from defenses.errors import UserError

RingArray = npt.NDArray[np.uint16] | npt.NDArray[np.uint32] | npt.NDArray[np.uint64]

CHUNK_BYTES = 65_536
"""Keystream made at a time: it stays in the processor's cache until it has been added."""

_BLOCK = 16
_FROM_ZERO = modes.CTR(bytes(_BLOCK))
_ZEROS = bytes(CHUNK_BYTES)
DTYPES: dict[int, str] = {16: "<u2", 32: "<u4", 64: "<u8"}
"""Ring bits to the little-endian type of an element."""


def apply(vector: RingArray, key: bytes, sign: Literal[1, -1]) -> None:
    """Add (or take away) a key's mask, in place, modulo the ring.

    Args:
        vector: [size] of uint16, uint32 or uint64; changed.
        key: 32 bytes, used for this mask alone.
        sign: 1 adds, -1 takes away.
    """
    if vector.ndim != 1 or vector.dtype.kind != "u" or 8 * vector.itemsize not in DTYPES:
        raise UserError(f"a mask cannot be put on an array of {vector.dtype}", "use uint16, uint32 or uint64")
    if len(key) != 32:
        raise UserError(f"a mask's key has {len(key)} bytes", "derive 32")
    stream = Cipher(algorithms.AES(key), _FROM_ZERO).encryptor()
    # update_into wants room for one block more than it writes.
    step = min(CHUNK_BYTES // vector.itemsize, len(vector))
    buffer = bytearray(step * vector.itemsize + _BLOCK - 1)
    mask = np.frombuffer(buffer, dtype=vector.dtype.newbyteorder("<"), count=step)
    zeros = memoryview(_ZEROS)[: step * vector.itemsize]
    into = np.add if sign == 1 else np.subtract
    for at in range(0, len(vector), step):
        part = vector[at : at + step]
        stream.update_into(zeros if len(part) == step else zeros[: part.nbytes], buffer)
        into(part, mask[: len(part)], out=part)


def pair_sign(me: int, other: int) -> Literal[1, -1]:
    """The lower number of a pair adds its mask and the higher takes it away, so that the two cancel."""
    return 1 if me < other else -1
