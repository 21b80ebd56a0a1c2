"""What an end of a masked round refuses, message by message; tests/attacks/_server has whole attacks."""

import numpy as np
import pytest
from masked_world import VICTIM, World, blind, drive, up_to

from attacks._server import lists, rounds, weakened
from attacks._server.build import AS_SHIPPED
from defenses import Layout, ProtocolError, RoundInfo, Upload
from defenses.secagg.masked import channel, derived, directory
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.keys import AgreementKey
from defenses.secagg.masked.messages import (
    MESSAGES,
    Advertise,
    Form,
    Inbox,
    Roster,
    Signatures,
    Survivors,
    decode,
    encode,
)

LISTS = {
    "itself dropped": (Survivors((1, 2, 3, 4)), "leaves this client out"),
    "too few": (Survivors((0, 1)), "`alive` has 2 clients, and this client takes part with 4"),
    "another message": (Roster((0, 1, 2, 3, 4), ()), "refuses Roster from the server: it takes Survivors"),
    "a step ahead": (Signatures((0, 1, 2, 3, 4), ()), "it takes Survivors"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lying_about_dropouts(name):
    world = World(5)
    _, clients, _ = up_to(world, "signing")
    before = clients[VICTIM].save()
    message, why = LISTS[name]
    with pytest.raises(ProtocolError, match=why):
        clients[VICTIM].receive(world.down(message))
    assert clients[VICTIM].save() == before


def test_a_dropped_client_that_comes_back_alive():
    """Whoever had not shared cannot be said to have survived, nor whoever had not advertised to have shared."""
    world = World(6)
    server, clients = world.server(), world.clients()
    inbox = drive(server, clients, lose={"advertising": {15}}, until="masking")
    with pytest.raises(ProtocolError, match="`shared` has clients that the list before it lacks"):
        clients[10].receive(world.down(Inbox((0, 1, 2, 3, 4, 5), ())))
    clients[10].receive(inbox[10][0])
    with pytest.raises(ProtocolError, match="`alive` has clients that the list before it lacks"):
        clients[10].receive(world.down(Survivors((0, 1, 2, 3, 4, 5))))


def test_a_low_threshold_alone_does_not_let_a_split_view_through():
    """Honest clients still sign one list only."""
    with pytest.raises(ProtocolError, match="did not sign the lists that this client was shown"):
        lists.split_view(weakened.LOW_THRESHOLD)


def test_the_server_has_no_parameter_to_choose():
    """No message carries a threshold, a modulus, a clip or a size: only keys, lists, shares and elements."""
    parts = {part.name for message in MESSAGES for part in message.PARTS}
    assert parts == {
        *("channel_key", "mask_key", "signature", "present", "adverts", "seed_commitment", "own_commitments"),
        *("deals", "shared", "elements", "alive", "signed", "signatures", "of", "shares"),
    }
    assert all(part.size or part.form in (Form.BITMAP, Form.REST) for m in MESSAGES for part in m.PARTS)


@pytest.mark.parametrize(
    "changed", [{"clip": 1e-9}, {"bits": 2}, {"max_weight": 1}, {"minimum": 2}, {"collusion": 0.0}]
)
def test_another_policy_fits_nowhere(changed):
    world, other = World(4), World(4, **changed)
    session = MaskedClient(world.members[VICTIM], world.info, other.policy, world.entropy)
    frames = session.protect(Upload({"v": np.zeros(6)}, 1, 1, "coefficients"))
    with pytest.raises(ProtocolError, match="another round, roster, directory, policy or context"):
        world.server().receive(VICTIM, frames[0])


def test_a_server_that_follows_the_protocol_notices_another_context():
    world = World(4)
    odd = RoundInfo(1, "coefficients", world.numbers, world.layout, rounds.OTHER_CONTEXT)
    session = world.client(VICTIM, odd)
    mended = world.frame_of(world.read(session.resend()[0]), VICTIM, world.terms())
    with pytest.raises(ProtocolError, match="its signature does not hold"):
        world.server().receive(VICTIM, mended)


def test_without_signatures_the_masks_of_differing_views_still_do_not_cancel(monkeypatch):
    """What comes out is noise, and is seen to be."""
    blind(monkeypatch)
    monkeypatch.setattr(derived, "share_commitment", lambda *_: bytes(16))
    monkeypatch.setattr(derived, "seed_commitment", lambda *_: bytes(32))
    monkeypatch.setattr(
        channel, "_associated", lambda binding, sender, recipient: bytes([sender % 256, recipient % 256])
    )
    with pytest.raises(ProtocolError, match=r"weight|allows|fit"):
        rounds.two_models(AS_SHIPPED)


def test_replay_of_another_round():
    first = World(4)
    server, clients = first.server(), first.clients()
    seen = []
    drive(server, clients, transport=lambda way, number, frame: seen.append((way, number, frame)) or frame)
    second = World(4, number=2, members=first.members)
    server, clients = second.server(), second.clients()
    for way, number, frame in seen:
        with pytest.raises(ProtocolError, match="another round"):
            clients[number].receive(frame) if way == "down" else server.receive(number, frame)
    # With its header mended, an old advertisement still carries an old signature.
    old = decode(next(f for w, n, f in seen if w == "up" and n == VICTIM), 4)[1]
    assert isinstance(old, Advertise)
    mended = encode(old, clients=4, round_number=2, sender=VICTIM, binding=second.terms().binding)
    with pytest.raises(ProtocolError, match="its signature does not hold"):
        server.receive(VICTIM, mended)


def test_a_round_number_is_used_once_even_after_a_crash():
    diary = directory.Diary()
    info = RoundInfo(3, "coefficients", (1, 2, 3), Layout.of({"v": (1,)}))
    diary.join(info)
    again = directory.Diary.load(diary.save())
    for number in (0, 3):
        with pytest.raises(ProtocolError, match="not above round 3"):
            again.join(RoundInfo(number, "coefficients", (1, 2, 3), info.layout))
    again.join(RoundInfo(4, "coefficients", (1, 2, 3), info.layout))


def test_masks_do_not_repeat_over_pairs_clients_and_rounds():
    keys = []
    members = World(4).members
    for number in (1, 2):
        world = World(4, number=number, members=members)
        terms = world.terms()
        clients = world.clients()
        secret = AgreementKey(bytes([1]) * 32), AgreementKey(bytes([2]) * 32)
        keys += [derived.self_mask_key(terms, c, bytes(32)) for c in clients]
        keys += [derived.pair_mask_key(terms, 10, c, secret[0], secret[1].public) for c in (11, 12, 13)]
        assert derived.pair_mask_key(terms, 10, 11, secret[0], secret[1].public) == derived.pair_mask_key(
            terms, 11, 10, secret[1], secret[0].public
        )
    assert len(set(keys)) == len(keys) == 14
