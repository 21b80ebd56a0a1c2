"""How unequally clients are served: worked by hand, and against what perfect answers have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.measure.fairness import odds_difference, parity_difference, rates, spread, weights_of

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def test_the_spread_counts_each_client_once():
    found = spread(np.array([0.5, 0.9, 0.7, 0.1]))
    assert (found.clients, found.worst, found.best, found.bottom_decile) == (4, 0.1, 0.9, 0.1)
    assert found.mean == pytest.approx(0.55)
    assert found.std == pytest.approx(np.std([0.5, 0.9, 0.7, 0.1]))
    assert found.variance == pytest.approx(found.std**2)


def test_the_lowest_tenth_is_rounded_up_to_whole_clients():
    assert spread(np.arange(1, 21) / 20).bottom_decile == pytest.approx((0.05 + 0.1) / 2)
    assert spread(np.arange(1, 12) / 20).bottom_decile == pytest.approx((0.05 + 0.1) / 2)


@given(st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any))
def test_weights_give_a_clients_mix_of_classes(counts):
    truth = np.array([0, 0, 0, 1, 2, 2])
    weights = weights_of(truth, np.array(counts))
    assert weights.sum() == pytest.approx(1)
    assert rates(truth, weights, 3) == pytest.approx(np.array(counts) / sum(counts))


def test_classes_that_nobody_is_asked_about_are_left_out():
    weights = weights_of(TRUTH, np.array([1, 1, 6]))
    assert rates(TRUTH, weights, 3) == pytest.approx([0.5, 0.5, 0])
    assert weights_of(TRUTH, np.array([0, 0, 6])) == pytest.approx(np.full(8, 1 / 8))


def test_perfect_answers_to_unequal_clients_are_not_equal():
    """One client holds class 0 alone, the other both: perfect predictions differ by half."""
    mixes = [weights_of(TRUTH, np.array(counts)) for counts in ([5, 0], [5, 5])]
    perfect = np.stack([rates(TRUTH, weights, 2) for weights in mixes])
    assert parity_difference(perfect) == pytest.approx(0.5)
    always_one = np.stack([rates(np.ones(8, dtype=np.int64), weights, 2) for weights in mixes])
    assert parity_difference(always_one) == pytest.approx(0.0)


def test_equalised_odds_are_zero_for_perfect_answers_and_see_a_group_that_is_served_worse():
    truth = [TRUTH, TRUTH]
    assert odds_difference(truth, truth, 2) == 0
    worse = TRUTH.copy()
    worse[:2] = 1
    assert odds_difference(truth, [TRUTH, worse], 2) == pytest.approx(0.5)
    assert odds_difference([TRUTH[:4], TRUTH[4:]], [TRUTH[:4], TRUTH[4:]], 2) is None


def test_scores_that_are_none_are_refused():
    with pytest.raises(ValueError, match="one finite number"):
        spread(np.array([]))
