"""A server that cheats the key holder: other sums than it says, too few uploads, foreign ciphertexts.

The server adds ciphertexts, so it may add whatever it likes; what the key holder opens is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, Verdict, learned
from attacks._server.lists import NOTHING, WHOLE
from defenses.entropy import InsecureSeeded, SecureEntropy
from defenses.errors import ProtocolError
from defenses.secagg.homomorphic.client import HomomorphicClient
from defenses.secagg.homomorphic.engine import Engine
from defenses.secagg.homomorphic.holder import KeyHolder
from defenses.secagg.homomorphic.keys import HolderKeys, ServerKeys
from defenses.secagg.homomorphic.messages import Message, MessageType, decode
from defenses.secagg.homomorphic.parameters import Scheme
from defenses.secagg.homomorphic.parties import Parties
from defenses.secagg.homomorphic.terms import Terms
from defenses.session import RoundInfo
from defenses.specs import BfvSpec, CkksSpec
from defenses.upload import Layout, Upload, UploadKind

ROSTER = (2, 3, 5, 8)
VICTIM = 2
LAYOUT = Layout.of({"v": (6,)})
INFO = RoundInfo(4, UploadKind.VECTOR, ROSTER, LAYOUT, "ab" * 32)
SPECS: dict[Lane, BfvSpec | CkksSpec] = {
    Lane.BFV: BfvSpec.model_validate({"grid": {"clip": {"vector": 32_767 * 2.0**-13}}}),
    Lane.CKKS: CkksSpec.model_validate({"grid": {"clip": {"vector": 32_767 * 2.0**-13}}}),
}
STEP = 2.0**-13


@cache
def keys(lane: Lane, which: int) -> HolderKeys:
    """Keys of a run, made once in this process; ``which`` tells runs apart."""
    return HolderKeys.generate(Scheme(lane.value), SecureEntropy())


def numbers_of(client: int) -> npt.NDArray[np.int64]:
    """A client's numbers and weight, whole as they are on the grid."""
    whole = np.random.default_rng(client).integers(-24_000, 24_000, LAYOUT.size)
    return np.append(whole * (10 + client), 10 + client)


def sealed(lane: Lane, client: int, info: RoundInfo, which: int = 0) -> Message:
    """What a client sends in a round, under one run's keys."""
    mine = numbers_of(client)
    upload = Upload({"v": mine[:-1] / mine[-1] * STEP}, float(mine[-1]), info.number, info.kind)
    file = keys(lane, which).client_file(client)
    session = HomomorphicClient(file, Terms.of(SPECS[lane], info), InsecureSeeded(1, str(client)))
    return decode(session.protect(upload)[0])


@cache
def _frames(lane: Lane) -> dict[int, Message]:
    return {client: sealed(lane, client, INFO) for client in ROSTER}


class Sealed:
    """A round's uploads, each encrypted by a client of the shipped class.

    Args:
        lane: which scheme.
        build: which class plays the key holder.
    """

    def __init__(self, lane: Lane, build: Build) -> None:
        self.lane, self.spec, self.keys = lane, SPECS[lane], keys(lane, 0)
        self.info = INFO
        self.holder: KeyHolder = build.holder(self.keys, self.spec)
        self.frames = dict(_frames(lane))

    def ask(
        self,
        make: Callable[[Engine, Mapping[int, Any]], Any],
        clients: Collection[int] = ROSTER,
        info: RoundInfo | None = None,
        holder: KeyHolder | None = None,
    ) -> npt.NDArray[np.int64]:
        """What the key holder opens, of ciphertexts that the server made and clients that it names."""
        terms = Terms.of(self.spec, info or self.info)
        engine = Engine(self.keys.parameters, self.keys.encrypts)
        loaded = {c: engine.load(message.parts[0]) for c, message in self.frames.items()}
        part = engine.dump(make(engine, loaded))
        request = terms.message(
            MessageType.REQUEST, _SERVER, self.keys.key_id, tuple(sorted(clients)), (part,)
        )
        session = (holder or self.holder).session(info or self.info)
        opening = decode(session.receive(request.encode())[0])
        ring = terms.grid.ring
        return ring.centred(ring.unpack(opening.parts[0], terms.numbers))

    def shows(self, found: npt.NDArray[np.int64], clients: Collection[int] = (VICTIM,)) -> bool:
        """Whether numbers are the sum over these clients."""
        return bool(np.array_equal(found, sum(numbers_of(c) for c in clients)))


