"""No protection, behind the same sessions as every defense: the honest baseline.

Invariant: the aggregate is the weighted mean of what arrived, to the digit the same in whatever order it
came, or there is no aggregate.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import numpy as np

from defenses.codec import Precision
from defenses.errors import ProtocolError
from defenses.frame import decode, encode, peek
from defenses.session import Aggregate, RoundInfo, pack_state, reading_state, refusal, unpack_state
from defenses.upload import Upload


class ClientPhase(StrEnum):
    """READY until the upload was protected, then SENT."""

    READY = "ready"
    SENT = "sent"


class ServerPhase(StrEnum):
    """COLLECTING until the aggregate was asked for, then DONE."""

    COLLECTING = "collecting"
    DONE = "done"


class ClearClient:
    """A client that sends its upload as it is.

    Args:
        me: this client's number, in the round's roster.
        round_info: the round.
        precision: how the numbers travel.
    """

    _ROLE = "clear client"

    def __init__(self, me: int, round_info: RoundInfo, precision: Precision) -> None:
        self.me = me
        self.round = round_info
        self.precision = Precision(precision)
        self._frames: list[bytes] = []
        if me not in round_info.roster:
            raise self._refusal(
                "to join", None, f"client {me} is not in the roster of round {round_info.number}"
            )

    @property
    def phase(self) -> ClientPhase:
        """Where the session stands."""
        return ClientPhase.SENT if self._frames else ClientPhase.READY

    def protect(self, upload: Upload) -> list[bytes]:
        """One frame that carries the upload; once only.

        Reveals: the whole upload and its weight, to whoever reads the frame.
        """
        message = f"an upload of kind {upload.kind} for round {upload.round}"
        if self.phase is ClientPhase.SENT:
            raise self._refusal(message, self.me, "it has protected one already, which `resend` gives again")
        if (upload.kind, upload.round) != (self.round.kind, self.round.number):
            raise self._refusal(message, self.me, f"this is {_describe(self.round)}")
        if upload.layout != self.round.layout:
            raise self._refusal(
                message,
                self.me,
                f"its arrays {upload.layout.to_dict()} are not {self.round.layout.to_dict()}, as agreed on",
            )
        self._frames = [encode(upload, self.me, self.precision)]
        return self.resend()

    def receive(self, frame: bytes) -> list[bytes]:
        """Refuse the frame: without protection the server has nothing to say within a round."""
        header = peek(frame)
        message = f"a frame of kind {header.kind} for round {header.round}"
        raise self._refusal(message, header.sender, "an unprotected round has no frames to clients")

    def resend(self) -> list[bytes]:
        """The very frames made so far."""
        return list(self._frames)

    def save(self) -> bytes:
        """The session's state, the upload included."""
        facts = {
            "role": self._ROLE,
            "me": self.me,
            "round": self.round.to_dict(),
            "precision": str(self.precision),
        }
        return pack_state(facts, self._frames)

    @classmethod
    @reading_state
    def load(cls, data: bytes) -> ClearClient:
        """A session from what `save` gave; one that had protected its upload can only resend it."""
        facts, frames = unpack_state(data, cls._ROLE)
        session = cls(facts["me"], RoundInfo.from_dict(facts["round"]), facts["precision"])
        session._frames = frames
        return session

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return refusal(f"client {self.me}", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"ClearClient({self.me}, round={self.round.number}, phase={self.phase})"


class ClearServer:
    """A server that reads every upload and means them.

    Args:
        round_info: the round.
        precision: how the numbers travel; a frame at another precision is refused.
    """

    _ROLE = "clear server"

    def __init__(self, round_info: RoundInfo, precision: Precision) -> None:
        self.round = round_info
        self.precision = Precision(precision)
        self.phase = ServerPhase.COLLECTING
        self._frames: dict[int, bytes] = {}
        self._lost: set[int] = set()

    def receive(self, sender: int, frame: bytes) -> dict[int, list[bytes]]:
        """Take one client's upload; there is never anything to send on.

        Raises:
            FrameError: the bytes are no frame.
            ProtocolError: the frame may not come from this sender, or not now.
        """
        header = peek(frame)
        message = f"a frame of kind {header.kind} for round {header.round}"
        reasons = (
            (self.phase is ServerPhase.DONE, "the round is over"),
            (header.sender != sender, f"it names {header.sender} as its sender"),
            (sender not in self.round.roster, f"the sender is not in the roster of {_describe(self.round)}"),
            (sender in self._frames, "the sender has sent its upload already"),
            (sender in self._lost, "the sender was declared lost"),
            (
                (header.kind, header.round) != (self.round.kind, self.round.number),
                f"this is {_describe(self.round)}",
            ),
            (
                header.precision is not self.precision,
                f"its precision is {header.precision}, not {self.precision}, as agreed on",
            ),
        )
        for wrong, why in reasons:
            if wrong:
                raise self._refusal(message, sender, why)
        decode(frame, self.round.layout)
        self._frames[sender] = bytes(frame)
        return {}

    def lost(self, clients: Collection[int]) -> dict[int, list[bytes]]:
        """Wait for these clients no longer. One whose upload has arrived whole still counts."""
        message = f"the loss of clients {sorted(clients)}"
        if self.phase is ServerPhase.DONE:
            raise self._refusal(message, None, "the round is over")
        strangers = sorted(set(clients) - set(self.round.roster))
        if strangers:
            raise self._refusal(message, None, f"clients {strangers} are not in the roster")
        self._lost |= set(clients)
        return {}

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Clients that have neither sent nor been declared lost, ascending."""
        return tuple(c for c in self.round.roster if c not in self._frames and c not in self._lost)

    def aggregate(self) -> Aggregate:
        """The weighted mean, accumulated in float64 by ascending sender; asking again gives the same.

        Raises:
            ProtocolError: somebody is still expected, or nobody has sent.
        """
        if self.waiting_for:
            raise self._refusal(
                "to aggregate",
                None,
                f"clients {list(self.waiting_for)} have neither sent nor been declared lost",
            )
        if not self._frames:
            raise self._refusal(
                "to aggregate", None, f"no client of {_describe(self.round)} has sent anything"
            )
        self.phase = ServerPhase.DONE
        sums = np.zeros(self.round.layout.size, dtype=np.float64)
        total = 0.0
        for sender in sorted(self._frames):
            upload = decode(self._frames[sender], self.round.layout).upload
            sums += upload.weight * self.round.layout.flatten(upload.arrays).astype(np.float64)
            total += upload.weight
        means = self.round.layout.unflatten((sums / total).astype(np.float32))
        senders = tuple(sorted(self._frames))
        return Aggregate(means, total, senders, self.round.kind, self.round.number, sums=sums)

    def save(self) -> bytes:
        """The session's state, every upload that has arrived included."""
        senders = sorted(self._frames)
        facts = {
            "role": self._ROLE,
            "round": self.round.to_dict(),
            "precision": str(self.precision),
            "phase": str(self.phase),
            "senders": senders,
            "lost": sorted(self._lost),
        }
        return pack_state(facts, [self._frames[sender] for sender in senders])

    @classmethod
    @reading_state
    def load(cls, data: bytes) -> ClearServer:
        """A session from what `save` gave."""
        facts, frames = unpack_state(data, cls._ROLE)
        session = cls(RoundInfo.from_dict(facts["round"]), facts["precision"])
        session.phase = ServerPhase(facts["phase"])
        session._frames = dict(zip(facts["senders"], frames, strict=True))
        session._lost = set(facts["lost"])
        return session

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return refusal("server", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"ClearServer(round={self.round.number}, phase={self.phase}, {len(self._frames)} uploads)"


def _describe(round_info: RoundInfo) -> str:
    return f"round {round_info.number} of kind {round_info.kind}"
