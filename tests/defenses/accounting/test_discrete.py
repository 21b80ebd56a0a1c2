"""Noise on whole numbers, held against sums over all outcomes where there are few enough of them."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import skellam

from defenses.accounting import Composition, DiscreteGaussian, DistributedDiscreteGaussian, Skellam

ORDERS = (1.01, 1.5, 2, 4, 8)


def discrete_gaussian(sigma, reach):
    """Probabilities of -reach to reach."""
    x = np.arange(-reach, reach + 1)
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def summed(sigma, shares, shift):
    """Probabilities of a sum of discrete Gaussian shares, wide enough for all orders."""
    reach = math.ceil(12 * sigma * math.sqrt(shares)) + shift * math.ceil(max(ORDERS))
    one = discrete_gaussian(sigma, reach)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    return total


def skellam_probabilities(variance, shift):
    reach = math.ceil(30 * math.sqrt(variance)) + 12 * shift
    return np.exp(skellam.logpmf(np.arange(-reach, reach + 1), variance / 2, variance / 2))


def pairs(probabilities, shift):
    """Logarithms of the probabilities of all outcomes under both neighbours."""
    logs = np.log(np.maximum(probabilities, 1e-320))
    return logs[shift:], logs[:-shift]


def divergence(probabilities, shift, order):
    """Rényi divergence of the larger direction."""
    one, other = pairs(probabilities, shift)
    both = (logsumexp(order * p + (1 - order) * q) for p, q in ((one, other), (other, one)))
    return max(both) / (order - 1)


def hockey_stick(probabilities, shift, epsilon):
    """Exact delta of the larger direction."""
    one, other = pairs(probabilities, shift)
    return max(
        float(np.maximum(np.exp(p) - np.exp(epsilon + q), 0).sum()) for p, q in ((one, other), (other, one))
    )


SUMS = list(product((0.5, 0.6, 0.75, 1.0, 2.0), (1, 2, 3, 5), (1, 2)))


@pytest.mark.parametrize(("sigma", "shares", "shift"), SUMS)
def test_sums_of_shares_never_tell_more_than_the_bound(sigma, shares, shift):
    release = DistributedDiscreteGaussian(shift, shift, sigma, shares, 1)
    probabilities = summed(sigma, shares, shift)
    for order in ORDERS:
        assert divergence(probabilities, shift, order) <= release.renyi(order) * (1 + 1e-9)
    for epsilon in (0.0, 0.5, 2.0):
        # The reference's own sums are good to 1e-14.
        assert hockey_stick(probabilities, shift, epsilon) <= Composition.of([release]).delta(epsilon) + 1e-14


def test_without_the_correction_sums_would_tell_more():
    """So the test above can fail: at σ = ½ the sum of two is no discrete Gaussian."""
    exact = divergence(summed(0.5, 2, 1), 1, 4)
    assert exact > 1.03 * 4 / (2 * 2 * 0.25)


def test_two_coordinates_are_two_sums():
    release = DistributedDiscreteGaussian(math.sqrt(5), 3, 0.6, 3, 2)
    for order in ORDERS:
        parts = [divergence(summed(0.6, 3, shift), shift, order) for shift in (1, 2)]
        assert sum(parts) <= release.renyi(order)


def test_the_correction_vanishes_where_noise_is_wide():
    """At σ = 3 a share, τ is far below 1e-30, and the sum is as good as one discrete Gaussian of its variance."""
    shares = DistributedDiscreteGaussian(10, None, 3.0, 20, 1000)
    one = DiscreteGaussian(10, 3.0 * math.sqrt(20), 1000)
    assert shares.tau < 1e-35
    assert shares.renyi(5.0) == pytest.approx(one.renyi(5.0), rel=1e-12)
    assert one.renyi(5.0) == pytest.approx(5 * 100 / (2 * 9 * 20), rel=1e-12)


def test_the_published_terms_of_the_bound():
    """Kairouz, Liu, Steinke 2021, Proposition 14, written out for one case where each term differs."""
    sigma, n, d, l1, l2 = 0.6, 4, 9, 6.0, 3.0
    tau = 10 * sum(math.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)) for k in range(1, n))
    s = l2 / (math.sqrt(n) * sigma)
    second = math.sqrt(s**2 + 2 * l1 / (math.sqrt(n) * sigma) * tau + tau**2 * d)
    third = s + tau * math.sqrt(d)
    release = DistributedDiscreteGaussian(l2, l1, sigma, n, d)
    assert release.tau == pytest.approx(tau, rel=1e-12)
    assert release.rho == pytest.approx(min(second, third) ** 2 / 2, rel=1e-12)
    assert second < third


def test_thousands_of_shares_are_bounded_from_above():
    few = DistributedDiscreteGaussian(1, 1, 0.6, 1_001, 1).tau
    many = DistributedDiscreteGaussian(1, 1, 0.6, 3_001, 1).tau
    exact = 10 * math.fsum(math.exp(-2 * math.pi**2 * 0.36 * k / (k + 1)) for k in range(1, 3_001))
    assert few < exact <= many <= exact * 1.01


def test_below_half_a_step_only_one_share_counts():
    release = DistributedDiscreteGaussian(1, 1, 0.4, 100, 1)
    assert release.renyi(2.0) == pytest.approx(2 / (2 * 0.16), rel=1e-12)


@pytest.mark.parametrize("variance", [2.0, 5.0, 20.0, 100.0])
@pytest.mark.parametrize("shift", [1, 2, 4])
def test_skellam_never_tells_more_than_the_bound(variance, shift):
    release = Skellam(shift, shift, variance)
    probabilities = skellam_probabilities(variance, shift)
    for order in (1.5, 2, 2.5, 3, 5, 10):
        assert divergence(probabilities, shift, order) <= release.renyi(order) * (1 + 1e-9)
    for epsilon in (0.0, 0.5, 2.0):
        assert hockey_stick(probabilities, shift, epsilon) <= Composition.of([release]).delta(epsilon) + 1e-14


def test_skellam_is_near_the_truth_where_noise_is_wide():
    exact = divergence(skellam_probabilities(100.0, 2), 2, 4)
    assert exact < Skellam(2, 2, 100.0).renyi(4) < 1.02 * exact


def test_the_published_skellam_bound():
    """Agarwal, Kairouz, Liu 2021, Theorem 3.5, at α = 3, Δ₂ = 2, Δ₁ = 3, μ = 50: 3·4/100 + (5·4 + 18)/10,000."""
    assert Skellam(2.0, 3.0, 50.0).renyi(3) == pytest.approx(0.12 + 0.0038, rel=1e-12)


@pytest.mark.parametrize(("sigma", "shift"), [(1.0, 1), (3.73, 1), (12.0, 5)])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_one_number_with_discrete_noise_costs_what_its_outcomes_say(sigma, shift, epsilon):
    """Exact delta by Canonne, Kamath, Steinke 2020, Theorem 7: P[Y > a - Δ/2] - exp(ε) P[Y > a + Δ/2], a = εσ²/Δ."""
    reach = math.ceil(20 * sigma) + shift
    probabilities = discrete_gaussian(sigma, reach)
    x, middle = np.arange(-reach, reach + 1), epsilon * sigma**2 / shift
    published = probabilities[x > middle - shift / 2].sum()
    published -= math.exp(epsilon) * probabilities[x > middle + shift / 2].sum()
    assert published == pytest.approx(hockey_stick(probabilities, shift, epsilon), rel=1e-9, abs=1e-15)
    accounted = Composition.of([DiscreteGaussian(shift, sigma, 1)]).delta(epsilon)
    assert published <= accounted <= 1.02 * published + 1e-14


def test_many_coordinates_claim_the_concentrated_bound_and_no_more():
    many = DiscreteGaussian(10, 40.0, 50)
    assert many.losses(1e-3) is None
    assert many.rho == (10 / 40) ** 2 / 2
    single, single_method = Composition.of([DiscreteGaussian(10, 40.0, 1)]).epsilon(1e-5)
    together, method = Composition.of([many]).epsilon(1e-5)
    assert (single_method, method) == ("privacy-loss distribution", "Rényi divergences")
    assert single < together
