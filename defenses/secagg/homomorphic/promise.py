"""What a homomorphic run promises, in words: who holds the key, and which two must not join.

Invariant: no bound is stated here, because encryption gives none: what the sum itself says about one client is not
hidden by it.
"""

from __future__ import annotations

from defenses.ledger import Ledger
from defenses.secagg.homomorphic.holder import MAX_REFUSALS
from defenses.secagg.homomorphic.keys import KEY_HOLDER
from defenses.secagg.homomorphic.parameters import TABLE, TAG_MODULUS, TAGS, Scheme
from defenses.specs import BfvSpec, CkksSpec
from defenses.statement import PrivacyStatement
from defenses.units import Trust

_SYMMETRIC = (
    "defense.encryption is symmetric, so every client holds the secret key too: no client joins with the server or "
    "with whoever records its traffic, or they read every client's upload"
)

_WITHOUT_NOISE = (
    "what a sum says about one client in it, alone or compared with the sums of other rounds",
    "the other clients, who receive what the uploads add up to",
    "whoever holds the trained injection",
)


def homomorphic_statement(spec: CkksSpec | BfvSpec, ledger: Ledger) -> PrivacyStatement:
    """What the releases in a ledger add up to."""
    parameters = TABLE[Scheme(spec.kind)]
    return PrivacyStatement(
        trust=Trust.KEY_HOLDER,
        releases=len(ledger.events),
        summary=(
            f"Uploads and weights are encrypted ({spec.kind.upper()}, {parameters.security_bits}-bit security); the "
            f"server adds them and holds no key. The key holder (participant {KEY_HOLDER}) decrypts one sum a round, "
            f"of {spec.min_clients} or more clients, and the server learns that sum, the total weight and who took "
            "part."
        ),
        assumptions=(
            "the key holder does not join with the server: together they read every upload",
            *((_SYMMETRIC,) if spec.encryption == "symmetric" else ()),
            "clients got their key files from the key holder, unseen by the server",
            f"fewer than {spec.min_clients - 1} of the clients in a sum join with the server: they can take their own "
            "uploads out of it",
            "no client gives the server the clients' common seed, without which it can pass off another sum as the "
            f"round's only with chance (2/{TAG_MODULUS})^{TAGS}",
        ),
        not_covered=(
            *(_WITHOUT_NOISE if spec.privacy is None else ()),
            f"a server that crafts ciphertexts, beyond one answer a round and {MAX_REFUSALS} refusals a run",
            "uploads that are well formed and untrue",
        ),
        public=tuple(f"{entry.what} ({entry.why})" for entry in ledger.declarations),
        simulation=ledger.simulation,
    )
