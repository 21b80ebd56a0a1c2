"""Masked rounds small enough for hundreds of them, with a server that tests can make lie."""

import numpy as np
import pytest

from defenses.entropy import InsecureSeeded
from defenses.frame import SERVER
from defenses.grid import Grid
from defenses.secagg.masked import derived, shamir
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.directory import enrol
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.messages import Unmask, decode, encode
from defenses.secagg.masked.policy import Policy, Terms
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet import messages as small
from defenses.secagg.ratchet.client import RatchetClient
from defenses.secagg.ratchet.server import RatchetServer
from defenses.session import RoundInfo
from defenses.upload import Layout, Upload, UploadKind

STAGES = ("advertising", "sharing", "masking", "signing", "unmasking")
VICTIM = 10
POLICY = {"minimum": 3, "collusion": 0.2, "dropout": 0.1, "clip": 4.0, "bits": 16, "max_weight": 8}


class World:
    """A directory, a policy, a round, and what its clients upload."""

    def __init__(
        self, n=5, *, size=6, seed=1, number=1, kind=UploadKind.COEFFICIENTS, members=None, **policy
    ):
        self.entropy = InsecureSeeded(seed, "masked world")
        self.members = members or enrol(range(10, 10 + n), self.entropy)
        self.directory = next(iter(self.members.values())).directory
        self.policy = Policy(**{**POLICY, **policy})
        self.layout = Layout.of({"v": (size,)})
        self.info = RoundInfo(number, kind, tuple(self.members), self.layout, "ab" * 32)
        self.inputs = {}

    @property
    def numbers(self):
        return self.info.roster

    def terms(self, info=None):
        return Terms.of(info or self.info, self.policy, self.directory)

    def upload(self, client, **changes):
        rng = np.random.default_rng([client, self.info.number])
        values = {"v": rng.uniform(-3, 3, self.layout.size)}
        return Upload(values, changes.pop("weight", client % 8 + 1), self.info.number, self.info.kind)

    def client(self, number, info=None):
        """A client that has protected its upload; its input on the grid is kept for the test."""
        session = MaskedClient(self.members[number], info or self.info, self.policy, self.entropy)
        session.protect(self.upload(number))
        self.inputs[number] = session._secrets.slots.copy()
        return session

    def clients(self):
        return {number: self.client(number) for number in self.numbers}

    def server(self):
        return MaskedServer(self.info, self.policy, self.directory)

    def exact(self, contributors):
        """What the sum must be."""
        return sum((self.inputs[c] for c in contributors), np.zeros_like(self.inputs[contributors[0]]))

    def forget_diaries(self):
        """As if every client had been set back to before its first round."""
        for member in self.members.values():
            member.diary.highest = -1
            member.diary.given.clear()

    def down(self, message, info=None):
        """A frame from the server."""
        terms = self.terms(info)
        return encode(
            message,
            clients=terms.graph.clients,
            round_number=terms.round.number,
            sender=SERVER,
            binding=terms.binding,
        )

    def read(self, frame):
        return decode(frame, len(self.numbers))[1]


class Rounds(World):
    """A world whose rounds are ratcheted."""

    def client(self, number, info=None):
        session = RatchetClient(self.members[number], info or self.info, self.policy, self.entropy)
        quantised = []
        honest = Grid.quantise

        def spy(grid, *arguments):
            quantised.append(honest(grid, *arguments))
            return quantised[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Grid, "quantise", spy)
            session.protect(self.upload(number))
        self.inputs[number] = quantised[0].slots.copy()
        return session

    def server(self):
        return RatchetServer(self.info, self.policy, self.directory)

    def frame(self, kind, body):
        return small.encode(kind, small.SERVER_PLACE, body, self.terms().binding)

    def alive(self, *places):
        return self.frame(small.Kind.ALIVE, small.list_body(places, len(self.numbers)))


def drive(server, clients, *, lose=None, until=None, transport=lambda _way, _client, frame: frame):
    """Carry frames until nobody has more to say.

    Args:
        server: the server's session.
        clients: number to session, each having protected its upload.
        lose: stage to clients that are gone from that stage on, before they answer.
        until: stage at which to stop, nothing of it delivered.
        transport: changes a frame on its way, or gives None to lose it.

    Returns:
        Number of each client to the frames on the way to it, where it stopped.
    """
    lose, gone = lose or {}, set()
    waiting = {number: session.resend()[-1:] for number, session in clients.items()}
    inbox = {}
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


def open_alone(terms, place, masked, seed, pair_keys):
    """A client's input from its masked input, its seed, and the keys that it shares with each neighbour."""
    vector = masked.copy()
    number = terms.round.roster[place]
    apply(vector, derived.self_mask_key(terms, number, seed), -1)
    for other, key in pair_keys.items():
        apply(vector, key, -pair_sign(number, terms.round.roster[other]))
    return vector


def put_together(terms, dealer, shares):
    """A secret from holder's place to share."""
    chosen = sorted((terms.graph.point(dealer, holder), share) for holder, share in shares.items())
    points, values = zip(*chosen[: terms.graph.shape.threshold], strict=True)
    return shamir.combine(points, values)


def opened(world, answers, dealer):
    """Holder's place to the share of a dealer in its `Unmask`."""
    found = {}
    for number, frame in answers.items():
        message = world.read(frame)
        assert isinstance(message, Unmask)
        if dealer in message.of:
            found[world.numbers.index(number)] = message.shares[message.of.index(dealer)]
    return found


def masked_input(world, session):
    """The vector in a client's third frame, as the server has it."""
    message = world.read(session.resend()[2])
    return np.frombuffer(message.elements, world.terms().grid.ring.dtype).copy()


def blind(monkeypatch, *names):
    """Checks of signatures that say yes to everything."""
    for name in names:
        monkeypatch.setattr(derived, name, lambda *_: True)


def no_lists(monkeypatch):
    """Clients that take any list."""
    monkeypatch.setattr(MaskedClient, "_check_list", lambda *_: None)


def up_to(world, stage):
    """Server and clients where the server is about to take what the stage takes, and the frames on their way down."""
    server, clients = world.server(), world.clients()
    return server, clients, drive(server, clients, until=stage)