_SERVER = 0xFFFF_FFFF


def total(vectors: Mapping[int, Any], clients: Collection[int]) -> Any:
    """The sum of ciphertexts."""
    first, *rest = (vectors[client] for client in clients)
    result = first.copy()
    for other in rest:
        result.add_(other)
    return result


FORGERIES: dict[str, tuple[Callable[[Mapping[int, Any], int], Any], Collection[int]]] = {
    "one upload for the sum": (lambda v, _: v[2], ROSTER),
    "one upload four times": (lambda v, _: total(dict.fromkeys(range(4), v[2]), range(4)), ROSTER),
    "one left out": (lambda v, _: total(v, (2, 3, 5)), ROSTER),
    "one named too few": (lambda v, _: total(v, ROSTER), (2, 3, 5)),
    "one twice, one not": (lambda v, _: total({0: v[2], 1: v[2], 2: v[3], 3: v[5]}, range(4)), ROSTER),
    "one added and one taken away": (lambda v, _: total(v, ROSTER).sub(v[8]).add(v[2]), ROSTER),
    "a number added": (lambda v, s: total(v, ROSTER).add([1] + [0] * (s - 1)), ROSTER),
    "a hidden slot used": (lambda v, s: total(v, ROSTER).add([0] * (s - 1) + [1]), ROSTER),
    "everything doubled": (lambda v, _: total(v, ROSTER).add(total(v, ROSTER)), ROSTER),
}
"""Sums that are not what the server says: what it makes of the ciphertexts (by client, and with so many slots), and
which clients it names."""


def _made(make: Callable[[Mapping[int, Any], int], Any], engine: Engine, vectors: Mapping[int, Any]) -> Any:
    return make(vectors, engine.parameters.slots)


