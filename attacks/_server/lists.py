"""A server that lies about who dropped out: both kinds of share of one client, split views, false survivors.

Reference: Bonawitz et al., CCS 2017, section 6.2 (why the consistency check); Bell et al., CCS 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, learned
from attacks._server.unmasking import from_both, open_alone, put_together
from attacks._server.world import VICTIM, World, drive, masked_input, opened, up_to
from defenses.secagg.masked import derived
from defenses.secagg.masked.keys import AgreementKey
from defenses.secagg.masked.messages import Signatures, Survivors

WHOLE = "one client's whole upload"
NOTHING = "what came out is not the client's upload"


def compared(world: World, vector: np.ndarray[Any, Any]) -> Found:
    """Whether a vector is the victim's upload."""
    return learned(np.array_equal(vector, world.inputs[VICTIM]), WHOLE, NOTHING)


def sign(world: World, clients: Mapping[int, Any], lists: Mapping[int, tuple[int, ...]]) -> dict[int, bytes]:
    """Each client's signature over the survivors that it is shown."""
    return {
        c: world.read(clients[c].receive(world.down(Survivors(listed)))[0]).signature
        for c, listed in lists.items()
    }


def unmask(
    world: World,
    clients: Mapping[int, Any],
    signatures: Mapping[int, bytes],
    signed: tuple[int, ...],
    me: int,
) -> bytes:
    """A client's shares, after it was shown the signatures of the places in ``signed``."""
    theirs = tuple(signatures[world.numbers[p]] for p in signed if world.numbers[p] != me)
    return bytes(clients[me].receive(world.down(Signatures(signed, theirs)))[0])


def both_shares(
    world: World, clients: Mapping[int, Any], alive: Collection[int], dead: Collection[int]
) -> tuple[bytes | None, bytes | None]:
    """The victim's seed from those told that it is alive, its mask key from those told that it has dropped."""
    everybody = world.everybody
    lists = {c: everybody if c in alive else everybody[1:] for c in (*alive, *dead)}
    signatures = sign(world, clients, lists)
    answers = {}
    for c, listed in lists.items():
        signed = tuple(p for p in listed if world.numbers[p] in signatures)
        answers[c] = unmask(world, clients, signatures, signed, c)
    terms = world.terms()
    seed = put_together(terms, 0, opened(world, {c: answers[c] for c in alive}, 0)) if alive else None
    key = put_together(terms, 0, opened(world, {c: answers[c] for c in dead}, 0)) if dead else None
    return seed, key


def split_view(build: Build) -> Found:
    """Half of the clients are told that the victim survived, half that it did not; all signatures are passed on."""
    world = World(6, build=build)
    clients = up_to(world, "signing")
    seed, key = both_shares(world, clients, world.numbers[:3], world.numbers[3:])
    assert seed is not None and key is not None
    return compared(world, from_both(world, clients, seed, key))


def split_view_apart(build: Build) -> Found:
    """The same, each half shown the signatures of its own members only."""
    world = World(6, build=build)
    clients = up_to(world, "signing")
    half, rest = world.numbers[:3], world.numbers[3:]
    answers: dict[int, bytes] = {}
    for group, listed in ((half, world.everybody), (rest, world.everybody[1:])):
        signatures = sign(world, clients, dict.fromkeys(group, listed))
        places = tuple(world.numbers.index(c) for c in group)
        answers |= {c: unmask(world, clients, signatures, places, c) for c in group}
    terms = world.terms()
    seed = put_together(terms, 0, opened(world, {c: answers[c] for c in half}, 0))
    key = put_together(terms, 0, opened(world, {c: answers[c] for c in rest}, 0))
    return compared(world, from_both(world, clients, seed, key))


def both_lists(build: Build) -> Found:
    """The victim is in the list of the alive, and then, asked a second time, among the dropped."""
    world = World(5, build=build)
    clients = up_to(world, "signing")
    seed, _ = both_shares(world, clients, world.numbers, ())
    _, key = both_shares(world, clients, (), world.numbers[1:])
    assert seed is not None and key is not None
    return compared(world, from_both(world, clients, seed, key))


