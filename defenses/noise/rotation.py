"""A public random rotation: spreads a vector's energy over all coordinates before it is rounded.

``H diag(s) / sqrt(D)`` with random signs s and the Walsh-Hadamard matrix H of the next power of two D is orthonormal,
so norms and sums are what they were, and no coordinate of the result stands out: the rounding step can be chosen for
the typical coordinate. The signs come from a seed that everybody knows; no guarantee hangs on them.

Rotation is float arithmetic and its result's norm is right only up to rounding, so a sensitivity is to be enforced
after it, on whole numbers (`defenses.noise.rounding`).

Invariant: `undo` is the inverse of `apply` up to float rounding, on any machine from the same seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from defenses.errors import UserError

_DOMAIN = b"ifedpriv rotation 1|"

FloatArray = npt.NDArray[np.float64]


def padded(size: int) -> int:
    """The least power of two that is not below ``size``."""
    return 1 << (size - 1).bit_length()


def hadamard(values: npt.ArrayLike) -> FloatArray:
    """The orthonormal Walsh-Hadamard transform of each row; its own inverse.

    Args:
        values: [n, D] or [D], with D a power of two.

    Returns:
        float64 of the same shape. Every number is made by log2(D) additions in a fixed order, so it is the same on
        every machine.
    """
    given = np.asarray(values, dtype=np.float64)
    size = given.shape[-1]
    if size < 1 or size & (size - 1):
        raise UserError(f"rotation has rows of {size} numbers", "pad them to a power of two")
    # Each pass adds and subtracts neighbours and puts the sums before the differences; after log2(D) passes every
    # number has met every other, in the natural order.
    now, following = given.reshape(-1, size).copy(), np.empty((given.size // size, size))
    half = size // 2
    for _ in range(size.bit_length() - 1):
        np.add(now[:, 0::2], now[:, 1::2], out=following[:, :half])
        np.subtract(now[:, 0::2], now[:, 1::2], out=following[:, half:])
        now, following = following, now
    now *= 1 / np.sqrt(size)
    return now.reshape(given.shape)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation of vectors of one size.

    Attributes:
        size: numbers in a vector.
        seed: public, the same for all whose vectors are summed; 16 bytes or more for a run that adversaries of the
            rounding error should not foretell.
    """

    size: int
    seed: bytes

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"rotation.size is {self.size}", "use 1 or more")

    @property
    def padded(self) -> int:
        """Numbers in a rotated vector."""
        return padded(self.size)

    def apply(self, values: npt.ArrayLike) -> FloatArray:
        """[n, size] or [size] vectors, rotated: [n, padded] or [padded] float64."""
        given = self._checked(values, self.size)
        rows = np.zeros((*given.shape[:-1], self.padded))
        np.multiply(given, self._signs(), out=rows[..., : self.size])
        return hadamard(rows)

    def undo(self, values: npt.ArrayLike) -> FloatArray:
        """[n, padded] or [padded] rotated vectors, or sums of some, turned back: [n, size] or [size] float64."""
        turned = hadamard(self._checked(values, self.padded))[..., : self.size]
        turned *= self._signs()
        return np.ascontiguousarray(turned)

    def _signs(self) -> FloatArray:
        # Signs of the padding would multiply zeros.
        stream = hashlib.shake_256(_DOMAIN + self.seed).digest((self.size + 7) // 8)
        bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=self.size, bitorder="little")
        return 1.0 - 2.0 * bits.astype(np.float64)

    def _checked(self, values: npt.ArrayLike, size: int) -> FloatArray:
        given = np.asarray(values, dtype=np.float64)
        if given.ndim not in (1, 2) or given.shape[-1] != size:
            raise UserError(f"rotation was given shape {given.shape}", f"give rows of {size} numbers")
        return given
