"""The best attacker: exactly against Gaussian noise, and never below it by any other way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses.accounting import Composition, Gaussian, SampledGaussian, gaussian_attacker, gaussian_delta
from defenses.accounting.tradeoff import (
    RATES,
    gaussian_tpr,
    pair_advantage,
    pair_attacker,
    pair_tpr,
    profile_attacker,
)

FRACTIONS = st.floats(1e-6, 1 - 1e-6)


def test_published_values():
    """Dong, Roth, Su 2022: μ = 0.5, 1 and 3 are "reasonable", "borderline" and "blatant"; their test of size 0.05
    has power Φ(Φ⁻¹(0.05) + μ): 0.126, 0.260, 0.912."""
    powers = [gaussian_tpr(0.05, mu) for mu in (0.5, 1.0, 3.0)]
    assert powers == pytest.approx([0.126, 0.260, 0.912], abs=1e-3)


def test_pure_privacy_and_total_failure():
    assert pair_tpr(0.01, math.log(3), 0.0) == pytest.approx(0.03)
    assert pair_tpr(0.9, math.log(3), 0.0) == pytest.approx(1 - 0.1 / 3)
    assert pair_tpr(0.5, 0.0, 0.0) == 0.5
    assert pair_advantage(0.0, 0.25) == pytest.approx(0.25)
    assert pair_advantage(math.log(3), 0.0) == pytest.approx(0.5)
    assert pair_tpr(0.0, 5.0, 1.0) == 1.0
    assert pair_attacker(1000.0, 0.0).advantage == pytest.approx(1.0)


@given(FRACTIONS, st.floats(0.01, 8), st.floats(0, 10))
def test_every_pair_on_the_curve_bounds_the_exact_attacker(rate, mu, epsilon):
    assert gaussian_tpr(rate, mu) <= pair_tpr(rate, epsilon, gaussian_delta(epsilon, mu)) * (1 + 1e-9)


@given(st.floats(0.01, 6))
def test_the_hull_is_near_the_exact_attacker_and_above(mu):
    exact, hull = gaussian_attacker(mu), profile_attacker(lambda epsilon: gaussian_delta(epsilon, mu))
    for rate in RATES:
        assert exact.true_positives[rate] <= hull.true_positives[rate] * (1 + 1e-12)
        assert hull.true_positives[rate] <= exact.true_positives[rate] * 1.03 + 1e-4
    assert exact.advantage <= hull.advantage * (1 + 1e-12)
    assert hull.advantage == pytest.approx(exact.advantage, rel=0.01)


def test_a_real_attacker_reaches_the_bound_and_does_not_pass_it():
    """The likelihood-ratio test on draws of the worst pair, thresholds from the normal distribution itself.

    False-alarm rate below 1e-6: Hoeffding's inequality for three rates.
    """
    mu, draws = 1.5, 1_000_000
    slack = math.sqrt(math.log(6 / 1e-6) / (2 * draws))
    present = np.random.default_rng(5).normal(mu, 1.0, draws)
    thresholds = {0.001: 3.090232306167813, 0.01: 2.3263478740408408, 0.1: 1.2815515655446004}
    for rate, bound in gaussian_attacker(mu).true_positives.items():
        reached = float((present > thresholds[rate]).mean())
        assert bound - slack <= reached <= bound + slack


def test_numerical_compositions_have_an_attacker_too():
    attacker = Composition.of([Gaussian(1.0, 2.0), SampledGaussian(1.0, 0.01, 80)]).attacker()
    weaker, stronger = gaussian_attacker(0.5), gaussian_attacker(0.9)
    for rate in RATES:
        assert weaker.true_positives[rate] < attacker.true_positives[rate] < stronger.true_positives[rate]
    assert weaker.advantage < attacker.advantage < stronger.advantage


def test_a_distance_helps_the_attacker():
    ideal, real = (Composition.of([Gaussian(1.0, 2.0, delta)]).attacker() for delta in (0.0, 1e-3))
    assert all(ideal.true_positives[rate] < real.true_positives[rate] for rate in RATES)
