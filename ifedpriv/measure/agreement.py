"""How far two ways of sorting the same things into groups agree.

Reference: Hubert and Arabie, *Comparing Partitions*, Journal of Classification 2 (1985).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb


def adjusted_rand(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """The adjusted Rand index: 1 if both sort alike, about 0 if one says nothing about the other.

    Args:
        first: group of each thing.
        second: the same by the other way, in the same order.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} things were sorted")
    pairs = comb(len(first), 2)
    both = sum(comb(count, 2) for count in Counter(zip(first, second, strict=True)).values())
    one = sum(comb(count, 2) for count in Counter(first).values())
    other = sum(comb(count, 2) for count in Counter(second).values())
    expected = one * other / pairs if pairs else 0.0
    most = (one + other) / 2
    # Both put everything together, or everything apart: they agree in all there is.
    return 1.0 if most == expected else (both - expected) / (most - expected)
