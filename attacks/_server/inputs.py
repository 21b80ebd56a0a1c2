"""What a server finds in what it is sent, and what a client that sends rubbish does to the sum."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, Verdict, learned
from attacks._server.lists import NOTHING, WHOLE
from attacks._server.world import STEP, VICTIM, World, drive, masked_input, up_to
from defenses.entropy import Entropy
from defenses.errors import IfedprivError
from defenses.ring import UIntArray
from defenses.secagg.masked import derived
from defenses.secagg.masked.keys import AgreementKey
from defenses.secagg.masked.masks import apply, pair_sign
from defenses.secagg.masked.messages import MaskedInput, Message, Unmask, decode
from defenses.upload import Upload

LIAR = 11
"""The client that cheats, where it is a client."""
TRIED = 64
"""Keys that the server can afford to try for each secret; any number far below 2^256 gives the same verdict."""


def low_entropy(build: Build) -> Found:
    """The server tries every key of a small space against what the victim advertised and sent."""
    world = World(4, build=build, size=40)
    clients = up_to(world, "signing")
    terms, victim = world.terms(), clients[VICTIM]
    advertised = world.read(victim.resend()[0]).mask_key
    keys = [AgreementKey(weak.small_key(i)) for i in range(TRIED)]
    mine = next((key for key in keys if key.public == advertised), None)
    if mine is None:
        return learned(False, "", "no key that can be tried is the victim's")
    vector = masked_input(world, victim)
    for other in world.numbers[1:]:
        key = derived.pair_mask_key(
            terms, VICTIM, other, mine, world.read(clients[other].resend()[0]).mask_key
        )
        apply(vector, key, 1 if pair_sign(VICTIM, other) == -1 else -1)
    for i in range(TRIED):
        candidate = vector.copy()
        apply(candidate, derived.self_mask_key(terms, VICTIM, weak.small_key(i)), -1)
        if _can_be_one_upload(world, candidate):
            return learned(np.array_equal(candidate, world.inputs[VICTIM]), WHOLE, NOTHING)
    return learned(False, "", NOTHING)


def _can_be_one_upload(world: World, vector: UIntArray) -> bool:
    grid = world.terms().grid
    *numbers, weight = grid.ring.centred(vector).tolist()
    return bool(1 <= weight <= grid.max_weight) and bool(max(map(abs, numbers)) <= weight * grid.levels)


def weight_leak(build: Build) -> Found:
    """The server looks for a client's weight in every frame: in lengths, headers, and the last element."""
    shapes = []
    for weight in (1, 8):
        world = World(4, build=build)

        def upload(client: int, world: World = world, weight: int = weight) -> Upload:
            return dataclasses.replace(
                World.upload(world, client), weight=float(weight if client == VICTIM else 2)
            )

        world.upload = upload  # type: ignore[method-assign]
        frames: list[tuple[str, int, int, bytes]] = []

        def listen(
            way: str, number: int, frame: bytes, frames: list[tuple[str, int, int, bytes]] = frames
        ) -> bytes:
            frames.append((way, number, len(frame), frame[:24]))
            return frame

        server, clients = world.server(), world.clients()
        drive(server, clients, transport=listen)
        last = int(masked_input(world, clients[VICTIM])[-1])
        shapes.append((frames, last))
    (one, first), (other, second) = shapes
    same = one == other
    return learned(
        not same or (first, second) == (1, 8),
        "one client's weight, which is how much data it has",
        "frames of a light and of a heavy client are alike",
    )


class _Overheard:
    """A source that remembers what it gave: the only place that every secret of a round comes from."""

    simulation = True

    def __init__(self, source: Entropy) -> None:
        self._source = source
        self.given: list[bytes] = []

    def bytes(self, n: int) -> bytes:
        drawn = self._source.bytes(n)
        self.given += [drawn[at : at + 32] for at in range(0, n, 32)]
        return drawn

    def branch(self, label: str) -> Entropy:
        return self


