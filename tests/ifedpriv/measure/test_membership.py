"""The loss threshold attack: on losses whose answer is known."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ifedpriv.measure.intervals import clopper_pearson
from ifedpriv.measure.membership import area, best_threshold, yeom


def four(rng, shift, n=400):
    """Losses of shadow members, shadow others, members and others; members' are lower by ``shift``."""
    return tuple(rng.normal(-shift if place % 2 == 0 else 0.0, 1.0, n) for place in range(4))


def test_an_optimal_attack_is_found():
    """Two normals of unit width, 2 apart: the best advantage is 2 Phi(1) - 1 = 0.683, the area Phi(sqrt 2) = 0.921.

    5 standard errors of 4,000 and 4,000: a false alarm in about 1e-6.
    """
    found = yeom(*four(np.random.default_rng(0), 2.0, 4000))
    assert found.threshold == pytest.approx(-1.0, abs=0.3)
    assert found.advantage == pytest.approx(2 * stats.norm.cdf(1) - 1, abs=5 * 0.0083)
    assert found.auc == pytest.approx(stats.norm.cdf(math.sqrt(2)), abs=0.02)
    assert found.low_rate == pytest.approx(stats.norm.cdf(2 + stats.norm.ppf(0.01)), abs=0.08)


def test_nothing_to_find_is_an_advantage_of_about_zero_of_either_sign():
    """A threshold that is judged where it is chosen is never below 0; one that is not is, about half of the time.

    30 draws with no difference: all at or above 0, or all at or below, in fewer than 1 of 1e6 (ties aside).
    """
    rng = np.random.default_rng(1)
    found = [yeom(*four(rng, 0.0, 60)) for _ in range(30)]
    values = [each.advantage for each in found]
    assert min(values) < 0 < max(values)
    # Each interval holds 0 with at least 95%: fewer than 23 of 30 has a chance below 1e-4.
    assert sum(0.0 in each.advantage_interval for each in found) >= 23


def test_members_that_were_learned_by_heart_are_certain():
    members, others = np.full(50, 0.01), np.full(50, 3.0)
    found = yeom(members, others, members, others)
    assert (found.advantage, found.auc, found.low_rate) == (1.0, 1.0, 1.0)
    assert found.auc_interval.low > 0.9
    assert found.low_rate_interval == clopper_pearson(50, 50)


def test_losses_that_are_all_the_same_tell_nothing():
    same = np.ones(40)
    found = yeom(same, same, same, same)
    assert (found.advantage, found.auc, found.low_rate) == (0.0, 0.5, 0.0)


def test_the_area_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(2)
    members, others = rng.integers(0, 6, 70) / 2.0, rng.integers(1, 7, 90) / 2.0
    labels = np.r_[np.ones(70), np.zeros(90)]
    assert area(members, others) == pytest.approx(roc_auc_score(labels, -np.r_[members, others]))


def test_the_threshold_is_the_best_on_what_it_is_chosen_on():
    rng = np.random.default_rng(3)
    members, others = rng.normal(-0.5, 1, 60), rng.normal(0, 1, 80)
    found = best_threshold(members, others)
    advantage = [(members <= t).mean() - (others <= t).mean() for t in np.r_[members, others]]
    assert (members <= found).mean() - (others <= found).mean() == pytest.approx(max(advantage))


def test_few_false_alarms_means_few():
    """With 50 others, 1% is none of them: the threshold has to lie below all their losses."""
    members, others = np.r_[np.full(30, -5.0), np.full(20, 1.0)], np.linspace(0, 1, 50)
    assert yeom(members, others, members, others).low_rate == 0.6


def test_losses_that_are_none_are_refused():
    with pytest.raises(ValueError, match="finite"):
        yeom(np.ones(3), np.ones(3), np.ones(3), np.array([np.inf]))
