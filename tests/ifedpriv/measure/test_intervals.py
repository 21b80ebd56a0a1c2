"""Known values, and coverage: computed exactly where possible, simulated elsewhere.

Each simulation uses a fixed seed and states how often another seed would fail it although the code is right.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ifedpriv.measure.intervals import (
    Interval,
    bootstrap_macro_f1,
    bootstrap_mean,
    clopper_pearson,
    cluster_bootstrap_macro_f1,
    clustered_mean,
    paired_difference,
    t_interval,
    wilson,
)
from ifedpriv.measure.metrics import accuracy, macro_f1

PROPORTIONS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def exact_coverage(interval, share, trials):
    """The probability that an interval for a proportion holds the true one: a finite sum, no simulation."""
    chance = stats.binom.pmf(np.arange(trials + 1), trials, share)
    return sum(p for successes, p in enumerate(chance) if share in interval(successes, trials))


# ---- proportions


def test_known_intervals_of_a_proportion():
    # Wilson: Newcombe, Statistics in Medicine 1998, table I (81 of 263, 15 of 148, 0 of 20, 1 of 29).
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(successes, trials)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    # Clopper-Pearson: the same table.
    for successes, trials, low, high in (
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ):
        interval = clopper_pearson(successes, trials)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(PROPORTIONS, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_intervals_of_a_proportion_equal_scipys(pair, level):
    result = stats.binomtest(*pair)
    for ours, name in ((wilson, "wilson"), (clopper_pearson, "exact")):
        interval = ours(*pair, level)
        theirs = result.proportion_ci(level, name)
        assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("trials", [5, 20, 100])
def test_clopper_pearson_never_covers_less_than_its_level(trials):
    for share in np.linspace(0.001, 0.999, 40):
        assert exact_coverage(clopper_pearson, share, trials) >= 0.95


def test_wilson_covers_its_level_on_average():
    for trials in (20, 100):
        coverage = [exact_coverage(wilson, share, trials) for share in np.linspace(0.005, 0.995, 100)]
        assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
        assert min(coverage) > 0.83


@given(PROPORTIONS)
def test_intervals_of_a_proportion_are_mirrored_and_hold_the_estimate(pair):
    successes, trials = pair
    for interval in (wilson, clopper_pearson):
        one, other = interval(successes, trials), interval(trials - successes, trials)
        assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)
        assert 0 <= one.low <= successes / trials <= one.high <= 1


# ---- seeds


def test_known_t_interval():
    # Mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.7764.
    interval = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half), abs=1e-5)
    assert t_interval([0.5, 0.5]) == Interval(0.5, 0.5, 0.95, "t, 2 seeds")


def test_t_interval_covers_its_level():
    """3,000 experiments of 5 seeds; 4.9 standard errors, so 1 seed in 10^6 fails."""
    rng = np.random.default_rng(1)
    hits = np.mean([0 in t_interval(values) for values in rng.normal(size=(3000, 5))])
    assert hits == pytest.approx(0.95, abs=4.9 * math.sqrt(0.95 * 0.05 / 3000))


# ---- one method


def population(n_classes, share, accuracy):
    """Probabilities of (truth, prediction), and their macro-F1."""
    joint = np.array(share)[:, None] * ((1 - accuracy) / n_classes + accuracy * np.eye(n_classes))
    return joint, float(np.mean(2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))))


def test_bootstrap_of_macro_f1_covers_its_level():
    """400 test sets of 300 rows. True coverage is about 0.935; below 0.88 is 4.4 standard errors (1 in 10^5).

    An interval of half the width would cover about 0.64, which this rejects.
    """
    joint, true = population(4, [0.4, 0.3, 0.2, 0.1], 0.6)
    rng = np.random.default_rng(2)
    hits, halves = [], []
    for i in range(400):
        drawn = rng.choice(16, p=joint.ravel(), size=300)
        interval = bootstrap_macro_f1(drawn // 4, drawn % 4, resamples=300, seed=i)
        hits.append(true in interval)
        centre, quarter = (interval.low + interval.high) / 2, (interval.high - interval.low) / 4
        halves.append(abs(true - centre) <= quarter)
    assert 0.88 < np.mean(hits) < 0.99
    assert np.mean(halves) < 0.8


def test_bootstrap_of_macro_f1_equals_drawing_rows():
    """Against the plain way of drawing rows: quantiles of 4,000 draws each, which differ by about 0.001."""
    rng = np.random.default_rng(3)
    truth = rng.integers(3, size=120)
    prediction = np.where(rng.random(120) < 0.6, truth, rng.integers(3, size=120))
    rows = rng.integers(120, size=(4000, 120))
    plain = np.quantile([macro_f1(truth[i], prediction[i]) for i in rows], [0.025, 0.975])
    interval = bootstrap_macro_f1(truth, prediction, resamples=4000)
    assert (interval.low, interval.high) == pytest.approx(tuple(plain), abs=0.008)


def test_a_class_that_a_resample_lacks_does_not_count_in_it():
    """Against drawing rows again, where one class has one row; 0.025 is 5 standard errors."""
    truth = np.array([0, 1] * 30 + [2])
    prediction = np.where(np.arange(61) % 7 == 0, 1 - truth % 2, truth % 2)
    rows = np.random.default_rng(14).integers(61, size=(4000, 61))
    plain = np.quantile([macro_f1(truth[i], prediction[i]) for i in rows], [0.025, 0.975])
    interval = bootstrap_macro_f1(truth, prediction, resamples=4000)
    assert (interval.low, interval.high) == pytest.approx(tuple(plain), abs=0.025)


def test_bootstrap_of_a_mean_is_close_to_its_normal_interval():
    values = np.random.default_rng(4).random(400)
    interval = bootstrap_mean(values, resamples=4000)
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.003
    )


def test_bootstraps_repeat_by_seed_and_widen_by_level():
    truth, prediction = [0, 1, 2, 0, 1, 2] * 10, [0, 1, 1, 0, 2, 2] * 10
    one = bootstrap_macro_f1(truth, prediction, seed=1)
    assert one == bootstrap_macro_f1(truth, prediction, seed=1)
    assert one != bootstrap_macro_f1(truth, prediction, seed=2)
    wide = bootstrap_macro_f1(truth, prediction, 0.99, seed=1)
    assert wide.low < one.low < macro_f1(truth, prediction) < one.high < wide.high
    perfect = bootstrap_macro_f1(truth, truth)
    assert (perfect.low, perfect.high) == (1, 1)


# ---- several seeds on one test set


@pytest.mark.parametrize(
    ("by_seed", "by_query", "rest"), [(0.05, 0.0, 0.45), (0.0, 0.4, 0.2), (0.03, 0.3, 0.3)]
)
def test_clustered_mean_covers_both_seeds_and_queries(by_seed, by_query, rest):
    """1,500 experiments of 5 seeds, 100 queries: 4.9 standard errors plus 0.012 of approximation."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(1500):
        scores = rng.normal(0, by_seed, (5, 1)) + rng.normal(0, by_query, 100) + rng.normal(0, rest, (5, 100))
        hits.append(0 in clustered_mean(scores))
    assert np.mean(hits) == pytest.approx(0.95, abs=0.012 + 4.9 * math.sqrt(0.95 * 0.05 / 1500))


