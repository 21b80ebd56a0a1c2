"""One round of a noised release, on whatever records a tester brings.

The invariant: everything that is done to records, and all noise, is done by the release itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._mechanisms.mechanism import Floats
from defenses.dp.release import ARRAY, Bounded
from defenses.entropy import Entropy
from defenses.records import Records
from defenses.units import Trust
from defenses.upload import Layout, Upload


@dataclass(frozen=True, slots=True)
class OneRound:
    """What somebody outside sees of one round, in whole steps: a `Mechanism` that can be played many times at once.

    Each client's numbers where it adds noise for itself; their sum otherwise, which is all that a protection opens or
    a trusted server gives away. A client that has no records sends a zero with its noise: who takes part is public, and
    not what is hidden.

    Attributes:
        release: of the kind of upload in question.
        layout: of the method's arrays.
        roster: how many clients the round asks.
    """

    release: Bounded
    layout: Layout
    roster: int

    def __call__(self, records: Sequence[Floats], entropy: Entropy) -> NDArray[np.float64]:
        """Release once: whole numbers ``[width]``, with local trust ``[roster, width]``."""
        given = [
            self.release.give(
                offered(held, self.release, self.layout), None, self.roster, entropy.branch(who)
            ).arrays[ARRAY]
            for who, held in self._all(records)
        ]
        return self._seen(np.stack(given).astype(np.float64), entropy)

    def many(self, records: Sequence[Floats], entropy: Entropy, times: int) -> NDArray[np.float64]:
        """So many releases of the same records, each with noise of its own, ``[times, ...]``.

        Every client's records are bounded once, and noise is drawn for all rounds in one go; all that is done to them
        is done by the functions that `__call__` goes through.
        """
        given = [
            self.release.several(
                offered(held, self.release, self.layout), None, self.roster, entropy.branch(who), times
            )
            for who, held in self._all(records)
        ]
        return self._seen(np.stack(given, axis=1).astype(np.float64), entropy)

    def _all(self, records: Sequence[Floats]) -> Iterator[tuple[str, Floats | None]]:
        empty = [None] * (self.roster - len(records))
        return ((f"client {number}", held) for number, held in enumerate((*records, *empty)))

    def _seen(self, sent: NDArray[np.float64], entropy: Entropy) -> NDArray[np.float64]:
        """Of what clients send, ``[..., roster, width]``, what is seen."""
        if self.release.trust is Trust.LOCAL:
            return sent
        return self.release.noised(sent.sum(axis=-2), self.roster, entropy.branch("server"))


def offered(held: Floats | None, release: Bounded, layout: Layout) -> Upload | Records:
    """What a method would offer for some records; for none, what counts as zero."""
    nothing = release.zero(layout, None, 0) if held is None else None
    if nothing is not None:
        return nothing
    rows = np.zeros((0, layout.size)) if held is None else held.reshape(len(held), layout.size)
    return Records(layout, iter([rows]), 0, release.kind)
