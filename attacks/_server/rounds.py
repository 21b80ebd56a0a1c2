"""A server that plays rounds against each other: contexts, replays, differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, learned
from attacks._server.lists import NOTHING, WHOLE
from attacks._server.world import STEP, VICTIM, World, drive
from defenses.frame import SERVER
from defenses.secagg.masked.directory import Member
from defenses.secagg.masked.edges import Places
from defenses.secagg.masked.messages import Advertise, Consistency, decode
from defenses.secagg.masked.pieces import Items
from defenses.secagg.masked.server import MaskedServer
from defenses.session import RoundInfo
from defenses.upload import Upload, UploadKind

OTHER_CONTEXT = "cd" * 32


class Gullible(MaskedServer):
    """A server that takes whatever it is sent: what a cheating one makes of the shipped class."""

    def _take_advert(self, place: int, message: Advertise) -> None:
        self._got.adverts.put(place, b"".join((message.channel_key, message.mask_key, message.signature)))

    def _take_signature(self, place: int, message: Consistency) -> None:
        self._got.signatures.put(place, message.signature)

    def _wrong_share(self, place: int, dealers: Places, where: Places, shares: Items) -> None:
        return None


def two_models(build: Build) -> Found:
    """The victim is shown another global state than the rest, so that the sum tells its part apart.

    The server mends what it can: it speaks to each client in that client's binding.
    """
    world = World(4, build=build)
    odd = RoundInfo(1, world.info.kind, world.numbers, world.layout, OTHER_CONTEXT)
    clients = {c: world.client(c, odd if c == VICTIM else None) for c in world.numbers}
    others: Any = next(session for c, session in clients.items() if c != VICTIM)
    theirs, victims = others.terms, clients[VICTIM].terms
    server = Gullible(others.round, world.policy, world.directory)

    def transport(way: str, number: int, frame: bytes) -> bytes:
        if number != VICTIM:
            return frame
        message = decode(frame, len(world.numbers))[1]
        sender, terms = (SERVER, victims) if way == "down" else (VICTIM, theirs)
        return world.frame_of(message, sender, terms)

    drive(server, clients, transport=transport)
    exact = bool(np.array_equal(server.sum(), world.exact(world.numbers)))
    return learned(exact, "the exact sum over clients that saw different models", NOTHING)


def replay(build: Build) -> Found:
    """Round 1 is played once more, without the victim."""
    first = World(4, build=build)
    drive(first.server(), first.clients())
    again = World(4, build=build, members=first.members)
    server = again.server()
    drive(server, {c: again.client(c) for c in again.numbers if c != VICTIM})
    difference = first.terms().grid.ring.wrap(first.exact(first.numbers) - server.sum())
    return learned(np.array_equal(difference, first.inputs[VICTIM]), WHOLE, NOTHING)


def stale_frames(build: Build) -> Found:
    """What the victim was sent in round 1 is sent again in round 2, with the header of round 2."""
    first = World(4, build=build)
    seen: list[bytes] = []

    def listen(way: str, number: int, frame: bytes) -> bytes:
        if way == "down" and number == VICTIM:
            seen.append(frame)
        return frame

    drive(first.server(), first.clients(), transport=listen)
    second = World(4, build=build, number=2, members=first.members)
    session: Any = second.client(VICTIM)
    for frame in seen:
        session.receive(second.down(second.read(frame)))
    return learned(True, "the victim's share of a seed, for messages of another round", NOTHING)


def _vectors(build: Build, members: Mapping[int, Member], number: int, lose: tuple[int, ...]) -> World:
    """A round of context vectors, which are the same in every round, over those that are not lost."""
    world = World(5, build=build, number=number, kind=UploadKind.VECTOR, members=members)

    def upload(client: int) -> Upload:
        whole = np.random.default_rng(client).integers(-24_000, 24_000, world.layout.size)
        return Upload({"v": whole * STEP}, 1, number, UploadKind.VECTOR)

    world.upload = upload  # type: ignore[method-assign]
    return world


def differencing(build: Build) -> Found:
    """The same context vector in a sum with the victim, and in one without it."""
    members, sums = World(5, build=build).members, []
    for number, lose in ((1, ()), (2, (VICTIM,))):
        world = _vectors(build, members, number, lose)
        server, clients = world.server(), world.clients()
        drive(server, clients, lose={"advertising": lose})
        sums.append(server.sum())
    difference = world.terms().grid.ring.wrap(sums[0] - sums[1])
    return learned(np.array_equal(difference, world.inputs[VICTIM]), WHOLE, NOTHING)


def differencing_coefficients(build: Build) -> Found:
    """Two rounds of coefficients from nearly the same state, the second without the victim."""
    members, sums = World(5, build=build).members, []
    for number, lose in ((1, ()), (2, (VICTIM,))):
        world = World(5, build=build, number=number, members=members)

        def upload(client: int, number: int = number) -> Upload:
            # What a client fits again from a state that has hardly moved: the same, but for its batches.
            rng = np.random.default_rng(client)
            whole = rng.integers(-24_000, 24_000, 6) + np.random.default_rng([client, number]).integers(
                -300, 300, 6
            )
            return Upload({"v": whole * STEP}, 1, number, UploadKind.COEFFICIENTS)

        world.upload = upload  # type: ignore[method-assign]
        server, clients = world.server(), world.clients()
        drive(server, clients, lose={"advertising": lose})
        sums.append(world.terms().grid.ring.centred(server.sum())[:-1])
    difference = sums[0] - sums[1]
    truth = world.terms().grid.ring.centred(world.inputs[VICTIM])[:-1]
    near = float(np.corrcoef(difference, truth)[0, 1]) > 0.99
    return learned(near, "one client's coefficients, nearly", NOTHING)


CASES = (
    Case(
        "model inconsistency",
        Lane.MASKED,
        "shows the victim another global state than the rest",
        two_models,
        (weak.NO_CONTEXT,),
    ),
    Case(
        "differencing cohorts",
        Lane.MASKED,
        "asks for the same context vector in a sum with the victim and in one without it",
        differencing,
        (weak.GIVES_AGAIN,),
    ),
    Case(
        "replay of a round",
        Lane.MASKED,
        "plays a round once more under its number, without the victim",
        replay,
        (weak.FORGETFUL,),
    ),
    Case(
        "replay of frames",
        Lane.MASKED,
        "sends what was said in one round again in the next, headers mended",
        stale_frames,
        (weak.NO_KEY_SIGNATURES,),
    ),
    Case(
        "differencing cohorts over rounds of coefficients",
        Lane.MASKED,
        "asks for coefficients twice, from nearly the same state, the second time without the victim",
        differencing_coefficients,
        limits=(
            "few rounds and steady cohorts; nothing but noise that is accounted for bounds it (differential privacy)"
        ),
    ),
)
