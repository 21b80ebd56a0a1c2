"""One end of a masked round at a time, for benchmarks: the real session, and puppets that play everybody else.

A puppet has real keys, a real seed and real signatures, and seals real shares, but puts on no masks of its own. So a
client or the server meets exactly the frames that it would meet, cannot tell the difference, and can be measured at
a thousand clients without a thousand clients' work. What the measured end makes is checked: a client's masked
input against the masks taken off again from the other side, the server's sum against the inputs.

Invariant: nothing but the measured session's own calls is inside its time.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any
from unittest.mock import patch

import numpy as np
from _shared import peak, reset_peak, resident
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from defenses.entropy import SecureEntropy
from defenses.frame import SERVER
from defenses.secagg.masked import derived, masks, policy, shamir
from defenses.secagg.masked.channel import seal, unseal
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.directory import Member, enrol
from defenses.secagg.masked.graph import Shape
from defenses.secagg.masked.keys import AgreementKey, verify
from defenses.secagg.masked.messages import (
    SEALED_BYTES,
    Advertise,
    Consistency,
    Inbox,
    MaskedInput,
    Message,
    Roster,
    Shares,
    Signatures,
    Survivors,
    Unmask,
    decode,
    encode,
)
from defenses.secagg.masked.policy import Policy, Terms
from defenses.secagg.masked.server import MaskedServer
from defenses.session import RoundInfo
from defenses.upload import Layout, Upload, UploadKind

CLIP = 4.0
COLLUSION = 0.1
DROPOUT = 0.05
ENTROPY = SecureEntropy()


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor milliseconds of a call, and what it gave."""
    before = time.process_time()
    result = work()
    return 1e3 * (time.process_time() - before), result


def shaped(shape: Shape | None) -> AbstractContextManager[object]:
    """A graph other than the one that the policy would choose, for comparisons at equal shapes."""
    return nullcontext() if shape is None else patch.object(policy, "choose", lambda *_: shape)


