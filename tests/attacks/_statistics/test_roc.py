"""ROC figures worked out by hand, against scikit-learn where it is at hand, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from attacks._statistics.bca import acceleration, bca
from attacks._statistics.roc import (
    advantage,
    auc,
    auc_interval,
    balanced_accuracy,
    clustered_auc,
    delong_variance,
    non_members_needed,
    rate_at,
    roc,
)

VALUES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


def test_a_curve_by_hand():
    curve = roc([3, 1, 2], [0, 2])
    assert curve.threshold.tolist() == [np.inf, 3, 2, 1, 0]
    assert np.allclose(curve.true_positive, [0, 1 / 3, 2 / 3, 1, 1])
    assert np.allclose(curve.false_positive, [0, 0, 1 / 2, 1 / 2, 1])
    assert auc([3, 1, 2], [0, 2]) == pytest.approx((2 + 1 + 1.5) / 6)
    assert balanced_accuracy([3, 1, 2], [0, 2]) == pytest.approx(0.75)
    assert advantage([3, 1, 2], [0, 2]) == pytest.approx(0.5)


@given(VALUES, VALUES)
def test_area_is_that_of_the_trapezia(members, others):
    curve = roc(members, others)
    area = np.trapezoid(curve.true_positive, curve.false_positive)
    assert auc(members, others) == pytest.approx(area)
    assert auc(members, others) + auc(others, members) == pytest.approx(1)


@settings(max_examples=30)
@given(VALUES, VALUES, st.sampled_from([0.01, 0.1, 0.5, 0.99]))
def test_a_rate_never_takes_more_false_positives_than_asked(members, others, target):
    found = rate_at(members, others, target)
    assert found.false_positives <= target * len(others) + 1e-9
    curve = roc(members, others)
    allowed = curve.false_positive <= target + 1e-12
    assert found.value == pytest.approx(curve.true_positive[allowed].max())
    assert found.value in found.interval


def test_how_many_non_members_certify_a_rate():
    assert (non_members_needed(0.001), non_members_needed(0.01)) == (2995, 299)
    assert not rate_at([1.0], np.zeros(2994), 0.001).enough
    assert rate_at([1.0], np.zeros(2995), 0.001).enough


def test_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 200).round(1), rng.normal(0, 1, 300).round(1)
    labels = np.arange(500) < 200
    assert auc(one, other) == pytest.approx(metrics.roc_auc_score(labels, np.concatenate([one, other])))


def test_delongs_interval_covers():
    """400 draws: for a coverage of 0.95, fewer than 0.92 covered has a probability below 0.01."""
    truth = float(ndtr(1 / np.sqrt(2)))
    rng = np.random.default_rng(1)
    covered = [truth in auc_interval(rng.normal(1, 1, 60), rng.normal(0, 1, 80)) for _ in range(400)]
    assert np.mean(covered) >= 0.92


CLINIC = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0   2.5 5.7  8 0   1.6 5.6  5 1
3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1   4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0
2.3 4.4  6 1   4.2 7.6  4 0   4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1   3.3 6.8  6 0   1.7 4.0  7 0
3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1   2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1
3.3 5.7  6 1   3.7 6.9  5 1   3.6 6.6  5 1
"""
"""The 43 complete patients of DeLong, DeLong & Clarke-Pearson 1988: albumin, total protein, score, and the outcome."""


@pytest.mark.parametrize(
    ("column", "sign", "area", "error"),
    [(0, 1, 0.7366, 0.0927), (2, -1, 0.7258, 0.1028), (1, 1, 0.6478, 0.1000)],
)
def test_delongs_own_data(column, sign, area, error):
    """Areas and standard errors as SAS prints them for these data (PROC LOGISTIC, comparing ROC curves)."""
    rows = np.array(CLINIC.split(), dtype=float).reshape(-1, 4)
    assert len(rows) == 43
    one, other = (sign * rows[rows[:, 3] == outcome, column] for outcome in (1, 0))
    assert auc(one, other) == pytest.approx(area, abs=5e-5)
    assert np.sqrt(delong_variance(one, other)) == pytest.approx(error, abs=5e-5)


@given(VALUES, VALUES)
def test_delongs_variance_is_that_of_its_definition(members, others):
    """By every pair, as the paper writes it, for scores with ties."""
    if min(len(members), len(others)) < 2:
        return
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in others] for a in members])
    rows, columns = wins.mean(axis=1), wins.mean(axis=0)
    expected = rows.var(ddof=1) / len(rows) + columns.var(ddof=1) / len(columns)
    assert delong_variance(members, others) == pytest.approx(expected, abs=1e-12)


SPATIAL = np.array(
    [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41],
    float,
)
"""Efron & Tibshirani 1993, Table 14.1, column A."""