def _forged(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        opened: list[str] = []
        refusal = ProtocolError("nothing was tried")
        for name, (make, clients) in FORGERIES.items():
            world = Sealed(lane, build)
            try:
                world.ask(partial(_made, make), clients)
                opened.append(name)
            except ProtocolError as error:
                refusal = error
        if not opened:
            raise refusal
        return Found(Verdict.SPOILED, f"false sums that were opened: {', '.join(opened)}")

    return attack


def _one_for_all(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world = Sealed(lane, build)
        return learned(world.shows(world.ask(lambda _, v: v[VICTIM])), WHOLE, NOTHING)

    return attack


def _left_out(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world, rest = Sealed(lane, build), [c for c in ROSTER if c != VICTIM]
        return learned(
            world.shows(world.ask(lambda _, v: total(v, rest)), rest),
            "a sum without the victim, passed off as that of all: a second sum with it would show the victim",
            NOTHING,
        )

    return attack


def _too_few(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world = Sealed(lane, build)
        found = world.ask(lambda _, v: v[VICTIM], (VICTIM,))
        return learned(world.shows(found), WHOLE, NOTHING)

    return attack


def _asked_twice(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world, rest = Sealed(lane, build), [c for c in ROSTER if c != VICTIM]
        one = world.ask(lambda _, v: total(v, ROSTER))
        other = world.ask(lambda _, v: total(v, rest), rest)
        return learned(world.shows(one - other), WHOLE, NOTHING)

    return attack


def _crash(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world, rest = Sealed(lane, build), [c for c in ROSTER if c != VICTIM]
        before = world.holder.save()
        one = world.ask(lambda _, v: total(v, ROSTER))
        saved = build.restored(before, world.holder.save())
        revived = type(world.holder).load(saved, world.keys, world.spec)
        other = world.ask(lambda _, v: total(v, rest), rest, holder=revived)
        return learned(world.shows(one - other), WHOLE, NOTHING)

    return attack


def _foreign(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world = Sealed(lane, build)
        world.frames[VICTIM] = sealed(lane, VICTIM, INFO, which=1)
        found = world.ask(lambda _, v: total(v, ROSTER))
        right = world.shows(found, ROSTER)
        return Found(Verdict.HARMLESS, "the sum is exact") if right else _spoiled()

    return attack


def _spoiled() -> Found:
    return Found(Verdict.SPOILED, "numbers that no uploads add up to passed for their sum")


def _two_models(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world = Sealed(lane, build)
        world.frames[VICTIM] = sealed(lane, VICTIM, replace(INFO, context="cd" * 32))
        found = world.ask(lambda _, v: total(v, ROSTER))
        return learned(
            world.shows(found, ROSTER), "the exact sum over clients that saw different models", NOTHING
        )

    return attack


def _replay(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world, rest = Sealed(lane, build), [c for c in ROSTER if c != VICTIM]
        later = replace(world.info, number=5)
        one = world.ask(lambda _, v: total(v, ROSTER))
        other = world.ask(lambda _, v: total(v, rest), rest, info=later)
        return learned(world.shows(one - other), WHOLE, NOTHING)

    return attack


def _servers_file(lane: Lane) -> Callable[[Build], Found]:
    def attack(build: Build) -> Found:
        world = Sealed(lane, build)
        file = ServerKeys.load(world.keys.server_file().save())
        parties = Parties(world.spec, file if build.pinned else world.keys)
        session = parties.holder().session(world.info)
        request = Terms.of(world.spec, world.info).message(
            MessageType.REQUEST,
            _SERVER,
            world.keys.key_id,
            ROSTER,
            (_sum_of(world),),
        )
        session.receive(request.encode())
        return learned(True, "an opened sum, with the server's file alone", NOTHING)

    return attack


def _sum_of(world: Sealed) -> bytes:
    engine = Engine(world.keys.parameters, world.keys.encrypts)
    loaded = {c: engine.load(message.parts[0]) for c, message in world.frames.items()}
    return engine.dump(total(loaded, ROSTER))


_ATTACKS: tuple[tuple[str, str, Callable[[Lane], Callable[[Build], Found]], Build], ...] = (
    ("one upload for the sum", "sends one upload and says it is the sum of all", _one_for_all, weak.NO_TAGS),
    ("one left out", "leaves the victim out of a sum that it says is over all", _left_out, weak.NO_TAGS),
    ("single survivor", "says that one upload alone arrived", _too_few, weak.NO_MINIMUM),
    ("forged sums", f"tries {len(FORGERIES)} sums that are not what it says", _forged, weak.NO_TAGS),
    (
        "differencing within a round",
        "asks for the sum with the victim, and then for the one without it",
        _asked_twice,
        weak.ANSWERS_ALWAYS,
    ),
    (
        "crash of the key holder",
        "asks once more after the key holder has crashed",
        _crash,
        weak.SAVES_TOO_LATE,
    ),
    (
        "replay in the next round",
        "asks in the next round for the same uploads without the victim's",
        _replay,
        weak.NO_TAGS,
    ),
    (
        "foreign ciphertexts",
        "adds a ciphertext made under other keys",
        _foreign,
        weak.NO_TAGS,
    ),
    (
        "model inconsistency",
        "shows the victim another global state than the rest",
        _two_models,
        weak.NO_TAGS,
    ),
    (
        "the server's own file",
        "tries to open a sum with the file that it has",
        _servers_file,
        weak.HOLDERS_FILE,
    ),
)

# What is made under other keys decrypts to no whole numbers under CKKS, and the engine refuses it without tags, too.
_REFUSED_ANYWAY = {("foreign ciphertexts", Lane.CKKS)}

CASES = tuple(
    Case(name, lane, does, make(lane), () if (name, lane) in _REFUSED_ANYWAY else (build,))
    for lane in (Lane.BFV, Lane.CKKS)
    for name, does, make, build in _ATTACKS
)
