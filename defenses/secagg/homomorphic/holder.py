"""The key holder: decrypts one genuine sum a round, and nothing else.

It is a party apart from the server, run by whoever the clients trust not to join with it; it needs no data, sees no
upload and keeps nothing but the secret key and the list of rounds it has answered.

What it checks before a number leaves: the request is of this run's keys and this round, names at least
``min_clients`` clients of the roster, and decrypts to exactly the sum of the uploads those clients made, each once
(`tags`), with every sum within what its total weight allows. What it cannot check: that the clients are different
people, and that what they uploaded is true.

Invariant: a round is decrypted at most once, whether the answer was the sum or a refusal, and after `MAX_REFUSALS`
decryptions that were no genuine sums the keys are given up: each decryption of a ciphertext that a dishonest server
made could tell it a bit about the key, and working the key out takes thousands. So a refusal after decryption is the
one refusal that changes a session.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from defenses.errors import FrameError, ProtocolError, UserError
from defenses.frame import SERVER
from defenses.secagg.homomorphic.keys import KEY_HOLDER, HolderKeys
from defenses.secagg.homomorphic.messages import Message, MessageType, decode
from defenses.secagg.homomorphic.tags import genuine
from defenses.secagg.homomorphic.terms import Terms, described
from defenses.session import RoundInfo, pack_state, reading_state, unpack_state
from defenses.specs import BfvSpec, CkksSpec

MAX_REFUSALS = 16
"""Decryptions that may turn out to be no genuine sum before a run needs new keys."""


class HolderPhase(StrEnum):
    """WAITING until a request was decrypted, then ANSWERED, or REFUSED if it was no genuine sum."""

    WAITING = "waiting"
    ANSWERED = "answered"
    REFUSED = "refused"


class KeyHolder:
    """The key holder over a whole run.

    Args:
        keys: the key holder's file.
        spec: the defense, as the key holder's own configuration has it; the server's word is not taken for it.
    """

    _ROLE = "homomorphic key holder"

    def __init__(self, keys: HolderKeys, spec: CkksSpec | BfvSpec) -> None:
        if keys.scheme != spec.kind:
            raise UserError(f"keys are for {keys.scheme}, and defense.kind is {spec.kind}", "use this run's")
        self.keys = keys
        self.spec = spec
        self._answered: set[tuple[int, str]] = set()
        self._refused = 0

    def session(self, round_info: RoundInfo) -> HolderSession:
        """The key holder's end of one round.

        Raises:
            ProtocolError: a sum of this round was decrypted before.
        """
        return HolderSession(self, Terms.of(self.spec, round_info))

    def why_not(self, round_info: RoundInfo) -> str:
        """Why no sum of this round may be decrypted; empty if it may."""
        if (round_info.number, str(round_info.kind)) in self._answered:
            return f"a sum of round {round_info.number} of kind {round_info.kind} was decrypted before"
        if self._refused >= MAX_REFUSALS:
            return (
                f"{self._refused} requests under these keys were no genuine sums, so the run needs new keys"
            )
        return ""

    def spend(self, round_info: RoundInfo) -> None:
        """Write down that a sum of this round is decrypted; it counts as refused until `opened` is told otherwise."""
        self._answered.add((round_info.number, str(round_info.kind)))
        self._refused += 1

    def opened(self) -> None:
        """Write down that what was decrypted last was a genuine sum."""
        self._refused -= 1

    def save(self) -> bytes:
        """Rounds that were answered; to be stored before an answer or a refusal leaves. No key is in it."""
        facts = {"role": self._ROLE, "answered": sorted(self._answered), "refused": self._refused}
        return pack_state(facts, [])

    @classmethod
    @reading_state
    def load(cls, data: bytes, keys: HolderKeys, spec: CkksSpec | BfvSpec) -> KeyHolder:
        """The key holder from what `save` gave."""
        facts, _ = unpack_state(data, cls._ROLE)
        holder = cls(keys, spec)
        holder._answered = {(int(number), str(kind)) for number, kind in facts["answered"]}
        holder._refused = int(facts["refused"])
        return holder

    def __repr__(self) -> str:
        return f"KeyHolder({self.keys!r}, {len(self._answered)} rounds answered)"


class HolderSession:
    """The key holder's end of one round; make it with `KeyHolder.session`."""

    _ROLE = "key holder"

    def __init__(self, holder: KeyHolder, terms: Terms) -> None:
        self.terms = terms
        self.phase = HolderPhase.WAITING
        self._holder = holder
        self._frames: list[bytes] = []
        if why := holder.why_not(terms.round):
            raise self._refusal("to open a sum", None, why)

    def receive(self, frame: bytes) -> list[bytes]:
        """Decrypt a request's sum, once.

        Reveals: to the server the sum over the clients that the request names, on the grid, and its total weight.

        Raises:
            FrameError: the bytes are no frame, or hold no ciphertext of the agreed parameters.
            ProtocolError: the request is not of this round, names too few clients, is no sum of their uploads, or
                one was decrypted already.
        """
        message = decode(frame)
        why = self._holder.why_not(self.terms.round)
        if why or self.phase is not HolderPhase.WAITING:
            raise self._refusal(described(message), SERVER, why or "this session has answered")
        keys = self._holder.keys
        self.terms.refuse_strange(self._ROLE, self.phase, SERVER, message, MessageType.REQUEST, keys.key_id)
        if len(message.clients) < self.terms.min_clients:
            raise self._refusal(
                described(message),
                SERVER,
                f"it sums {len(message.clients)} uploads, fewer than {self.terms.min_clients}",
            )
        engine = keys.engine()
        loaded = [engine.load(part) for part in message.parts]
        self._holder.spend(self.terms.round)
        self.phase = HolderPhase.REFUSED
        try:
            found = engine.decrypt(loaded)
            fits = self._is_sum(found, message)
        except FrameError:
            fits = False
        if not fits:
            # One sentence whatever was wrong: which check failed would tell more about the key.
            raise self._refusal(described(message), SERVER, "it is not the sum of those clients' uploads")
        ring = self.terms.grid.ring
        packed = ring.pack(ring.wrap(found[: self.terms.numbers]))
        opening = self.terms.message(MessageType.OPENING, KEY_HOLDER, keys.key_id, message.clients, (packed,))
        self._holder.opened()
        self._frames = [opening.encode()]
        self.phase = HolderPhase.ANSWERED
        return self.resend()

    def _is_sum(self, found: npt.NDArray[np.int64], message: Message) -> bool:
        """Whether decrypted slots are what honest clients' uploads add up to."""
        terms = self.terms
        numbers, check, rest = np.split(found, [terms.numbers, terms.slots])
        total, largest = int(numbers[-1]), int(np.abs(numbers[:-1]).max(initial=0))
        return (
            len(message.clients) <= total <= len(message.clients) * terms.grid.max_weight
            and largest <= total * terms.grid.levels
            and not rest.any()
            and genuine(
                numbers, check, self._holder.keys.master, message.clients, terms.parameters, terms.round
            )
        )

    def resend(self) -> list[bytes]:
        """The very frames made so far."""
        return list(self._frames)

    def save(self) -> bytes:
        """The session's state; no key is in it."""
        facts = {"role": self._ROLE, "round": self.terms.round.to_dict(), "phase": str(self.phase)}
        return pack_state(facts, self._frames)

    @classmethod
    @reading_state
    def load(cls, data: bytes, holder: KeyHolder) -> HolderSession:
        """A session from what `save` gave, for the same key holder."""
        facts, frames = unpack_state(data, cls._ROLE)
        terms = Terms.of(holder.spec, RoundInfo.from_dict(facts["round"]))
        session = cls.__new__(cls)
        session.terms, session._holder = terms, holder
        session.phase, session._frames = HolderPhase(facts["phase"]), frames
        if session.phase is HolderPhase.WAITING and holder.why_not(terms.round):
            session.phase = HolderPhase.REFUSED
        return session

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return self.terms.refusal(self._ROLE, self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"HolderSession({self.terms.describe()}, phase={self.phase})"
