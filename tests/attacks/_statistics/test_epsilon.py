"""The auditor audited: no bound where there is nothing to find, none above the truth, and known values reproduced."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from attacks._mechanisms.one_run import (
    one_run,
    one_run_ceiling,
    one_run_epsilon,
    one_run_gaussian,
    one_run_gaussian_epsilon,
    p_value,
)
from attacks._statistics.epsilon import (
    ESTIMATORS,
    Conclusion,
    Estimator,
    LowerBound,
    ceiling,
    conclude,
    epsilon_from_rates,
    trials_needed,
    upper,
)
from attacks._statistics.gaussian import epsilon_of, mu_of
from ifedpriv.measure.intervals import clopper_pearson

DELTA, ALPHA = 1e-5, 0.05
BOTH_RUNS = {"one run": one_run, "one run, gaussian": one_run_gaussian}
SINGLE = list(ESTIMATORS.items())


def named(value):
    """A parameter's id, the same in every process: a function's text holds its address."""
    return value.__name__ if callable(value) else str(value)


def trials(epsilon, size, seed):
    rng = np.random.default_rng([seed, size])
    shift = mu_of(epsilon, DELTA) if epsilon else 0.0
    return rng.normal(shift, 1, size), rng.normal(0, 1, size)


# ---- the Gaussian curve


@pytest.mark.parametrize(("mu", "delta"), list(itertools.product([0.1, 1, 3.3, 20], [1e-12, 1e-5, 0.1])))
def test_the_gaussian_curve_is_that_of_the_accountant(mu, delta):
    dp_accounting = pytest.importorskip("dp_accounting")
    assert epsilon_of(mu, delta) == pytest.approx(dp_accounting.get_epsilon_gaussian(1 / mu, delta), abs=1e-4)


@settings(max_examples=30)
@given(st.floats(0.01, 30), st.sampled_from([1e-9, 1e-5, 1e-2]))
def test_mu_and_epsilon_are_inverse(epsilon, delta):
    assert epsilon_of(mu_of(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-6)


# ---- parts worked out by hand


def test_the_bound_of_a_proportion():
    assert float(upper(3, 50, 0.025)) == pytest.approx(clopper_pearson(3, 50, 0.95).high)
    assert upper([0, 50], 50, 0.05).tolist() == pytest.approx([1 - 0.05 ** (1 / 50), 1.0])


def test_both_directions_count():
    assert float(epsilon_from_rates(0.1, 0.5, 0.0)) == pytest.approx(np.log(5))
    assert float(epsilon_from_rates(0.5, 0.1, 0.0)) == pytest.approx(np.log(5))
    assert float(epsilon_from_rates(0.1, 0.5, 0.2)) == pytest.approx(np.log(0.3 / 0.1))
    assert float(epsilon_from_rates(0.5, 0.5, 0.0)) == 0.0
    assert float(epsilon_from_rates(1.0, 1.0, 1e-5)) == 0.0


def test_how_much_so_many_trials_can_prove():
    """The plain figures, as one threshold that needed no pilot has them."""
    for size, known in ((250, 4.2), (1000, 5.6), (3000, 6.7), (10_000, 7.9), (100_000, 10.2)):
        assert ceiling(Estimator.SPLIT, round(size / 0.7), DELTA, ALPHA) == pytest.approx(known, abs=0.05)


@pytest.mark.parametrize("estimator", list(Estimator))
def test_no_bound_is_above_its_ceiling_and_perfect_scores_reach_it(estimator):
    found = ESTIMATORS[estimator](np.ones(400) + 1, np.zeros(400), DELTA, ALPHA, 0)
    assert found == pytest.approx(ceiling(estimator, 400, DELTA, ALPHA), rel=1e-9)


@pytest.mark.parametrize("estimator", list(Estimator))
def test_so_many_trials_would_do(estimator):
    wanted = trials_needed(estimator, 6.0, DELTA, ALPHA)
    assert ceiling(estimator, wanted, DELTA, ALPHA) > 6.0 >= ceiling(estimator, wanted - 2, DELTA, ALPHA)


# ---- nothing where there is nothing


@pytest.mark.parametrize(("estimator", "bound"), SINGLE, ids=named)
def test_scores_that_say_nothing_prove_nothing(estimator, bound):
    """300 seeds at α = 0.05: at least 95% of them give exactly 0. The seeds are fixed, so this never fails by luck."""
    found = []
    for seed in range(300):
        inside, outside = np.random.default_rng(seed).normal(size=(2, 500))
        found.append(bound(inside, outside, DELTA, ALPHA, seed))
    assert np.mean(np.array(found) == 0.0) >= 0.95


def test_the_gaussian_bound_spends_its_level_and_no_more():
    """It has no slack: 1,500 seeds of a level of 0.05 err in more than 100 with probability below 0.002."""
    bound = ESTIMATORS[Estimator.GAUSSIAN]
    wrong = [
        bound(*np.random.default_rng([1, seed]).normal(size=(2, 200)), DELTA, ALPHA, seed) > 0
        for seed in range(1500)
    ]
    assert 40 <= sum(wrong) <= 100


@pytest.mark.parametrize("name", BOTH_RUNS)
def test_one_run_that_says_nothing_proves_nothing(name):
    def once(seed):
        rng = np.random.default_rng(seed)
        coins, scores = rng.random(400) < 0.5, rng.normal(size=400)
        return BOTH_RUNS[name](scores[coins], scores[~coins], DELTA, ALPHA)

    assert np.mean([once(seed) == 0.0 for seed in range(300)]) >= 0.95


@pytest.mark.parametrize(("estimator", "bound"), SINGLE, ids=named)
def test_equal_scores_prove_nothing(estimator, bound):
    assert bound(np.zeros(200), np.zeros(200), DELTA, ALPHA, 0) == 0.0


# ---- never above the truth, and near it


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
@pytest.mark.parametrize(("estimator", "bound"), SINGLE, ids=named)
def test_bounds_of_known_mechanisms_hold(estimator, bound, epsilon):
    """120 seeds: a bound of level 0.05 is above the truth in more than 13 of them with probability 0.002."""
    above = sum(bound(*trials(epsilon, 300, seed), DELTA, ALPHA, seed) > epsilon for seed in range(120))
    assert above <= 13


@pytest.mark.parametrize("name", BOTH_RUNS)
def test_one_run_bounds_hold(name):
    above = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        coins = rng.random(300) < 0.5
        scores = rng.normal(size=300) + coins * mu_of(2.0, DELTA)
        above += BOTH_RUNS[name](scores[coins], scores[~coins], DELTA, ALPHA) > 2.0
    # 100 seeds at level 0.05: more than 12 have a probability below 0.002.
    assert above <= 12


@pytest.mark.parametrize("epsilon", [1.0, 2.0, 4.0, 8.0])
def test_the_gaussian_bound_is_tight(epsilon):
    """10,000 trials a side: on average over 5 seeds, at least 80% of the truth."""
    found = [ESTIMATORS[Estimator.GAUSSIAN](*trials(epsilon, 10_000, s), DELTA, ALPHA, s) for s in range(5)]
    assert np.mean(found) >= 0.8 * epsilon


@pytest.mark.parametrize("epsilon", [1.0, 2.0, 4.0, 8.0])
def test_the_gaussian_bound_is_above_the_truth_no_more_often_than_its_level(epsilon):
    """60 seeds of 10,000 trials a side at level 0.05: more than 9 have a probability below 0.001."""
    bound = ESTIMATORS[Estimator.GAUSSIAN]
    assert sum(bound(*trials(epsilon, 10_000, s), DELTA, ALPHA, s) > epsilon for s in range(60)) <= 9


def test_what_clopper_and_pearson_reach():
    """Without assuming anything of the mechanism, 10,000 trials a side prove less than half; the page says so."""
    inside, outside = trials(4.0, 10_000, 0)
    for estimator, bound in ESTIMATORS.items():
        if estimator is not Estimator.GAUSSIAN:
            assert 1.3 < bound(inside, outside, DELTA, ALPHA, 0) < 2.4


def test_a_mechanism_that_is_not_gaussian_refutes_only_the_claim_that_it_is():
    """Randomised response at ε 2: bounds that assume nothing hold, and the Gaussian one goes by its assumption."""
    rng = np.random.default_rng(0)
    truth = 1 / (1 + np.exp(-2.0))
    inside, outside = (rng.random((2, 20_000)) < [[truth], [1 - truth]]).astype(float)
    found = {e: bound(inside, outside, DELTA, ALPHA, 0) for e, bound in ESTIMATORS.items()}
    assert all(1.8 < found[e] <= 2.0 for e in found if e is not Estimator.GAUSSIAN)
    assert found[Estimator.GAUSSIAN] > 2.0


# ---- known values


def test_steinkes_own_example():
    """arXiv 2305.08846, appendix D: 1,000 canaries, 100 guesses, 75 right, δ 1e-4, level 0.05 give 0.673."""
    assert one_run_epsilon(1000, 100, 75, 1e-4, 0.05) == pytest.approx(0.673, abs=5e-4)


PUBLISHED = [
    (one_run_epsilon, 386, 2807, 569, 1.13346),
    (one_run_gaussian_epsilon, 386, 379, 27, 2.164749),
    (one_run_epsilon, 374, 4499, 167, 2.311945),
    (one_run_gaussian_epsilon, 374, 934, 4, 4.7218075),
    (one_run_epsilon, 140, 8223, 10, 4.395568),
    (one_run_gaussian_epsilon, 140, 5436, 0, 9.133752),
]
"""Bounds in jax_privacy's own tests (auditing_test.py): 10,000 normal quantiles a side, shifted by 1, 2 and 4.

