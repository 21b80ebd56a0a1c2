"""The server of a homomorphic round: adds ciphertexts as they arrive, and asks the key holder for the sum.

Invariant: the server never has a key, nor in its saved state; and what it takes for the aggregate is what the key
holder opened for exactly the clients whose uploads it added.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from defenses.errors import FrameError, ProtocolError, UserError
from defenses.frame import SERVER
from defenses.secagg.homomorphic.ciphertext import Coefficients, add, pack, unpack
from defenses.secagg.homomorphic.keys import KEY_HOLDER, ServerKeys
from defenses.secagg.homomorphic.messages import Message, MessageType, decode
from defenses.secagg.homomorphic.terms import Terms, described
from defenses.session import Aggregate, RoundInfo, pack_state, reading_state, unpack_state
from defenses.specs import BfvSpec, CkksSpec


class ServerPhase(StrEnum):
    """COLLECTING uploads, then OPENING while the key holder is asked, then OPENED, then DONE."""

    COLLECTING = "collecting"
    OPENING = "opening"
    OPENED = "opened"
    DONE = "done"


class HomomorphicServer:
    """The server's end of a round.

    Args:
        keys: the server's file.
        terms: the round's terms.
    """

    _ROLE = "homomorphic server"

    def __init__(self, keys: ServerKeys, terms: Terms) -> None:
        if keys.scheme is not terms.scheme:
            raise UserError(
                f"keys are for {keys.scheme}, and defense.kind is {terms.scheme}", "use this run's"
            )
        self.terms = terms
        self.phase = ServerPhase.COLLECTING
        self._keys = keys
        self._senders: set[int] = set()
        self._lost: set[int] = set()
        self._sum: list[Coefficients] = []
        self._opening: bytes = b""

    def receive(self, sender: int, frame: bytes) -> dict[int, list[bytes]]:
        """Take an upload, or the key holder's opening; after the last upload, the request to the key holder.

        Raises:
            FrameError: the bytes are no frame, or hold no ciphertext of the agreed parameters.
            ProtocolError: the frame may not come from this sender, or not now.
        """
        message = decode(frame)
        if sender == KEY_HOLDER:
            return self._take_opening(message, frame)
        reasons = (
            (self.phase is not ServerPhase.COLLECTING, "uploads are no longer taken"),
            (
                sender not in self.terms.round.roster,
                f"the sender is not in the roster of {self.terms.describe()}",
            ),
            (sender in self._senders, "the sender has sent its upload already"),
            (sender in self._lost, "the sender was declared lost"),
        )
        for wrong, why in reasons:
            if wrong:
                raise self._refusal(described(message), sender, why)
        self._refuse_strange(sender, message, MessageType.UPLOAD)
        loaded = [unpack(part, self.terms.parameters) for part in message.parts]
        if self._sum:
            for total, part in zip(self._sum, loaded, strict=True):
                add(total, part, self.terms.parameters)
        else:
            self._sum = loaded
        self._senders.add(sender)
        return self._request_if_whole()

    def _take_opening(self, message: Message, frame: bytes) -> dict[int, list[bytes]]:
        if self.phase is not ServerPhase.OPENING:
            raise self._refusal(
                described(message), KEY_HOLDER, "nothing was asked, or it is answered already"
            )
        self._refuse_strange(KEY_HOLDER, message, MessageType.OPENING)
        if message.clients != self._contributors:
            raise self._refusal(
                described(message), KEY_HOLDER, "it is not for the clients that were asked for"
            )
        self._opened(message)
        self._opening = bytes(frame)
        self.phase = ServerPhase.OPENED
        return {}

    def _opened(self, message: Message) -> Aggregate:
        ring, layout = self.terms.grid.ring, self.terms.round.layout
        sums = ring.unpack(message.parts[0], self.terms.numbers)
        means, total = self.terms.grid.dequantise(sums, self.terms.scale)
        return Aggregate(
            layout.unflatten(means),
            float(total),
            self._contributors,
            self.terms.round.kind,
            self.terms.round.number,
            sums=ring.signed(sums[:-1]),
        )

    def lost(self, clients: Collection[int]) -> dict[int, list[bytes]]:
        """Wait for these no longer, the key holder included. One whose upload has arrived whole still counts."""
        message = f"the loss of clients {sorted(clients)}"
        if self.phase is ServerPhase.DONE:
            raise self._refusal(message, None, "the round is over")
        strangers = sorted(set(clients) - set(self.terms.round.roster) - {KEY_HOLDER})
        if strangers:
            raise self._refusal(message, None, f"clients {strangers} are not in the roster")
        self._lost |= set(clients)
        return self._request_if_whole()

    def _request_if_whole(self) -> dict[int, list[bytes]]:
        """The request, once every client has sent or is lost, if there are enough to open their sum."""
        enough = len(self._senders) >= self.terms.min_clients
        if self.phase is not ServerPhase.COLLECTING or self._missing or not enough:
            return {}
        self.phase = ServerPhase.OPENING
        return {KEY_HOLDER: [self._request()]}

    def _request(self) -> bytes:
        parts = self._packed()
        key = self._keys.key_id
        return self.terms.message(MessageType.REQUEST, SERVER, key, self._contributors, parts).encode()

    def _packed(self) -> list[bytes]:
        return [pack(total, self.terms.parameters) for total in self._sum]

    @property
    def _contributors(self) -> tuple[int, ...]:
        return tuple(sorted(self._senders))

    @property
    def _missing(self) -> tuple[int, ...]:
        return tuple(c for c in self.terms.round.roster if c not in self._senders and c not in self._lost)

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Clients that have neither sent nor been declared lost, or the key holder once it is asked."""
        if self.phase is ServerPhase.OPENING and KEY_HOLDER not in self._lost:
            return (KEY_HOLDER,)
        return self._missing if self.phase is ServerPhase.COLLECTING else ()

    def resend(self) -> dict[int, list[bytes]]:
        """The request once more, for a driver that cannot know whether it arrived."""
        return {KEY_HOLDER: [self._request()]} if self.phase is ServerPhase.OPENING else {}

    def aggregate(self) -> Aggregate:
        """The weighted mean on the grid; asking again gives the same.

        Raises:
            ProtocolError: somebody is still expected, or too few have sent, or the key holder was lost.
        """
        if not self._opening:
            raise self._refusal("to aggregate", None, self._why_not())
        self.phase = ServerPhase.DONE
        return self._opened(decode(self._opening))

    def _why_not(self) -> str:
        if self._missing:
            return f"clients {list(self._missing)} have neither sent nor been declared lost"
        if len(self._senders) < self.terms.min_clients:
            return (
                f"{len(self._senders)} of {self.terms.describe()} have sent, and the key holder opens sums of "
                f"{self.terms.min_clients} or more"
            )
        if KEY_HOLDER in self._lost:
            return "the key holder was declared lost, and nobody else can open the sum"
        return "the key holder has not opened the sum yet"

    def save(self) -> bytes:
        """The session's state: the encrypted sum and who is in it."""
        facts = {
            "role": self._ROLE,
            "round": self.terms.round.to_dict(),
            "phase": str(self.phase),
            "senders": sorted(self._senders),
            "lost": sorted(self._lost),
        }
        return pack_state(facts, [self._opening, *self._packed()])

    @classmethod
    @reading_state
    def load(cls, data: bytes, keys: ServerKeys, spec: CkksSpec | BfvSpec) -> HomomorphicServer:
        """A session from what `save` gave."""
        facts, frames = unpack_state(data, cls._ROLE)
        session = cls(keys, Terms.of(spec, RoundInfo.from_dict(facts["round"])))
        session.phase = ServerPhase(facts["phase"])
        session._senders, session._lost = set(facts["senders"]), set(facts["lost"])
        session._opening = frames[0]
        session._sum = [unpack(part, session.terms.parameters) for part in frames[1:]]
        if session._sum and len(session._sum) != session.terms.ciphertexts:
            raise FrameError("saved session is damaged", "resume from another checkpoint")
        return session

    def _refuse_strange(self, sender: int, message: Message, what: MessageType) -> None:
        self.terms.refuse_strange("server", self.phase, sender, message, what, self._keys.key_id)

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return self.terms.refusal("server", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"HomomorphicServer({self.terms.describe()}, phase={self.phase}, {len(self._senders)} uploads)"
