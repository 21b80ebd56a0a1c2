"""Ledgers that add up: clients side by side, and no epsilon where anything is unproved."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses import Event, Ledger, Neighbouring, PublicDeclaration, Unit, UploadKind
from defenses.accounting import (
    Bound,
    Budget,
    DistributedDiscreteGaussian,
    Gaussian,
    SampledGaussian,
    Skellam,
    Unbounded,
    event_of,
    gaussian_epsilon,
    ledger_bound,
    mechanism_of,
    would_exceed,
)
from defenses.decimals import at_most
from defenses.errors import UserError

ADD, REPLACE = Neighbouring.ADD_OR_REMOVE, Neighbouring.REPLACE
NOISED = Gaussian(1.0, 4.0)


def event(mechanism=NOISED, by=(1, 2), round_number=0, unit=Unit.EXAMPLE, neighbouring=ADD):
    return event_of(
        mechanism,
        released="noised means",
        round_number=round_number,
        by=by,
        unit=unit,
        neighbouring=neighbouring,
        kind=UploadKind.VECTOR,
    )


def ledger_of(*entries):
    ledger = Ledger()
    for entry in entries:
        ledger.add(entry)
    return ledger


def epsilon(*entries, unit=Unit.EXAMPLE, neighbouring=ADD):
    bound = ledger_bound(ledger_of(*entries), 1e-5, unit, neighbouring)
    assert isinstance(bound, Bound), bound
    assert (bound.delta, bound.unit, bound.neighbouring) == (1e-5, unit, neighbouring)
    return bound.epsilon


def reason(*entries, unit=Unit.EXAMPLE, neighbouring=ADD):
    bound = ledger_bound(ledger_of(*entries), 1e-5, unit, neighbouring)
    assert isinstance(bound, Unbounded), bound
    return bound.reason


@pytest.mark.parametrize(
    "mechanism",
    [
        NOISED,
        Gaussian(1.0, 4.0, 1e-12),
        SampledGaussian(1.1, 0.02, 50),
        DistributedDiscreteGaussian(20, None, 3.0, 12, 1280, 1e-15),
        Skellam(20.0, 90.0, 4_000.0),
    ],
)
def test_a_mechanism_comes_back_out_of_the_ledgers_json(mechanism):
    back = Ledger.from_json(ledger_of(event(mechanism)).to_json())
    (entry,) = back.events
    assert mechanism_of(entry) == mechanism
    assert entry == event(mechanism)
    assert ledger_bound(back, 1e-5, Unit.EXAMPLE, ADD) == ledger_bound([entry], 1e-5, Unit.EXAMPLE, ADD)


def test_releases_of_one_client_add_up_and_those_of_others_do_not():
    alone = epsilon(event(by=(1,)))
    assert alone == pytest.approx(gaussian_epsilon(1e-5, 0.25), rel=1e-12)
    assert epsilon(event(by=(1,)), event(by=(2,))) == alone
    twice = epsilon(event(by=(1,)), event(by=(2, 1), round_number=1))
    assert twice == pytest.approx(gaussian_epsilon(1e-5, 0.25 * math.sqrt(2)), rel=1e-12)
    assert epsilon(event(by=(1,)), event(by=(2,)), event(by=(2, 3), round_number=1)) == twice


def test_the_client_in_most_costly_rounds_counts_not_the_one_in_most_rounds():
    quiet, loud = Gaussian(1.0, 40.0), Gaussian(1.0, 2.0)
    entries = [event(quiet, (1,), number) for number in range(5)] + [event(loud, (2,), 5)]
    assert epsilon(*entries) == pytest.approx(gaussian_epsilon(1e-5, 0.5), rel=1e-12)


def test_a_release_of_nobody_in_particular_is_charged_to_everybody():
    entries = [event(by=(1,)), event(by=(2,)), event(by=(), round_number=1)]
    assert epsilon(*entries) == pytest.approx(gaussian_epsilon(1e-5, 0.25 * math.sqrt(2)), rel=1e-12)
    assert epsilon(event(by=())) == pytest.approx(gaussian_epsilon(1e-5, 0.25), rel=1e-12)


@given(st.lists(st.tuples(st.integers(1, 3), st.sets(st.integers(0, 4), min_size=1)), min_size=1, max_size=6))
def test_the_bound_is_the_worst_clients_root_of_squares(rounds):
    entries = [event(Gaussian(float(s), 8.0), tuple(by), n) for n, (s, by) in enumerate(rounds)]
    worst = max(sum(s * s for s, by in rounds if client in by) for client in range(5))
    assert epsilon(*entries) == pytest.approx(gaussian_epsilon(1e-5, math.sqrt(worst) / 8), rel=1e-9)
    assert epsilon(*reversed(entries)) == epsilon(*entries)


@pytest.mark.parametrize(
    "bare",
    [
        Event("held-out scores", 1, (1,), UploadKind.SCORES),
        Event("held-out scores", 1, (), UploadKind.SCORES),
        Event("number of examples", 1, (3,)),
    ],
)
def test_one_unprotected_release_leaves_no_bound(bare):
    assert reason(event(), bare) == f"nothing protects {bare.released!r} of round 1"


def test_what_depends_on_nobody_and_what_is_public_costs_nothing():
    entries = [event(), Event("round number", 1, ()), PublicDeclaration("clients", "fixed before")]
    assert epsilon(*entries) == epsilon(event())
    assert epsilon() == 0.0


def test_units_and_relations_are_not_converted_but_where_one_implies_the_other():
    client = event(unit=Unit.CLIENT)
    assert "proves nothing for one example" in reason(client)
    assert "proves nothing for one client" in reason(event(), unit=Unit.CLIENT)
    assert "proves nothing for one example (replace)" in reason(event(), neighbouring=REPLACE)
    replaced = event(Gaussian(2.0, 4.0), unit=Unit.CLIENT, neighbouring=REPLACE)
    # One example more, less or other is a client's data replaced.
    assert epsilon(replaced) == epsilon(replaced, neighbouring=REPLACE) == epsilon(event(Gaussian(2.0, 4.0)))
    assert "proves nothing" in reason(replaced, unit=Unit.CLIENT)


def test_what_the_accounting_cannot_prove_leaves_no_bound():
    unknown = Event("means", 0, (1,), None, "laplace", Unit.EXAMPLE, 1.0, 1.0, ADD)
    assert "no theorem" in reason(unknown)
    old = Event("means", 0, (1,), None, "gaussian", Unit.EXAMPLE, 1.0, 4.0)
    assert "does not say by which relation" in reason(old)
    sampled = event(SampledGaussian(1.0, 0.1, 5), neighbouring=REPLACE)
    assert "no proof for the relation replace" in reason(sampled, neighbouring=REPLACE)


def test_a_plain_gaussian_event_needs_no_parameters():
    plain = Event("means", 0, (1,), None, "gaussian", Unit.EXAMPLE, 1.0, 4.0, ADD)
    assert mechanism_of(plain) == NOISED
    assert epsilon(plain) == epsilon(event(by=(1,)))


def test_an_event_that_contradicts_itself_is_refused():
    parameters = tuple(NOISED.parameters.items())
    wrong = Event("means", 0, (1,), None, "gaussian", Unit.EXAMPLE, 1.0, 5.0, ADD, parameters)
    with pytest.raises(UserError, match="its parameters make 4"):
        ledger_bound([wrong], 1e-5, Unit.EXAMPLE, ADD)
    with pytest.raises(UserError, match="no mechanism"):
        mechanism_of(Event("means", 0, (1,)))


def test_distances_of_samplers_are_paid_for():
    assert epsilon(event(Gaussian(1.0, 4.0, 1e-6))) > epsilon(event())
    with pytest.raises(UserError, match="does not cover"):
        epsilon(event(Gaussian(1.0, 4.0, 1e-5)))
    with pytest.raises(UserError, match="delta"):
        ledger_bound([], 0.0, Unit.EXAMPLE, ADD)


def test_a_run_stops_before_the_release_that_would_be_too_much():
    one, two = (gaussian_epsilon(1e-5, 0.25 * math.sqrt(times)) for times in (1, 2))
    budget = Budget((one + two) / 2, 1e-5, Unit.EXAMPLE, ADD)
    spent = ledger_of(event(by=(1, 2)))
    assert would_exceed(Ledger(), [event()], budget) is None
    assert would_exceed(spent, [event(by=(3,), round_number=1)], budget) is None
    sentence = would_exceed(spent, [event(by=(2, 3), round_number=1)], budget)
    assert sentence == (
        f"the releases would bring epsilon to {at_most(two, 4)} at delta 1e-05, and the budget is {budget.epsilon:g}, "
        f"of which {at_most(one, 4)} is spent"
    )
    bare = Event("scores", 1, (1,), UploadKind.SCORES)
    assert "no bound at all: nothing protects 'scores'" in would_exceed(spent, [bare], budget)
    assert len(spent) == 1


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 1e-5), (math.inf, 1e-5), (1.0, 0.0), (1.0, 1.0)])
def test_budgets_that_are_none_are_refused(epsilon, delta):
    with pytest.raises(UserError, match="budget"):
        Budget(epsilon, delta, Unit.EXAMPLE, ADD)
