"""Clients that send rubbish: refused, named, and of no consequence for the others where that can be."""

import dataclasses
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_secagg_vectors import checksum
from masked_world import World, drive

from defenses import FrameError, ProtocolError
from defenses.secagg.masked import server as server_module
from defenses.secagg.masked import unmask as unmask_module
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.messages import (
    HEADER_SIZE,
    MaskedInput,
    Message,
    Shares,
    Unmask,
    decode,
    encode,
)

LIAR = 11


def up(world, message, sender=LIAR):
    return encode(
        message,
        clients=len(world.numbers),
        round_number=1,
        sender=sender,
        binding=world.terms().binding,
    )


def lying(world, kind, change):
    """A transport in which the liar's message of one kind is another one."""

    def transport(way, number, frame):
        if way == "down" or number != LIAR:
            return frame
        message: Message = decode(frame, len(world.numbers))[1]
        return up(world, change(message)) if isinstance(message, kind) else frame

    return transport


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("extra", [-4, 4, 2**20])
def test_a_wrong_length_is_the_liars_and_the_round_goes_on(extra):
    world = World(5)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, until="masking")
    out = {}
    for number, frames in inbox.items():
        answer = clients[number].receive(frames[0])[0]
        if number == LIAR:
            elements = world.read(answer).elements
            wrong = bytes(elements)[:extra] if extra < 0 else bytes(elements) + bytes(extra)
            with pytest.raises(ProtocolError, match="refuses MaskedInput from client 11: it has"):
                server.receive(number, up(world, MaskedInput(wrong)))
            out.update(server.lost([number]))
        else:
            out.update(server.receive(number, answer))
    while out:
        out = {
            to: each
            for number, frames in out.items()
            for to, each in server.receive(number, clients[number].receive(frames[0])[0]).items()
        }
    left = [c for c in world.numbers if c != LIAR]
    assert np.array_equal(server.sum(), world.exact(left))


def test_a_corrupted_share_has_a_culprit(monkeypatch):
    def change(message):
        return Unmask(message.of, (flipped(message.shares[0]), *message.shares[1:]))

    world = World(5)
    server, clients = world.server(), world.clients()
    with pytest.raises(
        ProtocolError, match="refuses Unmask from client 11: its share of client 10 is not the one"
    ):
        drive(server, clients, transport=lying(world, Unmask, change))
    # Without the commitments to shares the seed comes out wrong, and the dealer would be blamed for it.
    monkeypatch.setattr(server_module.MaskedServer, "_wrong_share", lambda *_: None)
    server = world.server()
    world.forget_diaries()
    clients = world.clients()
    drive(server, clients, transport=lying(world, Unmask, change))
    with pytest.raises(ProtocolError, match="client 10 fit"):
        server.aggregate()
    # And without the commitment to the seed, a wrong sum.
    monkeypatch.setattr(unmask_module.hmac, "compare_digest", lambda *_: True)
    monkeypatch.setattr(unmask_module.shamir, "combine", lambda *_: bytes(32))
    server = world.server()
    world.forget_diaries()
    clients = world.clients()
    drive(server, clients, transport=lying(world, Unmask, change))
    with pytest.raises(ProtocolError, match=r"total weight|allows"):
        server.aggregate()
    assert not np.array_equal(server._total, world.exact(world.numbers))


def test_the_remedy_for_a_corrupted_share_is_to_lose_its_sender():
    world = World(6)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, until="unmasking")
    for number, frames in inbox.items():
        answer = clients[number].receive(frames[0])[0]
        if number == LIAR:
            message = world.read(answer)
            wrong = Unmask(message.of, (*message.shares[:-1], bytes(33)))
            with pytest.raises(ProtocolError, match="its share of client 15"):
                server.receive(number, up(world, wrong))
            server.lost([number])
        else:
            server.receive(number, answer)
    assert np.array_equal(server.sum(), world.exact(world.numbers))


