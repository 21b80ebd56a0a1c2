"""A client's end of a ratcheted round: masked at once, opened only when everybody alive stands by one list.

Invariant: a client vouches for one list and opens once; of a dropped peer it opens this round's pair seed, which says
nothing of any other round. What it refuses leaves it as it was.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from enum import StrEnum

from defenses.entropy import Entropy
from defenses.errors import ProtocolError, UserError
from defenses.grid import scales
from defenses.secagg.masked.directory import Member
from defenses.secagg.masked.graph import SPARSE_FROM
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.policy import Policy, Terms
from defenses.secagg.masked.ratchet import RoundKeys
from defenses.secagg.ratchet import keys
from defenses.secagg.ratchet.messages import (
    MAC_BYTES,
    SEED_BYTES,
    SERVER_PLACE,
    Frame,
    Kind,
    decode,
    encode,
    items,
    listed,
)
from defenses.session import RoundInfo, pack_state, reading_state, refusal, unpack_state
from defenses.upload import Upload

_ROLE = "ratchet client"


class ClientPhase(StrEnum):
    """A client's way through a ratcheted round."""

    READY = "ready"
    STEPPED = "stepped"
    CONFIRMED = "confirmed"
    DONE = "done"


TAKES = {ClientPhase.STEPPED: Kind.ALIVE, ClientPhase.CONFIRMED: Kind.CONFIRMED}
"""What a client takes in a phase; in READY its own upload, in DONE nothing."""


def check_size(round_info: RoundInfo) -> None:
    """Refuse rosters for which the graph would be sparse: here everybody masks with everybody.

    Raises:
        ProtocolError: the roster is too large.
    """
    if len(round_info.roster) >= SPARSE_FROM:
        raise ProtocolError(
            f"a ratcheted round takes fewer than {SPARSE_FROM} clients, and this one has {len(round_info.roster)}",
            "switch defense.ratchet off",
        )