def exception_texts(build: Build) -> Found:
    """The server provokes every refusal it can, and reads what they say; clients send errors to their server."""
    texts: list[str] = []
    secrets: list[bytes] = []
    for stage in ("sharing", "masking", "signing", "unmasking"):
        world = World(4, build=build)
        heard = _Overheard(world.entropy)
        world.entropy = heard
        server, clients = world.server(), world.clients()
        inbox = drive(server, clients, until=stage)
        for number, frames in inbox.items():
            frame = frames[0]
            message = world.read(frame)
            empty = world.down(_emptied(message))
            for bad in (frame[:-1], frame + b"x", frame[:-9] + bytes(9), b"", frame[::-1], empty):
                for end in (clients[number].receive, lambda f, who=number, to=server: to.receive(who, f)):
                    texts.append(_said(end, bad))
            texts += [repr(clients[number]), repr(clients[number].terms.binding), repr(message)]
        secrets += [secret for secret in heard.given if len(secret) >= 16]
        for c in world.numbers:
            secrets.append(world.inputs[c].tobytes()[:16])
            texts.append(_said(clients[c].protect, dataclasses.replace(world.upload(c), weight=1.5)))
    shown = {form for secret in secrets for form in (secret.hex(), repr(secret)[2:-1], str(list(secret)))}
    joined = "\n".join(texts)
    return learned(
        any(form in joined for form in shown),
        "a secret of a client, in the text of its refusal",
        f"{len(texts)} texts, and in none of them any of {len(secrets)} secrets",
    )


def _emptied(message: Message) -> Message:
    """The same kind of message, saying that nobody is there."""
    return dataclasses.replace(
        message,
        **{part.name: () for part in message.PARTS if isinstance(getattr(message, part.name), tuple)},
    )


def _said(work: Callable[[Any], object], given: object) -> str:
    try:
        work(given)
    except IfedprivError as error:
        return f"{error!r} {error}"
    return ""


# Clients that cheat


def overflow(build: Build) -> Found:
    """All clients at the clip with the largest weight: the largest sum there is."""
    world = World(6, build=build)

    def upload(client: int) -> Upload:
        values = np.full(6, world.policy.clip) * [1, -1, 1, -1, 1, -1]
        return Upload({"v": values}, world.policy.max_weight, 1, world.info.kind)

    world.upload = upload  # type: ignore[method-assign]
    server = world.server()
    drive(server, world.clients())
    means = server.aggregate().means["v"]
    right = bool(np.allclose(np.abs(means), world.policy.clip))
    return _true(right, "the sum has wrapped, and nobody noticed")


def not_a_number(build: Build) -> Found:
    """One client's training diverged: its upload holds NaN and infinity."""
    world = World(5, build=build)

    def upload(client: int) -> Upload:
        honest = World.upload(world, client)
        if client != LIAR:
            return honest
        return build.upload(
            {"v": np.array([np.nan, np.inf, 1, 1, 1, 1], np.float32)},
            honest.weight,
            honest.round,
            honest.kind,
        )

    world.upload = upload  # type: ignore[method-assign]
    world.on_grid = lambda upload: np.zeros(7, np.uint32)  # type: ignore[method-assign]
    server = world.server()
    drive(server, world.clients())
    server.aggregate()
    return _true(False, "they went into the mean of all, and nobody noticed")


def lying(
    world: World, kind: type[Message], change: Callable[[Any], Message]
) -> Callable[[str, int, bytes], bytes]:
    """A transport in which the liar's message of one kind is another one."""

    def transport(way: str, number: int, frame: bytes) -> bytes:
        if way == "down" or number != LIAR:
            return frame
        message = decode(frame, len(world.numbers))[1]
        if not isinstance(message, kind):
            return frame
        return world.frame_of(change(message), LIAR, world.terms())

    return transport


def bad_shares(build: Build) -> Found:
    """One client opens a wrong share of another; the sum must not be wrong, nor the other be blamed."""

    def change(message: Unmask) -> Unmask:
        first = bytes([message.shares[0][0] ^ 1]) + message.shares[0][1:]
        return Unmask(message.of, (first, *message.shares[1:]))

    world = World(5, build=build)
    server, clients = world.server(), world.clients()
    drive(server, clients, transport=lying(world, Unmask, change))
    try:
        right = bool(np.array_equal(server.sum(), world.exact(world.numbers)))
    except IfedprivError as error:
        blamed = f"client {VICTIM}" in error.message
        return _true(not blamed, "an honest client is blamed, and the round is lost")
    return _true(right, "the sum is wrong")


