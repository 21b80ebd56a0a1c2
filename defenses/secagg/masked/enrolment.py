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
from defenses.session import RoundInfo
from defenses.specs import MaskedSpec, carrying
from defenses.statement import PrivacyStatement
from defenses.units import Trust

_NO_BOUND = " It is not differential privacy: what a sum tells about one client is not bounded."
_WITHOUT_NOISE = (
    "what the sums themselves tell about a client, alone, over many rounds, or beside other knowledge",
    "whoever holds the trained injection",
)


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


_IN_GROUPS = (
    " Clients sum in {groups} groups, fixed by the key directory: the server reads one sum a group, so {groups} sums "
    "of fewer clients each in place of one, and goes on with their median."
)


def masked_policy(whole: MaskedSpec, round_info: RoundInfo, ring: int | None = None) -> Policy:
    """What every client insists on in a round.

    Args:
        whole: the defense.
        round_info: the round.
        ring: bits of its ring, where that was chosen for a chance of a wrap.
    """
    kind = round_info.kind
    spec = carrying(whole, kind, len(round_info.roster))
    assert isinstance(spec, MaskedSpec)
    return Policy(
        minimum=spec.min_clients,
        # All who collude may sit in one group, so each group must bear their share of everybody.
        collusion=spec.collusion * spec.groups,
        dropout=spec.dropout,
        clip=spec.grid.clip.for_kind(kind),
        bits=spec.grid.bits,
        max_weight=spec.grid.max_weight,
        outside=Outside(spec.grid.outside),
        scale=tuple(sorted(spec.grid.scale.items())),
        ring=ring,
    )


def masked_statement(spec: MaskedSpec, ledger: Ledger) -> PrivacyStatement:
    """Who sees what under masked sums."""
    return PrivacyStatement(
        trust=Trust.CLIENTS,
        releases=len(ledger.events),
        summary=(
            "Secure aggregation hides each upload and its weight: the server reads the sum over the clients that "
            "stayed, their numbers, who dropped out and when."
            + (_NO_BOUND if spec.privacy is None else "")
            + (_IN_GROUPS.format(groups=spec.groups) if spec.groups > 1 else "")
        ),
        assumptions=(
            f"a sum is over {spec.min_clients} clients or more, and over more than half of those asked"
            f"{' in the group' if spec.groups > 1 else ''} up to 99 of them; clients refuse the rest",
            f"at most a share of {spec.collusion:g} of the clients asked joins with a server that breaks the rules; "
            "clients that follow the rules but pool what they know may be up to one below the threshold",
            "at least two clients of every sum help nobody against the others",
            "every client got the key directory from somebody that the server cannot speak for, and its own program "
            "and configuration from somebody it trusts",
            *(("no client's chains of keys are ever set back",) if spec.ratchet else ()),
            "X25519, Ed25519, AES-256, SHA-256 and the system's random numbers are as strong as they are held to be",
        ),
        not_covered=(
            *(_WITHOUT_NOISE if spec.privacy is None else ()),
            "clients that send false numbers, which nobody can see under the masks"
            + (
                f", once they are in half of the {spec.groups} groups or more; in fewer, they move the result within "
                "what the other groups say"
                if spec.groups > 1
                else ""
            ),
            "who takes part, when, and which client fails",
        ),
        public=tuple(f"{entry.what} ({entry.why})" for entry in ledger.declarations),
        simulation=ledger.simulation,
    )
