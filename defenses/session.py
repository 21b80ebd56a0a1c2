"""What every defense's two ends look like to the loop that drives them.

A session does no I/O, reads no clock and draws no randomness of its own: frames come in, deadlines come in as
`lost`, randomness comes in as an `Entropy`, and frames go out. Invariant: a message that is refused leaves
the session as it was, and a resumed client can only resend the very frames it had made, because a second
protection of the same upload may leak what the first one hid.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from defenses.errors import FrameError, ProtocolError, UserError, reading
from defenses.frame import SERVER
from defenses.upload import MAX_U32, Float32Array, Layout, Upload, UploadKind, frozen_arrays, shapes_of

_HEX = re.compile(r"([0-9a-f]{2})*")


@dataclass(frozen=True, slots=True)
class RoundInfo:
    """What both ends know of a round before it starts.

    Attributes:
        number: 0 to 2^32 - 1.
        kind: what the uploads of the round are.
        roster: numbers of the clients that may take part, ascending (given in any order).
        layout: names and shapes of the uploads' arrays.
        context: hexadecimal digest of everything that the uploads are computed from and that all ends should see
            alike: the global state, the configuration, the template. Each end works it out from what it has
            itself; a defense that binds to it fails where two ends differ. Empty where none does.
    """

    number: int
    kind: UploadKind
    roster: tuple[int, ...]
    layout: Layout
    context: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", UploadKind(self.kind))
        object.__setattr__(self, "roster", tuple(sorted(int(client) for client in self.roster)))
        if not 0 <= self.number <= MAX_U32:
            raise UserError(f"round.number is {self.number}", f"use 0 to {MAX_U32}")
        if not self.roster or len(set(self.roster)) != len(self.roster):
            raise UserError(f"round.roster is {list(self.roster)}", "name at least one client, each once")
        if self.roster[0] < 0 or self.roster[-1] >= SERVER:
            raise UserError(f"round.roster is {list(self.roster)}", f"number clients from 0 to {SERVER - 1}")
        if not _HEX.fullmatch(self.context):
            raise UserError(
                f"round.context is {self.context!r}", "use pairs of hexadecimal digits, or nothing"
            )

    def to_dict(self) -> dict[str, Any]:
        """As it goes into JSON."""
        facts = {
            "number": self.number,
            "kind": str(self.kind),
            "roster": list(self.roster),
            "layout": self.layout.to_dict(),
        }
        return {**facts, "context": self.context} if self.context else facts

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RoundInfo:
        """The inverse of `to_dict`."""
        try:
            return cls(
                int(data["number"]),
                UploadKind(data["kind"]),
                tuple(data["roster"]),
                Layout.of(data["layout"]),
                str(data.get("context", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError("round description is not one this program wrote") from error


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Aggregate:
    """What a round adds up to.

    Attributes:
        means: name to float32 array, the weighted mean of the contributors' uploads; read-only.
        total_weight: sum of the contributors' weights.
        contributors: their numbers, ascending.
        kind: what the numbers are.
        round: number of the round.
        parts: the sums that it was made from, where the server works out several; empty where it is one sum.
        lacking: for each sum that failed beside them, why.
        noise: standard deviation of the noise of differential privacy in each mean, its root mean square over all
            numbers; of vectors in units of a block's public size, of all else in the coordinates of the clip. 0
            where there is none.
        sums: ``[size]``, what the contributors' numbers times their weights add up to, in layout order, before anything
            is divided: in steps of the grid where they came on one. Whole numbers of up to 2^53 are exact here, and in
            means of 24 bits they are not. None where there is no single sum.
    """

    means: Mapping[str, Float32Array]
    total_weight: float
    contributors: tuple[int, ...]
    kind: UploadKind
    round: int
    parts: tuple[Aggregate, ...] = ()
    lacking: tuple[str, ...] = ()
    noise: float = 0.0
    sums: npt.NDArray[Any] | None = None

    @property
    def released(self) -> tuple[Aggregate, ...]:
        """Every sum that the server learns by it."""
        return self.parts or (self,)

    def __post_init__(self) -> None:
        means: Mapping[str, npt.ArrayLike] = self.means
        object.__setattr__(self, "means", frozen_arrays(means, "aggregate"))

    def as_upload(self) -> Upload:
        """The means with the total weight, to be written down as a frame."""
        return Upload(self.means, self.total_weight, self.round, self.kind)

    def __repr__(self) -> str:
        """Show shapes, never content: the mean of one upload is that upload."""
        return (
            f"Aggregate({self.kind}, round={self.round}, {len(self.contributors)} contributors, "
            f"{shapes_of(self.means)})"
        )


class ClientSession(Protocol):
    """One client's end of one round."""

    def protect(self, upload: Upload) -> list[bytes]:
        """The frames that carry an `Upload`; once only, and never again after a resume."""
        ...

    def receive(self, frame: bytes) -> list[bytes]:
        """Take a frame from the server and answer it."""
        ...

    def resend(self) -> list[bytes]:
        """The very frames made so far, for a driver that cannot know whether they arrived."""
        ...

    def save(self) -> bytes:
        """The session's state; as private as the upload itself."""
        ...


