"""Public coordinates: there and back, and refused where they are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from defenses.dp.shrink import shrunk, unshrunk
from defenses.dp.transform import Transform
from defenses.errors import UserError

SIZE = 8


def made(rank=None, seed=0):
    """Some transform."""
    rng = np.random.default_rng(seed)
    basis = None if rank is None else np.linalg.qr(rng.normal(size=(SIZE, rank)))[0].T
    return Transform(rng.normal(size=SIZE), rng.uniform(0.5, 2, SIZE), basis)


@given(arrays(np.float64, (3, SIZE), elements=st.floats(-10, 10)))
def test_there_and_back_is_where_one_began(rows):
    found = made()
    back = np.stack([found.back(row) for row in found.forward(rows)])
    np.testing.assert_allclose(back, rows, atol=1e-5)


def test_a_basis_keeps_its_directions_and_drops_the_others_to_the_centre():
    found = made(rank=3)
    values = np.array([1.0, -2.0, 0.5])
    again = found.forward(found.back(values)[None])[0]
    np.testing.assert_allclose(again, values, atol=1e-5)
    assert (found.rank, found.size) == (3, SIZE)
    np.testing.assert_allclose(found.back(np.zeros(3)), found.centre, atol=1e-6)


def test_another_centre_moves_what_comes_back_and_nothing_else():
    found = made()
    moved = found.around(found.centre + np.float32(1))
    np.testing.assert_allclose(moved.back(np.zeros(SIZE)), found.centre + 1, atol=1e-6)
    assert (moved.scale == found.scale).all()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"centre": [np.nan, 1]}, "transform.centre is not one row of finite numbers"),
        ({"scale": [1, 0]}, "transform.scale is not one number above 0"),
        ({"scale": [1.0]}, "transform.scale is not one number above 0"),
        ({"basis": np.ones((1, 3))}, r"transform.basis has shape \(1, 3\)"),
        ({"basis": np.ones((1, 2))}, "rows that are not orthonormal"),
    ],
)
def test_what_is_no_transform_is_refused(parts, said):
    with pytest.raises(UserError, match=said):
        Transform(**{"centre": np.zeros(2), "scale": np.ones(2), **parts})


def test_two_ends_know_the_same_transform_by_its_digest():
    assert made().digest == made().digest
    assert len({made().digest, made(seed=1).digest, made(rank=3).digest}) == 3


def test_shrinking_pulls_noise_to_zero_and_leaves_a_strong_signal_alone():
    rng = np.random.default_rng(0)
    noise, signal = rng.normal(size=200), 100 + rng.normal(size=200)
    blocks = np.repeat([0, 1], 200)
    found = shrunk(np.concatenate([noise, signal]), 1.0, blocks)
    assert np.linalg.norm(found[:200]) < 0.4 * np.linalg.norm(noise)
    np.testing.assert_allclose(found[200:], signal, rtol=1e-3)
    assert not shrunk(np.zeros(5), 1.0).any()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3), st.integers(1, 4))
def test_shrinking_can_be_undone_but_for_blocks_that_it_made_zero(seed, deviation, count):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(count, size=60)
    values = rng.normal(size=60) * rng.choice([0.1, 1.0, 10.0], size=count)[blocks]
    left = shrunk(values, deviation, blocks)
    kept = np.bincount(blocks, weights=np.square(left))[blocks] > 0
    found = unshrunk(left, deviation, blocks)
    np.testing.assert_allclose(found[kept], values[kept], rtol=1e-6)
    assert not found[~kept].any()


def test_shrinking_has_the_smaller_error_on_average():
    """Over 400 draws at each of three lengths of the truth; James and Stein's theorem says so for any."""
    rng = np.random.default_rng(1)
    for length in (0.0, 3.0, 10.0):
        truth = np.zeros(50)
        truth[0] = length
        draws = truth + rng.normal(size=(400, 50))
        plain = np.square(draws - truth).sum(axis=1).mean()
        ours = np.mean([np.square(shrunk(draw, 1.0) - truth).sum() for draw in draws])
        assert ours < plain
