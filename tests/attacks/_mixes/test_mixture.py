"""Sparse mixtures: planted ones are found to the last count, and noise is not mistaken for certainty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from attacks._mixes.mixture import CERTAIN, Mixture, _shorten, unmix, whole_counts


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_planted_mixture_is_found(seed, size):
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(300, 80)) + 2
    planted = rng.choice(300, size, replace=False)
    weights = rng.uniform(0.5, 1.5, size)
    found = unmix(columns, weights @ columns[planted], at_most=70, floor=1e-12)
    assert set(found.columns[: len(planted)]) == set(planted)
    assert np.allclose(np.sort(found.weights)[::-1][: len(planted)], np.sort(weights)[::-1], atol=1e-4)
    assert found.residual < 1e-9
    assert found.certain


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_it_solves_what_scipy_solves(seed):
    rng = np.random.default_rng(seed)
    columns, vector = rng.normal(size=(12, 30)), rng.normal(size=30)
    expected, distance = nnls(columns.T, vector)
    found = unmix(columns, vector, at_most=12, floor=0.0)
    weights = np.zeros(12)
    weights[found.columns] = found.weights
    assert np.allclose(weights, expected, atol=1e-8)
    assert found.residual == pytest.approx(distance**2 / 30)
    assert (found.weights > 0).all()


@pytest.mark.parametrize("total", [1, 3, 10])
def test_whole_counts_with_repetition(total):
    rng = np.random.default_rng(total)
    columns = rng.normal(size=(200, 60)) * 50
    planted = np.bincount(rng.choice(8, total), minlength=200)
    vector = planted @ columns / total + rng.normal(size=60)
    start = unmix(columns, vector, at_most=30)
    counts, residual = whole_counts(columns, vector, start, total)
    assert (counts == planted).all()
    assert residual < 2


def test_exchanges_mend_a_bad_start():
    rng = np.random.default_rng(5)
    columns = rng.normal(size=(100, 60)) * 50
    vector = columns[[3, 4, 5, 6]].mean(axis=0)
    start = unmix(columns, columns[[3, 4, 50, 51]].mean(axis=0), at_most=4, floor=1e-12)
    counts, residual = whole_counts(columns, vector, start, 4)
    assert set(np.flatnonzero(counts)) == {3, 4, 5, 6}
    assert residual < 1e-9


def test_a_vector_of_strangers_is_not_certain():
    """100 planted vectors whose members are not among the columns: none may pass for explained."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(150, 60)) * 30
    for _ in range(100):
        vector = (rng.normal(size=(4, 60)) * 30).mean(axis=0)
        _, residual = whole_counts(columns, vector, unmix(columns, vector, at_most=20), 4)
        assert residual > CERTAIN


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(0, 60))
def test_what_is_too_many_goes_from_the_smallest_counts(counts, total):
    slow = np.array(counts)
    while slow.sum() > total:
        slow[np.argmin(np.where(slow > 0, slow, 100))] -= 1
    quick = np.array(counts)
    _shorten(quick, total)
    assert quick.tolist() == slow.tolist()


def test_weights_that_add_up_to_far_more_than_one_are_cut_at_once():
    columns = np.random.default_rng(0).normal(size=(60, 20))
    # One count at a time, this would take a year.
    start = Mixture(np.arange(50), np.full(50, 1e9), 1.0)
    counts, _ = whole_counts(columns, columns[:5].mean(axis=0), start, 10)
    assert counts.sum() == 10
