"""Enclosures hold what mpmath computes with hundreds of bits, and are tight."""

from fractions import Fraction

import mpmath
from hypothesis import given
from hypothesis import strategies as st

from defenses.noise.intervals import enclose, exp_minus, log_ratio, stirling_tail, times

BITS = st.sampled_from([8, 20, 64, 112, 200])


def holds(pair, value, bits, width):
    low, high = pair
    return low <= value * 2**bits <= high and high - low <= width


@given(st.fractions(min_value=-9, max_value=9), BITS)
def test_rational_numbers(number, bits):
    low, high = enclose(number, bits)
    assert Fraction(low, 2**bits) <= number <= Fraction(high, 2**bits) and high - low <= 1


@given(st.integers(0, 2**64), st.integers(0, 2**64), BITS)
def test_products(one, other, bits):
    low, high = times((one, one), (other, other), bits)
    assert low * 2**bits <= one * other <= high * 2**bits and high - low <= 1


@given(st.integers(0, 2**90), BITS)
def test_exponentials(number, bits):
    with mpmath.workprec(600):
        true = mpmath.exp(-mpmath.mpf(number) / 2**bits)
        assert holds(exp_minus((number, number), bits), true, bits, 2)


@given(st.integers(0, 2**80), st.integers(0, 2**80))
def test_exponential_of_an_enclosure_encloses_both_ends(low, width):
    ends = exp_minus((low, low + width), 72)
    assert ends[0] == exp_minus((low + width, low + width), 72)[0]
    assert ends[1] == exp_minus((low, low), 72)[1]
    assert exp_minus((0, 0), 72)[1] == 2**72


@given(st.integers(1, 2**60), st.integers(-30, 30), BITS)
def test_logarithms(number, parts, bits):
    other = max(1, number + number * parts // 60)
    with mpmath.workprec(600):
        true = mpmath.log(mpmath.mpf(number) / other)
        assert holds(log_ratio(number, other, bits), true, bits, 4)


@given(st.integers(1000, 2**55), BITS)
def test_stirlings_remainder(number, bits):
    with mpmath.workprec(900):
        whole = mpmath.mpf(number)
        formula = (whole + 0.5) * mpmath.log(whole) - whole + mpmath.log(2 * mpmath.pi) / 2
        assert holds(stirling_tail(number, bits), mpmath.loggamma(whole + 1) - formula, bits, 64)