def test_seeds_alone_are_too_sure_where_queries_are_shared():
    """The reason for `clustered_mean`: the t interval covers about 0.42 here, 9 standard errors below 0.6."""
    rng = np.random.default_rng(6)
    hits = [
        0 in t_interval((rng.normal(0, 0.4, 100) + rng.normal(0, 0.2, (5, 100))).mean(axis=1))
        for _ in range(600)
    ]
    assert np.mean(hits) < 0.6


def test_clustered_mean_of_independent_seeds_is_the_t_interval():
    scores = np.random.default_rng(7).normal(0, 1, (6, 20_000)) + np.arange(6)[:, None]
    ours, students = clustered_mean(scores), t_interval(scores.mean(axis=1))
    assert (ours.low, ours.high) == pytest.approx((students.low, students.high), rel=0.01)


def answers(rng, n_seeds, n_queries):
    """Predictions of seeds of different skill on queries of different difficulty."""
    truth = rng.choice(4, p=[0.4, 0.3, 0.2, 0.1], size=n_queries)
    chance = 1 / (1 + np.exp(-0.5 - rng.normal(0, 1.5, n_queries) - rng.normal(0, 0.2, (n_seeds, 1))))
    wrong = rng.integers(4, size=(n_seeds, n_queries))
    return truth, list(np.where(rng.random((n_seeds, n_queries)) < chance, truth, wrong))


def test_cluster_bootstrap_of_macro_f1_covers_both():
    """150 experiments of 5 seeds and 200 queries. True coverage is near 0.94, 4.9 standard errors up.

    The t interval over the seeds covers about 0.8, mostly because it knows nothing of the queries' luck.
    """
    rng = np.random.default_rng(8)
    true = np.mean([macro_f1(truth, own) for truth, seeds in [answers(rng, 400, 4000)] for own in seeds])
    hits = [
        true in cluster_bootstrap_macro_f1(truth, seeds, resamples=100, seed=i)
        for i, (truth, seeds) in enumerate(answers(rng, 5, 200) for _ in range(150))
    ]
    assert np.mean(hits) > 0.845


