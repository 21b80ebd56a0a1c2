"""The vector's share: known answers, what is not defined, and coverage.

Each simulation uses a fixed seed and states how often another seed would fail it although the code is right.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifedpriv.measure.share import share_over_queries, share_over_seeds

BOTH = [share_over_queries, share_over_seeds]


def answers(right, of=500):
    """So many right answers, the first ones."""
    return np.arange(of) < right


@pytest.mark.parametrize(
    ("private", "public", "bare", "share"),
    [
        (450, 450, 100, 0.0),
        (450, 100, 100, 1.0),
        (450, 275, 100, 0.5),
        (450, 50, 100, 8 / 7),
        (400, 450, 100, -1 / 6),
    ],
)
def test_known_shares(private, public, bare, share):
    """0 where the public mean does as well, 1 where it does as the bare model, and neither end is cut."""
    found = share_over_queries(answers(private), answers(public), answers(bare))
    assert found.value == pytest.approx(share)
    assert found.why == ""
    assert found.interval is not None and found.value in found.interval
    by_seed = share_over_seeds(*(np.array([n, n + 5, n - 5]) / 500 for n in (private, public, bare)))
    assert by_seed.value == pytest.approx(share)
    assert by_seed.interval is not None and by_seed.value in by_seed.interval


def test_fiellers_interval_of_a_case_worked_by_hand():
    """Loss 1, 2, 3 and gain 4, 4, 4.6 in three seeds: t = 4.302653 with two degrees of freedom."""
    private = np.array([5.0, 5.0, 5.6])
    found = share_over_seeds(private, private - [1.0, 2.0, 3.0], private - [4.0, 4.0, 4.6])
    lost, gain, t = 2.0, 4.2, 4.302652729911275
    var_lost, var_gain, both = 1 / 3, 0.12 / 3, 0.3 / 3
    a, b, c = gain**2 - t**2 * var_gain, lost * gain - t**2 * both, lost**2 - t**2 * var_lost
    root = np.sqrt(b**2 - a * c)
    assert found.value == pytest.approx(lost / gain)
    assert (found.interval.low, found.interval.high) == pytest.approx(((b - root) / a, (b + root) / a))
    # At both ends, and nowhere else, the loss less so many gains is just not told from nothing.
    for end in (found.interval.low, found.interval.high):
        rest = np.array([1.0, 2.0, 3.0]) - end * np.array([4.0, 4.0, 4.6])
        assert abs(rest.mean()) / (rest.std(ddof=1) / np.sqrt(3)) == pytest.approx(t)


def test_equal_scores_everywhere_have_an_interval_of_no_width():
    found = share_over_seeds([0.9, 0.9], [0.6, 0.6], [0.3, 0.3])
    assert found.value == pytest.approx(0.5)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        ((answers(100), answers(90), answers(100)), "does not beat zero-shot"),
        ((answers(90), answers(95), answers(100)), "does not beat zero-shot"),
        ((answers(1), answers(0), answers(0)), "does not beat zero-shot"),
    ],
)
def test_without_a_gain_there_is_no_share(lists, why):
    found = share_over_queries(*lists)
    assert (found.value, found.interval) == (None, None)
    assert why in found.why


def test_over_seeds_there_is_none_without_a_gain_or_with_one_seed():
    assert share_over_seeds([0.9], [0.5], [0.2]).why == "one seed has no spread"
    for scores in (([0.3, 0.9], [0.2, 0.2], [0.2, 0.2]), ([0.1, 0.11], [0.1, 0.1], [0.5, 0.51])):
        found = share_over_seeds(*scores)
        assert (found.value, found.interval) == (None, None)
        assert "do not beat zero-shot" in found.why


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=40), st.integers(0, 5))
def test_what_is_defined_is_finite_and_inside_its_interval(triples, seed):
    """Also where a few resamples have no gain, which count as shares beyond all others."""
    found = share_over_queries(*np.array(triples, dtype=float).T, resamples=200, seed=seed)
    if found.value is None:
        assert found.why
    else:
        assert np.isfinite([found.interval.low, found.interval.high]).all()
        assert found.interval.low <= found.value <= found.interval.high


def test_the_same_seed_gives_the_same_interval_and_the_order_of_queries_does_not_count():
    rng = np.random.default_rng(4)
    lists = rng.random((3, 300)) < np.array([[0.9], [0.6], [0.3]])
    one = share_over_queries(*lists)
    assert share_over_queries(*lists) == one
    assert share_over_queries(*lists[:, rng.permutation(300)]) == one
    assert share_over_queries(*lists, seed=1).interval != one.interval
    assert share_over_queries(*lists, seed=1).value == one.value


def test_pairing_counts():
    """The same rates, answered right on the same queries or on others: what is hard for all cancels."""
    rng = np.random.default_rng(0)
    paired = [answers(n) for n in (450, 440, 100)]
    apart = [rng.permutation(each) for each in paired]
    widths = [s.interval.high - s.interval.low for s in (share_over_queries(*x) for x in (paired, apart))]
    assert widths[0] < 0.7 * widths[1]


@pytest.mark.parametrize("rates", [(0.93, 0.6, 0.25), (0.93, 0.87, 0.25), (0.9, 0.75, 0.5)])
def test_the_bootstrap_covers_its_level(rates):
    """600 tables of 300 queries. If the true coverage is 0.945, the standard error is 0.0093, and one in about
    1,500 other seeds would fail the lower bound, fewer the upper one."""
    rng = np.random.default_rng(11)
    private, public, bare = rates
    truth = (private - public) / (private - bare)
    held = []
    for _ in range(600):
        lists = rng.random((3, 300)) < np.array(rates)[:, None]
        found = share_over_queries(*lists, resamples=400)
        held.append(found.value is not None and truth in found.interval)
    assert 0.915 < np.mean(held) < 0.98


@pytest.mark.parametrize(("seeds", "spread"), [(5, 0.03), (3, 0.1)])
def test_fieller_covers_its_level(seeds, spread):
    """2,000 curves of binomial accuracies of 500 queries, whose rates vary over seeds by ``spread`` on top. Fieller's
    interval is exact for normal pairs: the standard error is 0.005, and one in 10,000 other seeds would fail. Where it
    is unbounded there is no share, and the truth is not excluded."""
    rng = np.random.default_rng(12)
    rates = np.array([[0.93], [0.6], [0.25]])
    truth = (0.93 - 0.6) / (0.93 - 0.25)
    held = []
    for _ in range(2000):
        varied = np.clip(rates + spread * rng.normal(size=(3, seeds)), 0, 1)
        found = share_over_seeds(*(rng.binomial(500, varied) / 500))
        held.append(found.value is None or truth in found.interval)
    assert 0.93 < np.mean(held) < 0.97


@pytest.mark.parametrize("share", BOTH)
@pytest.mark.parametrize(
    "lists",
    [([], [], []), ([1.0], [1.0], [1.0, 0.0]), ([np.nan, 1], [1, 1], [0, 0]), ([[1.0]], [[1.0]], [[0.0]])],
)
def test_what_is_no_score_is_refused(share, lists):
    with pytest.raises(ValueError, match="scores must be"):
        share(*lists)


@pytest.mark.parametrize("share", BOTH)
def test_a_level_is_between_0_and_1(share):
    with pytest.raises(ValueError, match="level is 95"):
        share([1.0, 1.0], [1.0, 0.0], [0.0, 0.0], 95)
    with pytest.raises(ValueError, match="resamples is 10"):
        share_over_queries([1.0], [1.0], [0.0], resamples=10)