def test_efrons_own_example():
    """Their chapter 14: the variance is 171.5, the acceleration 0.061, the 90% interval (115.8, 259.6)."""
    value = SPATIAL.var()
    without = np.array([np.delete(SPATIAL, i).var() for i in range(26)])
    assert value == pytest.approx(171.5, abs=0.05)
    assert acceleration(without) == pytest.approx(0.061, abs=5e-4)
    drawn = np.random.default_rng(0).choice(SPATIAL, size=(20_000, 26)).var(axis=1)
    # Theirs are from 2,000 resamples, which leaves its ends uncertain by a few units.
    assert bca(value, drawn, without, 0.9) == pytest.approx((115.8, 259.6), abs=5)


def test_agrees_with_scipys_bca():
    from scipy.stats import bootstrap

    expected = bootstrap(
        (SPATIAL,),
        np.var,
        method="BCa",
        n_resamples=20_000,
        confidence_level=0.95,
        rng=np.random.default_rng(1),
    )
    without = np.array([np.delete(SPATIAL, i).var() for i in range(26)])
    found = bca(SPATIAL.var(), expected.bootstrap_distribution, without, 0.95)
    assert found == pytest.approx(tuple(expected.confidence_interval), rel=1e-9)


def test_a_clustered_area_is_that_of_its_parts():
    """The interval's kind; and an area of 1 on six vectors is not certain to be 1 on others."""
    rng = np.random.default_rng(5)
    clusters, members = np.repeat(np.arange(6), 20), np.tile(np.arange(20) < 5, 6)
    scores = rng.normal(size=120) + members
    _, interval = clustered_auc(scores, members, clusters)
    assert interval.method.startswith("BCa bootstrap over 6 vectors")
    perfect, around = clustered_auc(members.astype(float), members, clusters)
    assert (perfect, around.high) == (1.0, 1.0)
    assert around.low == pytest.approx(0.025 ** (1 / 6))


def test_clustered_intervals_cover():
    """150 draws of 15 vectors of unequal strength; fewer than 0.85 covered: below 0.001 at a coverage of 0.93."""
    rng = np.random.default_rng(2)
    clusters, members = np.repeat(np.arange(15), 24), np.tile(np.arange(24) < 4, 15)

    def drawn(vectors):
        of = np.repeat(np.arange(vectors), 24)
        is_member = np.tile(np.arange(24) < 4, vectors)
        strength = rng.normal(1.0, 0.5, vectors)[of]
        return is_member, rng.normal(size=24 * vectors) + strength * is_member

    is_member, scores = drawn(4000)
    truth = auc(scores[is_member], scores[~is_member])
    covered = [truth in clustered_auc(drawn(15)[1], members, clusters, seed=i)[1] for i in range(150)]
    assert np.mean(covered) >= 0.85


def test_published_values_of_the_area_and_of_rates():
    """As in jax_privacy's tests: a ROC curve that is a circular arc has area π/4, and rates √(f(2 - f))."""
    one, other = np.sqrt(1 - np.linspace(0, 1, 10_000) ** 2), np.linspace(0, 1, 15_000)
    assert auc(one, other) == pytest.approx(np.pi / 4, abs=1e-3)
    for share in (0.01, 0.1, 1 / 3, 0.8):
        assert rate_at(one, other, share).value == pytest.approx(np.sqrt(share * (2 - share)), rel=2e-3)


def test_a_perfect_area_is_not_certain():
    found = auc_interval([5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert found.high == 1.0
    assert 0.3 < found.low < 0.5


def test_vectors_are_the_unit_where_scores_share_them():
    """Scores that are nothing but their vector's own level: one by one they look certain, by vectors they do not."""
    rng = np.random.default_rng(3)
    level = np.repeat(rng.normal(size=12), 50)
    clusters = np.repeat(np.arange(12), 50)
    # A vector holds members only or others only, so its level is all there is to tell them by.
    members = clusters % 2 == 0
    scores = level + 0.01 * rng.normal(size=600)
    value, interval = clustered_auc(scores, members, clusters)
    assert value == pytest.approx(auc(scores[members], scores[~members]))
    alone = auc_interval(scores[members], scores[~members])
    assert interval.high - interval.low > 4 * (alone.high - alone.low)
    assert value in interval


def test_points_for_logarithmic_axes():
    rng = np.random.default_rng(0)
    points = roc(rng.normal(2, 1, 2000), rng.normal(0, 1, 2000)).points(1e-4, 50)
    assert len(points) <= 50
    assert points[-1] == (1.0, 1.0)
    assert min(min(point) for point in points) >= 1e-4
    assert sorted(points) == points


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [[1.0]]])
def test_no_scores_are_refused(bad):
    with pytest.raises(ValueError, match="must be a list of numbers"):
        auc(bad, [1.0])
