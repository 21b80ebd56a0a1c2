"""Exact draws from a wide law on the whole numbers: a coarse table says which block, and a uniform offset where in it.

The argument. Let p have a mode at ``centre`` and fall to both sides. Block Y holds the ``width`` numbers from
``centre + Y * width`` on, and its peak is the one nearest to the centre. A block is drawn with probability in
proportion to the p of its peak, a number x in it uniformly, and x is kept with probability p(x) / p(peak), which is
at most 1; else all is drawn anew. A kept x has probability in proportion to p(peak) * 1/width * p(x)/p(peak), that is
to p(x): the law itself. The block is drawn exactly (`defenses.noise.inversion`), the offset is random bits, and the
decision to keep is exact:

1. 16 digits of a uniform u settle it where they are below ``2^16 * p(next peak) / p(peak)`` rounded down, taken
   from the table's enclosures: every x of the block has a larger p than the next block's peak. That is nearly always.
2. Else 64 digits are compared with a float of p(x)/p(peak), whose error is proved to be below 2^-30 by the law, and
   decide only if they differ from it by more than 2^-29.
3. Else, about once in 2^34 draws, the digits are compared with enclosures in whole numbers, drawing more as needed.

So floats never decide; they only tell which digits need no exact comparison. The proofs of the 2^-30 count roundings
of +, -, * and / as IEEE 754 defines them and use no library function. Step 2 is skipped for blocks beyond the table,
which those proofs do not cover.

How many draws are thrown away depends on the draws: this is not constant-time code.

Invariant: x is kept with probability exactly p(x) / p(peak).
"""

from __future__ import annotations

from math import factorial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy
from defenses.noise.intervals import Pair
from defenses.noise.inversion import Inversion, Law

FINEST, COARSEST = 64, 128
"""Where blocks are wider than 1, the law's standard deviation has between these two blocks."""

_CHUNK = 2**16
_SURE = 16
_WORD = 64
_SLACK = 2.0**-29

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class BlockLaw(Law, Protocol):
    """A unimodal law whose `enclose` gives the weights of the blocks' peaks."""

    @property
    def centre(self) -> int:
        """A mode."""
        ...

    @property
    def width(self) -> int:
        """Numbers in a block, a power of 2."""
        ...

    def near(self, offsets: IntArray, peaks: IntArray) -> FloatArray:
        """p(x) / p(peak) within 2^-30, for x and peaks as offsets from the centre, in the table's range."""
        ...

    def ratio(self, offset: int, peak: int, bits: int) -> Pair:
        """p(x) / p(peak) enclosed."""
        ...


def width_for(deviation_squared: int) -> int:
    """The least power of 2 of which `COARSEST` make up a standard deviation, given the floor of its square."""
    width = 1
    while width * width * COARSEST * COARSEST <= deviation_squared:
        width *= 2
    return width


