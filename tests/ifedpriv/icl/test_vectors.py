"""Context vectors and coefficients own finite, read-only numbers of the stated shape, and never print them."""

import numpy as np
import pytest

from ifedpriv.errors import ModelError
from ifedpriv.icl.vectors import BETA, LAMBDA, Coefficients, ContextVector


@pytest.mark.parametrize("shape", [(), (4,), (2, 4), (3, 1, 4), (3, 3, 4), (3, 2, 4, 1)])
def test_a_vector_of_another_shape_is_refused(shape):
    with pytest.raises(ModelError, match=r"context vector has shape .*; it must be \[layers, 2"):
        ContextVector(np.zeros(shape), 1)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 3), (3, 2, 1), (3, 4, 2)])
def test_coefficients_of_another_shape_are_refused(shape):
    with pytest.raises(ModelError, match="coefficients ha"):
        Coefficients(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_not_finite_in_float32_is_refused(bad):
    values = np.zeros((2, 2, 4))
    values[1, 0, 3] = bad
    with np.errstate(over="ignore"), pytest.raises(ModelError, match="not finite"):
        ContextVector(values, 1)
    with np.errstate(over="ignore"), pytest.raises(ModelError, match="not finite"):
        Coefficients(np.full((2, 2, 2), bad))


def test_a_negative_count_is_refused():
    with pytest.raises(ModelError, match="count is -1"):
        ContextVector(np.zeros((1, 2, 3)), -1)


@pytest.mark.parametrize("make", [lambda v: ContextVector(v, 3), Coefficients])
def test_numbers_are_owned_and_read_only(make):
    given = np.ones((2, 2, 2), dtype=np.float32)
    made = make(given)
    given[:] = 7
    assert made.values.dtype == np.float32
    assert (made.values == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        made.values[0] = 5
    with pytest.raises(AttributeError):
        made.values = given


def test_a_vector_prints_its_shape_and_none_of_its_numbers():
    vector = ContextVector(np.full((2, 2, 3), 0.8125), 5)
    assert repr(vector) == str(vector) == "ContextVector(shape=(2, 2, 3), count=5)"


def test_identity_is_lambda_0_and_beta_1_everywhere_and_nothing_else_is():
    identity = Coefficients.identity(3)
    assert identity.values.shape == (3, 2, 2)
    assert identity.is_identity
    assert (identity.values[..., LAMBDA] == 0).all()
    assert (identity.values[..., BETA] == 1).all()
    for place in np.ndindex(3, 2, 2):
        changed = identity.values.copy()
        changed[place] += 1e-6
        assert not Coefficients(changed).is_identity


def test_uniform_puts_each_number_in_its_place():
    values = Coefficients.uniform(2, 0.25, 0.75).values
    assert values.tolist() == [[[0.25, 0.75]] * 2] * 2
