"""Sharing 32 secret bytes so that any ``threshold`` holders can put them together and fewer learn nothing.

One prime field just above 2^256 holds a whole key, so a share has 33 bytes whatever the number of holders.
Invariant: coefficients are uniform (48 random bytes modulo the prime: within 2^-127), and weights for
combining are computed once for a set of holders, which a round has few of.

Reference: Shamir, *How to share a secret*, CACM 22(11), 1979.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from defenses.entropy import Entropy
from defenses.errors import ProtocolError, UserError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
_DRAW_BYTES = 48
# A product with a small point adds its bits; reducing after a few steps is cheaper than after each.
_REDUCE_EVERY = 12


def draw(threshold: int, entropy: Entropy) -> bytes:
    """The random bytes that sharing one secret takes, drawn ahead so that dealing can be repeated after a crash."""
    return entropy.bytes(_DRAW_BYTES * (threshold - 1))


def split(secret: bytes, threshold: int, points: Sequence[int], drawn: bytes) -> list[bytes]:
    """One share for each point.

    Args:
        secret: 32 bytes.
        threshold: how many shares put it together; 1 to the number of points.
        points: the holders' places, each once, above 0.
        drawn: from `draw`, for this secret alone.

    Returns:
        Shares of 33 bytes, in the order of the points.
    """
    if len(secret) != SECRET_BYTES:
        raise UserError(f"a secret of {len(secret)} bytes cannot be shared", f"share {SECRET_BYTES} bytes")
    if not 1 <= threshold <= len(points) or len(set(points)) != len(points) or min(points) < 1:
        raise UserError(
            f"threshold {threshold} over {len(points)} points cannot be", "use distinct points above 0"
        )
    if len(drawn) != _DRAW_BYTES * (threshold - 1):
        raise UserError(f"{len(drawn)} random bytes cannot share a secret among {threshold}", "use `draw`")
    coefficients = [
        int.from_bytes(drawn[at : at + _DRAW_BYTES], "little") % PRIME
        for at in range(0, len(drawn), _DRAW_BYTES)
    ]
    coefficients.append(int.from_bytes(secret, "little"))
    return [_value(coefficients, point).to_bytes(SHARE_BYTES, "little") for point in points]


def _value(coefficients: Sequence[int], point: int) -> int:
    """The polynomial at a point, highest coefficient first."""
    value = 0
    for step, coefficient in enumerate(coefficients):
        value = value * point + coefficient
        if step % _REDUCE_EVERY == 0:
            value %= PRIME
    return value % PRIME


@lru_cache(maxsize=4096)
def weights(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights for the value at 0, modulo the prime.

    Numerator and denominator are products of small whole numbers, so they are taken as such and only the last
    step is modular; the inverses share one modular inversion (Montgomery's trick).
    """
    whole = math.prod(points)
    below = []
    for place, point in enumerate(points):
        apart = [other - point for other in points]
        apart[place] = point
        below.append(math.prod(apart))
    prefixes = [1]
    for each in below:
        prefixes.append(prefixes[-1] * (each % PRIME) % PRIME)
    inverse = pow(prefixes[-1], -1, PRIME)
    found = []
    for before, each in zip(reversed(prefixes[:-1]), reversed(below), strict=True):
        found.append(whole * (inverse * before % PRIME) % PRIME)
        inverse = inverse * each % PRIME
    return tuple(reversed(found))


def combine(points: Sequence[int], shares: Sequence[bytes]) -> bytes:
    """The secret behind exactly ``threshold`` shares.

    Wrong shares give a wrong secret and no error: whoever combines must compare with a commitment.

    Raises:
        ProtocolError: a share is no element of the field, or the shares fit no secret of 32 bytes.
    """
    if len(points) != len(shares) or len(set(points)) != len(points):
        raise UserError(
            f"{len(shares)} shares at {len(points)} points cannot be combined", "give one for each"
        )
    values = [int.from_bytes(share, "little") for share in shares]
    if set(map(len, shares)) != {SHARE_BYTES} or max(values) >= PRIME:
        raise ProtocolError("a share is no element of the field")
    total = sum(map(int.__mul__, weights(tuple(points)), values)) % PRIME
    if total >> (8 * SECRET_BYTES):
        raise ProtocolError("the shares fit no secret")
    return total.to_bytes(SECRET_BYTES, "little")
