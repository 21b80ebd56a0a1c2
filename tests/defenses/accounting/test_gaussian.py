"""The Gaussian curve: published values, values of 600 digits, and the way there and back."""

import math

import numpy as np
import pytest
from dp_accounting import get_epsilon_gaussian, get_sigma_gaussian
from hypothesis import given
from hypothesis import strategies as st

from defenses.accounting import gaussian_delta, gaussian_epsilon, gaussian_mu_for
from defenses.accounting.gaussian import compose_mu, gaussian_deltas, log_gaussian_delta
from defenses.errors import UserError

# Φ(μ/2 - ε/μ) - exp(ε) Φ(-μ/2 - ε/μ) with mpmath at 700 digits.
CURVE = [
    ((0.0, 1.0), 0.38292492254802621),
    ((1.0, 1.0), 0.12693673750664395),
    ((1.0, 0.001), 3.7766290001428509e-217157),
    ((0.01, 0.001), 7.512025722358201e-28),
    ((0.015, 0.0005), 8.2212118603669732e-203),
    ((8.0, 0.25), 2.3030265327224766e-225),
    ((90.0, 2.5), 4.644066337876572e-266),
    ((485.0, 12.0), 1.8339841168277797e-260),
    ((3.0, 40.0), 1.0),
    ((0.5, 0.02), 3.129776772980134e-141),
]
DELTAS = st.floats(-40, -0.5).map(lambda x: 10**x)
MUS = st.floats(-3, 3).map(lambda x: 10**x)


@pytest.mark.parametrize(("at", "delta"), CURVE)
def test_delta_has_all_its_digits(at, delta):
    assert gaussian_delta(*at) == pytest.approx(delta, rel=1e-12, abs=0)


def test_the_analytic_mechanism_of_balle_and_wang():
    """Their published code calibrates σ = 3.730632 for ε = 1, δ = 1e-5 and sensitivity 1; the classical
    σ = √(2 log(1.25/δ))/ε of Dwork and Roth is 4.84."""
    sigma = 1 / gaussian_mu_for(1.0, 1e-5)
    assert sigma == pytest.approx(3.730632, abs=5e-7)
    assert sigma < math.sqrt(2 * math.log(1.25e5))


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_another_implementation_agrees(epsilon, delta):
    sigma = 1 / gaussian_mu_for(epsilon, delta)
    assert sigma == pytest.approx(get_sigma_gaussian(epsilon, delta), rel=1e-6)
    assert gaussian_epsilon(delta, 1 / sigma) == pytest.approx(get_epsilon_gaussian(sigma, delta), rel=1e-6)


@given(DELTAS, MUS)
def test_there_and_back(delta, mu):
    epsilon = gaussian_epsilon(delta, mu)
    assert log_gaussian_delta(epsilon, mu) <= math.log(delta)
    if epsilon > 0:
        assert gaussian_mu_for(epsilon, delta) == pytest.approx(mu, rel=1e-11)


@given(DELTAS, MUS, st.floats(1.0, 3.0))
def test_a_larger_mu_never_costs_less(delta, mu, factor):
    assert gaussian_epsilon(delta, mu) <= gaussian_epsilon(delta, mu * factor) * (1 + 1e-12)


@given(st.lists(MUS, min_size=1, max_size=5))
def test_composition_is_a_root_of_squares(mus):
    """n-fold composition of N(0, 1) against N(μᵢ, 1) is N(0, I) against a mean of norm √Σμᵢ²."""
    assert compose_mu(mus) == pytest.approx(float(np.linalg.norm(mus)), rel=1e-12)


def test_the_vector_of_deltas_is_the_curve():
    epsilons = np.linspace(-3, 6, 50)
    expected = [gaussian_delta(float(epsilon), 0.8) for epsilon in epsilons]
    np.testing.assert_allclose(gaussian_deltas(epsilons, 0.8), expected, rtol=1e-9)


def test_the_ends_of_the_curve():
    assert gaussian_epsilon(1e-5, 0.0) == 0.0
    assert gaussian_delta(1.0, math.inf) == 1.0
    assert gaussian_delta(0.0, 2.0) == pytest.approx(math.erf(1 / math.sqrt(2)), rel=1e-14)
    assert gaussian_epsilon(0.5, 1.0) == 0.0
    assert gaussian_mu_for(0.0, 0.3) == pytest.approx(2 * math.sqrt(2) * 0.27246271472675435, rel=1e-12)
    assert math.isinf(gaussian_epsilon(1e-5, math.inf))


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, 1.5, math.nan])
def test_deltas_that_are_none_are_refused(delta):
    with pytest.raises(UserError, match="delta"):
        gaussian_epsilon(delta, 1.0)
    with pytest.raises(UserError, match="delta"):
        gaussian_mu_for(1.0, delta)


def test_an_epsilon_below_zero_is_refused():
    with pytest.raises(UserError, match="epsilon"):
        gaussian_mu_for(-1.0, 1e-5)
