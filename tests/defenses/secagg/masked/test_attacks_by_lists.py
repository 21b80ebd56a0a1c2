"""A lying server that says who dropped out: both kinds of share of one client, split views, false survivors.

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
    open_alone,
    opened,
    put_together,
    up_to,
)

from defenses import ProtocolError
from defenses.secagg.masked import derived, graph, policy
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.keys import AgreementKey
from defenses.secagg.masked.messages import (
    Inbox,
    Roster,
    Signatures,
    Survivors,
)


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
