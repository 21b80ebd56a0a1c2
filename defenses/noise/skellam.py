"""Skellam noise: the difference of two Poisson numbers, which stays Skellam under sums, drawn exactly.

The convention here is the total variance: `skellam(variance)` is Poisson(variance / 2) - Poisson(variance / 2). The sum
of independent draws is exactly Skellam of the variances' sum, which is what makes it noise for shares.

Draws have exactly this distribution, for the float ``variance`` as the rational number it is, provided that the
source's bytes are independent and uniform: the statistical distance to be charged to delta is 0. A Poisson number of
mean below 2^14 comes from a table (`defenses.noise.inversion`), a larger one from blocks (`defenses.noise.blocks`). The
one place that floats touch is `near` below, with its error proved, and it never decides a draw.

The first draw for a variance makes its table, which takes some 10 ms, and a quarter of a second from a variance of
2^15 on; the last tables are kept.

Invariant: no draw depends on a rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError
from defenses.noise.blocks import Blocks, FloatArray, IntArray, exp_minus_float, width_for
from defenses.noise.intervals import Pair, ceil_div, exp_minus, log_ratio, stirling_tail
from defenses.noise.inversion import Inversion, Weights

LEAST_VARIANCE, MOST_VARIANCE = 2.0**-12, 2.0**50

_SECURE = SecureEntropy()
_GUARD = 32
_SERIES = 11


def skellam(variance: float, size: int, entropy: Entropy = _SECURE) -> npt.NDArray[np.int64]:
    """Independent draws from the symmetric Skellam distribution.

    Args:
        variance: the total variance, 2^-12 to 2^50.
        size: how many.
        entropy: the operating system's generator unless a simulation gives another.

    Returns:
        [size] whole numbers.

    Reference: Agarwal, Kairouz, Liu, "The Skellam mechanism for differentially private federated learning", NeurIPS
    2021.
    """
    if not LEAST_VARIANCE <= variance <= MOST_VARIANCE:
        raise UserError(
            f"noise.variance is {variance}", "use 2^-12 to 2^50 squared steps: change the grid's step"
        )
    if size < 0:
        raise UserError(f"noise.size is {size}", "ask for none or more")
    # A float's half is exact.
    poisson = _poisson(float(variance) / 2)
    drawn = poisson.draw(size, entropy)
    drawn -= poisson.draw(size, entropy)
    return drawn


@lru_cache(maxsize=16)
def _poisson(mean: float) -> Inversion | Blocks:
    width = width_for(int(mean))
    return Inversion(_Few(Fraction(mean))) if width == 1 else Blocks(_Many(Fraction(mean), width))


@dataclass(frozen=True, slots=True)
class _Few:
    """Poisson's law, each weight from the one beside it.

    Attributes:
        mean: exactly.
    """

    mean: Fraction

    def enclose(self, bits: int) -> Weights:
        """Weights of the numbers; that of the mode is 1."""
        mode = int(self.mean)
        right, beyond = self._falling(lambda i: self.mean / (mode + 1 + i), bits)
        left, below = self._falling(lambda i: (mode - i) / self.mean, bits)
        pairs = left[:0:-1] + right
        return Weights(
            mode + 1 - len(left), [low for low, _ in pairs], [high for _, high in pairs], below, beyond
        )

    def _falling(self, ratio: Callable[[int], Fraction], bits: int) -> tuple[list[Pair], int]:
        """1, ratio(0), ratio(0) ratio(1), ... down to 2^-bits, and a bound on the rest; the ratios fall."""
        low = high = 1 << (bits + _GUARD)
        weights = [(low, high)]
        while (step := ratio(len(weights) - 1)) == 1 or (step > 0 and high > 1 << _GUARD):
            low = low * step.numerator // step.denominator
            high = ceil_div(high * step.numerator, step.denominator)
            weights.append((low, high))
        # The rest is below weight * ratio / (1 - ratio).
        return weights, ceil_div(high * step.numerator, step.denominator - step.numerator)


@dataclass(frozen=True, slots=True)
class _Many:
    """Poisson's law in blocks, for means of at least 2^14; offsets are from the mode.

    Attributes:
        mean: exactly.
        width: numbers in a block.
    """

    mean: Fraction
    width: int

    @property
    def centre(self) -> int:
        """A mode: p(k) / p(k-1) = mean / k is at least 1 up to the mean."""
        return int(self.mean)

    def enclose(self, bits: int) -> Weights:
        """Weights of the blocks' peaks; that of the mode is 1."""
        scale = bits + _GUARD
        # Numbers of the size of the mean multiply what follows.
        fine = scale + self.centre.bit_length() + 4
        level = log_ratio(self.centre * self.mean.denominator, self.mean.numerator, fine)
        at_mode = stirling_tail(self.centre, fine)

        def weight(offset: int) -> Pair:
            return exp_minus(_narrowed(self._exponent(offset, level, at_mode, fine), fine - scale), scale)

        def falling(offset: int, step: int) -> tuple[list[Pair], int]:
            weights = [weight(offset)]
            while weights[-1][1] > 1 << _GUARD:
                offset += step
                if self.centre + offset < 0:
                    return weights, 0
                weights.append(weight(offset))
            # The law is log-concave, so ratios of weights at equal distances fall.
            before, last = weights[-2][0], weights[-1][1]
            return weights, ceil_div(last * last, before - last)

        right, beyond = falling(0, self.width)
        left, below = falling(-1, -self.width)
        pairs = left[::-1] + right
        return Weights(-len(left), [low for low, _ in pairs], [high for _, high in pairs], below, beyond)

    def _exponent(self, offset: int, level: Pair, at_mode: Pair, bits: int) -> Pair:
        """g with p(mode + offset) = p(mode) e^-g, enclosed, by Stirling's formula.

        With k! = sqrt(2 pi) k^(k + 1/2) e^(-k + s(k)) and m for the mode,
        g = (k + 1/2) ln(k/m) + (k - m) (ln(m/mean) - 1) + s(k) - s(m).

        Args:
            offset: k - m.
            level: ln(m/mean).
            at_mode: s(m).
            bits: of all pairs.
        """
        number = self.centre + offset
        low, high = log_ratio(number, self.centre, bits)
        slope = sorted(offset * (end - (1 << bits)) for end in level)
        here = stirling_tail(number, bits)
        least = ((2 * number + 1) * low >> 1) + slope[0] + here[0] - at_mode[1]
        most = ceil_div((2 * number + 1) * high, 2) + slope[1] + here[1] - at_mode[0]
        return least, most

    def near(self, offsets: IntArray, peaks: IntArray) -> FloatArray:
        """p(x) / p(peak), within 2^-30 for offsets in the table's range.

        With the formula of `_exponent`, -ln of it is f(x) - f(peak) + ln(x/peak)/2 + s(x) - s(peak), where
        f(x) = (x - mean)^2 / mean * (1/2 - t/6 + t^2/12 - ...) and t = (x - mean) / mean. The table ends before 11
        standard deviations, so |t| < 11/128, and 11 terms of f leave less than 121 |t|^11 / 156 / (1 - |t|) < 2^-38;
        f < 65 after some 40 roundings is off by less than 2^-41. Half the logarithm is artanh(z) for
        z = (x-peak)/(x+peak) < 2^-13, and z alone leaves less than 2^-40. s(x) = 1/12x leaves less than 1/360x^3 <
        2^-45. Whole numbers are below 2^50, exact as floats. The exponent is below 1/4, where `exp_minus_float` adds
        2^-35.
        """
        x, peak = self.centre + offsets.astype(np.float64), self.centre + peaks.astype(np.float64)
        exponents = self._bend(x) - self._bend(peak)
        exponents += (x - peak) / (x + peak)
        exponents += (1 / x - 1 / peak) / 12
        return exp_minus_float(exponents)

    def _bend(self, x: FloatArray) -> FloatArray:
        """x ln(x/mean) - x + mean, by its series around the mean."""
        mean = float(self.mean)
        away = x - mean
        t = away / mean
        total = np.full_like(t, 1 / (_SERIES * (_SERIES + 1)))
        for order in range(_SERIES - 1, 0, -1):
            total *= t
            np.subtract(1 / (order * (order + 1)), total, out=total)
        total *= away
        total *= t
        return total

    def ratio(self, offset: int, peak: int, bits: int) -> Pair:
        """p(x) / p(peak), enclosed: the product of the ratios of neighbours between them."""
        x, top = self.centre + offset, self.centre + peak
        if x < 0:
            return 0, 0
        scale = bits + _GUARD
        low = high = 1 << scale
        up, down = self.mean.numerator, self.mean.denominator
        for k in range(min(x, top) + 1, max(x, top) + 1):
            # p(k) / p(k-1) = mean / k
            numerator, denominator = (up, down * k) if x > top else (down * k, up)
            low = low * numerator // denominator
            high = ceil_div(high * numerator, denominator)
        return _narrowed((low, high), _GUARD)


def _narrowed(pair: Pair, bits: int) -> Pair:
    """The enclosure at so many bits fewer."""
    return pair[0] >> bits, ceil_div(pair[1], 1 << bits)