class ServerSession(Protocol):
    """The server's end of one round."""

    def receive(self, sender: int, frame: bytes) -> dict[int, list[bytes]]:
        """Take a frame from one client; the frames to send on, by recipient."""
        ...

    def lost(self, clients: Collection[int]) -> dict[int, list[bytes]]:
        """Clients that the driver waits for no longer; the frames to send on, by recipient."""
        ...

    @property
    def waiting_for(self) -> tuple[int, ...]:
        """Clients without whose next frame, or loss, the round does not go on; ascending."""
        ...

    def aggregate(self) -> Aggregate:
        """What the round adds up to, once every client of the roster has sent or is lost."""
        ...

    def save(self) -> bytes:
        """The session's state."""
        ...


class HelperSession(Protocol):
    """The end of one round of a party that is neither server nor client, such as a key holder."""

    def receive(self, frame: bytes) -> list[bytes]:
        """Take a frame from the server and answer it."""
        ...

    def resend(self) -> list[bytes]:
        """The very frames made so far."""
        ...

    def save(self) -> bytes:
        """The session's state."""
        ...


def refusal(role: str, phase: str, message: str, sender: int | None, why: str) -> ProtocolError:
    """The one form of a protocol error: who, in which phase, refuses what from whom, and why."""
    origin = "" if sender is None else f" from {'the server' if sender == SERVER else f'client {sender}'}"
    return ProtocolError(f"{role} in phase {phase} refuses {message}{origin}: {why}")


_STATE_MAGIC = b"IFS1"
_STATE_HEAD = struct.Struct("<4sII")


reading_state = reading("saved session", "resume from another checkpoint")
"""Decorates whatever makes a session, or a key file, of saved bytes."""


def pack_state(facts: Mapping[str, Any], frames: Sequence[bytes]) -> bytes:
    """A session's state as bytes: JSON facts, then frames, under a checksum."""
    text = json.dumps({**facts, "frame_sizes": [len(frame) for frame in frames]}, sort_keys=True).encode()
    body = text + b"".join(frames)
    return _STATE_HEAD.pack(_STATE_MAGIC, zlib.crc32(body), len(text)) + body


@reading_state
def saved_role(data: bytes) -> str:
    """Whose saved session bytes are.

    Raises:
        FrameError: they are damaged.
    """
    return str(_saved_facts(data)[0].get("role"))


@reading_state
def unpack_state(data: bytes, role: str) -> tuple[dict[str, Any], list[bytes]]:
    """The inverse of `pack_state`.

    Args:
        data: what `pack_state` gave.
        role: the facts' entry ``role`` must be this one.

    Raises:
        FrameError: the bytes are damaged or belong to another kind of session.
    """
    facts, body, size = _saved_facts(data)
    if facts.get("role") != role:
        raise FrameError(f"saved session is of a {facts.get('role')}, not of a {role}")
    frames, at = [], size
    for length in facts.pop("frame_sizes"):
        frames.append(body[at : at + length])
        at += length
    return facts, frames


def _saved_facts(data: bytes) -> tuple[dict[str, Any], bytes, int]:
    """Facts, the whole body, and where in it the frames begin."""
    if len(data) < _STATE_HEAD.size:
        raise FrameError("saved session is too short", "resume from another checkpoint")
    magic, crc, size = _STATE_HEAD.unpack_from(data)
    body = data[_STATE_HEAD.size :]
    if magic != _STATE_MAGIC or crc != zlib.crc32(body):
        raise FrameError("saved session is damaged", "resume from another checkpoint")
    facts: dict[str, Any] = json.loads(body[:size])
    return facts, body, size
