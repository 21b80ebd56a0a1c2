"""What a masked defense needs before its first round, and what it promises afterwards.

Invariant: a policy follows from the configuration alone, the same at every end; and the statement claims no bound,
because a sum can tell about its summands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from defenses.entropy import Entropy
from defenses.errors import UserError
from defenses.grid import Outside
from defenses.ledger import Ledger
from defenses.secagg.masked.directory import Directory, Member, enrol
from defenses.secagg.masked.policy import Policy
from defenses.specs import MaskedSpec
from defenses.statement import PrivacyStatement
from defenses.units import Trust
from defenses.upload import UploadKind


@dataclass(frozen=True, slots=True, repr=False)
class Enrolment:
    """The key directory, and those of its clients that live in this process.

    Attributes:
        directory: who is who; all that a server has.
        members: by number; at a client, itself.
    """

    directory: Directory
    members: Mapping[int, Member] = field(default_factory=dict)

    @classmethod
    def simulated(cls, clients: Collection[int], entropy: Entropy, *, chains: bool = True) -> Enrolment:
        """Every client in this process, with new keys, and chains of keys where rounds are ratcheted."""
        members = enrol(clients, entropy, chains=chains)
        return cls(next(iter(members.values())).directory, members)

    def member(self, client: int) -> Member:
        """One of this process's clients."""
        if client not in self.members:
            raise UserError(
                f"client {client} has no identity key here", "enrol it, or run it where its key is"
            )
        return self.members[client]

    def __repr__(self) -> str:
        return f"Enrolment({len(self.directory.keys)} in the directory, {len(self.members)} here)"


def masked_policy(spec: MaskedSpec, kind: UploadKind) -> Policy:
    """What every client insists on for one kind of upload."""
    return Policy(
        minimum=spec.min_clients,
        collusion=spec.collusion,
        dropout=spec.dropout,
        clip=spec.grid.clip.for_kind(kind),
        bits=spec.grid.bits,
        max_weight=spec.grid.max_weight,
        outside=Outside(spec.grid.outside),
        scale=tuple(sorted(spec.grid.scale.items())),
    )


def masked_statement(spec: MaskedSpec, ledger: Ledger) -> PrivacyStatement:
    """Who sees what under masked sums."""
    return PrivacyStatement(
        trust=Trust.CLIENTS,
        releases=len(ledger.events),
        summary=(
            "Secure aggregation hides each upload and its weight: the server reads the sum over the clients that "
            "stayed, their numbers, who dropped out and when. It is not differential privacy: what a sum tells about "
            "one client is not bounded."
        ),
        assumptions=(
            f"a sum is over {spec.min_clients} clients or more, and over more than half of those asked up to 99 of "
            "them; clients refuse the rest",
            f"at most a share of {spec.collusion:g} of the clients asked joins with a server that breaks the rules; "
            "clients that follow the rules but pool what they know may be up to one below the threshold",
            "at least two clients of every sum help nobody against the others",
            "every client got the key directory from somebody that the server cannot speak for, and its own program "
            "and configuration from somebody it trusts",
            *(("no client's chains of keys are ever set back",) if spec.ratchet else ()),
            "X25519, Ed25519, AES-256, SHA-256 and the system's random numbers are as strong as they are held to be",
        ),
        not_covered=(
            "what the sums themselves tell about a client, alone, over many rounds, or beside other knowledge",
            "clients that send false numbers, which nobody can see under the masks",
            "who takes part, when, and which client fails",
            "whoever holds the trained injection",
        ),
        public=tuple(f"{entry.what} ({entry.why})" for entry in ledger.declarations),
        simulation=ledger.simulation,
    )
