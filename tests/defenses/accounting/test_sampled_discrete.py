"""Samples under discrete noise: the bound holds against sums over all outcomes, in one dimension and in two."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from defenses.accounting.composition import Composition
from defenses.accounting.continuous import SampledGaussian
from defenses.accounting.mechanisms import mechanism_from_json
from defenses.accounting.sampled_discrete import SampledDiscreteGaussian


def law(centre, sigma, reach):
    """Logarithms of the probabilities of a discrete Gaussian around a whole number, over -reach..reach."""
    numbers = np.arange(-reach, reach + 1)
    weights = -((numbers - centre) ** 2) / (2 * sigma**2)
    return weights - logsumexp(weights)


def mixture(rate, without, with_it):
    """Of the two laws."""
    return np.logaddexp(math.log1p(-rate) + without, math.log(rate) + with_it)


def divergence(one, other, order):
    """Rényi divergence of one law from another."""
    return float(logsumexp(order * one + (1 - order) * other)) / (order - 1)


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
@pytest.mark.parametrize(("steps", "sigma"), [((3,), 2.0), ((1,), 0.6), ((2, 1), 1.7)])
def test_no_order_exceeds_the_bound_in_either_direction(rate, steps, sigma):
    reach = 30
    without = with_it = np.zeros(1)
    for step in steps:
        without = np.add.outer(without, law(0, sigma, reach)).ravel()
        with_it = np.add.outer(with_it, law(step, sigma, reach)).ravel()
    mixed = mixture(rate, without, with_it)
    mechanism = SampledDiscreteGaussian(sigma / math.hypot(*steps), rate, 1)
    for order in (2, 3, 5, 8):
        bound = mechanism.renyi(order) * (1 + 1e-9) + 1e-12
        assert divergence(mixed, without, order) <= bound
        assert divergence(without, mixed, order) <= bound


def test_the_bound_is_not_loose_where_noise_is_wide():
    """Wide discrete noise is nearly normal, and so is what it costs."""
    mechanism = SampledDiscreteGaussian(2.0, 0.1, 1)
    without, with_it = law(0, 40.0, 900), law(20, 40.0, 900)
    found = divergence(mixture(0.1, without, with_it), without, 4)
    assert found == pytest.approx(mechanism.renyi(4), rel=1e-6)


def test_it_costs_more_than_what_is_known_of_normal_noise_and_says_by_which_theorem():
    discrete, method = Composition.of([SampledDiscreteGaussian(1.5, 0.1, 100)]).epsilon(1e-5)
    normal, _ = Composition.of([SampledGaussian(1.5, 0.1, 100)]).epsilon(1e-5)
    assert normal < discrete < 1.3 * normal
    assert "Rényi" in method


def test_it_is_written_and_read():
    mechanism = SampledDiscreteGaussian(1.5, 0.1, 100, 1e-9)
    assert mechanism_from_json(mechanism.to_json()) == mechanism
    assert (mechanism.gdp, mechanism.losses(1e-3)) == (None, None)
