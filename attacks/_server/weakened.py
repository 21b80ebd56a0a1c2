"""Builds that each lack one thing, to show that the attacks work where nothing stops them.

Nothing here can be chosen for a run: no configuration and no session of `defenses` knows these classes. Invariant: each
is the shipped class with one check or one property taken out, and says which.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from attacks._server.build import AS_SHIPPED
from defenses.entropy import Entropy
from defenses.errors import ProtocolError
from defenses.grid import Grid, Quantised
from defenses.ring import Ring, UIntArray
from defenses.secagg.grouped import GroupedServer
from defenses.secagg.homomorphic.holder import HolderSession, KeyHolder
from defenses.secagg.homomorphic.messages import Message
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.directory import Diary, Directory, Member
from defenses.secagg.masked.edges import Places
from defenses.secagg.masked.graph import Shape
from defenses.secagg.masked.messages import Inbox, MaskedInput, Survivors, peek
from defenses.secagg.masked.pieces import Items
from defenses.secagg.masked.policy import Policy
from defenses.secagg.masked.ratchet import Ratchet, RoundKeys
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet.client import RatchetClient
from defenses.session import Aggregate, RoundInfo, refusal
from defenses.upload import Float32Array, Upload, UploadKind

# Clients of masked rounds


class _NoKeySignatures(MaskedClient):
    def _keys_hold(self, place: int, channel_key: bytes, mask_key: bytes, signature: bytes) -> bool:
        return True

    def _lists_hold(self, place: int, lists: object, signature: bytes) -> bool:
        return True

    def _inbox_holds(self, neighbours: int, opened: int) -> bool:
        return True


class _NoListSignatures(MaskedClient):
    def _lists_hold(self, place: int, lists: object, signature: bytes) -> bool:
        return True


class _AnyList(MaskedClient):
    def _check_list(self, *_: object) -> None:
        return


class _AnswersTwice(MaskedClient):
    """Goes back to where it was before the survivors, whenever it is told of survivors anew."""

    _before = b""

    def receive(self, frame: bytes) -> list[bytes]:
        if peek(frame).kind is Survivors:
            if self._before:
                again = type(self).load(
                    self._before, {self.me: self.member}, lambda _: self.terms.policy, self.entropy
                )
                self.phase, self._secrets, self._frames = again.phase, again._secrets, again._frames
            self._before = self.save()
        return super().receive(frame)


class _NoContext(MaskedClient):
    def __init__(self, member: Any, round_info: RoundInfo, policy: Policy, entropy: Entropy) -> None:
        super().__init__(member, replace(round_info, context=""), policy, entropy)


class _WeightInClear(MaskedClient):
    def _mask(self, inbox: Inbox) -> MaskedInput:
        weight = self._secrets.slots[-1:].copy()
        masked = super()._mask(inbox)
        elements = bytes(masked.elements)
        return MaskedInput(elements[: -weight.nbytes] + weight.tobytes())


class _Talkative(MaskedClient):
    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        secret = getattr(self, "_secrets", None)
        shown = f"{why}, with the seed {secret.seed.hex()}" if secret else why
        return refusal(f"client {self.me}", self.phase, message, sender, shown)


@dataclass(frozen=True)
class _LooseGrid(Grid):
    """A grid that does not look at what it is given, on a ring of its own choice."""

    narrow: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        return

    @property
    def ring(self) -> Ring:
        return Ring(self.narrow or 32)

    def quantise(
        self,
        values: npt.NDArray[np.floating],
        weight: float,
        entropy: Entropy,
        scale: Float32Array | None = None,
    ) -> Quantised:
        with np.errstate(invalid="ignore"):
            whole = np.rint(np.asarray(values, np.float64) * (self.levels / self.clip) * weight)
            return Quantised(self.ring.wrap(np.append(whole.astype(np.int64), int(weight))), 0)

    def dequantise(self, summed: UIntArray, scale: Float32Array | None = None) -> tuple[Float32Array, int]:
        numbers = self.ring.centred(summed)
        total = int(numbers[-1]) or 1
        return (numbers[:-1] * (self.step / total)).astype(np.float32), total


class _NoHeadroom(Policy):
    """Sums in a ring of 16 bits, whatever they may come to."""

    def grid(self, clients: int) -> Grid:
        return _LooseGrid(self.clip, self.bits, clients, self.max_weight, None, self.outside, narrow=16)


class _AnyNumber(Policy):
    """Lets NaN and infinity through, and takes any sum."""

    def grid(self, clients: int) -> Grid:
        return _LooseGrid(self.clip, self.bits, clients, self.max_weight, None, self.outside)


class _NoFloor(Policy):
    """Sums of one client, and one share that puts a secret together."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "minimum", 1)

    def shape(self, clients: int) -> Shape:
        return Shape(clients - 1, 1)


