"""What a lying server tries, each against the real clients and against weakened ones on which it succeeds.

A test whose weakened half recovers the victim's input shows that the attack is real, and so that the refusal in its
first half is what stops it.
"""

import numpy as np
import pytest
from masked_world import World, drive, open_alone, opened, put_together

from defenses import Layout, ProtocolError, RoundInfo, Upload, UserError
from defenses.secagg.masked import channel, client, derived, directory, graph, masks, policy
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.keys import KEY_BYTES, AgreementKey, IdentityKey
from defenses.secagg.masked.messages import (
    MESSAGES,
    SEALED_BYTES,
    Advertise,
    Form,
    Inbox,
    Roster,
    Signatures,
    Survivors,
    decode,
    encode,
)
from defenses.secagg.masked.shamir import SHARE_BYTES

VICTIM = 10


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


# Key substitution, and peers that the server has made


def impersonate(world):
    """The server answers the victim as everybody else; what it then knows of the victim's input."""
    session = world.client(VICTIM)
    others = [place for place in range(len(world.numbers)) if world.numbers[place] != VICTIM]
    fakes = {
        place: (AgreementKey.fresh(world.entropy), AgreementKey.fresh(world.entropy)) for place in others
    }
    mine = IdentityKey.fresh(world.entropy)
    terms = world.terms()
    adverts = tuple(
        c.public + m.public + derived.sign_advert(terms, mine, world.numbers[place], c.public, m.public)
        for place, (c, m) in fakes.items()
    )
    everybody = tuple(range(len(world.numbers)))
    deals = world.read(session.receive(world.down(Roster(everybody, adverts)))[0]).deals
    session.receive(world.down(Inbox(everybody, tuple(bytes(len(deal)) for deal in deals))))
    session.receive(world.down(Survivors(everybody)))
    signatures = tuple(bytes(64) for _ in others)
    answer = session.receive(world.down(Signatures(everybody, signatures)))[0]
    victims_keys = world.read(session.resend()[0])
    shares = opened(world, {VICTIM: answer}, everybody[0])
    pairs = {}
    for place, deal in zip(others, deals, strict=True):
        plain = channel.unseal(
            fakes[place][0],
            victims_keys.channel_key,
            terms.binding,
            VICTIM,
            world.numbers[place],
            deal[:SEALED_BYTES],
        )
        shares[place] = plain[:SHARE_BYTES]
        pairs[place] = derived.pair_mask_key(
            terms, VICTIM, world.numbers[place], fakes[place][1], victims_keys.mask_key
        )
    seed = put_together(terms, 0, shares)
    return open_alone(terms, 0, masked_input(world, session), seed, pairs)


def test_key_substitution_and_sybils(monkeypatch):
    with pytest.raises(ProtocolError, match="client 11 did not sign these keys"):
        impersonate(World(4))
    blind(monkeypatch, "advert_holds", "lists_hold")
    world = World(4)
    assert np.array_equal(impersonate(world), world.inputs[VICTIM])


def test_strangers_in_the_roster():
    world = World(4)
    info = RoundInfo(1, "coefficients", (*world.numbers, 77, 78), world.layout)
    with pytest.raises(ProtocolError, match="client 77 is not in the key directory"):
        MaskedClient(world.members[VICTIM], info, world.policy, world.entropy)


def test_a_directory_that_the_server_has_made():
    world = World(4)
    authority = world.directory.authority
    forged = directory.enrol(world.numbers, world.entropy)[VICTIM].directory.save()
    assert directory.Directory.load(world.directory.save(), authority).session == world.directory.session
    with pytest.raises(UserError, match="not signed by the authority"):
        directory.Directory.load(forged, authority)


# A roster of one, a threshold of one, a sum of one


def test_threshold_one_and_a_roster_of_one(monkeypatch):
    world = World(4)
    alone = RoundInfo(1, "coefficients", (VICTIM,), world.layout, world.info.context)
    with pytest.raises(ProtocolError, match="the roster of round 1 has 1 clients, fewer than"):
        MaskedClient(world.members[VICTIM], alone, world.policy, world.entropy)
    with pytest.raises(UserError, match="min_clients is 1"):
        World(4, minimum=1)
    object.__setattr__(world.policy, "minimum", 1)
    monkeypatch.setattr(policy, "choose", lambda *_: graph.Shape(0, 1))
    world.info = alone
    server, session = world.server(), world.client(VICTIM)
    drive(server, {VICTIM: session})
    assert np.array_equal(server.sum(), world.inputs[VICTIM])


def test_single_survivor(monkeypatch):
    def isolate(world):
        """Everybody's input has arrived; the server says that the victim's alone did."""
        _, clients, _ = up_to(world, "signing")
        answers = {c: s.receive(world.down(Survivors((0,)))) for c, s in clients.items()}
        signatures = [world.read(answers[c][0]).signature for c in world.numbers]
        everybody = tuple(range(len(world.numbers)))
        unmasked = {}
        for place, (c, session) in enumerate(clients.items()):
            theirs = tuple(signatures[:place] + signatures[place + 1 :])
            unmasked[c] = session.receive(world.down(Signatures(everybody, theirs)))[0]
        terms = world.terms()
        seed = put_together(terms, 0, opened(world, unmasked, 0))
        pairs = {}
        victims = world.read(clients[VICTIM].resend()[0]).mask_key
        for place in range(1, len(world.numbers)):
            key = AgreementKey(put_together(terms, place, opened(world, unmasked, place)))
            pairs[place] = derived.pair_mask_key(terms, VICTIM, world.numbers[place], key, victims)
        return open_alone(terms, 0, masked_input(world, clients[VICTIM]), seed, pairs)

    with pytest.raises(ProtocolError, match="`alive` has 1 clients, and this client takes part with 3"):
        isolate(World(4))
    no_lists(monkeypatch)
    world = World(4)
    assert np.array_equal(isolate(world), world.inputs[VICTIM])