@pytest.mark.parametrize("what", ["seal", "commitment", "all"])
def test_a_client_that_deals_badly_cannot_stop_its_neighbours_and_is_named(what):
    """Its neighbours go on without its shares; only where those are missed does the round end, on its name."""

    def change(message):
        deals = list(message.deals)
        for i in range(len(deals) if what == "all" else 1):
            at = 0 if what != "commitment" else len(deals[i]) - 1
            deals[i] = deals[i][:at] + bytes([deals[i][at] ^ 1]) + deals[i][at + 1 :]
        return dataclasses.replace(message, deals=tuple(deals))

    world = World(5)
    server, clients = world.server(), world.clients()
    drive(server, clients, transport=lying(world, Shares, change))
    if what == "all":
        with pytest.raises(ProtocolError, match="1 shares of client 11 were opened, and 4 put its secret"):
            server.aggregate()
    else:
        assert np.array_equal(server.sum(), world.exact(world.numbers))


@pytest.mark.parametrize("dropped", [False, True])
def test_shares_that_fit_no_secret_are_the_dealers(monkeypatch, dropped):
    world = World(5)
    server, clients = world.server(), world.clients()
    honest = MaskedClient._deal

    def deal(self, holders):
        dealt = honest(self, holders)
        return {h: (bytes(33), bytes(32) + b"\x01") if self.me == LIAR else pair for h, pair in dealt.items()}

    monkeypatch.setattr(MaskedClient, "_deal", deal)
    drive(server, clients, lose={"masking": {LIAR}} if dropped else None)
    with pytest.raises(ProtocolError, match="the shares of client 11 fit nothing that it committed to"):
        server.aggregate()


def test_shares_of_strangers_and_missing_shares():
    world = World(5)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, lose={"sharing": {14}}, until="unmasking")
    answer = world.read(clients[LIAR].receive(inbox[LIAR][0])[0])
    for wrong, why in (
        (Unmask((4,), (bytes(33),)), "not one each of the sender's neighbours"),
        (Unmask(answer.of, answer.shares[:-1]), "not one each of the sender's neighbours"),
        (Unmask(answer.of[:-1], answer.shares), "not one each of the sender's neighbours"),
    ):
        with pytest.raises(ProtocolError, match=f"refuses Unmask from client 11: .*{why}"):
            server.receive(LIAR, up(world, wrong))
    assert server.receive(LIAR, up(world, Unmask(answer.of[1:], answer.shares[1:]))) == {}


def test_too_few_deals_are_refused():
    world = World(5)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, until="sharing")
    answer = world.read(clients[LIAR].receive(inbox[LIAR][0])[0])
    with pytest.raises(ProtocolError, match="from client 11: it deals to 3 neighbours, where 4 are there"):
        server.receive(LIAR, up(world, dataclasses.replace(answer, deals=answer.deals[1:])))


def lie(session, grid, clips):
    """Put a number of so many clips, of weight 1, in the place of a client's first."""
    slots = session._secrets.slots.copy()
    slots[0] = grid.ring.wrap(np.array([grid.levels * clips]))[0]
    session._secrets.slots = slots


def test_a_liar_may_move_the_mean_within_the_clip_and_no_further():
    """Nobody sees a false number under its mask. The liar's weight is 4, so 8 clips are twice what it may send."""
    world = World(5)
    server, clients = world.server(), world.clients()
    grid = world.terms().grid
    lie(clients[LIAR], grid, 8)
    drive(server, clients)
    assert abs(server.aggregate().means["v"][0]) <= world.policy.clip
    world.forget_diaries()
    server, clients = world.server(), world.clients()
    lie(clients[LIAR], grid, 60)
    drive(server, clients)
    with pytest.raises(ProtocolError, match="beyond what its total weight allows"):
        server.aggregate()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_bytes_crash_an_end(data):
    """Any body under a header that fits: a ProtocolError or FrameError, or the one true message; state unchanged."""
    world = _WORLD
    server, session = world.server(), _CLIENT
    code = data.draw(st.integers(0, 11))
    body = data.draw(st.binary(max_size=200))
    good = up(world, MaskedInput(body))
    head = good[:3] + bytes([code]) + good[4:24]
    frame = head + struct.pack("<I", checksum(head, body)) + body
    for end, deliver in (
        (server, lambda: server.receive(LIAR, frame)),
        (session, lambda: session.receive(_as_server(frame))),
    ):
        before = end.save()
        with pytest.raises((FrameError, ProtocolError)):
            deliver()
        assert end.save() == before


def _as_server(frame):
    head = frame[:12] + b"\xff\xff\xff\xff" + frame[16:24]
    body = frame[HEADER_SIZE:]
    return head + struct.pack("<I", checksum(head, body)) + body


_WORLD = World(4)
_CLIENT = _WORLD.client(10)
