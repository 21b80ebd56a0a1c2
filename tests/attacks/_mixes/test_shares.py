"""Shares of classes: exact where nothing hides them, what is expected where noise does, and how wide that is."""

import numpy as np
import pytest

from attacks._mixes.shares import Expected, mix, tells, whole

CLASSES, DIRECTIONS = 4, 50
MEAN = np.array([0.4, 0.3, 0.2, 0.1])


def means():
    return np.random.default_rng(0).normal(size=(CLASSES, DIRECTIONS))


def seen(shares, noise, seed=1):
    """Noised mixes, and what the noise is known to be."""
    rng = np.random.default_rng(seed)
    points = [row @ means() + noise * rng.normal(size=DIRECTIONS) for row in shares]
    return points, [np.full(DIRECTIONS, noise**2)] * len(points)


def test_a_mix_is_solved_exactly_and_rounded_to_counts():
    means = np.random.default_rng(0).normal(size=(4, 50))
    shares = np.array([0.5, 0.25, 0.25, 0.0])
    assert np.allclose(mix(shares @ means, means, np.ones(50)), shares, atol=1e-6)
    assert np.array_equal(whole(np.array([0.47, 0.27, 0.26, 0.0]), 4), shares)


@pytest.mark.parametrize(("texts", "noise"), [(16, 0.1), (16, 1.0), (1, 0.1), (1, 3.0)])
def test_the_width_is_that_of_so_many_texts(texts, noise):
    """300 vectors; the standard error is an eighth of it at most, and a third is nearly three of them."""
    drawn = np.random.default_rng(2).multinomial(texts, MEAN, size=300) / texts
    points, variances = seen(drawn, noise)
    assert Expected.seen(MEAN, points, variances, means()).width == pytest.approx(1 / texts, rel=0.35)


def test_vectors_that_are_all_alike_are_taken_for_what_is_expected():
    """However much noise there is: least squares alone would be off by a third of a share and more."""
    points, variances = seen(np.tile(MEAN, (200, 1)), 3.0)
    expected = Expected.seen(MEAN, points, variances, means())
    answers = [mix(point, means(), each, expected) for point, each in zip(points, variances, strict=True)]
    plain = [mix(point, means(), each) for point, each in zip(points, variances, strict=True)]
    assert np.mean(np.abs(np.array(answers) - MEAN)) < 0.02
    assert np.mean(np.abs(np.array(plain) - MEAN)) > 0.1


def test_what_is_expected_moves_nothing_that_is_told():
    shares = np.array([0.0, 0.0, 0.25, 0.75])
    (point,), (variance,) = seen([shares], 0.01)
    assert np.allclose(mix(point, means(), variance, Expected(MEAN)), shares, atol=0.01)
    assert tells(means(), variance, Expected(MEAN), 8)
    assert not tells(means(), np.full(DIRECTIONS, 1e4), Expected(MEAN), 1)
