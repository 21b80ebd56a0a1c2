"""Ratcheted rounds: exact sums, small frames, and what a lying server gets: nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masked_world import VICTIM, Rounds, World, drive

from defenses import FrameError, InsecureSeeded, ProtocolError, RoundInfo, UserError
from defenses.secagg.masked import keys as masked_keys
from defenses.secagg.masked.ratchet import MAX_SKIP, Ratchet
from defenses.secagg.ratchet import keys
from defenses.secagg.ratchet.client import RatchetClient
from defenses.secagg.ratchet.messages import (
    HEADER_SIZE,
    MAC_BYTES,
    SEED_BYTES,
    SERVER_PLACE,
    Kind,
    decode,
    encode,
)
from defenses.secagg.ratchet.server import RatchetServer


def next_round(world, number):
    """The same clients and chains, one round later."""
    return Rounds(len(world.numbers), number=number, members=world.members)


def test_many_rounds_under_one_agreement():
    world = Rounds(5)
    for number in (1, 2, 3, 7):
        server, clients = world.server(), world.clients()
        drive(server, clients)
        assert np.array_equal(server.sum(), world.exact(world.numbers))
        assert server.aggregate().contributors == world.numbers
        world = next_round(world, number + 1 if number < 3 else number + 4)


def test_a_client_that_misses_rounds_comes_back():
    world = Rounds(5)
    for number, gone in ((1, {11}), (2, {11, 12}), (3, set())):
        world = next_round(world, number)
        server = world.server()
        clients = {c: world.client(c) for c in world.numbers if c not in gone}
        drive(server, clients, lose={})
        left = [c for c in world.numbers if c not in gone]
        if len(left) < world.terms().quorum:
            with pytest.raises(ProtocolError, match="3 clients are left of 5"):
                server.aggregate()
        else:
            assert np.array_equal(server.sum(), world.exact(left))


@pytest.mark.parametrize("stage", ["confirming", "opening"])
def test_a_dropout_after_its_input_costs_the_round_and_shows_nothing(stage):
    world = Rounds(5)
    server, clients = world.server(), world.clients()
    drive(server, clients, lose={stage: {11}})
    with pytest.raises(ProtocolError, match=r"clients \[11\] dropped out after their input"):
        server.aggregate()
    world = next_round(world, 2)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    assert np.array_equal(server.sum(), world.exact(world.numbers))


def test_the_frames_are_small():
    """Ten clients, 128 numbers on a ring of 16 bits: 389 bytes up, everything included."""
    world = Rounds(10, size=128, bits=12, max_weight=1)
    world.upload = lambda c: World.upload(world, c, weight=1)
    assert world.terms().grid.ring.bits == 16
    server, clients = world.server(), world.clients()
    up = dict.fromkeys(world.numbers, 0)

    def count(way, number, frame):
        up[number] += len(frame) if way == "up" else 0
        return frame

    drive(server, clients, transport=count)
    assert set(up.values()) == {3 * HEADER_SIZE + 2 * 129 + 9 * MAC_BYTES + SEED_BYTES} == {389}
    assert np.array_equal(server.sum(), world.exact(world.numbers))


# What a client refuses; whole attacks are in tests/attacks/_server/test_server.py


@pytest.mark.parametrize(
    ("places", "why"),
    [
        ((1, 2, 3, 4), "leaves this client out"),
        ((0, 1), "it has 2 clients, and this client takes part with 4"),
    ],
)
def test_lists_that_no_client_vouches_for(places, why):
    world = Rounds(5)
    session = world.client(VICTIM)
    before = session.save()
    with pytest.raises(ProtocolError, match=why):
        session.receive(world.alive(*places))
    assert session.save() == before


def test_a_second_list_is_refused():
    world = Rounds(5)
    session = world.client(VICTIM)
    session.receive(world.alive(0, 1, 2, 3, 4))
    with pytest.raises(ProtocolError, match="client 10 in phase confirmed refuses ALIVE: it takes CONFIRMED"):
        session.receive(world.alive(0, 1, 2, 3))


def test_a_dropped_clients_seed_opens_one_round_only():
    """What the others open of a dropped client in one round is no help in the next, nor with the chain's keys."""
    world = Rounds(4)
    first = {m: world.members[m].ratchet.step(1, [c for c in world.numbers if c != m]) for m in world.numbers}
    second = {
        m: world.members[m].ratchet.step(2, [c for c in world.numbers if c != m]) for m in world.numbers
    }
    for m in world.numbers:
        for c in first[m]:
            assert first[m][c] == first[c][m] and second[m][c] == second[c][m]
    seeds = [pair.seed for each in (*first.values(), *second.values()) for pair in each.values()]
    macs = [pair.mac for each in (*first.values(), *second.values()) for pair in each.values()]
    assert len(set(seeds)) == len(seeds) // 2 == 12 and len({*seeds, *macs}) == 24


def test_the_ratchet_does_not_go_back():
    ratchet = Rounds(3).members[VICTIM].ratchet
    ratchet.step(5, [11])
    for number in (0, 5, 6 + MAX_SKIP + 1):
        with pytest.raises(ProtocolError, match=f"round {number} is not one of the 10000 from round 6 on"):
            ratchet.step(number, [11])
    again = Ratchet.load(ratchet.save())
    assert again.step(8, [11, 12]) == ratchet.step(8, [11, 12])
    assert "private" in repr(ratchet.step(9, [11])[11]) and ratchet.save()[:40] not in repr(ratchet)


