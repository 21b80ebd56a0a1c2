"""A client of a homomorphic round: its upload on the grid, with tags, in one frame of ciphertexts.

Invariant: numbers that are not encrypted never leave `protect`, and an upload is encrypted once; whoever asks again
gets the very bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np

from defenses.entropy import Entropy
from defenses.errors import ProtocolError, UserError
from defenses.frame import SERVER
from defenses.secagg.homomorphic.keys import ClientKeys
from defenses.secagg.homomorphic.messages import MessageType
from defenses.secagg.homomorphic.tags import tags
from defenses.secagg.homomorphic.terms import Terms
from defenses.session import RoundInfo, pack_state, reading_state, unpack_state
from defenses.specs import BfvSpec, CkksSpec
from defenses.upload import Upload


class ClientPhase(StrEnum):
    """READY until the upload was protected, then SENT."""

    READY = "ready"
    SENT = "sent"


class HomomorphicClient:
    """One client's end of a round.

    Args:
        keys: this client's file.
        terms: the round's terms.
        entropy: draws the rounding; the encryption draws from the system.
    """

    _ROLE = "homomorphic client"

    def __init__(self, keys: ClientKeys, terms: Terms, entropy: Entropy) -> None:
        self.me = keys.client
        self.terms = terms
        self.clipped = 0
        self._keys = keys
        self._entropy = entropy
        self._frames: list[bytes] = []
        if keys.scheme is not terms.scheme:
            raise UserError(
                f"keys are for {keys.scheme}, and defense.kind is {terms.scheme}", "use this run's"
            )
        if self.me not in terms.round.roster:
            raise self._refusal(
                "to join", None, f"client {self.me} is not in the roster of {terms.describe()}"
            )

    @property
    def phase(self) -> ClientPhase:
        """Where the session stands."""
        return ClientPhase.SENT if self._frames else ClientPhase.READY

    def protect(self, upload: Upload) -> list[bytes]:
        """One frame that carries the upload, encrypted; once only.

        How many numbers were moved to the clip is left in ``clipped``, for this client alone.

        Reveals: to the server nothing but the frame's size, which the layout gives, and that this client takes
        part; to the key holder the sum over all who do.
        """
        message = f"an upload of kind {upload.kind} for round {upload.round}"
        if self.phase is ClientPhase.SENT:
            raise self._refusal(message, self.me, "it has protected one already, which `resend` gives again")
        if (upload.kind, upload.round) != (self.terms.round.kind, self.terms.round.number):
            raise self._refusal(message, self.me, f"this is {self.terms.describe()}")
        layout = self.terms.round.layout
        if upload.layout != layout:
            raise self._refusal(
                message,
                self.me,
                f"its arrays {upload.layout.to_dict()} are not {layout.to_dict()}, as agreed on",
            )
        grid, keys = self.terms.grid, self._keys
        quantised = grid.quantise(
            layout.flatten(upload.arrays), upload.weight, self._entropy, self.terms.scale
        )
        numbers = grid.ring.centred(quantised.slots)
        check = tags(numbers, keys.shared, keys.own, keys.parameters, self.terms.round)
        parts = keys.engine().encrypt(np.concatenate([numbers, check]))
        self._frames = [self.terms.message(MessageType.UPLOAD, self.me, keys.key_id, (), parts).encode()]
        self.clipped = quantised.clipped
        return self.resend()

    def receive(self, frame: bytes) -> list[bytes]:
        """Refuse the frame: the server has nothing to say to a client within a round."""
        raise self._refusal(
            f"a frame of {len(frame)} bytes", SERVER, "an encrypted round has none to clients"
        )

    def resend(self) -> list[bytes]:
        """The very frames made so far."""
        return list(self._frames)

    def save(self) -> bytes:
        """The session's state: ciphertexts, and no key."""
        facts = {
            "role": self._ROLE,
            "me": self.me,
            "round": self.terms.round.to_dict(),
            "clipped": self.clipped,
        }
        return pack_state(facts, self._frames)

    @classmethod
    @reading_state
    def load(
        cls,
        data: bytes,
        keys_of: Callable[[int], ClientKeys],
        spec: CkksSpec | BfvSpec,
        entropy: Entropy,
    ) -> HomomorphicClient:
        """A session from what `save` gave; one that had protected its upload can only resend it.

        Args:
            data: what `save` gave.
            keys_of: the file of the client whose session it is.
            spec: the same defense.
            entropy: drawn from only if the upload was not protected yet.
        """
        facts, frames = unpack_state(data, cls._ROLE)
        terms = Terms.of(spec, RoundInfo.from_dict(facts["round"]))
        session = cls(keys_of(int(facts["me"])), terms, entropy)
        session._frames, session.clipped = frames, int(facts["clipped"])
        return session

    def _refusal(self, message: str, sender: int | None, why: str) -> ProtocolError:
        return self.terms.refusal(f"client {self.me}", self.phase, message, sender, why)

    def __repr__(self) -> str:
        return f"HomomorphicClient({self.me}, {self.terms.describe()}, phase={self.phase})"
