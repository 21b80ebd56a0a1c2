"""Whole numbers modulo 2^bits, and their exact packing to the bit: what sums are formed in and travel as.

Invariant: an array of ring elements is unsigned and below 2^bits, and `unpack` is the exact inverse of `pack`:
it accepts one length and zero spare bits only, so that a sum has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from defenses.errors import FrameError, UserError

UIntArray = npt.NDArray[np.unsignedinteger[Any]]
"""Ring elements, in the smallest of three unsigned types that holds them."""

MAX_BITS = 64
_WORD = 64


@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo 2^bits; the upper half stands for negative numbers.

    Attributes:
        bits: 1 to 64.
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise UserError(f"ring.bits is {self.bits}", f"use 1 to {MAX_BITS}")

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest of uint16, uint32 and uint64 that holds an element."""
        if self.bits <= 16:
            return np.dtype(np.uint16)
        return np.dtype(np.uint32) if self.bits <= 32 else np.dtype(np.uint64)

    @property
    def native(self) -> bool:
        """Whether elements fill their type, so that arithmetic on them never leaves the ring."""
        return self.bits == 8 * self.dtype.itemsize

    @property
    def largest(self) -> int:
        """The largest number that stands for itself: 2^(bits-1) - 1; so does its negative."""
        return (1 << (self.bits - 1)) - 1

    def wrap(self, numbers: npt.NDArray[np.generic]) -> UIntArray:
        """Integers of any integer type, signed or not, as ring elements."""
        # Casting between integer types is modulo 2^width, and 2^bits divides that.
        elements: UIntArray = numbers.astype(self.dtype)
        if not self.native:
            elements &= elements.dtype.type((1 << self.bits) - 1)
        return elements

    def add(self, one: UIntArray, other: UIntArray) -> UIntArray:
        """The sum of two arrays of elements."""
        total: UIntArray = np.add(one, other, dtype=self.dtype)
        return total if self.native else self.wrap(total)

    def centred(self, elements: UIntArray) -> npt.NDArray[np.int64]:
        """Elements as the signed numbers they stand for, -2^(bits-1) to 2^(bits-1) - 1."""
        spare = np.uint64(_WORD - self.bits)
        return np.asarray((elements.astype(np.uint64) << spare).view(np.int64) >> np.int64(spare))

    def signed(self, elements: UIntArray) -> npt.NDArray[np.signedinteger[Any]]:
        """As `centred`, in a type as wide as the elements, and not copied, where their bits fill it."""
        if self.bits == 8 * elements.itemsize and elements.dtype.isnative:
            return elements.view(np.dtype(f"i{elements.itemsize}"))
        return self.centred(elements)

    def packed_size(self, count: int) -> int:
        """Bytes of so many packed elements."""
        return (count * self.bits + 7) // 8

    def pack(self, elements: UIntArray) -> bytes:
        """Elements as a little-endian stream of bits.

        Element i fills bits i*bits to (i+1)*bits - 1, lowest first; bit j is bit j mod 8 of byte j // 8; spare
        bits of the last byte are 0. What an element has above the ring's bits, as sums formed in its type have, is left
        out: it is a multiple of 2^bits.
        """
        whole = self._as_bytes()
        if whole is not None:
            return elements.astype(whole, copy=False).tobytes()
        groups = -(-len(elements) // _WORD)
        columns = np.zeros((_WORD, groups), dtype=np.uint64)
        # 64 elements fill exactly `bits` words: a column per place in the group keeps every step contiguous.
        padded = np.zeros(groups * _WORD, dtype=np.uint64)
        padded[: len(elements)] = elements
        columns[...] = padded.reshape(groups, _WORD).T & np.uint64((1 << self.bits) - 1)
        words = np.zeros((self.bits, groups), dtype=np.uint64)
        for place in range(_WORD):
            word, shift = divmod(place * self.bits, _WORD)
            words[word] |= columns[place] << np.uint64(shift)
            if shift + self.bits > _WORD:
                words[word + 1] |= columns[place] >> np.uint64(_WORD - shift)
        return words.T.astype("<u8").tobytes()[: self.packed_size(len(elements))]

    def unpack(self, data: bytes | memoryview, count: int) -> UIntArray:
        """The inverse of `pack`.

        Raises:
            FrameError: the bytes are not exactly as long as ``count`` elements take, or a spare bit is 1.
        """
        size = self.packed_size(count)
        if len(data) != size:
            raise FrameError(
                f"packed numbers have {len(data)} bytes, where {count} of {self.bits} bits take {size}"
            )
        whole = self._as_bytes()
        if whole is not None:
            return np.frombuffer(data, dtype=whole).astype(self.dtype, copy=False)
        spare = 8 * size - count * self.bits
        if spare and data[-1] >> (8 - spare):
            raise FrameError("packed numbers have a spare bit that is not 0")
        groups = -(-count // _WORD)
        padded = np.zeros(groups * self.bits * 8, dtype=np.uint8)
        padded[:size] = np.frombuffer(data, dtype=np.uint8)
        words = np.ascontiguousarray(padded.view("<u8").astype(np.uint64).reshape(groups, self.bits).T)
        columns = np.empty((_WORD, groups), dtype=np.uint64)
        for place in range(_WORD):
            word, shift = divmod(place * self.bits, _WORD)
            columns[place] = words[word] >> np.uint64(shift)
            if shift + self.bits > _WORD:
                columns[place] |= words[word + 1] << np.uint64(_WORD - shift)
        return self.wrap(columns.T.reshape(-1)[:count])

    def _as_bytes(self) -> np.dtype[np.unsignedinteger[Any]] | None:
        """The type whose bytes are the packed form, for widths that numpy has."""
        return np.dtype(f"<u{self.bits // 8}") if self.bits in (8, 16, 32, 64) else None
