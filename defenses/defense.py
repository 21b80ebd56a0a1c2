"""The one door between a client and everybody else: from a spec to sessions, broadcasts and a statement.

Invariant: whatever a run sends, in either direction, is bytes made here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from defenses.clear import ClearClient, ClearServer
from defenses.codec import Precision
from defenses.compression import compresses
from defenses.dp.by_layout import ByLayout, ring_of
from defenses.dp.compressed import Compressed
from defenses.dp.plain import Plain
from defenses.dp.promise import bounded
from defenses.dp.release import Release
from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError
from defenses.frame import SERVER, decode, encode, peek
from defenses.ledger import NO_MECHANISM, Ledger
from defenses.secagg.grouped import ROLE as GROUPED
from defenses.secagg.grouped import GroupedServer
from defenses.secagg.homomorphic.parties import Parties
from defenses.secagg.homomorphic.promise import homomorphic_statement
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.enrolment import Enrolment, masked_policy, masked_statement
from defenses.secagg.masked.groups import group_of, partition
from defenses.secagg.masked.policy import Policy
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet.client import RatchetClient
from defenses.secagg.ratchet.server import RatchetServer
from defenses.session import ClientSession, HelperSession, RoundInfo, ServerSession, refusal, saved_role
from defenses.specs import BfvSpec, CkksSpec, ClearSpec, DefenseSpec, MaskedSpec, carrying
from defenses.statement import PrivacyStatement
from defenses.units import Trust
from defenses.upload import Layout, Upload, UploadKind


@dataclass(frozen=True, slots=True)
class Defense:
    """What stands between clients and server in one run; make it with `from_spec`."""

    spec: DefenseSpec
    enrolment: Enrolment | Parties | None = field(default=None, repr=False, compare=False)
    releases: Mapping[UploadKind, Release | ByLayout] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_spec(cls, spec: DefenseSpec) -> Defense:
        """The defense that a spec describes."""
        return cls(spec)

    def enrolled(self, clients: Collection[int], entropy: Entropy) -> Defense:
        """The same defense with what it needs before the first round, for clients that all live in this process.

        A deployment does this with its own keys: `Defense(spec, Enrolment(directory, members))` under masks,
        `Defense(spec, Parties(spec, file))` under encryption.
        """
        if isinstance(self.spec, MaskedSpec) and self.enrolment is None:
            return replace(self, enrolment=Enrolment.simulated(clients, entropy, chains=self.spec.ratchet))
        if isinstance(self.spec, CkksSpec | BfvSpec) and self.enrolment is None:
            return replace(self, enrolment=Parties.simulated(self.spec, entropy))
        return self

    def release(self, kind: UploadKind, layout: Layout) -> Release:
        """What becomes of uploads of a kind and a layout before they are protected, and of their sum.

        Raises:
            UserError: the kind is to be private, and the defense was not told how.
        """
        if kind in self.releases:
            found = self.releases[kind]
            return found.only(layout) if isinstance(found, ByLayout) else found
        if self.spec.privacy is not None:
            raise UserError(
                f"defense.privacy is on, and nothing says how uploads of kind {kind} are bounded",
                "give a `Bounded` release for each kind, as `releases`",
            )
        compression = self.spec.compression
        if compression is not None and compresses(compression, kind):
            return Compressed(compression, Plain(kind))
        return Plain(kind)

    @property
    def reveals_individuals(self) -> bool:
        """True where the server can read one client's upload; methods that need that run only then."""
        return self.spec.kind == "none"

    @property
    def binds_context(self) -> bool:
        """True where `RoundInfo.context` counts: ends that have seen different things then get no sum."""
        return not isinstance(self.spec, ClearSpec)

    def exchanges(self, kind: UploadKind) -> int:
        """How many frames a client sends in a round of a kind."""
        if not isinstance(self.spec, MaskedSpec):
            return 1
        return 3 if self._ratcheted(kind) else 5

    def _ratcheted(self, kind: UploadKind) -> bool:
        return isinstance(self.spec, MaskedSpec) and self.spec.ratchet and kind is UploadKind.COEFFICIENTS

    def client(self, me: int, round_info: RoundInfo, entropy: Entropy) -> ClientSession:
        """One client's end of a round; its random bytes come from ``entropy``, but for those of TenSEAL."""
        if isinstance(self.spec, MaskedSpec):
            member = self._enrolment.member(me)
            session = member.directory.session
            round_info = group_of(me, session, round_info, self.spec.groups, self.spec.min_clients)
            client = RatchetClient if self._ratcheted(round_info.kind) else MaskedClient
            return client(member, round_info, self.policy(round_info), entropy)
        if isinstance(self.spec, CkksSpec | BfvSpec):
            return self._parties.client(me, round_info, entropy)
        return ClearClient(me, round_info, self._precision(round_info))

    def server(self, round_info: RoundInfo) -> ServerSession:
        """The server's end of a round."""
        if isinstance(self.spec, MaskedSpec):
            policy, directory = self.policy(round_info), self._enrolment.directory
            server = RatchetServer if self._ratcheted(round_info.kind) else MaskedServer
            groups = partition(directory.session, round_info, self.spec.groups, self.spec.min_clients)
            servers = [server(group, policy, directory) for group in groups]
            return servers[0] if self.spec.groups == 1 else GroupedServer(round_info, servers)
        if isinstance(self.spec, CkksSpec | BfvSpec):
            return self._parties.server(round_info)
        return ClearServer(round_info, self._precision(round_info))

    def helpers(self, round_info: RoundInfo) -> dict[int, HelperSession]:
        """Ends of a round of parties that are neither server nor client, by number.

        The server's session addresses frames to these numbers as it does to clients'.
        """
        if isinstance(self.spec, CkksSpec | BfvSpec):
            return dict(self._parties.helpers(round_info))
        return {}

    def load_client(self, data: bytes, entropy: Entropy | None = None) -> ClientSession:
        """A client's end from what its ``save`` gave.

        Args:
            data: what ``save`` gave.
            entropy: drawn from only if nothing was protected yet; None for the secure source.
        """
        source = SecureEntropy() if entropy is None else entropy
        if isinstance(self.spec, CkksSpec | BfvSpec):
            return self._parties.load_client(data, source)
        if isinstance(self.spec, MaskedSpec):
            client = RatchetClient if saved_role(data).startswith("ratchet") else MaskedClient
            return client.load(data, self._enrolment.members, self.policy, source)
        return ClearClient.load(data)

    def load_server(self, data: bytes) -> ServerSession:
        """The server's end from what its ``save`` gave."""
        if isinstance(self.spec, MaskedSpec):
            if saved_role(data) == GROUPED:
                revived = [self._load_group(state) for state in GroupedServer.states(data)]
                return GroupedServer.load(data, revived)
            return self._load_group(data)
        if isinstance(self.spec, CkksSpec | BfvSpec):
            return self._parties.load_server(data)
        return ClearServer.load(data)

    def _load_group(self, data: bytes) -> MaskedServer | RatchetServer:
        assert isinstance(self.spec, MaskedSpec)
        server = RatchetServer if saved_role(data).startswith("ratchet") else MaskedServer
        return server.load(data, self.policy, self._enrolment.directory)

    def policy(self, round_info: RoundInfo) -> Policy:
        """What every end insists on in a round under masks."""
        assert isinstance(self.spec, MaskedSpec)
        # Each end has the ring from its own releases, and none from the other.
        ring = ring_of(self.releases.get(round_info.kind), round_info.layout, len(round_info.roster))
        return masked_policy(self.spec, round_info, ring)

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
        if strangers and self.spec.privacy is None:
            raise UserError(
                f"ledger names mechanisms {strangers}, which the defense {self.spec.kind!r} lacks",
                "use the ledger of the same run",
            )
        if self.spec.privacy is None:
            return self._protection(ledger)
        hides = not isinstance(self.spec, ClearSpec)
        return bounded(self._protection(ledger) if hides else None, self.spec.privacy, ledger)

    def _protection(self, ledger: Ledger) -> PrivacyStatement:
        """What is promised without counting noise."""
        if isinstance(self.spec, MaskedSpec):
            return masked_statement(self.spec, ledger)
        if isinstance(self.spec, CkksSpec | BfvSpec):
            return homomorphic_statement(self.spec, ledger)
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

    def _precision(self, round_info: RoundInfo) -> Precision:
        spec = carrying(self.spec, round_info.kind, len(round_info.roster))
        return spec.wire.for_kind(round_info.kind)

    @property
    def _enrolment(self) -> Enrolment:
        if not isinstance(self.enrolment, Enrolment):
            raise self._not_enrolled("the key directory", "an `Enrolment`")
        return self.enrolment

    @property
    def _parties(self) -> Parties:
        if not isinstance(self.enrolment, Parties):
            raise self._not_enrolled("a key file", "`Parties` with this party's file")
        return self.enrolment

    def _not_enrolled(self, what: str, how: str) -> UserError:
        return UserError(
            f"defense.kind is {self.spec.kind!r}, and it was not given {what}",
            f"give it first: {how}, or `enrolled` in a simulation",
        )