def test_cluster_bootstrap_of_equal_seeds_is_the_bootstrap_of_one():
    rng = np.random.default_rng(9)
    truth, (own,) = answers(rng, 1, 400)
    several = cluster_bootstrap_macro_f1(truth, [own] * 4, resamples=4000)
    one = bootstrap_macro_f1(truth, own, resamples=4000)
    assert several.high - several.low == pytest.approx(one.high - one.low, rel=0.06)


# ---- two methods


def test_known_mcnemar():
    # 6 queries only the first got right, 1 only the second: 2 * (1 + 7) / 2^7.
    truth = [0] * 20
    first = [0] * 16 + [1] + [1] * 3
    second = [0] * 10 + [1] * 6 + [0] + [1] * 3
    result = paired_difference(truth, first, second)
    assert result.estimate == pytest.approx(0.25)
    assert result.p_value == pytest.approx(0.125)
    assert result.test == "exact McNemar"
    assert paired_difference(truth, first, first).p_value == 1
    assert paired_difference(truth, first, first).interval.high == 0


@pytest.mark.parametrize(("metric", "score"), [("accuracy", accuracy), ("macro_f1", macro_f1)])
def test_a_difference_is_the_difference_and_changes_sign(metric, score):
    rng = np.random.default_rng(10)
    truth, (first, second) = answers(rng, 2, 150)
    one, other = (paired_difference(truth, *pair, metric) for pair in ((first, second), (second, first)))
    assert one.estimate == pytest.approx(score(truth, first) - score(truth, second), abs=1e-12)
    assert one.estimate == pytest.approx(-other.estimate, abs=1e-12)
    # Cells are sorted otherwise, so the draws differ: Monte Carlo error of 2,000 draws.
    assert one.interval.low == pytest.approx(-other.interval.high, abs=0.02)
    assert one.p_value == pytest.approx(other.p_value, abs=0.06)
    assert one.estimate in one.interval


def test_macro_f1_swaps_equal_swapping_rows():
    """Against plainly swapped rows: two estimates from 2,000 swaps; 5 standard errors are below 0.08."""
    rng = np.random.default_rng(11)
    truth, (first, second) = answers(rng, 2, 80)
    observed = abs(macro_f1(truth, first) - macro_f1(truth, second))
    plain = []
    for swap in rng.random((2000, 80)) < 0.5:
        difference = macro_f1(truth, np.where(swap, second, first)) - macro_f1(
            truth, np.where(swap, first, second)
        )
        plain.append(abs(difference) >= observed - 1e-12)
    assert paired_difference(truth, first, second, "macro_f1").p_value == pytest.approx(
        np.mean(plain), abs=0.08
    )


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_methods_of_equal_skill_are_rarely_told_apart(metric):
    """400 pairs: at most 0.05 have p below 0.05; above 0.105 is 5 standard errors (false alarm 10^-6)."""
    rng = np.random.default_rng(12)
    below = []
    for i in range(400):
        truth, (first, second) = answers(rng, 2, 60)
        # Swapping at random makes the two methods exchangeable, whatever the seeds' skills.
        swap = rng.random(60) < 0.5
        pair = np.where(swap, second, first), np.where(swap, first, second)
        below.append(paired_difference(truth, *pair, metric, resamples=100, seed=i).p_value < 0.05)
    assert np.mean(below) < 0.105


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_real_difference_is_found(metric):
    rng = np.random.default_rng(13)
    truth = rng.integers(3, size=400)
    first = np.where(rng.random(400) < 0.8, truth, (truth + 1) % 3)
    second = np.where(rng.random(400) < 0.6, truth, (truth + 1) % 3)
    result = paired_difference(truth, first, second, metric)
    assert result.p_value < 0.001
    assert 0 < result.interval.low < 0.2 < result.interval.high


# ---- refusals and words


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(3, 2),
        lambda: wilson(-1, 2),
        lambda: clopper_pearson(0, 0),
        lambda: wilson(1, 2, 1.0),
        lambda: t_interval([1.0]),
        lambda: t_interval([1.0, math.nan]),
        lambda: bootstrap_mean([]),
        lambda: bootstrap_mean([1.0], resamples=10),
        lambda: bootstrap_macro_f1([0], [0, 1]),
        lambda: clustered_mean([[1.0, 2.0]]),
        lambda: clustered_mean([1.0, 2.0]),
        lambda: cluster_bootstrap_macro_f1([0, 1], [[0, 1]]),
        lambda: cluster_bootstrap_macro_f1([0, 1], [[0, 1], [0]]),
        lambda: paired_difference([0, 1], [0, 1], [0, 1], "recall"),
    ],
)
def test_what_cannot_be_measured_is_refused(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()


def test_an_interval_in_words():
    interval = Interval(0.25, 0.5, 0.95, "Wilson")
    assert str(interval) == "[0.25, 0.5] (95%, Wilson)"
    assert 0.25 in interval
    assert 0.51 not in interval
