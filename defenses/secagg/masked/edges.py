"""The graph of a round as arrays, for the server, which handles n times k + 1 shares in a round.

Invariant: it says what `Graph` says of each place alone. A *slot* of a dealer is where one of its holders stands in
its row of `holders`; `Edges.back` leads from a holder to its slot with each of its dealers, so that whatever dealers
and holders say of each other lies in one array, by dealer and slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from defenses.secagg.masked.graph import Graph

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Who holds whose shares; make it with `of`.

    Attributes:
        holders: [clients, k + 1] of each place, its neighbours and itself, ascending. The relation is symmetric, so
            these are its dealers, too.
        own: [clients] a place's slot with itself.
        back: [clients, k + 1] for each of a holder's dealers, in the order of ``holders``: dealer times (k + 1) plus
            the holder's slot with that dealer.
        by_point: [clients, k + 1] a dealer's slots in the order of their points, which are 1 to k + 1.
    """

    holders: Places
    own: Places
    back: Places
    by_point: Places

    @classmethod
    def of(cls, graph: Graph) -> Edges:
        """The arrays of a graph."""
        n, around = graph.clients, graph.shape.neighbours + 1
        everybody, small = np.arange(n), np.uint16 if n <= 1 << 16 else np.uint32
        if graph.complete:
            row = np.broadcast_to(everybody, (n, n))
            return cls(row, everybody, everybody * n + everybody[:, None], row)
        half = graph.shape.neighbours // 2
        offsets = np.concatenate([np.arange(half + 1), np.arange(-1, -half - 1, -1)])
        order = np.array(graph.order, dtype=small)
        spots = np.empty(n, dtype=np.int64)
        spots[order] = everybody
        ring = order[(spots[:, None] + offsets) % n]
        ascending = np.argsort(ring, axis=1, kind="stable")
        holders = np.take_along_axis(ring, ascending, axis=1).astype(np.int64)
        by_point = np.empty((n, around), dtype=np.int64)
        np.put_along_axis(by_point, ascending, np.arange(around)[None, :], axis=1)
        # Pairs by holder and dealer, sorted by dealer: a dealer's i-th is that of its i-th holder.
        dealt = np.argsort(holders.reshape(-1).astype(small), kind="stable")
        back = np.empty(n * around, dtype=np.int64)
        back[dealt] = np.arange(n * around)
        own = (holders < everybody[:, None]).sum(axis=1)
        return cls(holders, own, back.reshape(n, around), by_point)
