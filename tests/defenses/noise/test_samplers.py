"""Draws follow their laws, and every check of that is shown to fail on a sampler that is a little wrong.

A right sampler fails a check once in a million times (`sampling.ALARM`); draws are seeded, so a run repeats the last.
"""

import numpy as np
import pytest
from sampling import CHECKS, Law, chi_square, independent, kolmogorov, moments, tails

from defenses import InsecureSeeded, SecureEntropy, UserError
from defenses.noise.discrete_gaussian import discrete_gaussian
from defenses.noise.skellam import skellam

MANY = 1_000_000


def draws_of(sampler, parameter, size=MANY, label=""):
    return sampler(parameter, size, InsecureSeeded(7, f"{sampler.__name__}{parameter}{label}"))


# Around 128 and 256 the blocks' width changes; 150.3 and 700 test single outcomes across blocks.
@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 7.77, 127.9, 150.3, 700.0, 2.0**24 + 0.1, 2.0**40])
def test_discrete_gaussian(sigma):
    draws, law = draws_of(discrete_gaussian, sigma), Law.discrete_gaussian(sigma)
    assert [check.__name__ for check in CHECKS if not check(draws, law)] == []


@pytest.mark.parametrize("variance", [0.3, 1.0, 50.5, 32_000.0, 33_000.0, 500_000.0, 2.0**48])
def test_skellam(variance):
    draws, law = draws_of(skellam, variance), Law.skellam(variance)
    assert [check.__name__ for check in CHECKS if not check(draws, law)] == []


@pytest.mark.parametrize(("sampler", "parameter"), [(discrete_gaussian, 2.0**24), (skellam, 2.0**48)])
def test_low_digits_of_wide_laws_are_uniform(sampler, parameter):
    draws = draws_of(sampler, parameter, label="digits")
    for shift in (0, 5, 12):
        counts = np.bincount((draws >> shift) & 255, minlength=256)
        even = MANY / 256
        assert ((counts - even) ** 2 / even).sum() < 376  # chi-square of 255, once in a million


def test_tiny_noise():
    # Outcomes other than 0 have probability 4e-22.
    assert not draws_of(discrete_gaussian, 0.1).any()
    counts = np.bincount(np.abs(draws_of(skellam, 2.0**-12)))
    assert len(counts) == 2 and 150 < counts[1] < 350  # 244 expected: 6 standard deviations


