"""Exact draws from a law on the whole numbers, by inverting its distribution function with as many bits as it takes.

The argument. Let u be uniform on [0, 1), its binary digits read one group after another, and C(k) the probability of
an outcome up to k. The k with ``C(k-1) <= u < C(k)`` has exactly the law's distribution. After 64 digits u is known to
lie in ``[U, U+1) / 2^64``. The table holds ``T(k) = floor(2^64 C(k))``, exactly. If U > T(k) then u > C(k); if
U < T(k) then u < C(k); so unless U equals some T(k) the outcome is settled, whatever the further digits are. If it
does equal one (with probability at most table length / 2^64), further digits are drawn and compared with enclosures
of C(k) of growing precision, until they settle it. Nothing is rounded or cut off, tails included, so the statistical
distance is 0; it rests on the source's bits alone.

Most draws need 16 digits only: the guide has, for each value of the first 16, the outcome if no T(k) lies within.

T(k) is exact since it comes from enclosures (`defenses.noise.intervals`): both ends of C(k) must have the same floor,
or the precision is raised. (A C(k) that is a whole multiple of 2^-64 would have no such enclosure. None of the laws
here is known to have one; a table that would need more than `_MOST_BITS` is refused, not guessed.) No float is used in
this file.

How long a draw takes depends on how its digits fall: this is not constant-time code.

Invariant: an outcome is returned only when its digits settle it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy

_TABLE_BITS, _MOST_BITS = 112, 1024
_WORD = 64
_GUIDE = 16


@dataclass(frozen=True, slots=True)
class Weights:
    """A law's probabilities up to one common factor, enclosed by whole numbers in one common unit.

    Attributes:
        first: the outcome of the first weight; the others follow without a gap.
        low: lower ends.
        high: upper ends.
        below: at least the total weight of all outcomes under ``first``.
        above: at least the total weight of all outcomes beyond the last.
    """

    first: int
    low: Sequence[int]
    high: Sequence[int]
    below: int
    above: int


class Law(Protocol):
    """A distribution on the whole numbers."""

    def enclose(self, bits: int) -> Weights:
        """Weights of which the ends, and both tails, miss the truth by about 2^-bits of the total or less."""
        ...


@dataclass(frozen=True, slots=True)
class _Steps:
    """Enclosures of the distribution function between outcomes: step i lies between ``low[i]/most`` and
    ``high[i]/least``; step 0 is below the first outcome."""

    low: list[int]
    high: list[int]
    least: int
    most: int

    @classmethod
    def of(cls, weights: Weights) -> _Steps:
        low = list(accumulate(weights.low, initial=0))
        high = [weights.below + total for total in accumulate(weights.high, initial=0)]
        return cls(low, high, low[-1], high[-1] + weights.above)


class Inversion:
    """Draws from a law, exactly.

    Args:
        law: has infinitely many outcomes, or at least one beyond any that carries all but 2^-100 of the weight.
    """

    def __init__(self, law: Law) -> None:
        self._law = law
        bits = _TABLE_BITS
        while (floors := _floors(_Steps.of(weights := law.enclose(bits)))) is None:
            bits += _WORD
            assert bits <= _MOST_BITS, "a step of the distribution function is a multiple of 2^-64"
        # Leading zeros tie with the same word, and so do trailing ones: one of each says it all.
        start = max(sum(1 for floor in floors if floor == 0) - 1, 0)
        stop = floors.index(floors[-1]) + 1
        self._floors = np.array(floors[start:stop], dtype=np.uint64)
        self.first = weights.first + start
        """The least outcome that 64 digits can settle."""
        self.weights = Weights(
            self.first, weights.low[start : stop - 1], weights.high[start : stop - 1], 0, 0
        )
        """The weights of the outcomes that 64 digits can settle; the tails are left out."""
        heads = np.arange(1 << _GUIDE, dtype=np.uint64) << np.uint64(_WORD - _GUIDE)
        tails = heads + np.uint64((1 << (_WORD - _GUIDE)) - 1)
        place = np.searchsorted(self._floors, heads, side="left")
        settled = place == np.searchsorted(self._floors, tails, side="right")
        self._guide = np.where(settled, place, -1).astype(np.int16)
        assert len(self._floors) < 2**15

    def draw(self, size: int, entropy: Entropy) -> npt.NDArray[np.int64]:
        """So many independent outcomes; 2 bytes of entropy each, and 8 more for a few."""
        heads = np.frombuffer(entropy.bytes(_GUIDE // 8 * size), dtype="<u2")
        places = self._guide.take(heads)
        outcomes = places.astype(np.int64)
        unsettled = np.flatnonzero(places < 0)
        if len(unsettled):
            more = np.frombuffer(entropy.bytes(8 * len(unsettled)), dtype="<u8") >> np.uint64(_GUIDE)
            words = (heads[unsettled].astype(np.uint64) << np.uint64(_WORD - _GUIDE)) | more
            found = np.searchsorted(self._floors, words)
            outcomes[unsettled] = found
            ties = self._floors.take(found, mode="clip") == words
        outcomes += self.first - 1
        if len(unsettled):
            for at in np.flatnonzero(ties):
                outcomes[unsettled[at]] = self._settle(int(words[at]), entropy)
        return outcomes

    def _settle(self, digits: int, entropy: Entropy) -> int:
        """The outcome of a draw that its first 64 digits leave open."""
        bits = _WORD
        while True:
            weights = self._law.enclose(bits + _WORD // 2)
            steps = _Steps.of(weights)
            for number in range(len(weights.low)):
                begins = digits * steps.least >= steps.high[number] << bits
                ends = (digits + 1) * steps.most <= steps.low[number + 1] << bits
                if begins and ends:
                    return weights.first + number
            digits = digits << _WORD | int.from_bytes(entropy.bytes(_WORD // 8), "little")
            bits += _WORD


def _floors(steps: _Steps) -> list[int] | None:
    """floor(2^64 C) of every step, or None where the enclosures are too wide to say."""
    floors = []
    largest = (1 << _WORD) - 1
    for low, high in zip(steps.low, steps.high, strict=True):
        # No step reaches 1, since outcomes beyond the last have weight.
        least = min((low << _WORD) // steps.most, largest)
        if least != min((high << _WORD) // steps.least, largest):
            return None
        floors.append(least)
    return floors