Each with the number of thresholds on the hull, among which α is shared there, and the right and wrong guesses at
the best of them.
"""


@pytest.mark.parametrize(("bound", "shared", "right", "wrong", "published"), PUBLISHED)
def test_published_values_of_one_run_bounds(bound, shared, right, wrong, published):
    assert bound(20_000, right + wrong, right, 1e-6, 0.05 / shared) == pytest.approx(published, rel=1e-5)


@pytest.mark.parametrize(("shift", "right", "wrong"), [(1, 2807, 569), (2, 934, 4), (4, 5436, 0)])
def test_the_published_counts_are_those_of_a_threshold(shift, right, wrong):
    grid = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    threshold = (grid + shift)[10_000 - right]
    assert int((grid >= threshold).sum()) == wrong


def quantiles(mu, size):
    return norm.ppf((np.arange(size) + 0.5) / size) + mu


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("mu", [1.0, 1.5])
@pytest.mark.parametrize("estimator", [Estimator.BONFERRONI, Estimator.SPLIT])
def test_published_tightness_of_clopper_and_pearson(estimator, mu, ratio):
    """As in jax_privacy's test_epsilon_clopper_pearson_tight, with a tenth of its scores: below, and within 20%."""
    scores = quantiles(mu, 200_000), quantiles(0, int(200_000 * ratio))
    found = ESTIMATORS[estimator](*scores, 0.1, 0.2, 0)
    assert 0.8 * epsilon_of(mu, 0.1) <= found < epsilon_of(mu, 0.1)