@pytest.mark.parametrize("sampler", [discrete_gaussian, skellam])
def test_sums_of_independent_draws_have_the_sum_of_variances(sampler):
    entropy = InsecureSeeded(3)
    total = sum(sampler(2.0, MANY // 4, entropy) for _ in range(9))
    variance = 9 * (Law.discrete_gaussian(2.0).deviation ** 2 if sampler is discrete_gaussian else 2.0)
    law = Law.skellam(variance) if sampler is skellam else Law.discrete_gaussian(variance**0.5)
    assert all(check(total, law) for check in CHECKS)


# ---- what the checks can see


def normal(sigma):
    return np.random.default_rng(5).normal(0, sigma, MANY)


def twenty():
    return draws_of(discrete_gaussian, 20.0)


BELL, BESSEL = Law.discrete_gaussian, Law.skellam
# Draws, the law they claim, and the checks that must see that it is not theirs.
WRONG = {
    "sigma 3% too small": (
        lambda: draws_of(discrete_gaussian, 10 / 1.03),
        lambda: BELL(10.0),
        (chi_square, kolmogorov, moments),
    ),
    "sigma 3% too large": (
        lambda: draws_of(discrete_gaussian, 1030.0),
        lambda: BELL(1000.0),
        (chi_square, kolmogorov, moments),
    ),
    "skellam 6% too wide": (
        lambda: draws_of(skellam, 106.0),
        lambda: BESSEL(100.0),
        (chi_square, kolmogorov, moments),
    ),
    "rounded gaussian": (
        lambda: np.rint(normal(0.5)).astype(np.int64),
        lambda: BELL(0.5),
        (chi_square, kolmogorov, moments),
    ),
    "rounded down": (
        lambda: np.floor(normal(30.0)).astype(np.int64),
        lambda: BELL(30.0),
        (chi_square, kolmogorov, moments),
    ),
    "without tails": (lambda: np.where(np.abs(twenty()) > 80, 0, twenty()), lambda: BELL(20.0), (tails,)),
    "heavy tails": (
        lambda: np.where(np.arange(MANY) % 1000 == 0, 3 * twenty(), twenty()),
        lambda: BELL(20.0),
        (tails, chi_square),
    ),
    "gaussian for skellam": (
        lambda: draws_of(discrete_gaussian, 1.0),
        lambda: BESSEL(1.0),
        (chi_square, kolmogorov),
    ),
    "every second draw again": (lambda: np.repeat(twenty()[::2], 2), lambda: BELL(20.0), (independent,)),
    "chunks repeat": (lambda: np.resize(twenty()[:65536], MANY), lambda: BELL(20.0), (independent,)),
    "even numbers only": (
        lambda: 2 * (draws_of(discrete_gaussian, 100.0) // 2),
        lambda: BELL(100.0),
        (chi_square,),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_checks_catch(name):
    draws, law, catching = WRONG[name]
    drawn, claimed = draws(), law()
    assert [check.__name__ for check in catching if check(drawn, claimed)] == []


def test_every_check_catches_something():
    assert {check for _, _, catching in WRONG.values() for check in catching} == set(CHECKS)


# ---- where the bits come from


@pytest.mark.parametrize(("sampler", "parameter"), [(discrete_gaussian, 3.0), (skellam, 9.0)])
def test_the_systems_generator_is_the_default(sampler, parameter, monkeypatch):
    asked = []
    original = SecureEntropy.bytes
    monkeypatch.setattr(SecureEntropy, "bytes", lambda self, n: asked.append(n) or original(self, n))
    one, other = sampler(parameter, 1000), sampler(parameter, 1000)
    assert sum(asked) >= 4000
    assert not np.array_equal(one, other)


def test_known_answers():
    """Seeded draws are part of what makes a simulation repeat."""
    answers = {
        name: sampler(parameter, 8, InsecureSeeded(2024)).tolist()
        for name, sampler, parameter in (
            ("0.7", discrete_gaussian, 0.7),
            ("20", discrete_gaussian, 20.0),
            ("5000.5", discrete_gaussian, 5000.5),
            ("2^30", discrete_gaussian, 2.0**30),
            ("skellam 4", skellam, 4.0),
            ("skellam 10^6", skellam, 1e6),
        )
    }
    assert answers == KNOWN


KNOWN = {
    "0.7": [-1, 2, 0, 0, 1, 0, -1, 0],
    "20": [-22, 59, 3, 9, 29, -15, -19, 16],
    "5000.5": [-5500, 14819, 667, 2310, 7329, -3676, -4740, 3934],
    "2^30": [-1172593724, 3179029601, 166517538, 509524838, 1580755939, -804024204, -1010725130, 854481321],
    "skellam 4": [-1, 5, 1, 3, 1, -2, -2, 2],
    "skellam 10^6": [-1010, 1491, -173, -781, 873, -1256, 425, 522],
}


@pytest.mark.parametrize(
    ("sampler", "parameter"), [(discrete_gaussian, 50.0), (discrete_gaussian, 5e4), (skellam, 7.0)]
)
def test_draws_use_up_their_digits(sampler, parameter):
    """No digits are used twice, neither by two draws nor by two calls."""
    entropy = InsecureSeeded(11)
    calls = [sampler(parameter, 1000, entropy) for _ in range(3)]
    assert len({tuple(call.tolist()) for call in calls}) == 3
    assert sampler(parameter, 0, entropy).tolist() == []


@pytest.mark.parametrize(
    ("sampler", "wrong"),
    [
        (discrete_gaussian, 0.0),
        (discrete_gaussian, 2.0**-7),
        (discrete_gaussian, 2.0**41),
        (discrete_gaussian, float("nan")),
        (skellam, 0.0),
        (skellam, float("inf")),
        (skellam, 2.0**51),
    ],
)
def test_parameters_out_of_range(sampler, wrong):
    with pytest.raises(UserError, match="noise"):
        sampler(wrong, 1)
    with pytest.raises(UserError, match=r"noise\.size"):
        sampler(1.0, -1)
