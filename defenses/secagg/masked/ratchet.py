"""Keys of a pair that serve many rounds, each round with a seed of its own.

Two clients agree once, through the keys in the directory. From then on each round takes one step: a seed and a MAC key
for this round, and a chain key for the next. Invariant: a chain only moves forward, and of what it passes nothing is
kept; whoever is given one round's seed learns no other round's, and whoever steals a chain learns no earlier one.

Reference: the symmetric ratchet of Perrin and Marlinspike, *The Double Ratchet Algorithm* (2016), section 2.2;
revealing a round's pair seed in place of the long-lived key: Ma et al., *Flamingo*, IEEE S&P 2023.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from defenses.errors import FrameError, ProtocolError, reading
from defenses.secagg.masked.keys import KEY_BYTES, AgreementKey, derive

MAX_SKIP = 10_000
"""The most rounds that a client may be behind; each costs a derivation for each peer."""


class RoundKeys(NamedTuple):
    """What a pair shares in one round.

    Attributes:
        seed: 32 bytes of the pair mask; revealed if the other drops out.
        mac: 32 bytes that authenticate lists to each other; never revealed.
    """

    seed: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "RoundKeys(<private>)"


class Ratchet:
    """One client's chains, to all its peers.

    Args:
        session: 32 bytes that name the directory.
        chains: peer to chain key.
        position: the first round whose keys are still to be had.
    """

    def __init__(self, session: bytes, chains: Mapping[int, bytes], position: int = 0) -> None:
        self.session = session
        self.position = position
        self._chains = dict(chains)

    @classmethod
    def begin(cls, session: bytes, me: int, mine: AgreementKey, peers: Mapping[int, bytes]) -> Ratchet:
        """Agree with every peer, once.

        Args:
            session: 32 bytes that name the directory.
            me: this client's number.
            mine: its agreement key, whose public half stands in the directory. Not needed afterwards.
            peers: number to public agreement key.
        """
        chains = {
            peer: derive(mine.agree(public), session, "ratchet chain", min(me, peer), max(me, peer))
            for peer, public in peers.items()
            if peer != me
        }
        return cls(session, chains)

    def step(self, round_number: int, peers: Collection[int]) -> dict[int, RoundKeys]:
        """The keys of a round, and no way back to it.

        Args:
            round_number: not before the position.
            peers: whom keys are needed with; the chains of all others move along.

        Raises:
            ProtocolError: the round is over, or too far ahead.
        """
        if not 0 <= round_number - self.position <= MAX_SKIP:
            raise ProtocolError(
                f"round {round_number} is not one of the {MAX_SKIP} from round {self.position} on",
                "number rounds one by one; after a long absence register clients anew",
            )
        for _ in range(round_number - self.position):
            self._move()
        keys = {
            peer: RoundKeys(
                derive(self._chains[peer], self.session, "ratchet seed", self.position),
                derive(self._chains[peer], self.session, "ratchet mac", self.position),
            )
            for peer in sorted(peers)
        }
        self._move()
        return keys

    def _move(self) -> None:
        for peer, chain in self._chains.items():
            self._chains[peer] = derive(chain, self.session, "ratchet next", self.position)
        self.position += 1

    def save(self) -> str:
        """As JSON text; as private as an identity key, and to be kept as the diary is."""
        chains = {str(peer): chain.hex() for peer, chain in self._chains.items()}
        return json.dumps({"session": self.session.hex(), "position": self.position, "chains": chains})

    @classmethod
    @reading(
        "file of chains", "take the last one that was written; a client without its chains has to enrol anew"
    )
    def load(cls, text: str) -> Ratchet:
        """The inverse of `save`.

        Raises:
            FrameError: it holds no chains.
        """
        data = json.loads(text)
        session, position = bytes.fromhex(data["session"]), int(data["position"])
        chains = {int(peer): bytes.fromhex(chain) for peer, chain in data["chains"].items()}
        if position < 0 or any(len(key) != KEY_BYTES for key in (session, *chains.values())):
            raise FrameError("file of chains does not hold what it should")
        return cls(session, chains, position)

    def __repr__(self) -> str:
        return f"Ratchet({len(self._chains)} chains, position={self.position})"