@pytest.mark.parametrize("mu", [0.1, 0.3, 1.0, 3.0])
def test_published_tightness_of_the_gaussian_bound(mu):
    """As in jax_privacy's test_epsilon_from_gdp_tight: within 5% of the truth, at its sizes and its seed."""
    rng = np.random.default_rng(0xBAD5EED)
    found = ESTIMATORS[Estimator.GAUSSIAN](
        rng.normal(mu, 1, 500_000), rng.normal(0, 1, 500_000), 5e-2, 0.1, 0
    )
    assert found == pytest.approx(epsilon_of(mu, 5e-2), rel=0.05)


def test_a_p_value_worked_out_step_by_step():
    canaries, guesses, correct, epsilon, delta = 50, 20, 16, 0.7, 1e-3
    chance = 1 / (1 + np.exp(-epsilon))
    mass = [comb(guesses, k) * chance**k * (1 - chance) ** (guesses - k) for k in range(guesses + 1)]
    tail = sum(mass[correct:])
    slack = max(sum(mass[correct - i : correct]) / i for i in range(1, correct + 1))
    assert p_value(canaries, guesses, correct, epsilon, delta) == pytest.approx(
        tail + 2 * canaries * delta * slack
    )
    assert p_value(canaries, guesses, correct, epsilon, 0.0) == pytest.approx(tail)


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 200), st.data())
def test_more_right_guesses_prove_no_less(guesses, data):
    correct = data.draw(st.integers(0, guesses - 1))
    for bound in (one_run_epsilon, one_run_gaussian_epsilon):
        less = bound(guesses, guesses, correct, DELTA, ALPHA)
        assert bound(guesses, guesses, correct + 1, DELTA, ALPHA) >= less - 1e-6
        assert (
            less
            <= one_run_ceiling(guesses, DELTA, ALPHA * 6, is_gaussian=bound is one_run_gaussian_epsilon)
            + 1e-6
        )


# ---- verdicts


@pytest.mark.parametrize(
    ("epsilon", "top", "accounted", "conclusion", "says"),
    [
        (4.1, 9.0, 4.0, Conclusion.VIOLATION, "at least 4.1, and 4 is accounted"),
        (4.0, 9.0, 4.0, Conclusion.CONSISTENT, "100% of what is accounted"),
        (1.0, 9.0, 4.0, Conclusion.CONSISTENT, "25% of what is accounted"),
        (1.0, 4.0, 4.0, Conclusion.INCONCLUSIVE, "a side would do"),
        (4.1, 4.2, 4.0, Conclusion.VIOLATION, "4 is accounted"),
        (0.0, 9.0, 0.0, Conclusion.CONSISTENT, "100%"),
        (1.0, 9.0, 1e3, Conclusion.INCONCLUSIVE, "more than a billion"),
    ],
)
def test_conclusions(epsilon, top, accounted, conclusion, says):
    found, why = conclude(LowerBound(Estimator.BONFERRONI, epsilon, top), accounted, DELTA, ALPHA)
    assert found is conclusion
    assert says in why


@pytest.mark.parametrize("bad", [[1.0, 2.0], [1.0, 2.0, 3.0, np.nan], [[1.0] * 4]])
def test_no_trials_are_refused(bad):
    for bound in ESTIMATORS.values():
        with pytest.raises(ValueError, match="scores must be a list"):
            bound(bad, [1.0] * 8, DELTA, ALPHA, 0)
