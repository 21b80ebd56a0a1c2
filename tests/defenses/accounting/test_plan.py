"""Plans: the noise that is found keeps the budget and uses it, and plans that make no sense are refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses.accounting import Composition, Plan, Planned, gaussian_mu_for, plan_from_mapping
from defenses.accounting.plan import _up
from defenses.errors import UserError

GAUSSIAN = {"mechanism": "gaussian", "sensitivity": 1.0}
SAMPLED = {"mechanism": "sampled-gaussian", "rate": 0.01, "steps": 80}
DISCRETE = {"mechanism": "discrete-gaussian", "sensitivity": 90, "dimension": 1280}
SHARES = {"mechanism": "distributed-discrete-gaussian", "sensitivity": 90, "dimension": 1280, "shares": 16}
SKELLAM = {"mechanism": "skellam", "sensitivity_l2": 90, "sensitivity_l1": 900}


def plan(*releases, delta=1e-5, unit="example", neighbouring="add-or-remove", **more):
    data = {"releases": list(releases), "delta": delta, "unit": unit, "neighbouring": neighbouring, **more}
    return plan_from_mapping(data)[0]


def noise(release):
    return getattr(release.mechanism, release.mechanism.noise_field)


@pytest.mark.parametrize(
    "releases",
    [
        [GAUSSIAN],
        [GAUSSIAN | {"count": 3, "share": 0.5}, GAUSSIAN],
        [GAUSSIAN | {"share": 0.8}, SAMPLED],
        [SAMPLED],
        [DISCRETE],
        [DISCRETE | {"share": 0.9}, SAMPLED],
        [SHARES, SKELLAM | {"count": 20}],
        [GAUSSIAN | {"noise": 9.0}, SKELLAM],
        [GAUSSIAN | {"delta": 1e-9}],
    ],
    ids=lambda releases: "+".join(release["mechanism"] for release in releases),
)
@pytest.mark.parametrize("epsilon", [1.5])
def test_found_noise_keeps_the_budget_and_uses_it(releases, epsilon):
    found, bound = plan(*releases).calibrated(epsilon)
    assert epsilon * 0.998 <= bound.epsilon <= epsilon
    # Composed again by somebody who only reads the numbers.
    again = Composition.of([(release.mechanism, release.count) for release in found.releases])
    assert again.epsilon(1e-5) == (bound.epsilon, bound.method)
    assert found.bound() == bound
    for before, after in zip(releases, found.releases, strict=True):
        assert float(f"{noise(after):.6g}") == noise(after)
        assert before.get("noise", noise(after)) == noise(after)


def test_one_gaussian_is_the_analytic_mechanism():
    found, _ = plan(GAUSSIAN).calibrated(1.0)
    assert noise(found.releases[0]) == 3.73064
    assert found.releases[0].fixed


@given(st.floats(0.05, 0.95), st.integers(1, 9))
def test_shares_are_shares_of_the_squared_mu(share, count):
    found, _ = plan(GAUSSIAN | {"share": share, "count": count}, GAUSSIAN).calibrated(2.0)
    whole = gaussian_mu_for(2.0, 1e-5) ** 2
    one, other = (release.count * release.mechanism.gdp**2 for release in found.releases)
    assert one / whole == pytest.approx(share, rel=1e-4)
    assert other / whole == pytest.approx(1 - share, rel=1e-4)


def test_equal_parts_where_no_share_is_named():
    assert plan(GAUSSIAN, GAUSSIAN, GAUSSIAN | {"noise": 50.0}).weights == (0.5, 0.5, 0.0)
    assert plan(GAUSSIAN | {"share": 0.5}, GAUSSIAN, GAUSSIAN).weights == (0.5, 0.25, 0.25)


@settings(max_examples=10)
@given(st.floats(0.1, 8), st.floats(0.1, 8))
def test_a_smaller_budget_never_needs_less_noise(one, other):
    low, high = sorted((one, other))
    tight, loose = (plan(DISCRETE).calibrated(epsilon)[0].releases[0] for epsilon in (low, high))
    # Each may stop a thousandth short of its budget.
    assert noise(tight) >= noise(loose) * 0.999


def test_given_noise_is_priced():
    assert plan(GAUSSIAN | {"noise": 3.73064}).bound().epsilon == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(UserError, match="leaves noise open"):
        plan(GAUSSIAN).bound()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: plan(GAUSSIAN).calibrated(0.0), "epsilon is 0"),
        (lambda: plan(GAUSSIAN).calibrated(-1.0), "epsilon is -1"),
        (lambda: plan(GAUSSIAN).calibrated(float("inf")), "epsilon is inf"),
        (lambda: plan(GAUSSIAN, delta=0.0), "delta is 0"),
        (lambda: plan(GAUSSIAN, delta=1.0), "delta is 1"),
        (lambda: plan(GAUSSIAN, delta=1e-3, population=2_000), "above 1/2000"),
        (lambda: plan(GAUSSIAN, population=0), "population is 0"),
        (lambda: plan(GAUSSIAN | {"sensitivity": 0}), "sensitivity is 0"),
        (lambda: plan(GAUSSIAN | {"sensitivity": float("inf")}), "not bounded"),
        (lambda: plan(GAUSSIAN | {"noise": 1.0}, GAUSSIAN).calibrated(1.0), "cost epsilon 4.378 already"),
        (lambda: plan(GAUSSIAN | {"noise": 1.0}).calibrated(1.0), "every release of the plan has its noise"),
        (lambda: plan(GAUSSIAN | {"delta": 1e-5}).calibrated(1.0), "does not cover"),
        (lambda: plan(GAUSSIAN | {"delta": 1e-5, "noise": 9.0}).bound(), "does not cover"),
        (
            lambda: plan(GAUSSIAN | {"share": 0.5, "noise": 1.0}),
            "has a share of the budget and its noise too",
        ),
        (lambda: plan(GAUSSIAN | {"share": 0.5}), "add up to 0.5"),
        (lambda: plan(GAUSSIAN | {"share": 1.0}, GAUSSIAN), "add up to 1, and a release without one"),
        (lambda: plan(GAUSSIAN | {"share": 0.7}, GAUSSIAN | {"share": 0.7}), "add up to 1.4"),
        (lambda: plan(GAUSSIAN | {"share": 0}), "share is 0"),
        (lambda: plan(GAUSSIAN | {"share": "half"}), "share is 'half'"),
        (lambda: plan(GAUSSIAN | {"count": 0}), "count is 0"),
        (lambda: plan(GAUSSIAN | {"count": 1.5}), "count is 1.5"),
        (lambda: plan(), "has no releases"),
        (lambda: plan(SAMPLED, neighbouring="replace"), "proved for add or remove only"),
        (lambda: plan(GAUSSIAN, unit="person"), "unit is 'person'"),
        (lambda: plan(GAUSSIAN, neighbouring="similar"), "use one of add-or-remove, replace"),
        (lambda: plan(GAUSSIAN, budget=1), "no field 'budget'"),
        (lambda: plan(GAUSSIAN, epsilon="1"), "epsilon is '1'"),
        (lambda: plan_from_mapping({"delta": 1e-5}), "lacks 'releases'"),
        (lambda: plan("gaussian"), "is no mapping"),
        (
            lambda: plan_from_mapping(
                {"releases": "x", "delta": 1e-5, "unit": "client", "neighbouring": "replace"}
            ),
            "no list",
        ),
    ],
)
def test_plans_that_make_no_sense_are_refused_in_a_sentence(make, match):
    with pytest.raises(UserError, match=match) as refused:
        make()
    assert not refused.value.message.endswith(".")
    assert refused.value.hint


def test_a_distance_that_no_noise_can_make_up_for():
    given = GAUSSIAN | {"noise": 3.731}
    with pytest.raises(UserError, match="no noise brings the plan to epsilon 1 "):
        plan(given, GAUSSIAN | {"delta": 2e-6}).calibrated(1.0)
    assert plan(given, GAUSSIAN).calibrated(1.0)[1].epsilon <= 1.0


def test_a_distance_that_leaves_part_of_the_budget_unused():
    """(1 + exp ε) times the distance grows with ε: past some point, less noise cannot be paid for at all."""
    _, bound = plan(GAUSSIAN | {"delta": 4e-6}).calibrated(1.0)
    assert bound.epsilon < 0.5


def test_plans_are_values():
    assert plan(GAUSSIAN) == plan(GAUSSIAN)
    assert isinstance(plan(GAUSSIAN).releases[0], Planned)
    assert isinstance(plan(GAUSSIAN), Plan)


@given(st.floats(1e-12, 1e12))
def test_rounding_up_rounds_up_to_six_digits(value):
    up = _up(value)
    assert value <= up <= value * (1 + 2e-5)
    assert float(f"{up:.6g}") == up


@pytest.mark.parametrize(("epsilon", "ratio"), [(0.25, 1.097), (1.0, 1.085), (4.0, 1.071)])
@pytest.mark.parametrize("discrete", [DISCRETE, SHARES])
def test_what_is_proved_of_discrete_noise_in_many_numbers_costs_more_than_normal_noise(
    discrete, epsilon, ratio
):
    """The factor that the documentation names; each search may stop a thousandth short of its budget."""
    found, normal = (plan(each).calibrated(epsilon)[0].releases[0].mechanism for each in (discrete, GAUSSIAN))
    assert found.spread / found.moved / normal.spread == pytest.approx(ratio, abs=1.5e-3)


# ---- releasing the same again and averaging

REPEATED = {"gaussian": GAUSSIAN, "discrete": DISCRETE, "shares": SHARES, "skellam": SKELLAM}


@pytest.mark.parametrize("times", [2, 5, 60])
@pytest.mark.parametrize("name", REPEATED)
def test_averaging_over_releases_that_are_accounted_buys_nothing(name, times):
    """At one budget each of k releases has √k the noise, which is what averaging k of them takes away again."""
    once, _ = plan(REPEATED[name]).calibrated(1.0)
    often, bound = plan(REPEATED[name] | {"count": times}).calibrated(1.0)
    spread = often.releases[0].mechanism.spread / math.sqrt(times)
    # Each search may stop a thousandth short of its budget.
    assert spread == pytest.approx(once.releases[0].mechanism.spread, rel=2e-3)
    assert bound.epsilon <= 1


@pytest.mark.parametrize("name", REPEATED)
def test_averaging_over_releases_that_are_not_accounted_is_found_out(name):
    """Five releases at the noise of one cost what one release at the noise of their mean costs, more than 2.3."""
    once = plan(REPEATED[name]).calibrated(1.0)[0].releases[0].mechanism
    often, _ = Composition.of([(once, 5)]).epsilon(1e-5)
    mean, _ = Composition.of([once.with_spread(once.spread / math.sqrt(5))]).epsilon(1e-5)
    assert often == pytest.approx(mean, rel=2e-3)
    assert often > 2.3
