"""The server's end of a ratcheted round.

Invariant: masked inputs are added as they come and never kept; a client that drops out before its input is left out
of the sum, one that drops out after it ends the round without a sum, and its input stays masked for good.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum

import numpy as np

from defenses.errors import ProtocolError
from defenses.grid import scales
from defenses.ring import UIntArray
from defenses.secagg.masked.directory import Directory
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.policy import Policy, Terms
from defenses.secagg.ratchet import keys
from defenses.secagg.ratchet.client import check_size
from defenses.secagg.ratchet.messages import (
    MAC_BYTES,
    SEED_BYTES,
    SERVER_PLACE,
    Kind,
    decode,
    encode,
    items,
    list_body,
)
from defenses.session import Aggregate, RoundInfo, pack_state, reading_state, refusal, unpack_state

_ROLE = "ratchet server"


class ServerPhase(StrEnum):
    """The server's way through a ratcheted round; FAILED is where it ends without a sum."""

    STEPPING = "stepping"
    CONFIRMING = "confirming"
    OPENING = "opening"
    DONE = "done"
    FAILED = "failed"


TAKES = {
    ServerPhase.STEPPING: Kind.STEP,
    ServerPhase.CONFIRMING: Kind.CONFIRM,
    ServerPhase.OPENING: Kind.OPEN,
}
"""What the server takes from each client in a phase."""


