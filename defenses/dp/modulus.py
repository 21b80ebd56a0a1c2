"""The ring of a noised sum: as many bits as its values need, but for a stated chance.

A client's sum is cut at `Lattice.reach` before its noise, so n of them come to n times that at most, whatever the
clients hold; what is added is noise, whose tail over all n clients is bounded. The hard bound has room for n clients
whose noise is 12 standard deviations off in one and the same number, which no noise of many clients comes near.

Invariant: the ring follows from a lattice, the size of the roster and the configuration, and from nothing private.
"""

from __future__ import annotations

from functools import lru_cache

from defenses.dp.lattice import Lattice
from defenses.noise.distributed import NoiseShare, modulus_bits


@lru_cache(maxsize=64)
def ring_bits(terms: Lattice, *, roster: int, honest: int, chance: float) -> int:
    """Bits of the smallest ring that a noised sum leaves with at most a stated chance, in any of its numbers.

    Never more than those that no sum can leave. The bound on noise is of noise that is not cut; the chance that some
    client's is cut (`Lattice.beyond`) is taken off first, so that what is left holds for what is sent.

    Args:
        terms: the round's lattice.
        roster: how many clients the round asks; with fewer in the sum the chance is smaller.
        honest: how many clients' noise the guarantee counts on, which says how large each one's share is.
        chance: the most that a wrap may have, in one round.
    """
    hard = (roster * terms.levels).bit_length() + 1
    left = chance - roster * terms.beyond
    if left <= 0 or not terms.share:
        return hard
    share = NoiseShare(terms.kind, terms.noise, roster, dropouts=roster - honest)
    return min(hard, modulus_bits(share, terms.reach, terms.width, left))
