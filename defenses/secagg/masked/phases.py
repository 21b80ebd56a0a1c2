"""Where the two ends of a masked round stand, and what each may take there; `docs/protocol.md` shows these tables.

Invariant: these two tables are the only place that says what may come next, so a message that has no entry in the
session's phase is refused before anything of it is looked at.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from defenses.secagg.masked.messages import (
    Advertise,
    Consistency,
    Inbox,
    MaskedInput,
    Message,
    Roster,
    Shares,
    Signatures,
    Survivors,
    Unmask,
)


class ClientPhase(StrEnum):
    """A client's way through a round."""

    READY = "ready"
    ADVERTISED = "advertised"
    SHARED = "shared"
    MASKED = "masked"
    SIGNED = "signed"
    DONE = "done"


class ServerPhase(StrEnum):
    """The server's way through a round; FAILED is where it ends without a sum."""

    ADVERTISING = "advertising"
    SHARING = "sharing"
    MASKING = "masking"
    SIGNING = "signing"
    UNMASKING = "unmasking"
    DONE = "done"
    FAILED = "failed"


class ClientStep(NamedTuple):
    """What a client takes in a phase, what it answers, and where it then stands."""

    takes: type[Message]
    answers: type[Message]
    then: ClientPhase


class ServerStep(NamedTuple):
    """What the server takes from every client in a phase, what it then sends, and where it then stands."""

    takes: type[Message]
    sends: type[Message] | None
    then: ServerPhase


CLIENT_TRANSITIONS: dict[ClientPhase, ClientStep] = {
    ClientPhase.ADVERTISED: ClientStep(Roster, Shares, ClientPhase.SHARED),
    ClientPhase.SHARED: ClientStep(Inbox, MaskedInput, ClientPhase.MASKED),
    ClientPhase.MASKED: ClientStep(Survivors, Consistency, ClientPhase.SIGNED),
    ClientPhase.SIGNED: ClientStep(Signatures, Unmask, ClientPhase.DONE),
}
"""In READY a client takes its own upload, and answers `Advertise`; in DONE it takes nothing."""

SERVER_TRANSITIONS: dict[ServerPhase, ServerStep] = {
    ServerPhase.ADVERTISING: ServerStep(Advertise, Roster, ServerPhase.SHARING),
    ServerPhase.SHARING: ServerStep(Shares, Inbox, ServerPhase.MASKING),
    ServerPhase.MASKING: ServerStep(MaskedInput, Survivors, ServerPhase.SIGNING),
    ServerPhase.SIGNING: ServerStep(Consistency, Signatures, ServerPhase.UNMASKING),
    ServerPhase.UNMASKING: ServerStep(Unmask, None, ServerPhase.DONE),
}
"""From every phase the server may go to FAILED, where too few clients are left."""