# Both kinds of share of one client


def both_shares(world, clients, told_alive, told_dead):
    """Lists that differ only in the victim, one for each group; seed and mask key if the clients answer."""
    everybody = tuple(range(len(world.numbers)))
    lists = {c: everybody if c in told_alive else everybody[1:] for c in world.numbers}
    signatures = {}
    for c, session in clients.items():
        if c in told_alive or c in told_dead:
            signatures[c] = world.read(session.receive(world.down(Survivors(lists[c])))[0]).signature
    unmasked = {}
    for c in signatures:
        signed = [place for place in lists[c] if world.numbers[place] in signatures]
        theirs = tuple(signatures[world.numbers[p]] for p in signed if world.numbers[p] != c)
        unmasked[c] = clients[c].receive(world.down(Signatures(tuple(signed), theirs)))[0]
    terms = world.terms()
    alive = {c: unmasked[c] for c in told_alive if c in unmasked}
    dead = {c: unmasked[c] for c in told_dead if c in unmasked}
    seed = put_together(terms, 0, opened(world, alive, 0)) if alive else None
    key = put_together(terms, 0, opened(world, dead, 0)) if dead else None
    return seed, key


def recovered(world, clients, seed, key):
    """The victim's input from both its secrets."""
    terms, mine = world.terms(), AgreementKey(key)
    pairs = {
        place: derived.pair_mask_key(
            terms, VICTIM, number, mine, world.read(clients[number].resend()[0]).mask_key
        )
        for place, number in enumerate(world.numbers)
        if number != VICTIM
    }
    return open_alone(terms, 0, masked_input(world, clients[VICTIM]), seed, pairs)


def test_split_view(monkeypatch):
    """Half of the clients are told that the victim survived, half that it did not."""

    def attack(world):
        _, clients, _ = up_to(world, "signing")
        half = world.numbers[: len(world.numbers) // 2]
        rest = world.numbers[len(world.numbers) // 2 :]
        return recovered(world, clients, *both_shares(world, clients, half, rest))

    with pytest.raises(ProtocolError, match="did not sign the lists that this client was shown"):
        attack(World(6))
    # A low threshold alone is not enough for the attack, since honest clients still sign one list only.
    monkeypatch.setattr(policy, "choose", lambda n, *_: graph.Shape(n - 1, 2))
    with pytest.raises(ProtocolError, match="did not sign the lists that this client was shown"):
        attack(World(6))
    blind(monkeypatch, "lists_hold")
    world = World(6)
    assert np.array_equal(attack(world), world.inputs[VICTIM])


def test_split_view_with_signatures_left_out(monkeypatch):
    """Each half is shown its own signatures only: too few, unless the quorum is gone."""

    def attack(world):
        server, clients, _ = up_to(world, "signing")
        half = set(world.numbers[: len(world.numbers) // 2])
        rest = set(world.numbers) - half
        everybody = tuple(range(len(world.numbers)))
        unmasked = {}
        for group, listed in ((half, everybody), (rest, everybody[1:])):
            signed = {
                c: world.read(clients[c].receive(world.down(Survivors(listed)))[0]).signature for c in group
            }
            places = tuple(sorted(world.numbers.index(c) for c in group))
            for c in group:
                theirs = tuple(signed[world.numbers[p]] for p in places if world.numbers[p] != c)
                unmasked[c] = clients[c].receive(world.down(Signatures(places, theirs)))[0]
        assert server.phase == "signing"
        terms = world.terms()
        seed = put_together(terms, 0, opened(world, {c: unmasked[c] for c in half}, 0))
        key = put_together(terms, 0, opened(world, {c: unmasked[c] for c in rest}, 0))
        return recovered(world, clients, seed, key)

    with pytest.raises(ProtocolError, match="`signed` has 3 clients, and this client takes part with 4"):
        attack(World(6))
    monkeypatch.setattr(policy, "choose", lambda n, *_: graph.Shape(n - 1, 2))
    world = World(6, minimum=3)
    assert np.array_equal(attack(world), world.inputs[VICTIM])


def test_one_client_in_both_lists(monkeypatch):
    """One list and its complement cannot name anybody twice, so the server asks a second time."""
    world = World(5)
    _, clients, _ = up_to(world, "signing")
    before = {c: session.save() for c, session in clients.items()}
    everybody = world.numbers
    seed, _ = both_shares(world, clients, everybody, ())
    with pytest.raises(ProtocolError, match="client 10 in phase done refuses Survivors"):
        both_shares(world, clients, everybody, ())
    others = everybody[1:]
    with pytest.raises(ProtocolError, match="client 11 in phase done refuses Survivors"):
        both_shares(world, clients, (), others)
    # Clients that were set back to before the question answer again: hence `save` before sending.
    again = {
        c: MaskedClient.load(data, world.members, lambda _: world.policy, world.entropy)
        for c, data in before.items()
    }
    _, key = both_shares(world, again, (), others)
    assert np.array_equal(recovered(world, again, seed, key), world.inputs[VICTIM])


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


# Parameters, contexts, rounds


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
    blind(monkeypatch, "advert_holds", "lists_hold")
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
