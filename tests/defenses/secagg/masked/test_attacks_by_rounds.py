"""A lying server that plays rounds against each other: parameters, contexts, replays, differences, weak masks.

A test whose weakened half recovers the victim's input shows that the attack is real, and so that the refusal in its
first half is what stops it.
"""

import numpy as np
import pytest
from masked_world import (
    VICTIM,
    World,
    blind,
    drive,
    masked_input,
    up_to,
)

from defenses import Layout, ProtocolError, RoundInfo, Upload
from defenses.secagg.masked import channel, client, derived, directory, masks, policy
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.keys import KEY_BYTES, AgreementKey
from defenses.secagg.masked.messages import (
    MESSAGES,
    Advertise,
    Form,
    decode,
    encode,
)


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


def test_model_inconsistency(monkeypatch):
    """The victim is shown another model than the rest; the server would like the sums to tell them apart."""

    def attack(world):
        odd = RoundInfo(1, "coefficients", world.numbers, world.layout, "cd" * 32)
        clients = {c: world.client(c, odd if c == VICTIM else None) for c in world.numbers}
        server, at_odd = world.server(), world.terms(odd)

        def transport(way, number, frame):
            # The server mends what it can: to each client it speaks in that client's binding.
            if number != VICTIM:
                return frame
            message = decode(frame, len(world.numbers))[1]
            if way == "down":
                return world.down(message, odd)
            header = {"clients": len(world.numbers), "round_number": 1, "sender": VICTIM}
            return encode(message, **header, binding=world.terms().binding)

        assert (at_odd.binding != world.terms().binding) == bound
        drive(server, clients, transport=transport)
        return server

    bound = True
    with pytest.raises(ProtocolError, match="its signature does not hold"):
        attack(World(4))
    # Without signatures the masks still do not cancel: what comes out is noise, and is seen to be.
    blind(monkeypatch, "advert_holds", "lists_hold", "inbox_holds")
    monkeypatch.setattr(derived, "share_commitment", lambda *_: bytes(16))
    monkeypatch.setattr(derived, "seed_commitment", lambda *_: bytes(32))
    monkeypatch.setattr(
        channel, "_associated", lambda binding, sender, recipient: bytes([sender % 256, recipient % 256])
    )
    server = attack(World(4))
    with pytest.raises(ProtocolError, match=r"weight|allows|fit"):
        server.aggregate()
    # Without the context in the binding, the sum over two models comes out exact.
    real = policy.digest
    monkeypatch.setattr(policy, "digest", lambda what, *parts: real(what, *parts[:2]))
    bound = False
    world = World(4)
    server = attack(world)
    assert np.array_equal(server.sum(), world.exact(world.numbers))


def test_differencing_over_rounds(monkeypatch):
    """The same vector in a sum with the victim and in one without it."""

    def attack(members):
        sums = []
        for number, lose in ((1, {}), (2, {"advertising": {VICTIM}})):
            world = World(5, number=number, kind="vector", members=members)
            world.upload = lambda c, n=number: Upload(
                {"v": np.random.default_rng(c).uniform(-3, 3, 6)}, 1, n, "vector"
            )
            server, clients = world.server(), world.clients()
            drive(server, clients, lose=lose)
            sums.append(server.sum()[:-1].astype(np.int64))
        found = (sums[0] - sums[1]).astype(np.int32) * world.terms().grid.step
        return found, np.random.default_rng(VICTIM).uniform(-3, 3, 6), 5 * world.terms().grid.step

    with pytest.raises(ProtocolError, match="kind vector has gone into a sum of this directory already"):
        attack(World(5).members)
    monkeypatch.setattr(directory, "ONCE_ONLY", frozenset())
    found, truth, tolerance = attack(World(5).members)
    np.testing.assert_allclose(found, truth, atol=tolerance)


def test_replay_of_another_round():
    first = World(4)
    server, clients = first.server(), first.clients()
    seen = []
    drive(server, clients, transport=lambda way, number, frame: seen.append((way, number, frame)) or frame)
    with pytest.raises(ProtocolError, match="round 1 is not above round 1, which this client has joined"):
        first.client(VICTIM)
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


# Masks


def test_search_for_masks_of_low_entropy(monkeypatch):
    """The server tries every key of a small space; the weight's small range tells it when it is right."""

    def folded(key):
        return bytes([key[0] % 64]) + bytes(KEY_BYTES - 1)

    def search(world):
        server, clients, _ = up_to(world, "signing")
        assert server.phase == "signing"
        target = masked_input(world, clients[VICTIM])
        streams = np.zeros((64, len(target)), target.dtype)
        for i, stream in enumerate(streams):
            real_apply(stream, bytes([i]) + bytes(KEY_BYTES - 1), 1)
        found = []
        for one in streams:
            for sign in (1, -1):
                candidates = target - one - np.array(sign).astype(target.dtype) * streams
                signed = candidates.astype(np.int32)
                weights = signed[:, -1]
                fits = (weights >= 1) & (weights <= world.policy.max_weight)
                fits &= (np.abs(signed[:, :-1]).max(axis=1)) <= weights * world.terms().grid.levels
                found += list(candidates[fits])
        return found

    real_apply = masks.apply
    pair = {"minimum": 2, "collusion": 0.0, "size": 8}
    assert search(World(2, **pair)) == []
    monkeypatch.setattr(client, "apply", lambda vector, key, sign: real_apply(vector, folded(key), sign))
    world = World(2, **pair)
    found = search(world)
    assert found and all(np.array_equal(each, world.inputs[VICTIM]) for each in found)


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


# Nothing of the weight in clear


def test_frames_tell_nothing_of_the_weight():
    """Two runs that differ in a weight alone: every frame has the same length and the same header."""
    shapes = []
    for weight in (1, 8):
        world = World(4)
        world.upload = lambda c, w=weight: Upload(
            {"v": np.zeros(6)}, w if c == VICTIM else 2, 1, "coefficients"
        )
        seen = []
        server, clients = world.server(), world.clients()
        drive(
            server,
            clients,
            transport=lambda way, number, frame, seen=seen: (
                seen.append((way, number, len(frame), frame[:24])) or frame
            ),
        )
        shapes.append(seen)
        assert server.aggregate().total_weight == 6 + weight
    assert shapes[0] == shapes[1]
