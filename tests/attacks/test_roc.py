"""ROC figures worked out by hand, against scikit-learn where it is at hand, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from attacks._roc import (
    advantage,
    auc,
    auc_interval,
    balanced_accuracy,
    clustered_auc,
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