class _LowThreshold(Policy):
    """Two shares put a secret together, and half of the clients are enough for a sum."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "minimum", 3)

    def shape(self, clients: int) -> Shape:
        return Shape(clients - 1, 2)


class _Forgetful(Diary):
    def join(self, round_info: RoundInfo) -> None:
        return


class _GivesAgain(Diary):
    def give(self, kind: UploadKind) -> None:
        return


class _UnsignedDirectory(Directory):
    def __post_init__(self) -> None:
        return


class _SixBits:
    """A source whose every draw of a key is one of 64: a secret that lost its entropy on the way."""

    simulation = True

    def __init__(self, source: Entropy) -> None:
        self._source = source

    def bytes(self, n: int) -> builtins.bytes:
        drawn = self._source.bytes(n)
        return small_key(drawn[0] % 64) if n == 32 else drawn

    def branch(self, label: str) -> Entropy:
        return _SixBits(self._source.branch(label))


def small_key(number: int) -> bytes:
    """One of the keys that a source of six bits draws."""
    return bytes([number]) * 32


class _NoCommitments(MaskedServer):
    def _wrong_share(self, place: int, dealers: Places, where: Places, shares: Items) -> None:
        return None


class _AnyLength(MaskedServer):
    def _take_input(self, place: int, message: MaskedInput) -> None:
        elements = bytes(message.elements)[: self._got.total.nbytes]
        super()._take_input(place, MaskedInput(elements))


class _AnyUpload(Upload):
    def __post_init__(self) -> None:
        arrays = {name: np.asarray(array, np.float32) for name, array in self.arrays.items()}
        object.__setattr__(self, "arrays", arrays)


class _MeanOfGroups(GroupedServer):
    def aggregate(self) -> Aggregate:
        whole = super().aggregate()
        means = {name: np.mean([part.means[name] for part in whole.parts], axis=0) for name in whole.means}
        return replace(whole, means=means)


# Clients of ratcheted rounds


class _AnyVoucher(RatchetClient):
    def _vouches(self, other: int, mac: bytes) -> bool:
        return True


class _AnyAlive(RatchetClient):
    def _check_list(self, alive: tuple[int, ...]) -> None:
        return


class _NoContextEither(RatchetClient):
    def __init__(self, member: Any, round_info: RoundInfo, policy: Policy, entropy: Entropy) -> None:
        super().__init__(member, replace(round_info, context=""), policy, entropy)


class _OneSeed(Ratchet):
    """Chains that never move: every round has the seeds of the first."""

    def step(self, round_number: int, peers: Collection[int]) -> dict[int, RoundKeys]:
        return Ratchet(self.session, self._chains).step(0, peers)


def _one_seed(ratchet: Ratchet) -> Ratchet:
    return _OneSeed(ratchet.session, ratchet._chains)


def _chains_set_back(members: Mapping[int, Member], chains: Mapping[int, str]) -> Mapping[int, Member]:
    return {
        c: replace(member, diary=Diary(), ratchet=Ratchet.load(chains[c])) for c, member in members.items()
    }


# Key holders


class _LooseSession(HolderSession):
    def _is_sum(self, found: npt.NDArray[np.int64], message: Message) -> bool:
        return True


class _NoTags(KeyHolder):
    def session(self, round_info: RoundInfo) -> HolderSession:
        session = super().session(round_info)
        return _LooseSession(self, session.terms)


class _NoMinimum(KeyHolder):
    def session(self, round_info: RoundInfo) -> HolderSession:
        session = super().session(round_info)
        return HolderSession(self, replace(session.terms, min_clients=1))


class _AnswersAlways(KeyHolder):
    def why_not(self, round_info: RoundInfo) -> str:
        return ""


def _before(before: bytes, _after: bytes) -> bytes:
    return before


NO_KEY_SIGNATURES = replace(AS_SHIPPED, name="nobody's keys are checked", client=_NoKeySignatures)
NO_LIST_SIGNATURES = replace(
    AS_SHIPPED,
    name="signatures on lists are not checked, and the threshold is below half",
    client=_NoListSignatures,
    policy=_LowThreshold,
)
ANY_LIST = replace(AS_SHIPPED, name="every list is taken", client=_AnyList)
ANSWERS_TWICE = replace(AS_SHIPPED, name="a phase is answered again", client=_AnswersTwice)
SAVES_TOO_LATE = replace(AS_SHIPPED, name="a party sends before it saves", restored=_before)
NO_CONTEXT = replace(AS_SHIPPED, name="the context is not bound", client=_NoContext, ratchet=_NoContextEither)
WEIGHT_IN_CLEAR = replace(AS_SHIPPED, name="the weight is not masked", client=_WeightInClear)
TALKATIVE = replace(AS_SHIPPED, name="refusals say what they know", client=_Talkative)
NO_HEADROOM = replace(AS_SHIPPED, name="the ring is chosen too narrow", policy=_NoHeadroom)
ANY_NUMBER = replace(AS_SHIPPED, name="numbers are not looked at", policy=_AnyNumber, upload=_AnyUpload)
ANY_LENGTH = replace(AS_SHIPPED, name="lengths are not looked at", policy=_AnyNumber, server=_AnyLength)
NO_FLOOR = replace(AS_SHIPPED, name="the policy comes from the server", policy=_NoFloor)
LOW_THRESHOLD = replace(AS_SHIPPED, name="the threshold is below half", policy=_LowThreshold)
FORGETFUL = replace(AS_SHIPPED, name="round numbers are forgotten", diary=_Forgetful)
GIVES_AGAIN = replace(AS_SHIPPED, name="the vector is given again", diary=_GivesAgain)
UNSIGNED_DIRECTORY = replace(
    AS_SHIPPED, name="the directory's signature is not checked", directory=_UnsignedDirectory
)
NOT_PINNED = replace(AS_SHIPPED, name="the authority comes from the server", pinned=False)
SIX_BITS = replace(AS_SHIPPED, name="keys have six bits", entropy=_SixBits)
NO_COMMITMENTS = replace(AS_SHIPPED, name="shares are not checked", server=_NoCommitments)
ANY_VOUCHER = replace(AS_SHIPPED, name="MACs are not checked", ratchet=_AnyVoucher)
ANY_ALIVE = replace(AS_SHIPPED, name="every list is taken", ratchet=_AnyAlive)
CHAINS_SET_BACK = replace(AS_SHIPPED, name="diary and chains are set back", set_back=_chains_set_back)
ONE_SEED = replace(AS_SHIPPED, name="chains do not move", chains=_one_seed)
MEAN_OF_GROUPS = replace(AS_SHIPPED, name="the groups' means are averaged", grouped=_MeanOfGroups)
NO_TAGS = replace(AS_SHIPPED, name="tags are not checked", holder=_NoTags)
NO_MINIMUM = replace(AS_SHIPPED, name="a sum of one is opened", holder=_NoMinimum)
ANSWERS_ALWAYS = replace(AS_SHIPPED, name="a round is opened again", holder=_AnswersAlways)
HOLDERS_FILE = replace(AS_SHIPPED, name="the key holder's file was given to the server", pinned=False)
