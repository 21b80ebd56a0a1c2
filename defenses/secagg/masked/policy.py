"""What a client insists on, fixed before any round: it refuses what falls short and adapts to nothing.

Invariant: nothing in a policy comes from the server. Two ends with different policies have different bindings,
so none of their signatures, seals or masks fit each other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache

from defenses.errors import ProtocolError, UserError
from defenses.grid import Grid, Outside
from defenses.secagg.masked.directory import Directory
from defenses.secagg.masked.graph import Graph, Shape, choose
from defenses.secagg.masked.keys import digest
from defenses.secagg.masked.masks import DTYPES
from defenses.session import RoundInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One kind of upload's terms.

    Attributes:
        minimum: the fewest clients in a sum; 2 or more.
        collusion: share of the roster that may collude with the server, 0 up to (not including) 1/2.
        dropout: share of the roster that may drop out and leave a sparse round possible; the same range.
        clip: the largest magnitude of a number.
        bits: levels of a number, as `Grid` has them.
        max_weight: the largest weight, a whole number.
        outside: what happens to a number beyond the clip: ``clip`` or ``refuse``.
        scale: array names and their public factors of clip and step, by name.
        ring: bits of a ring that was chosen for a chance of a wrap; None for the narrowest of the rings that processors
            add in which no sum can leave.
    """

    minimum: int
    collusion: float
    dropout: float
    clip: float
    bits: int
    max_weight: int
    outside: Outside = Outside.CLIP
    scale: tuple[tuple[str, float], ...] = ()
    ring: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "outside", Outside(self.outside))
        if self.minimum < 2:
            raise UserError(
                f"defense.min_clients is {self.minimum}", "a sum of one is that one: use 2 or more"
            )
        choose(self.minimum, self.collusion, self.dropout)
        self.grid(self.minimum)

    def shape(self, clients: int) -> Shape:
        """The graph's density and the threshold for a roster of this size."""
        return choose(clients, self.collusion, self.dropout)

    def grid(self, clients: int) -> Grid:
        """The grid for a roster of this size.

        Raises:
            UserError: a sum could wrap that may not.
        """
        return _grid(self, clients)

    @property
    def digest(self) -> bytes:
        """32 bytes that name the policy."""
        return _digest(self)


# A policy serves many rounds, and neither of these changes between them.
@lru_cache(maxsize=64)
def _grid(policy: Policy, clients: int) -> Grid:
    chosen = policy.ring is not None
    found = Grid(
        policy.clip,
        policy.bits,
        clients,
        policy.max_weight,
        policy.ring,
        policy.outside,
        may_wrap=chosen,
    )
    if chosen:
        return found
    return replace(found, modulus_bits=next(bits for bits in DTYPES if bits >= found.ring.bits))


@lru_cache(maxsize=64)
def _digest(policy: Policy) -> bytes:
    facts = asdict(policy)
    # Policies without one have the digest that they had before there were any.
    if policy.ring is None:
        del facts["ring"]
    return digest("policy", json.dumps(facts, sort_keys=True).encode())


@dataclass(frozen=True)
class Terms:
    """Everything that both ends of one round hold before its first message.

    Attributes:
        round: the round, with the context that this end has seen.
        policy: what this end insists on.
        directory: the key directory that this end trusts.
        graph: who masks with whom.
        grid: how numbers become ring elements.
        binding: 32 bytes that name all of this; they enter every signature, seal and key.
        quorum: the fewest clients in a sum, and the fewest that stay to the end in the complete graph.
    """

    round: RoundInfo
    policy: Policy
    directory: Directory
    graph: Graph
    grid: Grid
    binding: bytes
    quorum: int

    @classmethod
    def of(cls, round_info: RoundInfo, policy: Policy, directory: Directory) -> Terms:
        """The terms of a round.

        Raises:
            ProtocolError: the roster has a stranger, or is too small.
        """
        for client in round_info.roster:
            directory.key(client)
        n = len(round_info.roster)
        if n < policy.minimum:
            raise ProtocolError(
                f"the roster of round {round_info.number} has {n} clients, fewer than "
                f"defense.min_clients {policy.minimum}",
                "ask more clients",
            )
        where = _round_digest(round_info, directory)
        # The seed leaves out what a server could try many of within a round.
        graph = Graph(n, policy.shape(n), digest("graph", where))
        binding = digest("binding", where, policy.digest, bytes.fromhex(round_info.context))
        quorum = max(policy.minimum, graph.shape.threshold if graph.complete else 0)
        return cls(round_info, policy, directory, graph, policy.grid(n), binding, quorum)

    @property
    def slots(self) -> int:
        """Ring elements in a masked input: the numbers and the weight."""
        return self.round.layout.size + 1

    @property
    def colluders(self) -> int:
        """The most clients that may collude with a server that breaks the rules, in the complete graph."""
        most = max(self.quorum, self.graph.shape.threshold)
        return max(0, min(self.graph.shape.threshold - 1, 2 * most - self.graph.clients - 1))

    @cached_property
    def places(self) -> dict[int, int]:
        """Each client's place in the roster."""
        return {client: place for place, client in enumerate(self.round.roster)}


def _round_digest(round_info: RoundInfo, directory: Directory) -> bytes:
    facts = round_info.to_dict()
    facts.pop("context", None)
    return digest("round", directory.session, json.dumps(facts, sort_keys=True).encode())
