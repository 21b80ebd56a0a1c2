"""The statement of a private run: a bound with everything that it rests on, or the reason why there is none.

Invariant: the bound is what the accounting makes of the ledger, under assumptions that are all named.
"""

from __future__ import annotations

from collections.abc import Iterable

from defenses.errors import UserError
from defenses.ledger import Event, Ledger
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


def bounded(protection: PrivacyStatement | None, spec: PrivacySpec, ledger: Ledger) -> PrivacyStatement:
    """The statement of a run whose releases are noised.

    Args:
        protection: what is promised without counting noise; None where uploads are not protected otherwise.
        spec: the privacy section.
        ledger: what was released.

    Raises:
        UserError: the ledger holds a release that nothing hides.
    """
    from defenses.accounting.spent import Unbounded, ledger_bound

    trust, unit = Trust(spec.trust), Unit(spec.unit)
    found = ledger_bound(ledger, spec.delta, unit, Neighbouring.ADD_OR_REMOVE)
    if isinstance(found, Unbounded):
        raise UserError(f"ledger has no bound: {found.reason}", "use the ledger of the same run")
    besides: tuple[str, ...] = () if protection is None else protection.assumptions
    beyond: tuple[str, ...] = () if protection is None else protection.not_covered
    return PrivacyStatement(
        trust=trust,
        releases=len(ledger.events),
        summary=" ".join(
            [_SUMMARY[trust], *_made(spec, ledger), *([] if protection is None else [protection.summary])],
        ),
        epsilon=found.epsilon,
        delta=found.delta,
        unit=unit,
        neighbouring=Neighbouring.ADD_OR_REMOVE,
        assumptions=(*_assumptions(spec, trust, unit, ledger), *besides),
        not_covered=tuple(dict.fromkeys((*_not_covered(trust, unit), *beyond))),
        public=tuple(f"{entry.what} ({entry.why})" for entry in ledger.declarations),
        simulation=ledger.simulation,
    )


def beyond_budget(spec: PrivacySpec, ledger: Ledger, following: Iterable[Event]) -> str | None:
    """Why a run may not make some releases, with what they would cost; None where its budget has room for them.

    Args:
        spec: the privacy section, which has the budget.
        ledger: what was released.
        following: what would be released next.
    """
    from defenses.accounting.spent import Budget, would_exceed

    budget = Budget(spec.epsilon, spec.delta, Unit(spec.unit), Neighbouring.ADD_OR_REMOVE)
    return would_exceed(ledger, following, budget)


def _made(spec: PrivacySpec, ledger: Ledger) -> list[str]:
    """What is not done by default to rows and with noise, as sentences."""
    from defenses.accounting.discrete import Skellam

    found = []
    if spec.grid.rows_are:
        found.append(f"What is summed: {spec.grid.rows_are}, to a length that is enforced.")
    # Steps that clients take by themselves have noise of another law.
    named = [event.mechanism == Skellam.name for event in ledger.events]
    if any(named):
        found.append("The noise is Skellam noise." if all(named) else "Some of the noise is Skellam noise.")
    if spec.grid.wrap:
        found.append(f"With a chance of at most {spec.grid.wrap:g} a sum of the run wraps and is wrong.")
    return found


def _assumptions(spec: PrivacySpec, trust: Trust, unit: Unit, ledger: Ledger) -> tuple[str, ...]:
    from defenses.accounting.sampled_discrete import SampledDiscreteGaussian

    found = ["what is taken as public says nothing about the unit that is hidden"]
    if trust is Trust.CENTRAL:
        found.append("the server adds the noise and keeps everything else to itself")
    if trust is Trust.DISTRIBUTED:
        found.append(
            f"in each sum {_share(spec.dropout, 'is missing')}, which clients enforce, and of all of them "
            f"{_share(spec.colluders, 'tells what noise it added')}"
        )
    if spec.grid.wrap:
        found.append(
            f"delta has the chance of {spec.grid.wrap:g} that a sum wraps, 1 + exp(epsilon) times, as if such a sum "
            "told everything; that is more than the theorem needs, since a wrapped sum is a function of the exact one"
        )
    if unit is Unit.EXAMPLE:
        found.append(
            "an example is one row of one client; a person behind several rows is not hidden as a whole"
        )
    if any(event.kind is UploadKind.COEFFICIENTS for event in ledger.events):
        found.append("a gradient computed in a batch is, up to rounding, the one computed alone")
        found.append(SampledDiscreteGaussian.assumes)
    found.append(
        "noise is drawn once for each release in the ledger; no client answers a round with fresh noise a second time "
        "unless that is charged as well"
    )
    return tuple(found)


def _share(share: float, what: str) -> str:
    return f"at most a share of {share:g} of the clients asked {what}" if share else f"no client {what}"


def _not_covered(trust: Trust, unit: Unit) -> tuple[str, ...]:
    """Who may read more than the bound says, and what it is not about."""
    found = ["what is true of the whole group whether or not one unit is in it"]
    if trust is Trust.CENTRAL:
        found.append("the server, and whoever records what it reads before it adds the noise")
    if unit is Unit.EXAMPLE:
        found.append("that a client takes part at all, and what all its examples have in common")
    return tuple(found)
