"""The same lies in a ratcheted round, where there are no shares: a list, its MACs, and seeds that open it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, learned
from attacks._server.lists import NOTHING, WHOLE, compared
from attacks._server.rounds import OTHER_CONTEXT
from attacks._server.world import VICTIM, Rounds, drive
from defenses.ring import UIntArray
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.ratchet import keys
from defenses.secagg.ratchet.messages import HEADER_SIZE, MAC_BYTES, SEED_BYTES, Kind, decode, encode
from defenses.session import RoundInfo


def _cut(frame: bytes) -> list[bytes]:
    body = frame[HEADER_SIZE:]
    return [body[at : at + MAC_BYTES] for at in range(0, len(body), MAC_BYTES)]


def _body(world: Rounds, frame: bytes) -> bytes:
    return bytes(decode(frame, world.terms().binding).body)


def _masked(world: Rounds, session: Any) -> UIntArray:
    return np.frombuffer(_body(world, session.resend()[0]), world.terms().grid.ring.dtype).copy()


def _confirmed(
    world: Rounds, clients: Mapping[int, Any], told: Mapping[int, tuple[int, ...]]
) -> dict[int, bytes]:
    """What each client opens, told one list each and given whatever MACs there are."""
    macs: dict[int, dict[int, bytes]] = {}
    for c, session in clients.items():
        made = _cut(session.receive(world.alive(*told[c]))[0])
        macs[c] = dict(zip([p for p in told[c] if world.numbers[p] != c], made, strict=True))
    opened = {}
    for c, session in clients.items():
        place = world.numbers.index(c)
        theirs = [macs.get(world.numbers[p], {}).get(place, bytes(MAC_BYTES)) for p in told[c] if p != place]
        opened[c] = _body(world, session.receive(world.frame(Kind.CONFIRMED, b"".join(theirs)))[0])
    return opened


def split_view(build: Build) -> Found:
    """The victim opens its seed because it is alive, the others their pair seeds because it has dropped."""
    world = Rounds(5, build=build)
    clients, everybody = world.clients(), world.everybody
    told = {c: everybody if c == VICTIM else everybody[1:] for c in world.numbers}
    opened = _confirmed(world, clients, told)
    vector, terms = _masked(world, clients[VICTIM]), world.terms()
    apply(vector, keys.self_mask_key(terms, VICTIM, opened[VICTIM][:SEED_BYTES]), -1)
    for c in world.numbers[1:]:
        seed = opened[c][SEED_BYTES : 2 * SEED_BYTES]
        key = keys.pair_mask_key(terms, VICTIM, c, seed)
        apply(vector, key, 1 if pair_sign(VICTIM, c) == -1 else -1)
    return compared(world, vector)


def single_survivor(build: Build) -> Found:
    """The victim is told that everybody else dropped: it would open its self seed and every pair seed."""
    world = Rounds(5, build=build)
    clients = {VICTIM: world.client(VICTIM)}
    opened = _confirmed(world, clients, {VICTIM: (0,)})[VICTIM]
    vector, terms = _masked(world, clients[VICTIM]), world.terms()
    mine, *seeds = (opened[at : at + SEED_BYTES] for at in range(0, len(opened), SEED_BYTES))
    apply(vector, keys.self_mask_key(terms, VICTIM, mine), -1)
    for c, seed in zip(world.numbers[1:], seeds, strict=True):
        apply(vector, keys.pair_mask_key(terms, VICTIM, c, seed), 1 if pair_sign(VICTIM, c) == -1 else -1)
    return compared(world, vector)


def called_dead(build: Build) -> Found:
    """The victim, whose input arrived, is shown a list without itself."""
    world = Rounds(5, build=build)
    world.client(VICTIM).receive(world.alive(*world.everybody[1:]))
    return learned(True, "the victim's own word that it dropped, though it is there", NOTHING)


def roster_of_one(build: Build) -> Found:
    """A round with the victim alone."""
    world = Rounds(4, build=build)
    world.info = RoundInfo(1, world.info.kind, (VICTIM,), world.layout, world.info.context)
    session: Any = world.client(VICTIM)
    server = world.server()
    drive(server, {VICTIM: session})
    return compared(world, server.sum())


def two_models(build: Build) -> Found:
    """The victim is shown another global state than the rest; its frames are mended as far as a server can."""
    world = Rounds(4, build=build)
    odd = RoundInfo(1, world.info.kind, world.numbers, world.layout, OTHER_CONTEXT)
    clients = {c: world.client(c, odd if c == VICTIM else None) for c in world.numbers}
    others: Any = next(session for c, session in clients.items() if c != VICTIM)
    theirs, victims = others.terms.binding, clients[VICTIM].terms.binding
    world.info = others.round

    def transport(way: str, number: int, frame: bytes) -> bytes:
        if number != VICTIM:
            return frame
        was, becomes = (theirs, victims) if way == "down" else (victims, theirs)
        found = decode(frame, was)
        return encode(found.kind, found.place, bytes(found.body), becomes)

    server = world.server()
    drive(server, clients, transport=transport)
    exact = bool(np.array_equal(server.sum(), world.exact(world.numbers)))
    return learned(exact, "the exact sum over clients that saw different models", NOTHING)


def replay(build: Build) -> Found:
    """Round 1 is played once more, without the victim."""
    first = Rounds(4, build=build)
    chains = {c: member.ratchet.save() for c, member in first.members.items()}
    drive(first.server(), first.clients())
    again = Rounds(4, build=build, members=build.set_back(first.members, chains))
    server = again.server()
    drive(server, {c: again.client(c) for c in again.numbers if c != VICTIM})
    difference = first.terms().grid.ring.wrap(first.exact(first.numbers) - server.sum())
    return learned(np.array_equal(difference, first.inputs[VICTIM]), WHOLE, NOTHING)


def seeds_of_another_round(build: Build) -> Found:
    """A seed that was opened when the victim had dropped is tried on the victim's input of the next round."""
    first = Rounds(5, build=build)
    server = first.server()
    clients = {c: first.client(c) for c in first.numbers if c != VICTIM}
    frames: dict[int, bytes] = {}

    def listen(way: str, number: int, frame: bytes) -> bytes:
        if way == "up":
            frames[number] = frame
        return frame

    drive(server, clients, transport=listen)
    seeds = {c: _body(first, frame)[SEED_BYTES:] for c, frame in frames.items()}
    second = Rounds(5, build=build, number=2, members=first.members)
    everybody: dict[int, Any] = second.clients()
    drive(second.server(), everybody, transport=listen)
    vector, terms = _masked(second, everybody[VICTIM]), second.terms()
    apply(vector, keys.self_mask_key(terms, VICTIM, _body(second, frames[VICTIM])[:SEED_BYTES]), -1)
    for c, seed in seeds.items():
        apply(vector, keys.pair_mask_key(terms, VICTIM, c, seed), 1 if pair_sign(VICTIM, c) == -1 else -1)
    return compared(second, vector)


CASES = (
    Case(
        "split view",
        Lane.RATCHET,
        "tells the victim that it survived and all others that it dropped",
        split_view,
        (weak.ANY_VOUCHER,),
    ),
    Case(
        "single survivor",
        Lane.RATCHET,
        "tells the victim that everybody else dropped out",
        single_survivor,
        (weak.ANY_ALIVE,),
    ),
    Case(
        "lying about dropouts",
        Lane.RATCHET,
        "says of a client whose input is there that it dropped out",
        called_dead,
        (weak.ANY_ALIVE,),
    ),
    Case("a roster of one", Lane.RATCHET, "asks the victim alone", roster_of_one, (weak.NO_FLOOR,)),
    Case(
        "model inconsistency",
        Lane.RATCHET,
        "shows the victim another global state than the rest",
        two_models,
        (weak.NO_CONTEXT,),
    ),
    Case(
        "replay of a round",
        Lane.RATCHET,
        "plays a round once more under its number, without the victim",
        replay,
        (weak.CHAINS_SET_BACK,),
    ),
    Case(
        "seeds of another round",
        Lane.RATCHET,
        "tries what was opened of the victim when it had dropped on its input of the next round",
        seeds_of_another_round,
        (weak.ONE_SEED,),
    ),
)