class Blocks:
    """Draws from a wide or narrow unimodal law, exactly.

    Args:
        law: see `BlockLaw`; of width 1 it is drawn from the table alone.
    """

    def __init__(self, law: BlockLaw) -> None:
        self._law = law
        self._width = law.width
        self._table = Inversion(law)
        self._offset = _smallest_type(law.width)
        self._sure = _sure(self._table)

    def draw(self, size: int, entropy: Entropy) -> IntArray:
        """So many independent draws.

        Takes 2 bytes of entropy each where blocks have one number, and up to 8 else; more for a few.
        """
        out = np.empty(size, dtype=np.int64)
        # A chunk of the arrays stays in the processor's cache.
        for start in range(0, size, _CHUNK):
            self._fill(out[start : start + _CHUNK], entropy)
        out += self._law.centre
        return out

    def _fill(self, out: IntArray, entropy: Entropy) -> None:
        if self._width == 1:
            out[:] = self._table.draw(len(out), entropy)
            return
        out[:], kept = self._propose(len(out), entropy)
        open_ = np.flatnonzero(~kept)
        while len(open_):
            offsets, kept = self._propose(len(open_), entropy)
            out[open_] = offsets
            open_ = open_[~kept]

    def _propose(self, size: int, entropy: Entropy) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Proposals as offsets from the centre, and whether each is kept."""
        blocks = self._table.draw(size, entropy)
        raw = np.frombuffer(entropy.bytes(self._offset.itemsize * size), dtype=self._offset)
        offsets = blocks * self._width
        offsets += (raw & self._offset.type(self._width - 1)).astype(np.int64)
        digits = np.frombuffer(entropy.bytes(_SURE // 8 * size), dtype="<u2")
        rows = blocks - (self._table.first - 1)
        sure = self._sure.take(rows, mode="clip")
        kept = digits < sure
        open_ = np.flatnonzero(~kept)
        if len(open_):
            inside = sure[open_] > 0
            kept[open_] = self._decide(blocks[open_], offsets[open_], digits[open_], inside, entropy)
        return offsets, kept

    def _decide(
        self,
        blocks: IntArray,
        offsets: IntArray,
        digits: npt.NDArray[np.uint16],
        inside: npt.NDArray[np.bool_],
        entropy: Entropy,
    ) -> npt.NDArray[np.bool_]:
        """Whether each proposal that 16 digits left open is kept."""
        more = np.frombuffer(entropy.bytes(8 * len(digits)), dtype="<u8") >> np.uint64(_SURE)
        words = (digits.astype(np.uint64) << np.uint64(_WORD - _SURE)) | more
        peaks = np.where(blocks >= 0, blocks * self._width, (blocks + 1) * self._width - 1)
        # The word becomes a float within 2^-53. Beyond the table the float may be anything, and is not asked.
        with np.errstate(all="ignore"):
            differs = words * 2.0**-_WORD - self._law.near(offsets, peaks)
        kept: npt.NDArray[np.bool_] = differs < 0
        for at in np.flatnonzero(~inside | ~(np.abs(differs) > _SLACK)):
            kept[at] = self._settle(int(offsets[at]), int(peaks[at]), int(words[at]), entropy)
        return kept

    def _settle(self, offset: int, peak: int, digits: int, entropy: Entropy) -> bool:
        """The decision on a proposal that 64 digits and a float left open."""
        bits = _WORD
        while True:
            low, high = self._law.ratio(offset, peak, bits)
            if digits + 1 <= low:
                return True
            if digits >= high:
                return False
            digits = digits << _WORD | int.from_bytes(entropy.bytes(_WORD // 8), "little")
            bits += _WORD


def exp_minus_float(number: FloatArray) -> FloatArray:
    """e^-x within 2^-35 for 0 <= x <= 1/4, by basic operations alone.

    Taylor's series to x^8 leaves less than (1/4)^9 / 9! < 2^-36. In Horner's scheme the 9 additions and 8 products act
    on numbers of at most 1.3, each with a relative rounding error of 2^-53, and coefficients are rounded once.
    """
    total = np.full_like(number, 1 / factorial(8))
    for order in range(7, -1, -1):
        total *= number
        np.subtract(1 / factorial(order), total, out=total)
    return total


def _smallest_type(width: int) -> np.dtype[np.unsignedinteger]:
    """The narrowest unsigned type that has the bits of an offset in a block, little-endian."""
    bytes_needed = max(1, ((width - 1).bit_length() + 7) // 8)
    return np.dtype(f"<u{1 << (bytes_needed - 1).bit_length()}")


def _sure(table: Inversion) -> npt.NDArray[np.uint16]:
    """For each block of the table, in how many of the 2^16 first digits every number of the block is kept.

    Row 0 and the last stand for everything beyond the table and say 0; the outermost blocks do too, since their next
    peaks are not in the table.
    """
    low, high = table.weights.low, table.weights.high
    rows = np.zeros(len(low) + 2, dtype=np.uint16)
    for row in range(1, len(low) - 1):
        following = row + 1 if table.first + row >= 0 else row - 1
        rows[row + 1] = min((low[following] << _SURE) // high[row], 2**_SURE - 1)
    return rows
