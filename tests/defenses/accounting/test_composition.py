"""Compositions: published values, two other accountants, and what may never raise an epsilon."""

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as library
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses.accounting import (
    Composition,
    DiscreteGaussian,
    DistributedDiscreteGaussian,
    Gaussian,
    SampledGaussian,
    Skellam,
    compose,
    gaussian_epsilon,
)
from defenses.accounting.composition import EXACT, HYBRID, LOSSES, RENYI
from defenses.accounting.losses import gaussian_losses, sampled_gaussian_losses
from defenses.errors import UserError
from defenses.units import Neighbouring, Unit

ADD, REPLACE = Neighbouring.ADD_OR_REMOVE, Neighbouring.REPLACE
# Noise multiplier, rate, steps, delta.
TRAINING = [
    (2.0, 0.02, 1_000, 1e-5),
    (1.0, 0.01, 80, 1e-5),
    (0.6, 0.05, 200, 1e-6),
    (20.0, 0.1, 1_000, 1e-6),
]


def classical(mechanism, delta, orders):
    """Epsilon by the moments accountant: the least of R(α) + log(1/δ)/(α - 1)."""
    return min(mechanism.renyi(order) + math.log(1 / delta) / (order - 1) for order in orders)


@pytest.mark.parametrize(("steps", "published"), [(10_000, 1.26), (40_000, 2.55)])
def test_the_moments_accountant_of_abadi_and_others(steps, published):
    """Abadi et al. 2016, Section 5.1: q = 0.01, σ = 4, δ = 1e-5 give 1.26 after 100 epochs, 2.55 after 400.

    They sum the moments numerically; the closed form gives 2.576 for the second.
    """
    training = SampledGaussian(4.0, 0.01, steps)
    assert classical(training, 1e-5, range(2, 34)) == pytest.approx(published, rel=0.011)
    assert Composition.of([training]).epsilon(1e-5)[0] < published


def test_the_tutorial_of_tensorflow_privacy():
    """Its README: 60,000 examples, batches of 256, noise 1.12, 60 epochs, δ = 1e-5 give 2.92, at order 9."""
    training = SampledGaussian(1.12, 256 / 60_000, 60 * 60_000 // 256 + 1)
    assert classical(training, 1e-5, [9]) == pytest.approx(2.92, abs=0.01)
    assert classical(training, 1e-5, range(2, 64)) == pytest.approx(2.92, abs=0.01)
    assert Composition.of([training]).epsilon(1e-5)[0] < 2.92


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), TRAINING)
def test_training_beside_opacus(noise, rate, steps, delta):
    """Never above its Rényi accountant; and beside its PRV accountant, which answers 0.01 above its estimate."""
    accountants = pytest.importorskip("opacus.accountants")
    ours, method = Composition.of([SampledGaussian(noise, rate, steps)]).epsilon(delta)
    assert method == LOSSES
    renyi, prv = accountants.RDPAccountant(), accountants.PRVAccountant()
    renyi.history = prv.history = [(noise, rate, steps)]
    assert ours <= renyi.get_epsilon(delta)
    assert prv.get_epsilon(delta) - 0.01 == pytest.approx(ours, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.01, 40), (2.0, 0.2, 30), (0.7, 0.001, 20)])
def test_training_between_an_optimistic_and_a_fine_pessimistic_estimate(noise, rate, steps):
    """Both by dp-accounting alone; the optimistic one rounds every loss down and is below the truth."""

    def estimate(pessimistic, interval):
        one = library.from_gaussian_mechanism(
            noise,
            sampling_prob=rate,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=interval,
            use_connect_dots=pessimistic,
        )
        return one.self_compose(steps, 0 if not pessimistic else 1e-15).get_epsilon_for_delta(1e-6)

    ours, _ = Composition.of([SampledGaussian(noise, rate, steps)]).epsilon(1e-6)
    assert estimate(False, 2e-3) <= ours <= 1.01 * estimate(True, 1e-3)


