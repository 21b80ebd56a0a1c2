"""Masked rounds small enough for hundreds of them, and the post between their ends.

Invariant: what a client uploads lies on the grid exactly, so that what the sum must be is plain arithmetic and no
session has to be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np

from attacks._server.build import AS_SHIPPED, Build
from defenses.entropy import Entropy, InsecureSeeded
from defenses.frame import SERVER
from defenses.ring import UIntArray
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.directory import Directory, Member, enrol
from defenses.secagg.masked.messages import MaskedInput, Message, Unmask, decode, encode
from defenses.secagg.masked.policy import Policy, Terms
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet import messages as small
from defenses.secagg.ratchet.client import RatchetClient
from defenses.secagg.ratchet.server import RatchetServer
from defenses.session import ClientSession, RoundInfo, ServerSession
from defenses.upload import Layout, Upload, UploadKind

VICTIM = 10
"""The client that the server is after; the first of every roster."""
STEP = 2.0**-13
"""The width of a level; a power of two, so that numbers on the grid are exact in float32."""
POLICY: dict[str, Any] = {
    "minimum": 3,
    "collusion": 0.2,
    "dropout": 0.1,
    "clip": 32_767 * STEP,
    "bits": 16,
    "max_weight": 8,
}
CONTEXT = "ab" * 32
"""The digest of what honest ends have seen."""
Transport = Callable[[str, int, bytes], bytes | None]
"""Given the way (``up`` or ``down``), the client and a frame, what arrives; None where nothing does."""


class World:
    """A directory, a policy, a round, and what its clients upload.

    Args:
        n: number of clients; they are numbered from `VICTIM` on.
        build: which classes play them.
        size: numbers in an upload.
        seed: of everything that is drawn.
        number: of the round.
        kind: what is uploaded.
        members: clients of an earlier round that go on; None enrols new ones.
        policy: changes to `POLICY`.
    """

    POLICY: ClassVar[Mapping[str, Any]] = POLICY

    def __init__(
        self,
        n: int = 5,
        *,
        build: Build = AS_SHIPPED,
        size: int = 6,
        seed: int = 1,
        number: int = 1,
        kind: UploadKind = UploadKind.COEFFICIENTS,
        members: Mapping[int, Member] | None = None,
        **policy: Any,
    ) -> None:
        self.build = build
        self.entropy: Entropy = InsecureSeeded(seed, "masked world")
        if members is None:
            fresh = enrol(range(VICTIM, VICTIM + n), self.entropy)
            members = {
                c: replace(member, diary=build.diary(), ratchet=build.chains(member.ratchet))
                for c, member in fresh.items()
            }
        self.members = dict(members)
        self.directory: Directory = next(iter(self.members.values())).directory
        self.policy: Policy = build.policy(**{**self.POLICY, **policy})
        self.layout = Layout.of({"v": (size,)})
        self.info = RoundInfo(number, kind, tuple(self.members), self.layout, CONTEXT)
        self.inputs: dict[int, UIntArray] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """The roster."""
        return self.info.roster

    @property
    def everybody(self) -> tuple[int, ...]:
        """All places in the roster."""
        return tuple(range(len(self.numbers)))

    def terms(self, info: RoundInfo | None = None) -> Terms:
        """The terms of the round."""
        return Terms.of(info or self.info, self.policy, self.directory)

    def upload(self, client: int) -> Upload:
        """What a client would like summed: numbers on the grid, and a weight of 1 to 8."""
        whole = np.random.default_rng([client, self.info.number]).integers(-24_000, 24_000, self.layout.size)
        return Upload({"v": whole * STEP}, client % 8 + 1, self.info.number, self.info.kind)

    def on_grid(self, upload: Upload) -> UIntArray:
        """The ring elements that an upload of numbers on the grid is."""
        whole = np.rint(upload.arrays["v"].astype(np.float64) / STEP).astype(np.int64) * int(upload.weight)
        return self.terms().grid.ring.wrap(np.append(whole, int(upload.weight)))

    def client(self, number: int, info: RoundInfo | None = None) -> Any:
        """A client that has protected its upload."""
        source = self.build.entropy(self.entropy)
        session = self.build.client(self.members[number], info or self.info, self.policy, source)
        session.protect(self.upload(number))
        self.inputs[number] = self.on_grid(self.upload(number))
        return session

    def forget(self, number: int) -> None:
        """As if a client had joined no round: for one whose place a cheat takes."""
        self.members[number] = replace(self.members[number], diary=self.build.diary())

    def clients(self) -> dict[int, Any]:
        """All of them."""
        return {number: self.client(number) for number in self.numbers}

    def server(self) -> Any:
        """A server that follows the protocol."""
        return self.build.server(self.info, self.policy, self.directory)

    def exact(self, contributors: Collection[int]) -> UIntArray:
        """What the sum over these must be."""
        ring = self.terms().grid.ring
        total = np.zeros(self.layout.size + 1, dtype=ring.dtype)
        for client in contributors:
            total = ring.add(total, self.inputs[client])
        return total

    def revived(self, session: MaskedClient, data: bytes) -> MaskedClient:
        """A client that has crashed, from what it had saved."""
        return type(session).load(data, self.members, lambda _: self.policy, self.entropy)

    def down(self, message: Message, info: RoundInfo | None = None) -> bytes:
        """A frame from the server."""
        return self.frame_of(message, SERVER, self.terms(info))

    @staticmethod
    def frame_of(message: Message, sender: int, terms: Terms) -> bytes:
        """A frame of a round, from anybody."""
        return encode(
            message,
            clients=terms.graph.clients,
            round_number=terms.round.number,
            sender=sender,
            binding=terms.binding,
        )

    def read(self, frame: bytes) -> Any:
        """The message in a frame."""
        return decode(frame, len(self.numbers))[1]


class Rounds(World):
    """A world whose rounds are ratcheted."""

    def client(self, number: int, info: RoundInfo | None = None) -> Any:
        """A client that has protected its upload."""
        source = self.build.entropy(self.entropy)
        session: RatchetClient = self.build.ratchet(
            self.members[number], info or self.info, self.policy, source
        )
        session.protect(self.upload(number))
        self.inputs[number] = self.on_grid(self.upload(number))
        return session

    def server(self) -> Any:
        """A server that follows the protocol."""
        return RatchetServer(self.info, self.policy, self.directory)

    def frame(self, kind: small.Kind, body: bytes, info: RoundInfo | None = None) -> bytes:
        """A frame from the server."""
        return small.encode(kind, small.SERVER_PLACE, body, self.terms(info).binding)

    def alive(self, *places: int) -> bytes:
        """The frame that says whose input has arrived."""
        return self.frame(small.Kind.ALIVE, small.list_body(places, len(self.numbers)))


class StagedServer(ServerSession, Protocol):
    """A server's session that says where it stands."""

    @property
    def phase(self) -> str:
        """The phase."""
        ...


