"""Means of groups from sums of moments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses.errors import UserError
from defenses.prototypes.moments import (
    groups_by_gap,
    mixture,
    principal,
    second_moments,
    second_size,
    third_moments,
    third_size,
    unpacked_second,
    unpacked_third,
)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_packed_moments_are_moments_and_no_longer_than_the_point_allows(n: int, seed: int) -> None:
    point = np.random.default_rng(seed).normal(size=n)
    second, third = second_moments(point), third_moments(point)
    assert len(second) == second_size(n) and len(third) == third_size(n)
    np.testing.assert_allclose(unpacked_second(second, n), np.outer(point, point), atol=1e-12)
    cube = np.einsum("i,j,k->ijk", point, point, point)
    np.testing.assert_allclose(unpacked_third(third, n), cube, atol=1e-12)
    length = np.linalg.norm(point)
    assert np.linalg.norm(second) == pytest.approx(length**2)
    assert np.linalg.norm(third) == pytest.approx(length**3)


def moments(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, count = points.shape[1], len(points)
    second = unpacked_second(np.mean([second_moments(p) for p in points], axis=0), n)
    third = unpacked_third(np.mean([third_moments(p) for p in points], axis=0), n)
    assert count
    return points.mean(axis=0), second, third


@pytest.mark.parametrize("sizes", [(4, 4), (7, 2), (3, 3, 3), (5, 3, 9, 4)])
def test_exact_groups_come_back_exactly(sizes: tuple[int, ...]) -> None:
    """No noise: the theorem's case. Means around a common centre are dependent, and are found all the same."""
    k = len(sizes)
    rng = np.random.default_rng(k)
    means = rng.normal(size=(k, k - 1))
    means -= (np.asarray(sizes) / sum(sizes)) @ means
    found = mixture(*moments(np.repeat(means, sizes, axis=0)), k, rng)
    distance = np.linalg.norm(found.means[:, None] - means[None], axis=-1)
    order = distance.argmin(axis=1)
    assert sorted(order) == list(range(k))
    np.testing.assert_allclose(found.means, means[order], atol=1e-6)
    np.testing.assert_allclose(found.shares, np.asarray(sizes)[order] / sum(sizes), atol=1e-6)


def test_groups_that_scatter_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat(np.arange(4), 6)
    points = rng.normal(size=(4, 3))[truth] * 2 + rng.normal(size=(24, 3)) * 0.2
    found = mixture(*moments(points), 4, rng)
    nearest = np.linalg.norm(points[:, None] - found.means[None], axis=-1).argmin(axis=1)
    assert len(set(zip(truth, nearest, strict=True))) == 4


def test_one_group_is_the_mean() -> None:
    points = np.random.default_rng(0).normal(size=(9, 3)) + 1
    found = mixture(*moments(points), 1, np.random.default_rng(1))
    np.testing.assert_allclose(found.means[0], points.mean(axis=0))


def test_more_groups_than_directions_tell_are_refused() -> None:
    with pytest.raises(UserError, match="4 groups were asked of moments in 2 directions"):
        mixture(np.zeros(2), np.eye(2), np.zeros((2, 2, 2)), 4, np.random.default_rng(0))


def test_points_that_are_all_zero_give_finite_means() -> None:
    found = mixture(*moments(np.zeros((5, 2))), 3, np.random.default_rng(0))
    assert np.isfinite(found.means).all() and np.isfinite(found.shares).all()


def test_principal_directions_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(500, 4)) * np.asarray([1, 5, 0.1, 2]) + 3
    mean, second, _ = moments(points)
    variances, directions = principal(mean, second)
    np.testing.assert_allclose(
        variances, np.sort(np.linalg.eigvalsh(np.cov(points.T, bias=True)))[::-1], atol=1e-9
    )
    assert np.abs(directions[0]).argmax() == 1 and directions[0][1] > 0
    np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=1e-9)


@pytest.mark.parametrize(
    ("variances", "most", "expected"),
    [
        ([5.0, 1.0, 0.9], 8, 2),
        ([5.0, 4.8, 4.6, 1.0, 0.9], 8, 4),
        ([1.0, 0.98, 0.96, 0.94], 8, 1),
        ([5.0, 4.8, 4.6, 1.0, 0.9], 3, 1),
        ([5.0, 1.0], 1, 1),
        ([0.0, 0.0], 4, 1),
        ([1.0, -1e-9], 4, 2),
    ],
)
def test_the_number_of_groups_is_read_off_the_gap(variances: list[float], most: int, expected: int) -> None:
    assert groups_by_gap(np.asarray(variances), most, 1.3) == expected
