"""What all three parties of a homomorphic round agree on before it starts, and how a frame is held against it.

Invariant: terms that exist fit: the grid cannot wrap, its sums fit in a slot, and no client has the key holder's
number; so nothing that depends on data can fail for want of room later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from defenses.errors import ProtocolError, UserError
from defenses.grid import Grid, Outside, scales
from defenses.secagg.homomorphic.keys import KEY_HOLDER
from defenses.secagg.homomorphic.messages import Message, MessageType
from defenses.secagg.homomorphic.parameters import TABLE, Parameters, Scheme
from defenses.session import RoundInfo, refusal
from defenses.specs import BfvSpec, CkksSpec, ClearSpec, MaskedSpec, carrying
from defenses.upload import Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """One round's terms; make them with `of`.

    Attributes:
        scheme: which encryption.
        round: the round.
        grid: for as many clients as its roster has.
        scale: public factors for each number, or None.
        min_clients: the fewest uploads whose sum the key holder decrypts.
    """

    scheme: Scheme
    round: RoundInfo
    grid: Grid
    scale: Float32Array | None
    min_clients: int

    @classmethod
    def of(cls, whole: CkksSpec | BfvSpec, round_info: RoundInfo) -> Terms:
        """The terms that a spec means for a round.

        Raises:
            UserError: the round does not fit; the sentence names the bound to change.
            ProtocolError: it asks too few clients.
        """
        spec = carrying(whole, round_info.kind, len(round_info.roster))
        assert not isinstance(spec, ClearSpec | MaskedSpec)
        if round_info.roster[-1] >= KEY_HOLDER:
            raise UserError(
                f"round.roster names {round_info.roster[-1]}, the key holder's number",
                f"number clients from 0 to {KEY_HOLDER - 1}",
            )
        if len(round_info.roster) < spec.min_clients:
            # Not a mistake of the configuration: another round may ask more clients.
            raise ProtocolError(
                f"round.roster has {len(round_info.roster)} clients, fewer than defense.min_clients "
                f"{spec.min_clients}, so its sum would never be opened",
                "ask more clients or lower defense.min_clients",
            )
        grid = Grid(
            spec.grid.clip.for_kind(round_info.kind),
            spec.grid.bits,
            len(round_info.roster),
            spec.grid.max_weight,
            outside=Outside(spec.grid.outside),
        )
        scheme = Scheme(spec.kind)
        TABLE[scheme].check(grid)
        here = {name: by for name, by in spec.grid.scale.items() if name in round_info.layout.names}
        return cls(scheme, round_info, grid, scales(round_info.layout, here), spec.min_clients)

    @property
    def parameters(self) -> Parameters:
        """The scheme's row of the table."""
        return TABLE[self.scheme]

    @property
    def numbers(self) -> int:
        """Whole numbers in an upload: the arrays' and the weight."""
        return self.round.layout.size + 1

    @property
    def slots(self) -> int:
        """Numbers in an upload with its tags; what lies beyond in the last ciphertext is 0."""
        return self.numbers + self.parameters.check_slots

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts in an upload."""
        return self.parameters.ciphertexts(self.numbers)

    def message(
        self, what: MessageType, sender: int, key: bytes, clients: Iterable[int], parts: Iterable[bytes]
    ) -> Message:
        """A frame of this round."""
        return Message(
            what,
            self.scheme,
            self.round.kind,
            self.round.layout.digest,
            self.round.number,
            sender,
            key,
            tuple(clients),
            tuple(parts),
        )

    def refuse_strange(
        self, role: str, phase: str, sender: int, message: Message, what: MessageType, key: bytes
    ) -> None:
        """Refuse a frame that is not of this round, these keys or this sender.

        Raises:
            ProtocolError: naming what is not as agreed.
        """
        wanted = 1 if what is MessageType.OPENING else self.ciphertexts
        reasons = (
            (message.type is not what, f"it takes an {what.name.lower()} from there"),
            (message.sender != sender, f"the frame names {message.sender} as its sender"),
            (message.scheme is not self.scheme, f"its scheme is {message.scheme}, not {self.scheme}"),
            (
                (message.kind, message.round) != (self.round.kind, self.round.number),
                f"this is {self.describe()}",
            ),
            (message.layout != self.round.layout.digest, "its layout is not the one agreed on"),
            (message.key != key, f"its keys are {message.key.hex()}, not {key.hex()}, those of this run"),
            (len(message.parts) != wanted, f"it has {len(message.parts)} parts, not {wanted}"),
            (not set(message.clients) <= set(self.round.roster), "it names clients outside the roster"),
        )
        for wrong, why in reasons:
            if wrong:
                raise self.refusal(role, phase, described(message), sender, why)

    def refusal(self, role: str, phase: str, message: str, sender: int | None, why: str) -> ProtocolError:
        """A protocol error in the one form, with the key holder by its name."""
        error = refusal(role, phase, message, sender, why)
        return ProtocolError(str(error).replace(f"client {KEY_HOLDER}", "the key holder"))

    def describe(self) -> str:
        """The round in words."""
        return f"round {self.round.number} of kind {self.round.kind}"


def described(message: Message) -> str:
    """A frame in words."""
    article = "an" if message.type is not MessageType.REQUEST else "a"
    return f"{article} {message.type.name.lower()} of kind {message.kind} for round {message.round}"
