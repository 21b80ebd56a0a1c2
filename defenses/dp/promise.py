"""The statement of a private run: a bound with everything that it rests on, or the reason why there is none.

Invariant: the bound is what the accounting makes of the ledger, under assumptions that are all named.
"""

from __future__ import annotations

from dataclasses import replace

from defenses.accounting.spent import Unbounded, ledger_bound
from defenses.errors import UserError
from defenses.ledger import Ledger
from defenses.privacy_specs import PrivacySpec
from defenses.statement import PrivacyStatement
from defenses.units import Neighbouring, Trust, Unit
from defenses.upload import UploadKind

_SUMMARY = {
    Trust.CENTRAL: "The server reads what the clients send and adds the noise to the sum; whoever gets the result "
    "from it reads noised sums alone.",
    Trust.DISTRIBUTED: "Clients add the noise together: no one, the server included, ever holds a sum with less of it.",
    Trust.LOCAL: "Every client adds enough noise for itself before anything leaves it.",
}


def bounded(protection: PrivacyStatement, spec: PrivacySpec, ledger: Ledger) -> PrivacyStatement:
    """The statement of a run whose releases are noised.

    Args:
        protection: what is promised without counting noise.
        spec: the privacy section.
        ledger: what was released.
    """
    trust, unit = Trust(spec.trust), Unit(spec.unit)
    found = ledger_bound(ledger, spec.delta, unit, Neighbouring.ADD_OR_REMOVE)
    if isinstance(found, Unbounded):
        raise UserError(f"ledger has no bound: {found.reason}", "use the ledger of the same run")
    return replace(
        protection,
        trust=trust,
        summary=f"{_SUMMARY[trust]} {protection.summary}" if trust is not Trust.LOCAL else _SUMMARY[trust],
        epsilon=found.epsilon,
        delta=found.delta,
        unit=unit,
        neighbouring=Neighbouring.ADD_OR_REMOVE,
        assumptions=(*_assumptions(spec, trust, unit, ledger), *protection.assumptions),
        not_covered=_not_covered(trust, unit, protection),
    )


def _assumptions(spec: PrivacySpec, trust: Trust, unit: Unit, ledger: Ledger) -> tuple[str, ...]:
    found = ["what is taken as public says nothing about the unit that is hidden"]
    if trust is Trust.CENTRAL:
        found.append("the server adds the noise and keeps everything else to itself")
    if trust is Trust.DISTRIBUTED:
        found.append(
            f"in each sum at most a share of {spec.dropout:g} of the clients asked is missing, which clients enforce, "
            f"and at most a share of {spec.colluders:g} of them tells what noise it added"
        )
    if unit is Unit.EXAMPLE:
        found.append(
            "an example is one row of one client; a person behind several rows is not hidden as a whole"
        )
    if any(event.kind is UploadKind.COEFFICIENTS for event in ledger.events):
        found.append("a gradient computed in a batch is, up to rounding, the one computed alone")
    found.append(
        "noise is drawn once for each release; a client never answers the same round twice with fresh noise"
    )
    return tuple(found)


def _not_covered(trust: Trust, unit: Unit, protection: PrivacyStatement) -> tuple[str, ...]:
    """Who may read more than the bound says, and what it is not about."""
    found = [
        "what is true of the whole group whether or not one unit is in it",
        "who takes part, when, and who fails",
    ]
    if trust is Trust.CENTRAL:
        found.extend(line for line in protection.not_covered if "server" in line)
    if unit is Unit.EXAMPLE:
        found.append("that a client takes part at all, and what all its examples have in common")
    return tuple(found)