def test_a_ratchet_that_reuses_its_seed_would_show_differences(monkeypatch):
    """Two rounds under one pair seed and one self seed differ by the inputs alone; under real ones by noise."""

    def difference():
        vectors = []
        members = Rounds(3, minimum=2).members
        for number in (1, 2):
            world = Rounds(3, number=number, members=members, minimum=2)
            world.entropy = InsecureSeeded(5)
            session = world.client(VICTIM)
            body = decode(session.resend()[0], world.terms().binding).body
            vectors.append((np.frombuffer(bytes(body), "<u4").copy(), world.inputs[VICTIM]))
        (one, mine), (two, other) = vectors
        return np.array_equal(one - two, mine - other)

    assert not difference()
    real = masked_keys.derive
    monkeypatch.setattr(
        "defenses.secagg.masked.ratchet.derive", lambda key, *_: real(bytes(32), bytes(32), "same")
    )
    monkeypatch.setattr(
        keys, "derive", lambda seed, _binding, purpose, *n: real(seed, bytes(32), purpose, *n)
    )
    assert difference()


def test_another_context_fits_nowhere():
    world = Rounds(4)
    odd = RoundInfo(1, "coefficients", world.numbers, world.layout, "cd" * 32)
    session = world.client(VICTIM, odd)
    with pytest.raises(FrameError, match="another round, roster, directory, policy or context"):
        world.server().receive(VICTIM, session.resend()[0])


def test_replays_and_repeated_rounds():
    world = Rounds(4)
    server, clients = world.server(), world.clients()
    seen = []
    drive(server, clients, transport=lambda way, c, frame: seen.append((way, c, frame)) or frame)
    with pytest.raises(ProtocolError, match="round 1 is not above round 1"):
        world.client(VICTIM)
    later = next_round(world, 2)
    server, clients = later.server(), later.clients()
    for way, c, frame in seen:
        with pytest.raises(FrameError, match="checksum"):
            clients[c].receive(frame) if way == "down" else server.receive(c, frame)


def test_large_rosters_are_refused():
    world = Rounds(100)
    with pytest.raises(ProtocolError, match="fewer than 100 clients, and this one has 100"):
        world.server()
    with pytest.raises(ProtocolError, match="fewer than 100 clients"):
        RatchetClient(world.members[VICTIM], world.info, world.policy, world.entropy)


# Networks and crashes


@given(
    st.sampled_from(["truncate", "flip", "grow", "repeat", "foreign", "drop"]),
    st.integers(0, 19),
    st.integers(0, 2**30),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_whatever_the_network_does_the_sum_is_exact_or_there_is_none(what, at, draw, crash):
    world = Rounds(4)
    server, clients = world.server(), world.clients()
    count = 0
    if crash:
        clients = {c: revived(world, session) for c, session in clients.items()}

    def transport(way, number, frame):
        nonlocal count
        count += 1
        if count - 1 != at:
            return frame
        if what == "drop":
            return None
        end = clients[number] if way == "down" else server
        bad, sender = frame, number
        if what == "truncate":
            bad = frame[: draw % len(frame)]
        elif what == "grow":
            bad = frame + b"\x00"
        elif what == "flip":
            bit = draw % (8 * len(frame))
            bad = bytearray(frame)
            bad[bit // 8] ^= 1 << bit % 8
            bad = bytes(bad)
        elif what == "foreign" or way == "down":
            sender = world.numbers[(world.numbers.index(number) + 1) % 4]
            bad = frame if way == "up" else frame[:3] + b"\x00\x00" + frame[5:]
        else:
            return frame
        before = end.save()
        with pytest.raises((FrameError, ProtocolError)):
            end.receive(bad) if way == "down" else end.receive(sender, bad)
        assert end.save() == before
        return frame

    try:
        drive(server, clients, transport=transport)
        contributors = server.aggregate().contributors
    except ProtocolError as error:
        assert what == "drop", error
        return
    assert np.array_equal(server.sum(), world.exact(contributors))


def revived(world, session):
    if isinstance(session, RatchetServer):
        return RatchetServer.load(session.save(), lambda _: world.policy, world.directory)
    return RatchetClient.load(session.save(), world.members, lambda _: world.policy, InsecureSeeded(9))


def test_everybody_may_crash_at_every_step():
    world = Rounds(4)
    server, clients = world.server(), world.clients()
    frames = {c: session.resend() for c, session in clients.items()}
    while frames:
        out = {}
        for c, each in frames.items():
            out.update(server.receive(c, each[-1]))
            server = revived(world, server)
        frames = {}
        for c, each in out.items():
            clients[c] = revived(world, clients[c])
            with pytest.raises(ProtocolError, match="protected one already"):
                clients[c].protect(world.upload(c))
            frames[c] = clients[c].receive(each[0])
            assert revived(world, clients[c]).resend() == clients[c].resend()
    assert np.array_equal(server.sum(), world.exact(world.numbers))
    assert np.array_equal(revived(world, server).sum(), server.sum())
    with pytest.raises(UserError, match="saved session is of client 10"):
        RatchetClient.load(clients[10].save(), {}, lambda _: world.policy, world.entropy)


@given(st.integers(0, 7), st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_bytes_crash_an_end(kind, body):
    world = _WORLD
    frames = [encode(kind, place, body, world.terms().binding) for place in (1, SERVER_PLACE)]
    server, client = world.server(), revived(world, _CLIENT)
    for end, deliver in (
        (server, lambda: server.receive(11, frames[0])),
        (client, lambda: client.receive(frames[1])),
    ):
        before = end.save()
        try:
            deliver()
        except (FrameError, ProtocolError):
            assert end.save() == before
        else:
            # A list of who is alive needs no more than a byte to be right: it is the MACs over it that count.
            assert end is client and kind == Kind.ALIVE and len(body) == 1


_WORLD = Rounds(4)
_CLIENT = _WORLD.client(10)
