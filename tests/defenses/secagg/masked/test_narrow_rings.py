"""Masked rounds in rings chosen for a chance of a wrap: the sum modulo the ring, in no more bytes than it takes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_secagg_vectors import narrow_round
from masked_world import STAGES, Rounds, World, drive

from defenses import FrameError, ProtocolError, UserError
from defenses.payload import payload_bytes
from defenses.ring import Ring
from defenses.secagg.masked.messages import MaskedInput, kind_of

VECTORS = Path(__file__).parents[3] / "vectors" / "secagg"


def upload_bytes(session):
    return sum(map(payload_bytes, session.resend()))


@pytest.mark.parametrize("make", [World, Rounds])
@pytest.mark.parametrize("ring", [9, 16, 18, 27, 32, 40])
def test_the_sum_is_that_of_the_ring_and_travels_in_its_bits(make, ring):
    world = make(5, ring=ring, size=21)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    assert world.terms().grid.ring == Ring(ring)
    np.testing.assert_array_equal(server.sum(), world.exact(world.numbers))
    assert server.sum().max() < 2**ring
    # 21 numbers and the weight.
    assert {upload_bytes(session) for session in clients.values()} == {-(-22 * ring // 8)}


def test_numbers_that_fit_are_not_changed_by_the_ring():
    """22 bits hold five clients of 2^15 - 1 steps and weights up to 8; the means are those of the ring of 32 bits."""
    means = []
    for ring in (None, 22):
        world = World(5, ring=ring)
        server, clients = world.server(), world.clients()
        drive(server, clients)
        means.append(server.aggregate().means["v"])
    np.testing.assert_array_equal(*means)


def test_numbers_that_do_not_fit_come_out_wrong():
    world = World(5, ring=16)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    wide = World(5)
    other, others = wide.server(), wide.clients()
    drive(other, others)
    assert (server.aggregate().means["v"] != other.aggregate().means["v"]).any()
    assert server.aggregate().total_weight == other.aggregate().total_weight


@given(st.lists(st.sampled_from((*STAGES, "never")), min_size=6, max_size=6), st.sampled_from([13, 20, 35]))
@settings(max_examples=30, deadline=None)
def test_dropouts_at_any_stages_leave_the_sum_of_the_ring_or_an_error(stages, ring):
    """Masks of dropped clients are taken off in the elements' type, of which the ring is the lower bits."""
    world = World(6, ring=ring)
    server, clients = world.server(), world.clients()
    lose = {stage: {c for c, s in zip(world.numbers, stages, strict=True) if s == stage} for stage in STAGES}
    drive(server, clients, lose=lose)
    before = [c for c, s in zip(world.numbers, stages, strict=True) if s in ("signing", "unmasking", "never")]
    if stages.count("never") >= world.terms().quorum:
        np.testing.assert_array_equal(server.sum(), world.exact(before))
    else:
        with pytest.raises(ProtocolError, match="refuses to aggregate"):
            server.aggregate()


def test_a_client_that_is_away_from_a_ratcheted_round():
    world = Rounds(5, ring=19)
    server = world.server()
    clients = {c: world.client(c) for c in world.numbers if c != 12}
    drive(server, clients)
    np.testing.assert_array_equal(server.sum(), world.exact(list(clients)))


@pytest.mark.parametrize("make", [World, Rounds])
def test_two_ends_with_different_rings_have_no_round(make):
    """The ring is in the binding, so that a frame from another one is of another round."""
    world = make(4, ring=20)
    server = world.server()
    world.policy = type(world.policy)(**{**world.POLICY, "ring": 21})
    session = world.client(10)
    with pytest.raises((FrameError, ProtocolError), match="another round"):
        server.receive(10, session.resend()[0])


@pytest.mark.parametrize("stage", ["sharing", "masking"])
def test_a_saved_session_is_not_gone_on_with_in_another_ring(stage):
    world = World(4, ring=20)
    server, clients = world.server(), world.clients()
    drive(server, clients, until=stage)
    for other in (None, 19):
        policy = type(world.policy)(**{**world.POLICY, "ring": other})
        with pytest.raises(ProtocolError, match="another policy or directory"):
            type(server).load(server.save(), lambda _, policy=policy: policy, world.directory)
        with pytest.raises(ProtocolError, match="another policy or directory"):
            type(clients[10]).load(
                clients[10].save(), world.members, lambda _, policy=policy: policy, world.entropy
            )


def test_sessions_crash_and_go_on_in_the_middle():
    world = World(4, ring=20)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, until="masking")
    server = type(server).load(server.save(), lambda _: world.policy, world.directory)
    sent = {}
    for number, session in clients.items():
        revived = world.revived(session, session.save())
        (sent[number],) = (answer for frame in inbox[number] for answer in revived.receive(frame))
        clients[number] = revived
    for number, frame in sent.items():
        assert kind_of(frame) is MaskedInput
        inbox = server.receive(number, frame)
        server = type(server).load(server.save(), lambda _: world.policy, world.directory)
    while inbox:
        answers = {n: clients[n].receive(frame)[-1] for n, frames in inbox.items() for frame in frames}
        inbox = {}
        for number, frame in answers.items():
            inbox.update(server.receive(number, frame))
    np.testing.assert_array_equal(server.sum(), world.exact(world.numbers))


def test_a_spare_bit_that_is_not_zero_is_refused_and_changes_nothing():
    """Five clients' 7 elements of 18 bits leave two spare bits in the last byte."""
    world = World(5, ring=18)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, until="masking")
    (frame,) = (answer for each in inbox[10] for answer in clients[10].receive(each))
    body = bytearray(world.read(frame).elements)
    assert len(body) == 16 and body[-1] < 64
    body[-1] |= 128
    before = server.save()
    with pytest.raises(FrameError, match="spare bit"):
        server.receive(10, world.frame_of(MaskedInput(bytes(body)), 10, world.terms()))
    assert server.save() == before


def test_a_ring_that_cannot_hold_the_weights_is_refused():
    with pytest.raises(UserError, match=r"grid\.modulus_bits is 5"):
        World(5, ring=5).terms()


def test_a_known_round():
    """Byte by byte, and taken apart by a second reader: numbers of 20 bits, lowest first."""
    known = json.loads((VECTORS / "narrow_round.json").read_text())
    assert narrow_round() == known
    for client, inputs in known["inputs"].items():
        assert len(inputs) == 6
        body = bytes.fromhex(known["masked"][client])[28:]
        assert len(body) == 15
        stream = int.from_bytes(body, "little")
        assert [stream >> 20 * place & 0xFFFFF for place in range(6)] == known["elements"][client]
    sums = zip(*known["inputs"].values(), strict=True)
    assert known["sum"] == [sum(column) % 2**20 for column in sums]
