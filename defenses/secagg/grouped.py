"""A server of several masked sums at once, whose result no minority of them decides.

Every group of clients runs a round of its own; the server learns each group's sum and takes, number by number, the
median of the groups' means. A client that sends false numbers spoils the mean of its own group, and as long as more
than half of the groups are free of such clients, each number of the result lies between the means of two of those.

Invariant: the groups share nothing but the round's number: a frame reaches the session of its sender's group only, and
a group without a sum is left out and said to be.

Reference: coordinate-wise medians: Yin et al., *Byzantine-Robust Distributed Learning*, ICML 2018; robust combination
of securely summed groups: Velicheti et al., *Secure Byzantine-Robust Distributed Learning via Clustering*, 2021.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from defenses.errors import ProtocolError
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet.server import RatchetServer
from defenses.session import Aggregate, RoundInfo, pack_state, refusal, unpack_state
from defenses.upload import Float32Array

GroupServer = MaskedServer | RatchetServer
ROLE = "grouped server"


class GroupedServer:
    """The server's end of a round in groups.

    Args:
        round_info: the whole round.
        servers: one session for each group; together their rosters are the round's.
    """

    def __init__(self, round_info: RoundInfo, servers: Sequence[GroupServer]) -> None:
        self.round = round_info
        self.servers = tuple(servers)
        self._of = {client: server for server in self.servers for client in server.round.roster}

    phase = "summing in groups"
    """Each group has a phase of its own."""

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Clients without whose next frame, or loss, some group does not go on; ascending."""
        return tuple(sorted(client for server in self.servers for client in server.waiting_for))

    def receive(self, sender: int, frame: bytes) -> dict[int, list[bytes]]:
        """Take a frame for the group of its sender.

        Raises:
            FrameError: the bytes are no message of this protocol.
            ProtocolError: the message may not come from this sender, not now, or holds something false.
        """
        if sender not in self._of:
            raise self._refusal(f"a frame of {len(frame)} bytes", sender, "the sender is in no group")
        return self._of[sender].receive(sender, frame)

    def lost(self, clients: Collection[int]) -> dict[int, list[bytes]]:
        """Wait for these clients no longer."""
        strangers = sorted(set(clients) - set(self._of))
        if strangers:
            raise self._refusal(
                f"the loss of clients {sorted(clients)}", None, f"{strangers} are in no group"
            )
        frames: dict[int, list[bytes]] = {}
        for server in self.servers:
            gone = [client for client in clients if client in server.round.roster]
            if gone:
                frames.update(server.lost(gone))
        return frames

    def aggregate(self) -> Aggregate:
        """The median of the groups' means, number by number; the groups' own are its ``parts``.

        Raises:
            ProtocolError: somebody is still expected, or half of the groups or more have no sum.
        """
        if self.waiting_for:
            waited = f"clients {list(self.waiting_for)} have neither sent nor been declared lost"
            raise self._refusal("to aggregate", None, waited)
        parts, lacking = [], []
        for server in self.servers:
            try:
                parts.append(server.aggregate())
            except ProtocolError as error:
                lacking.append(
                    f"the group of clients {list(server.round.roster)} has no sum: {error.message}"
                )
        if 2 * len(parts) <= len(self.servers):
            raise self._refusal("to aggregate", None, "; ".join(lacking))
        return Aggregate(
            medians([part.means for part in parts]),
            sum(part.total_weight for part in parts),
            tuple(sorted(client for part in parts for client in part.contributors)),
            self.round.kind,
            self.round.number,
            tuple(parts),
            tuple(lacking),
        )

    def save(self) -> bytes:
        """The sessions' states."""
        facts = {"role": ROLE, "round": self.round.to_dict()}
        return pack_state(facts, [server.save() for server in self.servers])

    @classmethod
    def load(cls, data: bytes, revived: Sequence[GroupServer]) -> GroupedServer:
        """A session from what `save` gave, and the groups' sessions from what `states` found in it."""
        facts, _ = unpack_state(data, ROLE)
        return cls(RoundInfo.from_dict(facts["round"]), revived)

    @staticmethod
    def states(data: bytes) -> list[bytes]:
        """The groups' states in what `save` gave."""
        return unpack_state(data, ROLE)[1]

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return refusal("server", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"GroupedServer(round={self.round.number}, {len(self.servers)} groups)"


def medians(means: Sequence[Mapping[str, Float32Array]]) -> dict[str, Float32Array]:
    """Each number's median over the groups; for an even number of them the mean of the middle two."""
    return {
        name: np.median(np.stack([each[name] for each in means]), axis=0).astype(np.float32)
        for name in means[0]
    }