def test_our_curve_of_one_step_is_the_librarys():
    theirs = library.from_gaussian_mechanism(
        1.3, sampling_prob=0.2, value_discretization_interval=1e-2, use_connect_dots=True
    )
    ours = sampled_gaussian_losses(1.3, 0.2, 1e-2)
    for epsilon in np.linspace(-2, 4, 40):
        expected = theirs.get_delta_for_epsilon(float(epsilon))
        assert ours.delta(float(epsilon)) == pytest.approx(expected, rel=1e-9, abs=2e-15)


@pytest.mark.parametrize(("steps", "delta"), [(1, 1e-10), (10_000, 1e-9), (100_000, 1e-8)])
def test_numerical_composition_stays_above_the_exact_curve(steps, delta):
    mu = 1 / math.sqrt(steps)
    exact = gaussian_epsilon(delta, 1.0)
    assert exact <= gaussian_losses(mu, mu / 12).repeated(steps).epsilon(delta) <= 1.01 * exact


def test_gaussian_releases_are_composed_exactly():
    parts = [(Gaussian(3.0, 5.0), 2), Gaussian(1.0, 1.25)]
    epsilon, method = Composition.of(parts).epsilon(1e-6)
    assert method == EXACT
    assert epsilon == pytest.approx(gaussian_epsilon(1e-6, math.sqrt(2 * 0.36 + 0.64)), rel=1e-12)
    rate_one = Composition.of([SampledGaussian(5 / 3, 1.0, 2), Gaussian(1.0, 1.25)]).epsilon(1e-6)
    assert rate_one[0] == pytest.approx(epsilon, rel=1e-12)


def test_a_mixture_is_between_its_parts_and_their_sum():
    release, training = Gaussian(1.0, 3.73063), SampledGaussian(1.0, 0.01, 80)
    alone = [Composition.of([part]).epsilon(5e-6)[0] for part in (release, training)]
    epsilon, method = Composition.of([release, training]).epsilon(1e-5)
    assert method == LOSSES
    assert max(alone) < epsilon < sum(alone)


def test_discrete_vectors_and_training_cost_little_more_than_with_normal_noise():
    """The concentrated bound enters as one privacy profile, which costs less than divergences all through."""
    training = SampledGaussian(1.0, 0.01, 80)
    discrete = Composition.of([DiscreteGaussian(100, 373.063, 1280), training])
    epsilon, method = discrete.epsilon(1e-5)
    normal, _ = Composition.of([Gaussian(100.0, 373.063), training]).epsilon(1e-5)
    assert method == HYBRID
    assert normal < epsilon < 1.1 * normal


def test_the_profile_of_a_normal_release_is_above_its_curve():
    """`HYBRID` against the truth: one-dimensional shares, whose exact curve beside training is known to be lower."""
    release = DistributedDiscreteGaussian(1, 1, 2.0, 4, 1)
    exact = Composition.of([DiscreteGaussian(1, 4.0, 1), SampledGaussian(1.0, 0.1, 10)])
    mixed = Composition.of([release, SampledGaussian(1.0, 0.1, 10)])
    assert mixed.epsilon(1e-5)[1] == HYBRID
    for epsilon in (0.0, 0.2, 1.0, 2.0):
        assert exact.delta(epsilon) <= mixed.delta(epsilon) * 1.001


MECHANISMS = st.one_of(
    st.builds(Gaussian, st.floats(0.1, 3), st.floats(1, 30)),
    st.builds(DiscreteGaussian, st.integers(1, 5), st.floats(2, 50), st.integers(1, 20)),
    st.builds(
        DistributedDiscreteGaussian,
        st.integers(1, 5),
        st.none(),
        st.floats(0.5, 9),
        st.integers(1, 9),
        st.integers(1, 9),
    ),
    st.builds(Skellam, st.floats(1, 5), st.floats(5, 9), st.floats(20, 900)),
    st.builds(SampledGaussian, st.floats(0.8, 5), st.floats(0.01, 0.9), st.integers(1, 50)),
)
FEW = settings(max_examples=8)
# Grids of losses are chosen for each composition, and move its epsilon by this much.
GRID = 5e-3