def complete(n: int) -> Shape:
    """The complete graph, also from 100 clients on."""
    return Shape(n - 1, (n + int(COLLUSION * n)) // 2 + 1)


@dataclass(eq=False)
class Puppet:
    """What somebody who is not measured brings: keys for the round, a seed, a signed advertisement."""

    member: Member
    channel: AgreementKey = field(default_factory=lambda: AgreementKey.fresh(ENTROPY))
    mask: AgreementKey = field(default_factory=lambda: AgreementKey.fresh(ENTROPY))
    seed: bytes = field(default_factory=lambda: ENTROPY.bytes(32))

    def advert(self, terms: Terms) -> Advertise:
        """Signed as the protocol has it."""
        keys = self.channel.public, self.mask.public
        return Advertise(*keys, derived.sign_advert(terms, self.member.identity, self.member.number, *keys))

    @cached_property
    def shares(self) -> tuple[bytes, bytes]:
        """One share of seed and of mask key, the same for every holder: a constant fits any threshold."""
        return self.seed + b"\0", self.mask.private + b"\0"


class Stage:
    """A round with puppets in every place.

    Args:
        n: clients.
        values: numbers in an upload.
        bits: of a number on the grid.
        dropped: share of the clients that is lost after it has shared its keys.
        shape: a graph of its own; None for the one that the policy chooses, planned for this share of dropouts.
        collusion: as in `defense.collusion`.
    """

    def __init__(
        self,
        n: int,
        values: int,
        bits: int,
        dropped: float,
        shape: Shape | None = None,
        collusion: float = COLLUSION,
    ) -> None:
        members = enrol(range(n), ENTROPY, chains=False)
        self.directory = members[0].directory
        with shaped(shape):
            self.policy = Policy(
                minimum=3,
                collusion=collusion,
                dropout=max(DROPOUT, dropped),
                clip=CLIP,
                bits=bits,
                max_weight=1,
            )
            self.info = RoundInfo(0, UploadKind.COEFFICIENTS, tuple(range(n)), Layout.of({"v": (values,)}))
            self.terms = Terms.of(self.info, self.policy, self.directory)
        self.shape, self._forced = self.terms.graph.shape, shape
        self.puppets = [Puppet(members[i]) for i in range(n)]
        self.adverts = [b"".join(_parts(puppet.advert(self.terms))) for puppet in self.puppets]
        self.gone = frozenset(range(n - round(dropped * n), n))
        self.everybody = tuple(range(n))
        self.alive = tuple(range(n - len(self.gone)))

    def frame(self, message: Message, sender: int = SERVER) -> bytes:
        """A message as the wire has it."""
        return encode(
            message, clients=len(self.puppets), round_number=0, sender=sender, binding=self.terms.binding
        )

    def client(self, me: int) -> tuple[dict[str, float], dict[str, int]]:
        """A real client in one place: milliseconds of each of its steps, and bytes up and down."""
        there = self.terms.graph.neighbours(me)
        numbers = np.random.default_rng(me).uniform(-1, 1, self.info.layout.size).astype(np.float32)
        upload = Upload({"v": numbers}, 1, 0, self.info.kind)
        old = self.puppets[me].member
        member = Member(me, old.identity, old.directory, type(old.diary)(), old.ratchet)
        took: dict[str, float] = {}
        size = {"up": 0, "down": 0}

        def step(name: str, work: Callable[[], list[bytes]], frame: bytes = b"") -> Any:
            took[name], (answer,) = spent(work)
            size["up"] += len(answer)
            size["down"] += len(frame)
            return decode(answer, len(self.puppets))[1]

        def receive(name: str, message: Message) -> Any:
            frame = self.frame(message)
            return step(name, lambda: session.receive(frame), frame)

        with shaped(self._forced):
            took["begin"], session = spent(lambda: MaskedClient(member, self.info, self.policy, ENTROPY))
        advert = step("advertise", lambda: session.protect(upload))
        receive("share", Roster(self.everybody, tuple(self.adverts[other] for other in there)))
        deals = tuple(self._deal(other, me, advert.channel_key) for other in there)
        masked = receive("mask", Inbox(self.everybody, deals))
        self._check_input(me, session, masked, numbers, advert.mask_key)
        receive("sign", Survivors(self.alive))
        signatures = tuple(self._signature(other) for other in there if other not in self.gone)
        receive("unmask", Signatures(self.alive, signatures))
        return took, size

    def server(self) -> tuple[dict[str, float], dict[str, float], int]:
        """The real server, with frames one at a time: its milliseconds, those of the bare loops, its peak bytes.

        The bare loops work out the masks that the sum will carry, which is what the server has to take off; so they
        are the floor of that part, on the very same data, and give the inputs under which the sum is known.
        """
        wanted = np.random.default_rng(1).uniform(-1, 1, self.info.layout.size).astype(np.float32)
        slots = self.terms.grid.quantise(wanted, 1, ENTROPY).slots
        floor, total = self._floor(slots)
        zeros = bytes(total.nbytes)
        shamir.weights.cache_clear()
        _return_memory()
        reset_peak()
        before = resident()
        took: dict[str, float] = {}
        with shaped(self._forced):
            took["begin"], server = spent(lambda: MaskedServer(self.info, self.policy, self.directory))

        def all_send(name: str, those: tuple[int, ...], make: Callable[[int], Message]) -> None:
            took[name] = 0.0
            for place in those:
                frame = self.frame(make(place), place)
                took[name] += spent(partial(server.receive, place, frame))[0]

        all_send("advertise", self.everybody, lambda place: self.puppets[place].advert(self.terms))
        all_send("share", self.everybody, self._shares)
        took["lost"], _ = spent(lambda: server.lost(self.gone))
        first = total.tobytes()
        all_send("mask", self.alive, lambda place: MaskedInput(zeros if place else first))
        all_send("sign", self.alive, lambda place: Consistency(self._signature(place)))
        all_send("unmask", self.alive, self._unmask)
        took["sum"], result = spent(server.aggregate)
        above = peak() - before
        # The inputs add up to one upload, given out as the mean over all who are alive.
        slack = CLIP / self.terms.grid.levels / len(self.alive)
        assert np.abs(result.means["v"] - wanted / len(self.alive)).max() <= 1.01 * slack
        return took, floor, above

    def client_floor(self) -> dict[str, float]:
        """The primitives that a client cannot do without, in bare loops: milliseconds of each kind."""
        k, t = self.shape.neighbours, self.shape.threshold
        one, identity = X25519PrivateKey.from_private_bytes(ENTROPY.bytes(32)), Ed25519PrivateKey.generate()
        public, verifier = one.public_key().public_bytes_raw(), identity.public_key().public_bytes_raw()
        mark, plain, key = identity.sign(bytes(32)), bytes(66), bytes(32)
        vector = np.zeros(self.terms.slots, dtype=self.terms.grid.ring.dtype)
        points = [self.terms.graph.point(0, holder) for holder in self.terms.graph.holders(0)]
        drawn = shamir.draw(t, ENTROPY)

        def own() -> None:
            for _ in range(2):
                X25519PrivateKey.from_private_bytes(ENTROPY.bytes(32)).public_key().public_bytes_raw()
                identity.sign(bytes(32))
                shamir.split(key, t, points, drawn)

        def signatures() -> None:
            for _ in range(2 * k):
                Ed25519PublicKey.from_public_bytes(verifier).verify(mark, bytes(32))

        def agreements() -> None:
            for _ in range(k):
                one.exchange(X25519PublicKey.from_public_bytes(public))
                one.exchange(X25519PublicKey.from_public_bytes(public))
                sealed = AESGCM(key).encrypt(bytes(12), plain, key)
                AESGCM(key).decrypt(bytes(12), sealed, key)

        def masking() -> None:
            for _ in range(k + 1):
                masks.apply(vector, key, 1)

        return {work.__name__: spent(work)[0] for work in (own, signatures, agreements, masking)}

    def _floor(self, slots: Any) -> tuple[dict[str, float], Any]:
        """Milliseconds of the server's primitives in bare loops, and input plus masks as the sum will carry them."""
        terms, alive = self.terms, set(self.alive)
        total, frame = slots.copy(), bytes(slots.nbytes)
        marks = [self.puppets[0].member.identity.sign("x", bytes(1))] * 2
        verifier = self.puppets[0].member.identity
        secrets = [puppet.shares[place in self.gone] for place, puppet in enumerate(self.puppets)]
        holders = {place: [h for h in terms.graph.holders(place) if h in alive] for place in self.everybody}
        t = self.shape.threshold
        points = {
            place: tuple(sorted(terms.graph.point(place, h) for h in holders[place])[:t])
            for place in self.everybody
        }

        def signatures() -> None:
            for place in self.everybody:
                for mark in marks[: 1 + (place in alive)]:
                    verify(verifier.public, mark, "x", bytes(1))

        def commitments() -> None:
            for place in self.alive:
                for dealer in terms.graph.holders(place):
                    hashlib.sha256(material[dealer]).digest()

        def additions() -> None:
            other = np.frombuffer(frame, dtype=slots.dtype)
            for _ in self.alive:
                np.add(slots, other, out=empty)

        def combinations() -> None:
            for place in self.everybody:
                shamir.combine(points[place], [secrets[place]] * t)

        def removals() -> None:
            for place in self.alive:
                masks.apply(total, derived.self_mask_key(terms, place, self.puppets[place].seed), 1)
            for place in self.gone:
                mine = AgreementKey(self.puppets[place].mask.private)
                for other in holders[place]:
                    if other != place:
                        public = self.puppets[other].mask.public
                        key = derived.pair_mask_key(terms, place, other, mine, public)
                        masks.apply(total, key, masks.pair_sign(other, place))

        empty = np.empty_like(slots)
        material = [bytes(100) + secret for secret in secrets]
        shamir.weights.cache_clear()
        found = {
            work.__name__: spent(work)[0]
            for work in (signatures, commitments, additions, combinations, removals)
        }
        # The first client carries the whole; its weight makes up for those of all others.
        total[-1] += len(self.alive) - 1
        return found, total

    def _check_input(self, me: int, session: Any, masked: Any, numbers: Any, mine: bytes) -> None:
        """Take the first client's masks off from the other side, and compare with its upload."""
        terms = self.terms
        if me:
            return
        vector = np.frombuffer(masked.elements, dtype=terms.grid.ring.dtype).copy()
        for other in terms.graph.neighbours(me):
            key = derived.pair_mask_key(terms, other, me, self.puppets[other].mask, mine)
            masks.apply(vector, key, masks.pair_sign(other, me))
        mask_key = derived.self_mask_key(terms, me, self._seed_of(session))
        masks.apply(vector, mask_key, -1)
        found = terms.grid.ring.centred(vector)
        assert found[-1] == 1 and np.abs(found[:-1] * terms.grid.step - numbers).max() <= terms.grid.step

    def _seed_of(self, session: Any) -> bytes:
        """A client's own seed, from the share that it keeps and those that it has sealed for its neighbours."""
        graph, shares = self.terms.graph, decode(session.resend()[1], len(self.puppets))[1]
        advert = decode(session.resend()[0], len(self.puppets))[1]
        assert isinstance(shares, Shares) and isinstance(advert, Advertise)
        me = session.me
        opened = {}
        for other, deal in zip(graph.neighbours(me), shares.deals, strict=True):
            plain = unseal(
                self.puppets[other].channel,
                advert.channel_key,
                self.terms.binding,
                me,
                other,
                deal[:SEALED_BYTES],
            )
            opened[graph.point(me, other)] = plain[: shamir.SHARE_BYTES]
        points = sorted(opened)[: self.shape.threshold]
        return shamir.combine(points, [opened[point] for point in points])

    def _deal(self, dealer: int, holder: int, channel_key: bytes) -> bytes:
        puppet = self.puppets[dealer]
        sealed = seal(
            puppet.channel, channel_key, self.terms.binding, dealer, holder, b"".join(puppet.shares)
        )
        return sealed + derived.share_commitments(self.terms, dealer, holder, puppet.shares)

    def _shares(self, place: int) -> Shares:
        """A puppet's deals; what is sealed is for a puppet, which will not open it, so it is left blank."""
        puppet, blank = self.puppets[place], bytes(SEALED_BYTES)
        commit = [
            blank + derived.share_commitments(self.terms, place, other, puppet.shares)
            for other in self.terms.graph.neighbours(place)
        ]
        own = derived.share_commitments(self.terms, place, place, puppet.shares)
        return Shares(derived.seed_commitment(self.terms, place, puppet.seed), own, tuple(commit))

    def _signature(self, place: int) -> bytes:
        lists = derived.both_lists(self.terms, self.everybody, self.alive)
        return derived.sign_lists(self.terms, self.puppets[place].member.identity, place, lists)

    def _unmask(self, place: int) -> Unmask:
        dealers = self.terms.graph.holders(place)
        return Unmask(dealers, tuple(self.puppets[d].shares[d in self.gone] for d in dealers))


def _return_memory() -> None:
    """Give freed memory back, so that what comes next shows in the peak; without glibc the peak may be too low."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _parts(advert: Advertise) -> tuple[bytes, bytes, bytes]:
    return advert.channel_key, advert.mask_key, advert.signature
