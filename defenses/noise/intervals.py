"""Exponentials and logarithms in whole numbers, each as a pair that provably holds the true value between its two.

A number x is enclosed at ``bits`` by whole numbers ``low <= x * 2^bits <= high``. Every step rounds ``low`` down and
``high`` up, so an enclosure needs no error analysis: if it is too wide to decide something, it is made again with more
bits. Nothing here is a float.

Invariant: a returned pair encloses the true value, whatever the precision asked for.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import comb

Pair = tuple[int, int]
"""The lower and the upper end, both in units of 2^-bits."""

_GUARD = 16


def ceil_div(number: int, divisor: int) -> int:
    """The least whole number that is not below ``number / divisor``, for a divisor above 0."""
    return -(-number // divisor)


def enclose(number: Fraction, bits: int) -> Pair:
    """A rational number at a precision."""
    scaled = number.numerator << bits
    return scaled // number.denominator, ceil_div(scaled, number.denominator)


def times(one: Pair, other: Pair, bits: int) -> Pair:
    """The product of two numbers that are not below 0."""
    return one[0] * other[0] >> bits, -(-one[1] * other[1] >> bits)


def exp_minus(number: Pair, bits: int) -> Pair:
    """e^-x for x not below 0: e^-x falls, so each end comes from the other end of x."""
    low, high = number
    return _exp_of_minus(high, bits)[0], min(_exp_of_minus(max(low, 0), bits)[1], 1 << bits)


def _exp_of_minus(number: int, bits: int) -> Pair:
    """e^-x for x = number / 2^bits exactly: Taylor's series of e^-(x/2^k), squared k times."""
    halvings = max(0, number.bit_length() - bits + 7)
    scale = bits + _GUARD + halvings
    # y = x / 2^halvings < 2^-7, and it is y_scaled / 2^scale exactly.
    y_scaled = number << _GUARD
    term = total = (1 << scale, 1 << scale)
    order, sign = 0, 1
    while term[1] > 1:
        order, sign = order + 1, -sign
        term = (term[0] * y_scaled >> scale) // order, ceil_div(-(-term[1] * y_scaled >> scale), order)
        signed = term if sign > 0 else (-term[1], -term[0])
        total = total[0] + signed[0], total[1] + signed[1]
    # The terms alternate and fall, so what was left out is less than the last one.
    low, high = max(total[0] - term[1], 0), total[1] + term[1]
    for _ in range(halvings):
        low, high = low * low >> scale, -(-high * high >> scale)
    return low >> (scale - bits), -(-high >> (scale - bits))


def log_ratio(above: int, below: int, bits: int) -> Pair:
    """ln(above / below) of whole numbers above 0 whose quotient is between 1/3 and 3."""
    if above < below:
        low, high = log_ratio(below, above, bits)
        return -high, -low
    # ln(a/b) = 2 artanh(z) with z = (a-b)/(a+b) <= 1/2, and artanh(z) = z + z^3/3 + z^5/5 + ...
    scale = bits + _GUARD
    power = enclose(Fraction(above - below, above + below), scale)
    assert 2 * power[0] <= 1 << scale
    square = times(power, power, scale)
    low, high = power
    order = 1
    while power[1] > 1:
        power, order = times(power, square, scale), order + 2
        low, high = low + power[0] // order, high + ceil_div(power[1], order)
    # What is left out is below power * (square + square^2 + ...) <= power / 3.
    return 2 * low >> _GUARD, -(-2 * (high + power[1]) >> _GUARD)


@lru_cache(maxsize=64)
def _bernoulli(index: int) -> Fraction:
    if index == 0:
        return Fraction(1)
    return -sum((comb(index + 1, k) * _bernoulli(k) for k in range(index)), Fraction(0)) / (index + 1)


def stirling_tail(number: int, bits: int) -> Pair:
    """What Stirling's formula leaves of ln(n!): ln(n!) - (n + 1/2) ln n + n - ln(2 pi)/2, for a whole n >= 1000.

    The series of B_2k / (2k (2k-1) n^(2k-1)) envelops it: two consecutive partial sums have it between them
    (Whittaker and Watson, section 12.33).
    """
    low = high = 0
    power = number
    for k in range(1, bits):
        factor = _bernoulli(2 * k) / (2 * k * (2 * k - 1))
        numerator, denominator = factor.numerator << bits, factor.denominator * power
        step_low, step_high = numerator // denominator, ceil_div(numerator, denominator)
        if max(-step_low, step_high) <= 1:
            return low + min(step_low, 0), high + max(step_high, 0)
        low, high = low + step_low, high + step_high
        power *= number * number
    raise AssertionError("the series falls by more than a bit a term where n is at least 1000")
