"""A lying server that chooses the victim's company: made-up peers, a roster of one, a sum of one.

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
    no_lists,
    open_alone,
    opened,
    put_together,
    up_to,
)

from defenses import ProtocolError, RoundInfo, UserError
from defenses.secagg.masked import channel, derived, directory, graph, policy
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.keys import AgreementKey, IdentityKey
from defenses.secagg.masked.messages import (
    SEALED_BYTES,
    Inbox,
    Roster,
    Signatures,
    Survivors,
)
from defenses.secagg.masked.shamir import SHARE_BYTES


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
    blind(monkeypatch, "advert_holds", "lists_hold", "inbox_holds")
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