class RatchetServer:
    """The server in one ratcheted round; it keeps nothing from one round to the next.

    Args:
        round_info: the round, with the context as the server knows it.
        policy: the clients' policy.
        directory: the key directory.
    """

    def __init__(self, round_info: RoundInfo, policy: Policy, directory: Directory) -> None:
        check_size(round_info)
        self.terms = Terms.of(round_info, policy, directory)
        self.phase = ServerPhase.STEPPING
        self._waiting = set(range(self.terms.graph.clients))
        self._lost: set[int] = set()
        self._alive: tuple[int, ...] = ()
        self._total: UIntArray = np.zeros(self.terms.slots, dtype=self.terms.grid.ring.dtype)
        self._answers: dict[int, bytes] = {}
        self._failure = ""
        self._aggregate: Aggregate | None = None

    @property
    def round(self) -> RoundInfo:
        """The round."""
        return self.terms.round

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Clients whose answer in this phase is neither there nor given up, ascending."""
        return tuple(self.round.roster[place] for place in sorted(self._waiting))

    def receive(self, sender: int, frame: bytes) -> dict[int, list[bytes]]:
        """Take a frame from one client; once nobody is waited for, the frames of the next phase, by recipient.

        Raises:
            FrameError: it is damaged, or of another round.
            ProtocolError: it may not come from this sender, or not now.
        """
        found = decode(frame, self.terms.binding)
        place, takes = self.terms.places.get(sender, -1), TAKES.get(self.phase)
        for wrong, why in (
            (takes is None, self._failure or "the round is over"),
            (found.place != place, "the sender is not at the place that it names"),
            (found.kind is not takes, f"it takes {takes.name}" if takes else ""),
            (place in self._lost, "the sender was declared lost"),
            (place not in self._waiting, "the sender has sent it already, or is not asked"),
        ):
            if wrong:
                raise self._refusal(found.kind.name, sender, why)
        if found.kind is Kind.STEP:
            ring = self.terms.grid.ring
            (elements,) = items(found.body, ring.packed_size(self.terms.slots), 1)
            np.add(self._total, ring.unpack(elements, self.terms.slots), out=self._total)
        elif found.kind is Kind.CONFIRM:
            items(found.body, MAC_BYTES, len(self._alive) - 1)
        else:
            items(found.body, SEED_BYTES, 1 + self.terms.graph.clients - len(self._alive))
        self._answers[place] = bytes(found.body) if found.kind is not Kind.STEP else b""
        self._waiting.discard(place)
        return self._advance()

    def lost(self, clients: Collection[int]) -> dict[int, list[bytes]]:
        """Wait for these clients no longer; after its input, the loss of one ends the round."""
        strangers = sorted(set(clients) - set(self.round.roster))
        if strangers:
            raise self._refusal(
                f"the loss of clients {sorted(clients)}", None, f"{strangers} are not in the roster"
            )
        if self.phase not in TAKES:
            return {}
        gone = {self.terms.places[client] for client in clients}
        self._lost |= gone
        if self.phase is not ServerPhase.STEPPING and gone & self._waiting:
            names = [self.round.roster[place] for place in sorted(gone & self._waiting)]
            return self._fail(
                f"clients {names} dropped out after their input, which a ratcheted round cannot mend"
            )
        self._waiting -= gone
        return self._advance()

    def _advance(self) -> dict[int, list[bytes]]:
        if self._waiting or self.phase not in TAKES:
            return {}
        answers, self._answers = self._answers, {}
        if self.phase is ServerPhase.STEPPING:
            self._alive = tuple(sorted(answers))
            if len(self._alive) < self.terms.quorum:
                return self._fail(
                    f"{len(self._alive)} clients are left of {self.terms.graph.clients}, and a sum takes "
                    f"{self.terms.quorum}"
                )
            late = self._lost & set(self._alive)
            if late:
                return self._fail("a client dropped out after its input, which a ratcheted round cannot mend")
            body = list_body(self._alive, self.terms.graph.clients)
            return self._send(ServerPhase.CONFIRMING, Kind.ALIVE, dict.fromkeys(self._alive, body))
        if self.phase is ServerPhase.CONFIRMING:
            macs = {
                place: items(memoryview(body), MAC_BYTES, len(self._alive) - 1)
                for place, body in answers.items()
            }
            bodies = {place: b"".join(self._made_for(place, macs)) for place in self._alive}
            return self._send(ServerPhase.OPENING, Kind.CONFIRMED, bodies)
        self._open(answers)
        return {}

    def _made_for(self, recipient: int, macs: dict[int, list[bytes]]) -> list[bytes]:
        """The MACs that all others made for one client, ascending by maker."""
        found = []
        for maker in self._alive:
            if maker != recipient:
                theirs = [place for place in self._alive if place != maker]
                found.append(macs[maker][theirs.index(recipient)])
        return found

    def _send(self, then: ServerPhase, kind: Kind, bodies: dict[int, bytes]) -> dict[int, list[bytes]]:
        self.phase, self._waiting = then, set(self._alive)
        return {
            self.round.roster[place]: [encode(kind, SERVER_PLACE, body, self.terms.binding)]
            for place, body in bodies.items()
        }

    def _open(self, answers: dict[int, bytes]) -> None:
        """Take the masks off and read the sum; the result, or why there is none, is kept."""
        terms, roster = self.terms, self.round.roster
        dropped = [place for place in range(terms.graph.clients) if place not in set(self._alive)]
        total = self._total.copy()
        for place in self._alive:
            mine, *seeds = items(memoryview(answers[place]), SEED_BYTES, 1 + len(dropped))
            me = roster[place]
            apply(total, keys.self_mask_key(terms, me, mine), -1)
            for other, seed in zip((roster[d] for d in dropped), seeds, strict=True):
                apply(
                    total, keys.pair_mask_key(terms, me, other, seed), 1 if pair_sign(me, other) == -1 else -1
                )
        ring = self.terms.grid.ring
        # Until here sums and masks were those of the elements' type, of which the ring may be the lower bits.
        self._total = total if ring.native else ring.wrap(total)
        self._read()

    def _read(self) -> None:
        """The means in the total, from which the masks are off."""
        terms = self.terms
        try:
            means, weight = terms.grid.dequantise(
                self._total, scales(self.round.layout, dict(terms.policy.scale))
            )
        except ProtocolError as error:
            self._fail(str(error))
            return
        contributors = tuple(self.round.roster[place] for place in self._alive)
        arrays = self.round.layout.unflatten(means)
        self._aggregate = Aggregate(
            arrays,
            float(weight),
            contributors,
            self.round.kind,
            self.round.number,
            sums=terms.grid.ring.signed(self._total[:-1]),
        )
        self.phase = ServerPhase.DONE

    def sum(self) -> UIntArray:
        """The exact sum as ring elements, the numbers and then the weight: all that the server can work out.

        Raises:
            ProtocolError: somebody is still expected, or the round has failed.
        """
        self.aggregate()
        return self._total.copy()

    def aggregate(self) -> Aggregate:
        """The weighted mean over the survivors; asking again gives the same.

        Raises:
            ProtocolError: somebody is still expected, or the round has failed.
        """
        if self._aggregate is None:
            waited = f"clients {list(self.waiting_for)} have neither sent nor been declared lost"
            raise self._refusal("to aggregate", None, self._failure or waited)
        return self._aggregate

    def _fail(self, why: str) -> dict[int, list[bytes]]:
        self.phase, self._failure, self._waiting = ServerPhase.FAILED, why, set()
        return {}

    def save(self) -> bytes:
        """The session's state; before the end it shows nobody's upload."""
        facts = {
            "role": _ROLE,
            "round": self.round.to_dict(),
            "binding": self.terms.binding.hex(),
            "phase": str(self.phase),
            "waiting": sorted(self._waiting),
            "lost": sorted(self._lost),
            "alive": self._alive,
            "failure": self._failure,
            "answers": list(self._answers),
        }
        return pack_state(facts, [self._total.astype("<u8").tobytes(), *self._answers.values()])

    @classmethod
    @reading_state
    def load(cls, data: bytes, policy: Callable[[RoundInfo], Policy], directory: Directory) -> RatchetServer:
        """A session from what `save` gave, under the same policy and directory."""
        facts, (total, *answers) = unpack_state(data, _ROLE)
        info = RoundInfo.from_dict(facts["round"])
        session = cls(info, policy(info), directory)
        if facts["binding"] != session.terms.binding.hex():
            raise session._refusal("a saved session", None, "it is of another policy or directory")
        session.phase, session._failure = ServerPhase(facts["phase"]), facts["failure"]
        session._waiting, session._lost = set(facts["waiting"]), set(facts["lost"])
        session._alive = tuple(facts["alive"])
        session._total = np.frombuffer(total, "<u8").astype(session.terms.grid.ring.dtype)
        session._answers = dict(zip(facts["answers"], answers, strict=True))
        if session.phase is ServerPhase.DONE:
            session._read()
        return session

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return refusal("server", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"RatchetServer(round={self.round.number}, phase={self.phase}, {len(self._alive)} alive)"