def untouched(_way: str, _client: int, frame: bytes) -> bytes:
    """A `Transport` that delivers everything."""
    return frame


def drive(
    server: StagedServer,
    clients: Mapping[int, ClientSession],
    *,
    lose: Mapping[str, Collection[int]] | None = None,
    until: str | None = None,
    transport: Transport = untouched,
) -> dict[int, list[bytes]]:
    """Carry frames until nobody has more to say.

    Args:
        server: the server's session.
        clients: number to session, each having protected its upload.
        lose: stage to clients that are gone from that stage on, before they answer.
        until: stage at which to stop, nothing of it delivered.
        transport: changes a frame on its way, or loses it.

    Returns:
        Number of each client to the frames on the way to it, where it stopped.
    """
    lose, gone = lose or {}, set[int]()
    waiting = {number: session.resend()[-1:] for number, session in clients.items()}
    inbox: dict[int, list[bytes]] = {}
    while waiting or inbox:
        if server.phase == until:
            return inbox
        for number, frames in inbox.items():
            if number not in gone and number not in lose.get(server.phase, ()):
                arrived = [transport("down", number, frame) for frame in frames]
                waiting[number] = [a for frame in arrived if frame for a in clients[number].receive(frame)]
        gone |= set(lose.get(server.phase, ()))
        inbox, sent, waiting = {}, waiting, {}
        for number, frames in sent.items():
            for frame in frames if number not in gone else ():
                changed = transport("up", number, frame)
                if changed:
                    inbox.update(server.receive(number, changed))
        if not inbox and server.waiting_for:
            inbox.update(server.lost(server.waiting_for))
    return {}


def up_to(world: World, stage: str) -> dict[int, Any]:
    """The clients where the server is about to take what a stage takes, the frames before it delivered."""
    server, clients = world.server(), world.clients()
    drive(server, clients, until=stage)
    return clients


def opened(world: World, answers: Mapping[int, bytes], dealer: int) -> dict[int, bytes]:
    """Holder's place to the share of a dealer in its `Unmask`."""
    found = {}
    for number, frame in answers.items():
        message = world.read(frame)
        assert isinstance(message, Unmask)
        if dealer in message.of:
            found[world.numbers.index(number)] = message.shares[message.of.index(dealer)]
    return found


def masked_input(world: World, session: MaskedClient) -> UIntArray:
    """The vector in a client's third frame, as the server has it."""
    message = world.read(session.resend()[2])
    assert isinstance(message, MaskedInput)
    return np.frombuffer(message.elements, world.terms().grid.ring.dtype).copy()


__all__ = [
    "VICTIM",
    "MaskedServer",
    "Rounds",
    "Transport",
    "World",
    "drive",
    "masked_input",
    "opened",
    "untouched",
    "up_to",
]
