"""A ciphertext as whole numbers: how it travels, and how the server adds it.

Both schemes' ciphertexts are two polynomials modulo one prime, and a sum of ciphertexts is the sum of their
coefficients modulo it. So the server needs no library for encryption, and no client's bytes reach one: an exact
length, and every coefficient below the prime, is all there is to check. The library's own form is compressed, and
damaged bytes of it have ended the process that read them.

Invariant: on any bytes whatever, `unpack` gives coefficients below the prime or raises `FrameError`, and `pack` makes
the same bytes of them again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from defenses.errors import FrameError
from defenses.secagg.homomorphic.parameters import TABLE, Parameters

Coefficients = npt.NDArray[np.uint64]
"""[2 * degree], the first polynomial's and then the second's, each from its constant term upwards, below the prime.
For CKKS they are in the library's evaluation form, which is added alike."""

_WORD = 64


def ciphertext_bytes(parameters: Parameters) -> int:
    """Bytes of a ciphertext: its coefficients, packed to the bit."""
    return 2 * parameters.degree * parameters.prime_bits[0] // 8


MAX_CIPHERTEXT = max(map(ciphertext_bytes, TABLE.values()))
"""Bytes of the longest ciphertext of any parameters."""


def pack(coefficients: Coefficients, parameters: Parameters) -> bytes:
    """A ciphertext's bytes: coefficient i fills bits i*b to (i+1)*b - 1, lowest first, where b is the prime's bits."""
    bits = parameters.prime_bits[0]
    low, high = coefficients.reshape(-1, 2).T
    # Two coefficients fill whole bytes: one word of 64 bits, and a part of another.
    pairs = np.empty((len(low), bits // 4), dtype=np.uint8)
    pairs[:, :8] = _as_bytes(low | high << np.uint64(bits))
    pairs[:, 8:] = _as_bytes(high >> np.uint64(_WORD - bits))[:, : bits // 4 - 8]
    return pairs.tobytes()


def unpack(data: bytes | memoryview, parameters: Parameters) -> Coefficients:
    """The inverse of `pack`.

    Raises:
        FrameError: the bytes are not as many as a ciphertext's, a coefficient is not below the prime, or the second
            polynomial is zero, so that nothing is encrypted.
    """
    bits, size = parameters.prime_bits[0], ciphertext_bytes(parameters)
    if len(data) != size:
        raise FrameError(
            f"ciphertext has {len(data)} bytes, where {parameters.scheme} takes {size}",
            "use the same version and configuration on every end",
        )
    words = np.zeros((parameters.degree, 16), dtype=np.uint8)
    words[:, : bits // 4] = np.frombuffer(data, dtype=np.uint8).reshape(-1, bits // 4)
    first, second = words.view("<u8").T
    pairs = np.empty((parameters.degree, 2), dtype=np.uint64)
    pairs[:, 0] = first & np.uint64((1 << bits) - 1)
    pairs[:, 1] = first >> np.uint64(bits) | second << np.uint64(_WORD - bits)
    coefficients = pairs.reshape(-1)
    if coefficients.max() >= parameters.prime or not coefficients[parameters.degree :].any():
        raise FrameError(
            f"ciphertext is none of the agreed {parameters.scheme} parameters",
            "use the same configuration and keys on every end",
        )
    return coefficients


def add(total: Coefficients, other: Coefficients, parameters: Parameters) -> None:
    """Add the second ciphertext to the first, in place."""
    total += other
    # Below the prime, the difference wraps to something larger.
    np.minimum(total, total - np.uint64(parameters.prime), out=total)


def _as_bytes(words: Coefficients) -> npt.NDArray[np.uint8]:
    return words.astype("<u8").view(np.uint8).reshape(-1, 8)