@FEW
@given(st.lists(MECHANISMS, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_releases_changes_nothing(releases, random):
    mixed = list(releases)
    random.shuffle(mixed)
    assert Composition.of(releases).epsilon(1e-5) == Composition.of(mixed).epsilon(1e-5)


@FEW
@given(st.lists(MECHANISMS, min_size=1, max_size=3), st.floats(1.0, 4.0))
def test_more_noise_and_fewer_releases_never_cost_more(releases, factor):
    epsilon, method = Composition.of(releases).epsilon(1e-5)
    slack = 1e-9 if method in (EXACT, RENYI) else GRID
    louder = [release.with_spread(release.spread * factor) for release in releases]
    assert Composition.of(louder).epsilon(1e-5)[0] <= epsilon * (1 + slack) + 1e-6
    assert Composition.of(releases[1:]).epsilon(1e-5)[0] <= epsilon * (1 + slack) + 1e-6


@FEW
@given(st.floats(0.8, 5), st.floats(0.01, 0.9), st.integers(1, 50), st.integers(0, 50))
def test_fewer_steps_never_cost_more(noise, rate, steps, more):
    less = Composition.of([SampledGaussian(noise, rate, steps)]).epsilon(1e-5)[0]
    assert (
        less
        <= Composition.of([SampledGaussian(noise, rate, steps + more)]).epsilon(1e-5)[0] * (1 + GRID) + 1e-6
    )


@FEW
@given(MECHANISMS, st.floats(0.0, 3.0))
def test_delta_and_epsilon_are_the_same_curve(mechanism, epsilon):
    composition = Composition.of([mechanism])
    delta = composition.delta(epsilon)
    if 1e-9 < delta < 1:
        assert composition.epsilon(delta * (1 + 1e-6))[0] <= epsilon * (1 + 1e-6) + 1e-6


def test_distances_are_paid_out_of_delta():
    ideal, real = Gaussian(1.0, 4.0), Gaussian(1.0, 4.0, delta=1e-7)
    composition = Composition.of([(real, 3)])
    assert composition.distance == pytest.approx(3e-7)
    epsilon, _ = composition.epsilon(1e-5)
    paid = 1e-5 - (1 + math.exp(epsilon)) * 3e-7
    assert epsilon == pytest.approx(Composition.of([(ideal, 3)]).epsilon(paid)[0], rel=1e-9)
    assert composition.delta(epsilon) == pytest.approx(1e-5, rel=1e-6)


@pytest.mark.parametrize("distance", [4e-6, 1e-5, 0.5])
def test_a_distance_that_eats_delta_is_refused(distance):
    with pytest.raises(UserError, match="does not cover"):
        compose([Gaussian(1.0, 0.5, delta=distance)], 1e-5, Unit.CLIENT, ADD)


def test_sampling_is_refused_under_replace():
    with pytest.raises(UserError, match="proved for add or remove only"):
        compose([Gaussian(2.0, 1.0), SampledGaussian(1.0, 0.1, 5)], 1e-5, Unit.EXAMPLE, REPLACE)
    with pytest.raises(UserError, match="add or remove only"):
        SampledGaussian(1.0, 0.1, 5).for_replacement()


def test_replacement_doubles_what_one_unit_moves_and_nothing_is_converted_silently():
    release = Gaussian(1.0, 4.0)
    assert release.for_replacement() == Gaussian(2.0, 4.0)
    assert DiscreteGaussian(3, 9.0, 4, 5).for_replacement() == DiscreteGaussian(6, 9.0, 4, 10)
    assert Skellam(3, 5, 90.0).for_replacement() == Skellam(6, 10, 90.0)
    shares = DistributedDiscreteGaussian(3, None, 1.0, 4, 4)
    assert shares.for_replacement() == DistributedDiscreteGaussian(6, None, 1.0, 4, 4)
    same = compose([release], 1e-5, Unit.EXAMPLE, REPLACE)
    assert same.epsilon == compose([release], 1e-5, Unit.EXAMPLE, ADD).epsilon
    assert (same.unit, same.neighbouring, same.method) == (Unit.EXAMPLE, REPLACE, EXACT)


def test_no_release_costs_nothing():
    assert compose([], 1e-5, Unit.CLIENT, ADD).epsilon == 0.0


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
def test_counts_are_whole(times):
    with pytest.raises(UserError, match="times"):
        Composition.of([(Gaussian(1.0, 1.0), times)])
