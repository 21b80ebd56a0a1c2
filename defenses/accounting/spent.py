"""What a ledger adds up to: from the events of a run to one bound, or to the reason why there is none.

A unit belongs to one client. So releases of different clients compose in parallel, and the run's epsilon is that of
the client who was in the most costly set of them. Invariant: an event without a mechanism, or with one that proves
less than is asked, leaves no epsilon standing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from defenses.accounting.composition import Bound, Composition
from defenses.accounting.continuous import Gaussian
from defenses.accounting.gaussian import check_delta, check_epsilon
from defenses.accounting.mechanism import Mechanism
from defenses.accounting.mechanisms import MECHANISMS, mechanism_from_json
from defenses.decimals import at_most
from defenses.errors import UserError
from defenses.ledger import NO_MECHANISM, Event, Ledger, Parameters
from defenses.units import Neighbouring, Unit
from defenses.upload import UploadKind

ROUNDING = 1e-6
"""By how much of a budget its own calibration may miss it, as the arithmetic of a composition rounds."""


@dataclass(frozen=True, slots=True)
class Unbounded:
    """There is no bound.

    Attributes:
        reason: why, as a sentence without its full stop.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend.

    Attributes:
        epsilon: at most this.
        delta: at this failure probability.
        unit: on one of these.
        neighbouring: by this relation.
    """

    epsilon: float
    delta: float
    unit: Unit
    neighbouring: Neighbouring

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, name="budget.epsilon")
        check_delta(self.delta, name="budget.delta")
        object.__setattr__(self, "unit", Unit(self.unit))
        object.__setattr__(self, "neighbouring", Neighbouring(self.neighbouring))


def event_of(
    mechanism: Mechanism,
    *,
    released: str,
    round_number: int,
    by: Iterable[int],
    unit: Unit,
    neighbouring: Neighbouring,
    kind: UploadKind | None = None,
) -> Event:
    """The ledger's entry for one use of a mechanism.

    Args:
        mechanism: with the parameters that were used; its sensitivities are those of ``unit`` and ``neighbouring``.
        released: what, in words.
        round_number: number of the round.
        by: the clients whose data stand behind it. Empty charges every client.
        unit: whose presence it hides.
        neighbouring: how neighbours differ.
        kind: what the numbers are, where the release is an upload.
    """
    return Event(
        released,
        round_number,
        tuple(by),
        kind,
        mechanism.name,
        unit,
        mechanism.moved,
        mechanism.spread,
        neighbouring,
        tuple(mechanism.parameters.items()),
    )


def mechanism_of(event: Event) -> Mechanism:
    """The mechanism of an event.

    Raises:
        UserError: it has none, or its parameters make none, or they contradict its sensitivity or noise.
    """
    if event.sensitivity is None or event.noise is None:
        raise UserError(
            f"event {event.released!r} of round {event.round} has no mechanism", "nothing protects it"
        )
    if event.mechanism == Gaussian.name and not event.parameters:
        return Gaussian(event.sensitivity, event.noise)
    mechanism = _mechanism_from(event.mechanism, event.parameters)
    for name, said, meant in (
        ("sensitivity", event.sensitivity, mechanism.moved),
        ("noise", event.noise, mechanism.spread),
    ):
        if not math.isclose(said, meant, rel_tol=1e-9):
            raise UserError(
                f"event {event.released!r} has {name} {said:g}, and its parameters make {meant:g}",
                "use the ledger of the run as it is",
            )
    return mechanism


@lru_cache(maxsize=256)
def _mechanism_from(name: str, parameters: Parameters) -> Mechanism:
    """Rounds of one kind share theirs, and a ledger is read before and after every round."""
    return mechanism_from_json({"mechanism": name, **dict(parameters)})


def ledger_bound(
    ledger: Ledger | Iterable[Event], delta: float, unit: Unit, neighbouring: Neighbouring
) -> Bound | Unbounded:
    """What all releases of a ledger cost one unit, at most.

    A release of a round that failed is charged like any other: it is in the ledger because somebody may have seen it.
    A client-level guarantee under *replace* counts for one example too, by either relation, since a client whose one
    example changes is one client's data replaced. Nothing else is converted.

    Raises:
        UserError: delta is no probability, or does not cover what lies between mechanisms and their theorems.
    """
    check_delta(delta)
    unit, neighbouring = Unit(unit), Neighbouring(neighbouring)
    events = ledger.events if isinstance(ledger, Ledger) else tuple(ledger)
    charged: list[tuple[Event, Mechanism]] = []
    for event in events:
        if event.mechanism == NO_MECHANISM:
            if event.kind is None and not event.by:
                continue
            return Unbounded(f"nothing protects {event.released!r} of round {event.round}")
        reason = _unproved(event, unit, neighbouring)
        if reason is not None:
            return Unbounded(f"{event.released!r} of round {event.round} {reason}")
        charged.append((event, mechanism_of(event)))
    everybodys: Counter[Mechanism] = Counter(mechanism for event, mechanism in charged if not event.by)
    own: dict[int, Counter[Mechanism]] = {}
    for event, mechanism in charged:
        for client in event.by:
            own.setdefault(client, Counter())[mechanism] += 1
    # Most clients are in the same releases.
    sets = {frozenset(((everybodys + each) if everybodys else each).items()) for each in own.values()}
    compositions = [Composition.of(each) for each in sets or {frozenset(everybodys.items())}]
    worst, method = max((each.epsilon(delta) for each in compositions), key=lambda found: found[0])
    if math.isinf(worst):
        raise UserError(
            f"delta is {delta:g}, which does not cover the releases' own delta",
            "use a larger one, or a sampler nearer to its ideal",
        )
    return Bound(worst, delta, unit, neighbouring, method)


def would_exceed(ledger: Ledger, following: Iterable[Event], budget: Budget) -> str | None:
    """Why a run has to stop before it makes some releases; None where it may go on.

    A run whose noise was made for its budget comes to that budget in the end, so what is above it by `ROUNDING` is not.

    Args:
        ledger: what has been released.
        following: what would be released next.
        budget: what may be spent in all.
    """
    after = ledger_bound((*ledger.events, *following), budget.delta, budget.unit, budget.neighbouring)
    if isinstance(after, Unbounded):
        return f"the releases would have no bound at all: {after.reason}"
    if after.epsilon <= budget.epsilon * (1 + ROUNDING):
        return None
    before = ledger_bound(ledger, budget.delta, budget.unit, budget.neighbouring)
    spent = f", of which {at_most(before.epsilon, 4)} is spent" if isinstance(before, Bound) else ""
    return (
        f"the releases would bring epsilon to {at_most(after.epsilon, 4)} at delta {budget.delta:g}, "
        f"and the budget is {budget.epsilon:g}{spent}"
    )


def _unproved(event: Event, unit: Unit, neighbouring: Neighbouring) -> str | None:
    if event.mechanism not in MECHANISMS:
        return f"uses {event.mechanism!r}, which the accounting has no theorem for"
    if event.neighbouring is None:
        return "does not say by which relation its sensitivity is measured"
    if event.neighbouring not in mechanism_of(event).relations:
        return f"uses {event.mechanism}, which has no proof for the relation {event.neighbouring}"
    if (event.unit, event.neighbouring) == (unit, neighbouring):
        return None
    if (event.unit, event.neighbouring) == (Unit.CLIENT, Neighbouring.REPLACE) and unit is Unit.EXAMPLE:
        return None
    return (
        f"is accounted for one {event.unit} ({event.neighbouring}), which proves nothing for "
        f"one {unit} ({neighbouring})"
    )
