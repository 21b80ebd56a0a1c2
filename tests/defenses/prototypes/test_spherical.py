"""Directions, and k-means among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses.errors import UserError
from defenses.prototypes.spherical import mixture_weights, nearest, similarities, spherical_kmeans, unit


def test_a_vector_without_direction_is_as_near_to_all() -> None:
    centres = np.eye(3)
    np.testing.assert_array_equal(similarities(np.zeros(3), centres), 0)
    assert nearest(np.zeros(3), centres) == 0
    assert nearest(np.zeros(3), centres, np.asarray([False, False, True])) == 2
    np.testing.assert_array_equal(unit(np.zeros((2, 3))), 0)
    np.testing.assert_allclose(mixture_weights(np.zeros(3), centres, 0.1), 1 / 3)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_length_does_not_count(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    vector, centres = rng.normal(size=(2, 4)), rng.normal(size=(5, 2, 4))
    np.testing.assert_allclose(
        similarities(vector * factor, centres), similarities(vector, centres), atol=1e-9
    )
    assert nearest(vector * factor, centres) == nearest(vector, centres)


def test_the_nearest_that_is_alive_is_taken() -> None:
    centres = np.eye(3)
    vector = np.asarray([1.0, 0.5, 0.1])
    assert nearest(vector, centres) == 0
    assert nearest(vector, centres, np.asarray([False, True, True])) == 1


def test_a_cold_mix_is_the_nearest_and_a_hot_one_is_even() -> None:
    centres, vector = np.eye(3), np.asarray([1.0, 0.5, 0.1])
    np.testing.assert_allclose(mixture_weights(vector, centres, 1e-3), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(mixture_weights(vector, centres, 1e6), 1 / 3, atol=1e-5)
    dead = mixture_weights(vector, centres, 1.0, np.asarray([False, True, True]))
    assert dead[0] == 0 and dead.sum() == pytest.approx(1)
    with pytest.raises(UserError, match="temperature of a mix is 0"):
        mixture_weights(vector, centres, 0.0)


@pytest.mark.parametrize("k", [2, 4, 7])
def test_groups_that_lie_apart_are_found(k: int) -> None:
    rng = np.random.default_rng(k)
    truth = np.repeat(np.arange(k), 6)
    points = np.eye(k + 3)[truth] * 5 + rng.normal(size=(len(truth), k + 3)) * 0.3
    found = spherical_kmeans(points, k, rng, restarts=20)
    # The same partition: every cluster is one group.
    assert len({(t, f) for t, f in zip(truth, found.labels, strict=True)}) == k
    assert found.score > 0.9


def test_more_clusters_than_points_are_refused() -> None:
    with pytest.raises(UserError, match="number of clusters is 4 and there are 3 points"):
        spherical_kmeans(np.eye(3), 4, np.random.default_rng(0))


def test_equal_points_fill_no_more_than_they_can() -> None:
    found = spherical_kmeans(np.ones((5, 2)), 3, np.random.default_rng(0), restarts=2)
    assert set(found.labels) == {found.labels[0]} and found.score == pytest.approx(1)
