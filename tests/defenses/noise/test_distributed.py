"""Shares hold what they promise, cost what they say, and a ring that is wide enough does not wrap."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampling import CHECKS, Law, moments
from scipy import optimize, special

from defenses import InsecureSeeded, SecureEntropy, UserError
from defenses.noise.distributed import NoiseKind, NoiseShare, modulus_bits, wrap_bound

KINDS = list(NoiseKind)


@given(
    st.sampled_from(KINDS), st.floats(1.0, 1e6), st.integers(1, 300), st.integers(0, 300), st.integers(0, 300)
)
def test_the_least_honest_sum_holds_the_promise_exactly(kind, sigma, clients, dropouts, colluders):
    if dropouts + colluders >= clients:
        with pytest.raises(UserError, match="honest"):
            NoiseShare(kind, sigma, clients, dropouts, colluders)
        return
    share = NoiseShare(kind, sigma, clients, dropouts, colluders)
    one = Fraction(share.deviation) ** 2 if kind is NoiseKind.DISCRETE_GAUSSIAN else Fraction(share.variance)
    promised = Fraction(sigma) ** 2
    assert promised <= share.honest * one <= promised * (1 + Fraction(1, 2**48))
    assert promised * (1 - Fraction(1, 2**51)) <= Fraction(share.counted_variance) <= share.honest * one
    assert share.sigma_of(share.honest) == pytest.approx(sigma, rel=1e-14)
    assert share.sigma_of(clients) == pytest.approx(sigma * share.overhead, rel=1e-14)
    assert share.overhead == pytest.approx(math.sqrt(clients / (clients - dropouts - colluders)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("clients", "dropouts", "colluders"), [(10, 2, 0), (12, 2, 3), (3, 0, 2)])
def test_sums_of_survivors_have_the_promised_variance(kind, clients, dropouts, colluders):
    """The sum of the least honest set, and of all, pass all checks of the law they should have."""
    share = NoiseShare(kind, 30.0, clients, dropouts, colluders)
    entropy = InsecureSeeded(5)
    total, size = 0, 200_000
    for survivors in range(1, clients + 1):
        total = total + share.draw(size, entropy)
        if survivors in (share.honest, clients):
            variance = share.sigma_of(survivors) ** 2
            law = Law.skellam(variance) if kind is NoiseKind.SKELLAM else Law.discrete_gaussian(variance**0.5)
            assert all(check(total, law) for check in CHECKS)
        elif survivors == share.honest - 1:
            assert not moments(total, Law.skellam(share.sigma**2))


# ---- what distribution costs


def delta_of(chances, epsilon, moved):
    """The least delta for a sum that one unit moves by so many steps; chances over consecutive whole numbers."""
    return np.maximum(chances[moved:] - math.exp(epsilon) * chances[:-moved], 0).sum() + chances[:moved].sum()


def bell(sigma, reach):
    weights = np.exp(-((np.arange(-reach, reach) / sigma) ** 2) / 2)
    return weights / weights.sum()


def summed(share, survivors, reach):
    """The law of a sum of shares, without sampling."""
    if share.kind is NoiseKind.SKELLAM:
        return special.ive(np.abs(np.arange(-reach, reach)), survivors * share.variance)
    one = np.fft.fft(np.fft.ifftshift(bell(share.deviation, reach)))
    return np.fft.fftshift(np.fft.ifft(one**survivors).real)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moved", [10, 40])
@pytest.mark.parametrize("colluders", [0, 5])
def test_noise_in_shares_costs_two_percent_at_most_where_the_tolerance_is_used_up(kind, moved, colluders):
    """100 clients, 20 drop out and 20 may: against noise that a trusted server adds, at one epsilon and delta.

    Both guarantees are computed from the laws themselves, for one number that a unit moves. The noise that colluders
    know is in the sum besides, and then overhead is theirs: sqrt(80 / 75).
    """
    epsilon, delta, reach = 1.0, 1e-5, 4096
    central = optimize.brentq(
        lambda s: delta_of(bell(s, reach), epsilon, moved) / delta - 1, moved, 9 * moved
    )

    def excess(sigma):
        share = NoiseShare(kind, sigma, 100, 20, colluders)
        return delta_of(summed(share, share.honest, reach), epsilon, moved) / delta - 1

    needed = optimize.brentq(excess, moved, 9 * moved)
    share = NoiseShare(kind, needed, 100, 20, colluders)
    realised = share.sigma_of(80)
    assert realised / central < 1.02 * math.sqrt(80 / share.honest)
    assert needed / central > 0.99
    assert share.sigma_of(100) / central < 1.02 * math.sqrt(100 / share.honest)


def renyi_epsilon(log_chances, numbers, delta):
    """Epsilon by Renyi divergences of a shift by one step in each of so many numbers."""
    best = math.inf
    for order in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48):
        terms = order * log_chances[1:] + (1 - order) * log_chances[:-1]
        divergence = numbers * special.logsumexp(terms) / (order - 1)
        best = min(best, divergence + math.log(1 / delta) / (order - 1))
    return best


@pytest.mark.parametrize("numbers", [100, 2500])
def test_it_costs_no_more_where_a_unit_moves_many_numbers_a_little(numbers):
    """Skellam noise is weakest there; both sides by the same conversion, from the laws themselves."""
    reach, delta = 2000, 1e-5
    steps = np.arange(-reach, reach)

    def central(sigma):
        exponents = -((steps / sigma) ** 2) / 2
        return renyi_epsilon(exponents - special.logsumexp(exponents), numbers, delta)

    def in_shares(sigma):
        share = NoiseShare(NoiseKind.SKELLAM, sigma, 100, 20)
        inside = np.abs(steps) < 12 * sigma
        variance = share.honest * share.variance
        return renyi_epsilon(np.log(special.ive(np.abs(steps[inside]), variance)), numbers, delta)

    root = math.sqrt(numbers)
    trusted = optimize.brentq(lambda s: central(s) - 1.0, 3 * root, 9 * root)
    needed = optimize.brentq(lambda s: in_shares(s) - 1.0, 3 * root, 9 * root)
    assert 0.99 < NoiseShare(NoiseKind.SKELLAM, needed, 100, 20).sigma_of(80) / trusted < 1.02


# ---- the ring


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sigma", [1.0, 7.0, 300.0])
def test_tails_are_bounded(kind, sigma):
    share = NoiseShare(kind, sigma, 5, 1, 1)
    reach = int(40 * sigma * share.overhead) + 60
    chances = summed(share, 5, reach)
    numbers = np.abs(np.arange(-reach, reach))
    for distance in range(1, int(6 * sigma * share.overhead), max(1, int(sigma / 4))):
        true = chances[numbers >= distance].sum()
        assert true <= share.tail(distance) + 1e-14
    assert share.tail(0) == 1.0
    # Not vacuous: within a factor of 12 of the truth at 4 deviations.
    four = int(4 * share.sigma_of(5))
    assert share.tail(four) < 20 * chances[numbers >= four].sum()


@pytest.mark.parametrize("kind", KINDS)
def test_wraps_are_rarer_than_bounded(kind):
    """A ring so small that wraps are seen: 6 bits hold sums up to 31, where clients give up to 15."""
    share, size = NoiseShare(kind, 5.0, 5, 1, 0), 400_000
    bound = wrap_bound(share, 3, 1, 6)
    entropy = InsecureSeeded(8)
    total = 5 * 3 + sum(share.draw(size, entropy) for _ in range(5))
    wraps = np.count_nonzero((total > 31) | (total < -32)) / size
    assert bound / 20 < wraps < bound < 0.2


@given(
    st.sampled_from(KINDS),
    st.floats(1.0, 1e5),
    st.integers(1, 100),
    st.integers(0, 2**20),
    st.integers(1, 2**18),
    st.floats(1e-30, 0.5),
)
def test_the_ring_is_the_smallest(kind, sigma, clients, bound, size, chance):
    share = NoiseShare(kind, max(sigma, clients**0.5 / 8), clients)
    bits = modulus_bits(share, bound, size, chance)
    assert wrap_bound(share, bound, size, bits) <= chance
    assert bits == 2 or wrap_bound(share, bound, size, bits - 1) > chance
    assert 2 ** (bits - 1) > clients * bound


def test_a_known_ring():
    share = NoiseShare(NoiseKind.SKELLAM, 1000.0, 50, 10)
    # 50 clients of up to 2^10 reach 51,200; 10 deviations of 1,118 come on top: 2^16 - 1 holds both.
    assert modulus_bits(share, 2**10, 262_144, 1e-9) == 17
    assert modulus_bits(share, 2**10 + 2**9, 262_144, 1e-9) == 18


def test_no_ring_is_an_error():
    share = NoiseShare(NoiseKind.SKELLAM, 1e7, 50)
    with pytest.raises(UserError, match="bits"):
        modulus_bits(share, 2**60, 10, 1e-9)
    for bound, size, chance in ((-1, 1, 0.1), (1, 0, 0.1), (1, 1, 0.0), (1, 1, 1.0)):
        with pytest.raises(UserError, match="ring"):
            modulus_bits(share, bound, size, chance)


# ---- what is refused


def test_shares_that_no_sampler_draws_are_refused():
    for kind, sigma in (
        (NoiseKind.SKELLAM, 1e-3),
        (NoiseKind.DISCRETE_GAUSSIAN, 1e-3),
        (NoiseKind.SKELLAM, 1e9),
    ):
        with pytest.raises(UserError, match="squared steps"):
            NoiseShare(kind, sigma, 100, 1)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match=r"noise\.sigma"):
            NoiseShare(NoiseKind.SKELLAM, sigma, 100)
    with pytest.raises(UserError, match="survivors"):
        NoiseShare(NoiseKind.SKELLAM, 5.0, 10).sigma_of(11)


@pytest.mark.parametrize("kind", KINDS)
def test_the_systems_generator_is_the_default(kind, monkeypatch):
    asked = []
    original = SecureEntropy.bytes
    monkeypatch.setattr(SecureEntropy, "bytes", lambda self, n: asked.append(n) or original(self, n))
    NoiseShare(kind, 5.0, 10).draw(100)
    assert sum(asked) >= 200
