"""Whole masked rounds: the exact sum over whoever stayed, or an error; never anything else."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from masked_world import STAGES, World, drive

from defenses import FrameError, IfedprivError, InsecureSeeded, ProtocolError, RoundInfo, Upload, UserError
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.messages import peek
from defenses.secagg.masked.server import MaskedServer


def test_the_sum_is_exact_and_the_mean_right():
    world = World(5)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    result = server.aggregate()
    assert result.contributors == world.numbers
    assert np.array_equal(server.sum(), world.exact(world.numbers))
    uploads = [world.upload(c) for c in world.numbers]
    total = sum(u.weight for u in uploads)
    mean = sum(u.weight * u.arrays["v"].astype(float) for u in uploads) / total
    assert result.total_weight == total
    np.testing.assert_allclose(result.means["v"], mean, atol=len(uploads) * world.terms().grid.step / total)
    assert np.array_equal(server.aggregate().means["v"], result.means["v"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("n", [4, 7])
def test_a_dropout_at_every_stage_is_survived(stage, n):
    world = World(n)
    server, clients = world.server(), world.clients()
    gone = world.numbers[1]
    drive(server, clients, lose={stage: {gone}})
    stayed = stage in ("signing", "unmasking")
    contributors = world.numbers if stayed else tuple(c for c in world.numbers if c != gone)
    assert server.aggregate().contributors == contributors
    assert np.array_equal(server.sum(), world.exact(contributors))


@given(st.lists(st.sampled_from((*STAGES, "never")), min_size=7, max_size=7))
@settings(max_examples=60, deadline=None)
def test_dropouts_at_any_stages_give_the_exact_sum_or_an_error(stages):
    world = World(7)
    server, clients = world.server(), world.clients()
    lose = {stage: {c for c, s in zip(world.numbers, stages, strict=True) if s == stage} for stage in STAGES}
    drive(server, clients, lose=lose)
    before = [c for c, s in zip(world.numbers, stages, strict=True) if s in ("signing", "unmasking", "never")]
    to_the_end = stages.count("never")
    if to_the_end >= world.terms().quorum:
        assert np.array_equal(server.sum(), world.exact(before))
    else:
        with pytest.raises(ProtocolError, match="server in phase failed refuses to aggregate"):
            server.aggregate()


def test_the_sparse_graph_gives_the_exact_sum():
    world = World(100, collusion=0.02, dropout=0.02, max_weight=8, bits=12)
    assert not world.terms().graph.complete
    server, clients = world.server(), world.clients()
    gone = set(world.numbers[3:5])
    drive(server, clients, lose={"masking": gone})
    left = [c for c in world.numbers if c not in gone]
    assert np.array_equal(server.sum(), world.exact(left))


@pytest.mark.parametrize(("bits", "max_weight", "width"), [(8, 8, 16), (16, 8, 32), (24, 2**10, 64)])
def test_every_ring_at_its_limits(bits, max_weight, width):
    """Everybody at the clip with the largest weight: the sum is still itself."""
    world = World(4, bits=bits, max_weight=max_weight, outside="refuse")
    assert world.terms().grid.ring.bits == width
    world.upload = lambda client: Upload(
        {"v": [4.0, -4.0, 4.0, 4.0, -4.0, 0.0]}, max_weight, 1, "coefficients"
    )
    server, clients = world.server(), world.clients()
    drive(server, clients)
    assert np.array_equal(server.aggregate().means["v"], np.float32([4, -4, 4, 4, -4, 0]))
    assert server.aggregate().total_weight == 4 * max_weight


TAMPER = ("drop", "repeat", "truncate", "flip", "foreign", "old", "grow")


class Transport:
    """A network that does one thing to one frame; what is damaged is sent again as it was."""

    def __init__(self, world, server, clients, what, at, draw):
        self.world, self.server, self.clients = world, server, clients
        self.what, self.at, self.draw, self.count = what, at, draw, 0
        self.seen = []

    def __call__(self, way, number, frame):
        self.count += 1
        self.seen.append(frame)
        if self.count - 1 != self.at:
            return frame
        end = self.clients[number] if way == "down" else self.server
        deliver = (lambda f: end.receive(f)) if way == "down" else (lambda f, who=number: end.receive(who, f))
        before = end.save()
        match self.what:
            case "drop":
                return None
            case "repeat":
                return frame
            case "truncate":
                wrong = frame[: self.draw % len(frame)]
            case "flip":
                bit = self.draw % (8 * len(frame))
                wrong = bytearray(frame)
                wrong[bit // 8] ^= 1 << bit % 8
                wrong = bytes(wrong)
            case "grow":
                wrong = frame + bytes(1 + self.draw % 3)
            case "old":
                wrong = self.seen[self.draw % len(self.seen)]
                if wrong == frame:
                    return frame
            case "foreign":
                number = self.world.numbers[self.draw % len(self.world.numbers)]
                if way == "down" or peek(frame).sender == number:
                    return frame

                def deliver(f):
                    return self.server.receive(number, f)

                wrong = frame
        with pytest.raises((FrameError, ProtocolError)):
            deliver(wrong)
        assert end.save() == before
        return frame


@given(st.sampled_from(TAMPER), st.integers(0, 40), st.integers(0, 2**30), st.booleans())
@example("old", 13, 12, False)  # another client's inbox
@settings(max_examples=80, deadline=None)
def test_whatever_the_network_does_the_sum_is_exact_or_there_is_none(what, at, draw, crash):
    """Damaged, foreign, repeated and old frames are refused, change nothing, and the true frame still counts."""
    world = World(4)
    server, clients = world.server(), world.clients()
    transport = Transport(world, server, clients, what, at, draw)
    if crash:
        for number in clients:
            clients[number] = revived(world, clients[number])
    try:
        drive(server, clients, transport=transport)
        contributors = server.aggregate().contributors
    except ProtocolError as error:
        assert what == "drop", error
        return
    assert np.array_equal(server.sum(), world.exact(contributors))
    plain = [world.inputs[c].astype("<u4").tobytes() for c in world.numbers]
    assert not any(text in frame for text in plain for frame in transport.seen)


@given(st.permutations(range(4)), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_order_and_repetition_make_no_difference(order, twice):
    world = World(4)
    server, clients = world.server(), world.clients()
    frames = {c: session.resend()[-1:] for c, session in clients.items()}
    while frames:
        out = {}
        for place in order:
            number = world.numbers[place]
            for frame in frames.get(number, ()):
                out.update(server.receive(number, frame))
                if place == twice:
                    with pytest.raises(ProtocolError):
                        server.receive(number, frame)
        frames = {number: clients[number].receive(each[0]) for number, each in out.items()}
    assert np.array_equal(server.sum(), world.exact(world.numbers))


def revived(world, session):
    if isinstance(session, MaskedServer):
        return MaskedServer.load(session.save(), lambda _: world.policy, world.directory)
    return MaskedClient.load(session.save(), world.members, lambda _: world.policy, InsecureSeeded(99))


@pytest.mark.parametrize("stage", STAGES)
def test_everybody_may_crash_at_every_step(stage):
    world = World(5)
    server, clients = world.server(), world.clients()
    gone = {world.numbers[0]}
    inbox = drive(server, clients, lose={"masking": gone}, until=stage)
    before = {number: session.resend() for number, session in clients.items()}
    server = revived(world, server)
    clients = {number: revived(world, session) for number, session in clients.items()}
    for number, session in clients.items():
        assert session.resend() == before[number]
        with pytest.raises(ProtocolError, match="refuses an upload"):
            session.protect(world.upload(number))
    while inbox:
        out = {}
        for number, frames in inbox.items():
            if number in gone and server.phase == "masking":
                out.update(server.lost([number]))
                continue
            clients[number] = revived(world, clients[number])
            for answer in clients[number].receive(frames[0]):
                clients[number] = revived(world, clients[number])
                out.update(server.receive(number, answer))
                server = revived(world, server)
        inbox = out
    if stage == "advertising":
        drive(server, clients, lose={"masking": gone})
    left = [c for c in world.numbers if c not in gone]
    assert np.array_equal(server.sum(), world.exact(left))
    assert np.array_equal(revived(world, server).sum(), server.sum())


def test_a_session_does_not_load_under_other_terms():
    world, other = World(4), World(4, bits=12)
    client, server = world.client(world.numbers[0]), world.server()
    with pytest.raises(ProtocolError, match="another policy or directory"):
        MaskedClient.load(client.save(), world.members, lambda _: other.policy, world.entropy)
    with pytest.raises(ProtocolError, match="another policy or directory"):
        MaskedServer.load(server.save(), lambda _: other.policy, world.directory)
    with pytest.raises(UserError, match="saved session is of client"):
        MaskedClient.load(client.save(), {}, lambda _: world.policy, world.entropy)
    for data in (client.save()[:-1], client.save() + b"x", server.save()):
        with pytest.raises(FrameError):
            MaskedClient.load(data, world.members, lambda _: world.policy, world.entropy)


def test_nobody_left_is_an_error_that_says_so():
    world = World(4)
    server = world.server()
    assert server.lost(world.numbers) == {}
    with pytest.raises(ProtocolError, match="0 clients are left of 4 after advertising, and a sum takes 3"):
        server.aggregate()
    assert server.waiting_for == ()
    with pytest.raises(ProtocolError, match="not in the roster"):
        server.lost([99])


def test_an_early_aggregate_names_who_is_waited_for():
    world = World(4)
    server = world.server()
    with pytest.raises(ProtocolError, match=r"clients \[10, 11, 12, 13\] have neither sent"):
        server.aggregate()


@pytest.mark.parametrize("wrong", ["round", "kind", "layout", "weight", "nan"])
def test_uploads_that_are_not_the_rounds_are_refused(wrong):
    world = World(4)
    session = MaskedClient(world.members[10], world.info, world.policy, world.entropy)
    arrays, weight, number, kind = {"v": np.zeros(6)}, 1, 1, "coefficients"
    match wrong:
        case "round":
            number = 2
        case "kind":
            kind = "scores"
        case "layout":
            arrays = {"v": np.zeros(7)}
        case "weight":
            weight = 9
        case "nan":
            arrays = {"v": np.full(6, np.nan)}
    with pytest.raises(IfedprivError) as caught:
        session.protect(Upload(arrays, weight, number, kind))
    assert not isinstance(caught.value, AssertionError)
    assert session.resend() == []
    assert session.protect(world.upload(10))


def test_a_client_outside_the_roster_does_not_join():
    world = World(5)
    info = RoundInfo(1, "coefficients", world.numbers[:4], world.layout)
    with pytest.raises(ProtocolError, match="client 14 is not in the roster"):
        MaskedClient(world.members[14], info, world.policy, world.entropy)
