"""Who masks with whom: the complete graph, or a sparse one that a stated failure probability allows.

Clients stand on a ring in an order drawn from a public seed, and each is joined to the k/2 nearest on either
side. Invariant: the graph is a function of the roster's size, the parameters and the seed, so every client and the
server work out the same one and nobody is told it.

Reference: Bell et al., CCS 2020 (ePrint 2020/704), section 3: Harary graphs, and the choice of k and t by
hypergeometric tails. Their graph is randomised the same way; the conditions for an active server that chooses
who "drops" are `docs/sparse_graph.md`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from defenses.errors import UserError
from defenses.secagg.masked.keys import DOMAIN

SECURITY_BITS = 40
"""A sparse graph leaves some client open with a probability of at most 2^-40, whatever the server has tried."""
TRIES_BITS = 64
"""The server knows the seed of a round before the round, so it may look for a roster or a number with a bad graph: the
bound holds for the worst of 2^64 that it looks at."""
CORRECTNESS_BITS = 20
"""With no more dropouts than planned for, a sparse round fails with a probability of at most 2^-20."""
SPARSE_FROM = 100
"""Below so many clients the graph is complete: the sparse one would save little, and promises less."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How dense a graph is, and how many shares put a secret together.

    Attributes:
        neighbours: clients each client masks with; all others in the complete graph.
        threshold: shares that put a secret together, of neighbours + 1 holders (a client holds its own, too).
    """

    neighbours: int
    threshold: int


@lru_cache(maxsize=256)
def choose(clients: int, collusion: float, dropout: float) -> Shape:
    """The sparsest graph that keeps the failure probabilities, or the complete one.

    In the complete graph of n clients, of which c collude, no client gives away both kinds of share as long as
    2t > n + c; t is the least such number. The sparse graph of k neighbours asks for all of

    - n P[H(n-1, c, k) > 2t - k - 2] <= 2^-105: so many colluders among nobody's neighbours that both kinds of
      share could be had;
    - 2n P[H(n-1, c, k/2) > t - k/2 - 2] <= 2^-105: nor so many on one side of anybody that a server which chooses
      who drops could cut the graph there (this implies the first: whoever has 2x + 1 colluders around it has x + 1 of
      them on one side);
    - n P[H(n-1, d, k) > k - t] <= 2^-20: nobody loses so many neighbours that a secret is lost,

    with H(N, K, k) hypergeometric: K marked among N, k drawn; c and d are rounded up.

    Args:
        clients: size of the roster.
        collusion: share of the clients that may collude with the server, 0 up to (not including) 1/2.
        dropout: share of the clients that may drop out, 0 up to (not including) 1/2.
    """
    if clients < 2:
        raise UserError(f"a roster of {clients} cannot be masked", "ask at least two clients")
    for name, share in (("collusion", collusion), ("dropout", dropout)):
        if not 0 <= share < 0.5:
            raise UserError(f"defense.{name} is {share}", "use 0 up to, not including, 0.5")
    bad, gone = math.ceil(collusion * clients), math.ceil(dropout * clients)
    sparse = range(4, clients - 1, 2) if clients >= SPARSE_FROM else ()
    for k in sparse:
        threshold = _sparse_threshold(clients, bad, gone, k)
        if threshold is not None:
            return Shape(k, threshold)
    threshold = (clients + math.floor(collusion * clients)) // 2 + 1
    return Shape(clients - 1, min(threshold, clients))


def _sparse_threshold(n: int, bad: int, gone: int, k: int) -> int | None:
    """The least threshold that is safe for k, if it is also low enough for the dropouts."""
    security = -(SECURITY_BITS + 1 + TRIES_BITS) * math.log(2)
    around = _least_beyond(n - 1, bad, k, security - math.log(n))
    beside = _least_beyond(n - 1, bad, k // 2, security - math.log(2 * n))
    threshold = max((k + around + 1) // 2 + 1, k // 2 + 2 + beside)
    if threshold > k:
        return None
    lost = _log_tail(n - 1, gone, k, k - threshold)
    return threshold if lost <= -CORRECTNESS_BITS * math.log(2) - math.log(n) else None


def _least_beyond(population: int, marked: int, drawn: int, log_most: float) -> int:
    """The least x with log P[H > x] at most ``log_most``."""
    low, high = 0, min(marked, drawn)
    while low < high:
        middle = (low + high) // 2
        if _log_tail(population, marked, drawn, middle) <= log_most:
            high = middle
        else:
            low = middle + 1
    return low


@lru_cache(maxsize=65_536)
def _log_tail(population: int, marked: int, drawn: int, x: int) -> float:
    """Natural logarithm of P[H(population, marked, drawn) > x]; minus infinity where that cannot happen."""
    first = max(x + 1, drawn - (population - marked), 0)
    last = min(marked, drawn)
    if first > last:
        return -math.inf
    whole = _log_choose(population, drawn)
    logs = [
        _log_choose(marked, i) + _log_choose(population - marked, drawn - i) - whole
        for i in range(first, last + 1)
    ]
    top = max(logs)
    return top + math.log(math.fsum(math.exp(each - top) for each in logs))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


@dataclass(frozen=True)
class Graph:
    """The graph of one round; clients are places in its roster, 0 to ``clients`` - 1.

    Attributes:
        clients: size of the roster.
        shape: how dense it is.
        seed: public bytes that fix the order on the ring.
    """

    clients: int
    shape: Shape
    seed: bytes

    @cached_property
    def complete(self) -> bool:
        """True where everybody masks with everybody."""
        return self.shape.neighbours == self.clients - 1

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Places in the order of the ring: sorted by a hash, which is a uniform permutation."""
        prefix = DOMAIN + b"ring|" + self.seed
        keys = {
            place: hashlib.sha256(prefix + place.to_bytes(4, "little")).digest()
            for place in range(self.clients)
        }
        return tuple(sorted(keys, key=keys.__getitem__))

    @cached_property
    def _spot(self) -> dict[int, int]:
        return {place: spot for spot, place in enumerate(self.order)}

    @cached_property
    def _neighbours(self) -> dict[int, tuple[int, ...]]:
        return {}

    def neighbours(self, place: int) -> tuple[int, ...]:
        """The places that a place masks with, ascending."""
        if place not in self._neighbours:
            self._neighbours[place] = self._near(place)
        return self._neighbours[place]

    def _near(self, place: int) -> tuple[int, ...]:
        if self.complete:
            return tuple(other for other in range(self.clients) if other != place)
        spot, half = self._spot[place], self.shape.neighbours // 2
        around = (spot + offset for offset in range(-half, half + 1) if offset)
        return tuple(sorted(self.order[each % self.clients] for each in around))

    def holders(self, place: int) -> tuple[int, ...]:
        """Those who hold shares of a place's secrets: its neighbours and itself, ascending."""
        return tuple(sorted((*self.neighbours(place), place)))

    def point(self, dealer: int, holder: int) -> int:
        """Where a dealer's polynomial is evaluated for a holder.

        In the complete graph a holder has one point with every dealer; on the ring the point is the distance, so
        that in both cases few sets of points, and few sets of Lagrange weights, occur in a round.
        """
        if self.complete:
            return holder + 1
        distance = (self._spot[holder] - self._spot[dealer]) % self.clients
        half = self.shape.neighbours // 2
        return distance + 1 if distance <= half else half + 1 + self.clients - distance