def crash(build: Build) -> Found:
    """Every client crashes between its last answer and the next question, and is asked about other survivors then."""
    world = World(5, build=build)
    clients = up_to(world, "signing")
    before = {c: session.save() for c, session in clients.items()}
    seed, _ = both_shares(world, clients, world.numbers, ())
    revived = {
        c: world.revived(session, build.restored(before[c], session.save())) for c, session in clients.items()
    }
    _, key = both_shares(world, revived, (), world.numbers[1:])
    assert seed is not None and key is not None
    return compared(world, from_both(world, revived, seed, key))


def single_survivor(build: Build) -> Found:
    """Everybody's input has arrived, and the server says that the victim's alone did."""
    world = World(4, build=build)
    clients = up_to(world, "signing")
    signatures = sign(world, clients, dict.fromkeys(world.numbers, (0,)))
    answers = {c: unmask(world, clients, signatures, world.everybody, c) for c in world.numbers}
    terms, pairs = world.terms(), {}
    seed = put_together(terms, 0, opened(world, answers, 0))
    victims = world.read(clients[VICTIM].resend()[0]).mask_key
    for place in world.everybody[1:]:
        key = AgreementKey(put_together(terms, place, opened(world, answers, place)))
        pairs[place] = derived.pair_mask_key(terms, VICTIM, world.numbers[place], key, victims)
    return compared(world, open_alone(terms, 0, masked_input(world, clients[VICTIM]), seed, pairs))


def small_sum(build: Build) -> Found:
    """Two of five inputs are said to have arrived: fewer than the clients' minimum."""
    world = World(5, build=build)
    clients = up_to(world, "signing")
    signatures = sign(world, clients, dict.fromkeys(world.numbers[:2], (0, 1)))
    for c in world.numbers[:2]:
        unmask(world, clients, signatures, (0, 1), c)
    return learned(True, "shares for a sum over two clients", NOTHING)


def called_dead(build: Build) -> Found:
    """The victim, whose input arrived, is told that it dropped; it signs, and so vouches for its own loss."""
    world = World(5, build=build)
    clients = up_to(world, "signing")
    signatures = sign(world, clients, dict.fromkeys(world.numbers, world.everybody[1:]))
    return learned(VICTIM in signatures, "the victim's own word that it dropped, though it is there", NOTHING)


def called_alive(build: Build) -> Found:
    """A client that never shared is put into the list of those whose input arrived."""
    world = World(6, build=build)
    clients = world.clients()
    drive(world.server(), clients, lose={"sharing": {15}}, until="signing")
    signatures = sign(world, clients, {VICTIM: world.everybody})
    return learned(VICTIM in signatures, "the victim's word for a survivor that never was", NOTHING)


def _case(name: str, attack: Callable[[Build], Found], does: str, *builds: Build) -> Case:
    return Case(name, Lane.MASKED, does, attack, builds)


CASES = (
    _case(
        "lying about dropouts",
        called_dead,
        "says of a client whose input is there that it dropped out, and has it sign that",
        weak.ANY_LIST,
    ),
    _case(
        "false survivors",
        called_alive,
        "puts a client that never shared into the list of those whose input arrived",
        weak.ANY_LIST,
    ),
    _case(
        "both shares of one peer",
        both_lists,
        "asks first for the shares of the alive victim, and then for those of the dropped one",
        weak.ANSWERS_TWICE,
    ),
    _case(
        "split view",
        split_view,
        "tells half of the clients that the victim survived, half that it dropped, and passes on all signatures",
        weak.NO_LIST_SIGNATURES,
    ),
    _case(
        "split view, signatures held back",
        split_view_apart,
        "tells the two halves the same, and shows each half the signatures of its own members only",
        weak.LOW_THRESHOLD,
    ),
    _case(
        "single survivor",
        single_survivor,
        "has everybody's input, and says that one client's alone arrived",
        weak.ANY_LIST,
    ),
    _case(
        "too small a sum",
        small_sum,
        "asks two of five clients for the shares of a sum over those two",
        weak.ANY_LIST,
    ),
    _case(
        "crash in mid-round",
        crash,
        "asks clients that have crashed and come back once more, about other survivors",
        weak.SAVES_TOO_LATE,
    ),
)
