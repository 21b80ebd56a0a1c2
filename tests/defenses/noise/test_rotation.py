"""The rotation is orthonormal, comes back, is the same everywhere, and spreads what stands out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as matrix

from defenses import UserError
from defenses.noise.rotation import Rotation, hadamard, padded

SIZES = st.integers(1, 70)
SEEDS = st.binary(min_size=0, max_size=32)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 64, 512])
def test_transform_is_the_matrix(size):
    assert np.allclose(hadamard(np.eye(size)), matrix(size) / np.sqrt(size), rtol=0, atol=1e-15)


@given(st.integers(0, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_transform_is_its_own_inverse_and_keeps_norms(power, rows, seed):
    given_ = numbers((rows, 2**power), seed)
    before = given_.copy()
    turned = hadamard(given_)
    assert np.array_equal(given_, before)
    assert np.allclose(hadamard(turned), given_, rtol=0, atol=1e-13)
    assert np.allclose((turned**2).sum(axis=1), (given_**2).sum(axis=1), rtol=1e-13)


@given(SIZES, SEEDS, st.integers(1, 4), st.integers(0, 2**32))
def test_rotation_comes_back_keeps_norms_and_inner_products(size, seed, rows, numbers_seed):
    rotation, values = Rotation(size, seed), numbers((rows, size), numbers_seed)
    turned = rotation.apply(values)
    assert turned.shape == (rows, padded(size))
    assert np.allclose(rotation.undo(turned), values, rtol=0, atol=1e-13)
    assert np.allclose(turned @ turned.T, values @ values.T, rtol=0, atol=1e-11)
    assert np.array_equal(rotation.apply(values[0]), turned[0])
    assert np.allclose(rotation.undo(turned.sum(axis=0)), values.sum(axis=0), rtol=0, atol=1e-12)


def test_large_vectors_come_back():
    values = numbers(200_000)
    rotation = Rotation(200_000, b"seed")
    assert np.abs(rotation.undo(rotation.apply(values)) - values).max() < 1e-13


def test_one_large_number_is_spread_over_all():
    values = np.zeros(1000)
    values[17] = 3.0
    assert np.allclose(np.abs(Rotation(1000, b"x").apply(values)), 3 / 32, rtol=1e-15)


def test_signs_come_from_the_seed_alone():
    ones = Rotation(16, b"a public seed")
    assert hadamard(ones.apply(np.ones(16))).tolist() == KNOWN_SIGNS
    many = (
        Rotation(100_000, b"one").apply(np.ones(100_000)),
        Rotation(100_000, b"two").apply(np.ones(100_000)),
    )
    signs = [hadamard(each)[:100_000] for each in many]
    for each in signs:
        assert abs(each.sum()) < 5 * 100_000**0.5
    assert abs(signs[0] @ signs[1]) < 5 * 100_000**0.5


KNOWN_SIGNS = [1, 1, 1, 1, 1, -1, 1, -1, 1, 1, -1, 1, -1, 1, 1, -1]


def test_padding():
    assert [padded(size) for size in (1, 2, 3, 4, 5, 1023, 1024, 1025)] == [1, 2, 4, 4, 8, 1024, 1024, 2048]


def test_shapes_are_checked():
    with pytest.raises(UserError, match="power of two"):
        hadamard(np.zeros(6))
    with pytest.raises(UserError, match="rotation"):
        Rotation(6, b"").apply(np.zeros((2, 8)))
    with pytest.raises(UserError, match="rotation"):
        Rotation(6, b"").undo(np.zeros((2, 6)))
    with pytest.raises(UserError, match=r"rotation\.size"):
        Rotation(0, b"")
