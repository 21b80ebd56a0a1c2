"""The discrete Gaussian: noise whose privacy is a theorem about whole numbers, drawn exactly.

N_Z(0, sigma^2) gives each whole number x a probability in proportion to exp(-x^2 / (2 sigma^2)) (Canonne, Kamath and
Steinke 2020, definition 1). Its variance is at most sigma^2, and from sigma = 1 on less by a 10^-6th at most.

Draws have exactly this distribution, for the float ``sigma`` as the rational number it is, provided that the source's
bytes are independent and uniform: the statistical distance to be charged to delta is 0. The argument is in
`defenses.noise.inversion` for sigma below 128 and `defenses.noise.blocks` above. The one place that floats touch is
`near` below, with its error proved, and it never decides a draw.

The first draw for a sigma makes its table, which takes some 10 ms; the last tables are kept.

Invariant: no draw depends on a rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError
from defenses.noise.blocks import Blocks, FloatArray, IntArray, exp_minus_float, width_for
from defenses.noise.intervals import Pair, ceil_div, enclose, exp_minus, times
from defenses.noise.inversion import Weights

LEAST_SIGMA, MOST_SIGMA = 2.0**-6, 2.0**40

_SECURE = SecureEntropy()
_GUARD = 32


def discrete_gaussian(sigma: float, size: int, entropy: Entropy = _SECURE) -> npt.NDArray[np.int64]:
    """Independent draws from N_Z(0, sigma^2).

    Args:
        sigma: 2^-6 to 2^40.
        size: how many.
        entropy: the operating system's generator unless a simulation gives another.

    Returns:
        [size] whole numbers.

    Reference: Canonne, Kamath, Steinke, "The discrete Gaussian for differential privacy", NeurIPS 2020.
    """
    if not LEAST_SIGMA <= sigma <= MOST_SIGMA:
        raise UserError(f"noise.sigma is {sigma}", "use 2^-6 to 2^40 steps: change the grid's step")
    if size < 0:
        raise UserError(f"noise.size is {size}", "ask for none or more")
    return _blocks(float(sigma)).draw(size, entropy)


@lru_cache(maxsize=16)
def _blocks(sigma: float) -> Blocks:
    square = Fraction(sigma) ** 2
    return Blocks(_Bells(square, width_for(square.__floor__())))


@dataclass(frozen=True, slots=True)
class _Bells:
    """The law in blocks; offsets are the numbers themselves, since the centre is 0.

    Attributes:
        square: sigma^2, exactly.
        width: numbers in a block.
    """

    square: Fraction
    width: int

    @property
    def centre(self) -> int:
        """The mode."""
        return 0

    def enclose(self, bits: int) -> Weights:
        """Weights of the blocks' peaks; the weight of 0 is 1."""
        scale = bits + _GUARD
        # Peaks are 0, w, 2w, ... on one side and -1, -w-1, -2w-1, ... on the other.
        right, beyond = self._falling(0, bits, scale)
        left, below = self._falling(1, bits, scale)
        pairs = left[::-1] + right
        return Weights(-len(left), [low for low, _ in pairs], [high for _, high in pairs], below, beyond)

    def _falling(self, start: int, bits: int, scale: int) -> tuple[list[Pair], int]:
        """exp(-(start + i w)^2 / 2 sigma^2) for i = 0, 1, ... down to 2^-bits, and a bound on the rest.

        Each is the one before times a ratio, and each ratio the one before times exp(-w^2 / sigma^2).
        """
        width = self.width

        def bell(exponent: Fraction) -> Pair:
            return exp_minus(enclose(exponent, scale), scale)

        weight = bell(start**2 / (2 * self.square))
        ratio = bell(Fraction(width * (2 * start + width)) / (2 * self.square))
        fall = bell(width**2 / self.square)
        weights = [weight]
        one = 1 << scale
        # The rest is below weight * ratio / (1 - ratio), since ratios fall.
        while weight[1] > 1 << _GUARD or ratio[1] >= one:
            weight, ratio = times(weight, ratio, scale), times(ratio, fall, scale)
            weights.append(weight)
        return weights, ceil_div(weight[1] * ratio[1], one - ratio[1])

    def near(self, offsets: IntArray, peaks: IntArray) -> FloatArray:
        """exp(-(x^2 - peak^2) / 2 sigma^2), within 2^-30 for offsets in the table's range.

        The table ends before 10 sigma and a block is at most sigma / 64, so x and its peak are whole numbers below
        11 * 2^40, exact as floats, and the exponent is at most (x - peak)(x + peak) / 2 sigma^2 < 20 / 128 < 1/4. Three
        products and a rounded constant leave it a relative error below 2^-50, and `exp_minus_float` adds 2^-35.
        """
        far, near = np.abs(offsets).astype(np.float64), np.abs(peaks).astype(np.float64)
        exponents = (far - near) * (far + near)
        exponents *= 1 / (2 * float(self.square))
        return exp_minus_float(exponents)

    def ratio(self, offset: int, peak: int, bits: int) -> Pair:
        """exp(-(x^2 - peak^2) / 2 sigma^2), enclosed."""
        exponent = Fraction(offset**2 - peak**2) / (2 * self.square)
        low, high = exp_minus(enclose(exponent, bits + _GUARD), bits + _GUARD)
        return low >> _GUARD, ceil_div(high, 1 << _GUARD)