class RatchetClient:
    """One client in one ratcheted round.

    Save it, and its member's diary and ratchet, before you send what `protect` or `receive` gave.

    Args:
        member: the client's identity, directory, diary and ratchet.
        round_info: the round, with the context as this client knows it.
        policy: what this client insists on.
        entropy: draws the self seed and the rounding, in `protect`.
    """

    def __init__(self, member: Member, round_info: RoundInfo, policy: Policy, entropy: Entropy) -> None:
        self.member = member
        self.me = member.number
        self.phase = ClientPhase.READY
        if self.me not in round_info.roster:
            raise self._refusal(
                "to join", f"client {self.me} is not in the roster of round {round_info.number}"
            )
        check_size(round_info)
        self.terms = Terms.of(round_info, policy, member.directory)
        self.entropy = entropy
        self.clipped = 0
        self._place = self.terms.places[self.me]
        self._frames: list[bytes] = []
        self._seed = b""
        self._keys: dict[int, RoundKeys] = {}
        self._alive: tuple[int, ...] = ()

    @property
    def round(self) -> RoundInfo:
        """The round."""
        return self.terms.round

    def protect(self, upload: Upload) -> list[bytes]:
        """The masked upload; once only.

        Reveals: that this client takes part.
        """
        info, terms = self.round, self.terms
        for wrong, why in (
            (self.phase is not ClientPhase.READY, "it has protected one already, which `resend` gives again"),
            ((upload.kind, upload.round) != (info.kind, info.number), "it is of another kind or round"),
            (upload.layout != info.layout, "its arrays are not those agreed on"),
        ):
            if wrong:
                raise self._refusal("an upload", why)
        scale = scales(info.layout, dict(terms.policy.scale))
        flat = info.layout.flatten(upload.arrays)
        quantised = terms.grid.quantise(flat, upload.weight, self.entropy, scale)
        peers = [other for other in info.roster if other != self.me]
        self.member.diary.join(info)
        self._keys = self.member.ratchet.step(info.number, peers)
        self._seed = self.entropy.bytes(SEED_BYTES)
        self.clipped = quantised.clipped
        vector = quantised.slots.copy()
        apply(vector, keys.self_mask_key(terms, self.me, self._seed), 1)
        for other, shared in self._keys.items():
            key = keys.pair_mask_key(terms, self.me, other, shared.seed)
            apply(vector, key, pair_sign(self.me, other))
        self.member.diary.give(info.kind)
        return self._answer(Kind.STEP, terms.grid.ring.pack(vector), ClientPhase.STEPPED)

    def receive(self, frame: bytes) -> list[bytes]:
        """Take the server's next frame and answer it.

        Raises:
            FrameError: it is damaged, or of another round.
            ProtocolError: it may not come now, or shows a list that this client does not vouch for.
        """
        found = decode(frame, self.terms.binding)
        takes = TAKES.get(self.phase)
        if found.place != SERVER_PLACE or found.kind is not takes:
            raise self._refusal(
                found.kind.name, f"it takes {takes.name} from the server" if takes else "it takes nothing"
            )
        return self._confirm(found) if found.kind is Kind.ALIVE else self._open(found)

    def resend(self) -> list[bytes]:
        """The very frames made so far."""
        return list(self._frames)

    def _confirm(self, found: Frame) -> list[bytes]:
        alive = listed(found.body, self.terms.graph.clients)
        self._check_list(alive)
        self._alive = alive
        macs = (self._mac(self.me, other) for other in self._others())
        return self._answer(Kind.CONFIRM, b"".join(macs), ClientPhase.CONFIRMED)

    def _check_list(self, alive: tuple[int, ...]) -> None:
        """What the list must be: large enough, and with this client in it."""
        for wrong, why in (
            (self._place not in alive, "it leaves this client out, which is here"),
            (
                len(alive) < self.terms.quorum,
                f"it has {len(alive)} clients, and this client takes part with {self.terms.quorum} or more",
            ),
        ):
            if wrong:
                raise self._refusal("ALIVE", why)

    def _open(self, found: Frame) -> list[bytes]:
        others = self._others()
        for other, mac in zip(others, items(found.body, MAC_BYTES, len(others)), strict=True):
            if not self._vouches(other, mac):
                raise self._refusal(
                    "CONFIRMED", f"client {other} did not vouch for the list that this client was shown"
                )
        here = {self.me, *others}
        seeds = [shared.seed for other, shared in self._keys.items() if other not in here]
        body = b"".join((self._seed, *seeds))
        self._seed, self._keys = b"", {}
        return self._answer(Kind.OPEN, body, ClientPhase.DONE)

    def _vouches(self, other: int, mac: bytes) -> bool:
        """Whether another client has vouched for the list that this client was shown."""
        return hmac.compare_digest(mac, self._mac(other, self.me))

    def _others(self) -> list[int]:
        return [self.round.roster[place] for place in self._alive if place != self._place]

    def _mac(self, sender: int, recipient: int) -> bytes:
        other = recipient if sender == self.me else sender
        return keys.list_mac(self.terms, self._keys[other].mac, sender, recipient, self._alive)

    def _answer(self, kind: Kind, body: bytes, then: ClientPhase) -> list[bytes]:
        frame = encode(kind, self._place, body, self.terms.binding)
        self._frames.append(frame)
        self.phase = then
        return [frame]

    def save(self) -> bytes:
        """The session's state, this round's keys included; never the upload, which is masked at once."""
        facts = {
            "role": _ROLE,
            "me": self.me,
            "round": self.round.to_dict(),
            "phase": str(self.phase),
            "clipped": self.clipped,
            "binding": self.terms.binding.hex(),
            "alive": self._alive,
            "peers": list(self._keys),
        }
        private = b"".join(shared.seed + shared.mac for shared in self._keys.values())
        return pack_state(facts, [self._seed, private, *self._frames])

    @classmethod
    @reading_state
    def load(
        cls,
        data: bytes,
        members: Mapping[int, Member],
        policy: Callable[[RoundInfo], Policy],
        entropy: Entropy,
    ) -> RatchetClient:
        """A session from what `save` gave; arguments as for `MaskedClient.load`."""
        facts, (seed, private, *frames) = unpack_state(data, _ROLE)
        if facts["me"] not in members:
            raise UserError(f"saved session is of client {facts['me']}", "load it where that client's key is")
        info = RoundInfo.from_dict(facts["round"])
        session = cls(members[facts["me"]], info, policy(info), entropy)
        if facts["binding"] != session.terms.binding.hex():
            raise session._refusal("a saved session", "it is of another policy or directory")
        session.phase, session.clipped = ClientPhase(facts["phase"]), int(facts["clipped"])
        session._alive, session._seed, session._frames = tuple(facts["alive"]), seed, frames
        size = 2 * SEED_BYTES
        for index, peer in enumerate(facts["peers"]):
            pair = private[index * size : (index + 1) * size]
            session._keys[peer] = RoundKeys(pair[:SEED_BYTES], pair[SEED_BYTES:])
        return session

    def _refusal(self, message: str, why: str) -> ProtocolError:
        return refusal(f"client {self.me}", self.phase, message, None, why)

    def __repr__(self) -> str:
        return f"RatchetClient({self.me}, round={self.round.number}, phase={self.phase})"