def wrong_length(build: Build) -> Found:
    """One client's masked input has an element too many."""
    world = World(5, build=build)
    server, clients = world.server(), world.clients()
    longer = lying(world, MaskedInput, lambda m: MaskedInput(bytes(4) + bytes(m.elements)))
    drive(server, clients, transport=longer)
    return _true(bool(np.array_equal(server.sum(), world.exact(world.numbers))), "the sum is wrong")


def false_numbers(build: Build) -> Found:
    """One client of five sends the farthest numbers that the grid carries; nobody sees it under the masks."""
    world = World(5, build=build)

    def upload(client: int) -> Upload:
        values = np.full(6, world.policy.clip if client == LIAR else STEP)
        return Upload({"v": values}, world.policy.max_weight, 1, world.info.kind)

    world.upload = upload  # type: ignore[method-assign]
    server = world.server()
    drive(server, world.clients())
    moved = float(np.abs(server.aggregate().means["v"]).max())
    return _true(
        moved < world.policy.clip / 100,
        f"one of five clients has moved the mean by {moved / world.policy.clip:.0%} of the clip",
    )


def one_hot(build: Build) -> Found:
    """A number to which one client alone contributes: what the others send there is 0, and everybody knows it."""
    world = World(5, build=build)

    def upload(client: int) -> Upload:
        honest = World.upload(world, client)
        values = honest.arrays["v"] * (np.arange(6) == client - VICTIM)
        return dataclasses.replace(honest, arrays={"v": values})

    world.upload = upload  # type: ignore[method-assign]
    server = world.server()
    drive(server, world.clients())
    same = server.sum()[0] == world.inputs[VICTIM][0]
    return learned(bool(same), "the number that the victim alone contributes to", NOTHING)


def _true(right: bool, otherwise: str) -> Found:
    if right:
        return Found(Verdict.HARMLESS, "the sum is exact")
    return Found(Verdict.SPOILED, otherwise)


CASES = (
    Case(
        "low-entropy mask",
        Lane.MASKED,
        "tries all keys of a small space against what the victim sent",
        low_entropy,
        (weak.SIX_BITS,),
    ),
    Case(
        "weight leakage",
        Lane.MASKED,
        "looks for a client's weight in lengths, headers and elements of its frames",
        weight_leak,
        (weak.WEIGHT_IN_CLEAR,),
    ),
    Case(
        "data in exception texts",
        Lane.MASKED,
        "provokes every refusal that it can, and reads them for secrets and numbers",
        exception_texts,
        (weak.TALKATIVE,),
    ),
    Case(
        "overflow",
        Lane.MASKED,
        "nothing: all clients send the largest numbers with the largest weight",
        overflow,
        (weak.NO_HEADROOM,),
    ),
    Case(
        "NaN",
        Lane.MASKED,
        "nothing: one client's upload holds NaN and infinity",
        not_a_number,
        (weak.ANY_NUMBER,),
    ),
    Case(
        "bad shares",
        Lane.MASKED,
        "nothing: one client opens a share that it was not dealt",
        bad_shares,
        (weak.NO_COMMITMENTS,),
    ),
    Case(
        "wrong length",
        Lane.MASKED,
        "nothing: one client's masked input has an element too many",
        wrong_length,
        (weak.ANY_LENGTH,),
    ),
    Case(
        "sparse coordinates",
        Lane.MASKED,
        "looks at a number to which one client alone contributes",
        one_hot,
        limits="uploads that are dense, as context vectors and coefficients are; else noise that is accounted for",
    ),
    Case(
        "false numbers",
        Lane.MASKED,
        "nothing: one client sends the farthest numbers that the grid carries",
        false_numbers,
        limits=(
            "the clip, beyond which no mean is moved; and defense.groups, under which a cheat spoils one group and the "
            "median goes by the others"
        ),
    ),
)
