"""The one door between a client and everybody else: from a spec to sessions, broadcasts and a statement.

Invariant: whatever a run sends, in either direction, is bytes made here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from defenses.clear import ClearClient, ClearServer
from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError
from defenses.frame import SERVER, decode, encode, peek
from defenses.ledger import NO_MECHANISM, Ledger
from defenses.secagg.homomorphic.parties import KeyFile, Parties
from defenses.secagg.homomorphic.promise import statement
from defenses.session import ClientSession, HelperSession, RoundInfo, ServerSession, refusal
from defenses.specs import ClearSpec, DefenseSpec
from defenses.statement import PrivacyStatement
from defenses.units import Trust
from defenses.upload import Layout, Upload, UploadKind


@dataclass(frozen=True, slots=True)
class Defense:
    """What stands between clients and server in one run; make it with `from_spec`."""

    spec: DefenseSpec
    _parties: Parties | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_spec(cls, spec: DefenseSpec, keys: KeyFile | None = None) -> Defense:
        """The defense that a spec describes.

        Args:
            spec: from the configuration.
            keys: this party's file, where the defense has keys. Left out, the process is a simulation: it makes
                keys when they are first needed and plays every party.
        """
        if isinstance(spec, ClearSpec):
            if keys is not None:
                raise UserError("keys are given, and defense.kind is 'none'", "leave them out")
            return cls(spec)
        return cls(spec, Parties(spec, keys))

    @property
    def reveals_individuals(self) -> bool:
        """True where the server can read one client's upload; methods that need that run only then."""
        return self.spec.kind == "none"

    def client(self, me: int, round_info: RoundInfo, entropy: Entropy) -> ClientSession:
        """One client's end of a round; its random bytes come from ``entropy``, but for those of TenSEAL."""
        if self._parties is not None:
            return self._parties.client(me, round_info, entropy)
        return ClearClient(me, round_info, self.spec.wire.for_kind(round_info.kind))

    def server(self, round_info: RoundInfo) -> ServerSession:
        """The server's end of a round."""
        if self._parties is not None:
            return self._parties.server(round_info)
        return ClearServer(round_info, self.spec.wire.for_kind(round_info.kind))

    def helpers(self, round_info: RoundInfo) -> dict[int, HelperSession]:
        """Ends of a round of parties that are neither server nor client, by number.

        The server's session addresses frames to these numbers as it does to clients'.
        """
        return {} if self._parties is None else dict(self._parties.helpers(round_info))

    def load_client(self, data: bytes, entropy: Entropy | None = None) -> ClientSession:
        """A client's end from what its ``save`` gave.

        Args:
            data: what ``save`` gave.
            entropy: drawn from only if the upload was not protected yet; the secure source where left out.
        """
        if self._parties is not None:
            return self._parties.load_client(data, entropy or SecureEntropy())
        return ClearClient.load(data)

    def load_server(self, data: bytes) -> ServerSession:
        """The server's end from what its ``save`` gave."""
        if self._parties is not None:
            return self._parties.load_server(data)
        return ClearServer.load(data)

    def broadcast(self, upload: Upload) -> bytes:
        """One frame from the server to every client: its state, at the wire's precision for that kind."""
        return encode(upload, SERVER, self.spec.wire.for_kind(upload.kind))

    def read_broadcast(self, frame: bytes, layout: Layout, *, kind: UploadKind, round_number: int) -> Upload:
        """What the server broadcast; refuses another sender, kind, round or precision.

        Raises:
            FrameError: the bytes are no frame of this layout.
            ProtocolError: the frame is not the one expected.
        """
        header = peek(frame)
        message = f"a frame of kind {header.kind} for round {header.round}"
        precision = self.spec.wire.for_kind(kind)
        reasons = (
            (header.sender != SERVER, "only the server broadcasts"),
            (
                (header.kind, header.round) != (kind, round_number),
                f"it waits for {kind} of round {round_number}",
            ),
            (header.precision is not precision, f"its precision is {header.precision}, not {precision}"),
        )
        for wrong, why in reasons:
            if wrong:
                raise refusal("client", "listening", message, header.sender, why)
        return decode(frame, layout).upload

    def statement(self, ledger: Ledger) -> PrivacyStatement:
        """What the releases in a ledger add up to under this defense.

        Raises:
            UserError: the ledger holds a release whose mechanism this defense does not have.
        """
        strangers = sorted({event.mechanism for event in ledger.events} - {NO_MECHANISM})
        if strangers:
            raise UserError(
                f"ledger names mechanisms {strangers}, which the defense {self.spec.kind!r} lacks",
                "use the ledger of the same run",
            )
        if not isinstance(self.spec, ClearSpec):
            return statement(self.spec, ledger)
        return PrivacyStatement(
            trust=Trust.SERVER,
            releases=len(ledger.events),
            summary=(
                "No mechanism protects the uploads: they are activations of private text, or numbers fitted "
                "to it, and the server reads them one by one, each with its client's number and weight."
            ),
            assumptions=("the server and everybody who sees its frames is trusted with every upload",),
            not_covered=(
                "the server, or whoever records or breaks into it",
                "the other clients, who receive what the uploads add up to",
                "whoever holds the trained injection",
            ),
            public=tuple(f"{entry.what} ({entry.why})" for entry in ledger.declarations),
            simulation=ledger.simulation,
        )
