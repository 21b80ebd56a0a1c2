"""Noise in shares: what each client adds, so that the sum holds enough whoever drops out and whoever colludes.

n clients each add a share of variance ``sigma^2 / (n - d - c)``, where up to d may drop out after the others have
committed to their shares and up to c may tell an adversary theirs, or add none. At least n - d - c honest shares are
then in every sum, and they hold a variance of at least sigma^2, all of it unknown to the adversary. More than that
when fewer drop out: with k shares in the sum, ``k / (n - d - c)`` times sigma^2. The guarantee needs that sums of fewer
than n - d clients are never opened, which secure aggregation enforces by its threshold, not this file.

Skellam shares add up to Skellam noise, exactly. Discrete Gaussian shares add up to a discrete Gaussian but for a
distance of the order of n exp(-pi^2 s^2) for shares of deviation s, which the accountant has to bound.

Shares are floats rounded up, checked in fractions: the promise holds exactly, not nearly.

A sum formed modulo 2^bits that wraps is wrong, and `modulus_bits` makes that improbable. It is not a leak: reducing
the noised sum is a function of the noised sum, so whatever bound holds for that holds for what is sent. The chance of
a wrap is one of a spoilt round: no theorem needs it in delta, and runs charge it all the same (`defenses.dp.charge`).

Invariant: the promised variance is in the sum of any n - d - c honest shares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError
from defenses.noise.discrete_gaussian import LEAST_SIGMA, MOST_SIGMA, discrete_gaussian
from defenses.noise.skellam import LEAST_VARIANCE, MOST_VARIANCE, skellam
from defenses.ring import MAX_BITS

_SECURE = SecureEntropy()
_CAUTION = 1 + 2.0**-20
"""Factor on float exponents of tail bounds, whose rounding errors are below 2^-40."""


class NoiseKind(StrEnum):
    """Which discrete noise; the names by which it is accounted for."""

    DISCRETE_GAUSSIAN = "discrete-gaussian"
    SKELLAM = "skellam"


def drawn(kind: NoiseKind, deviation: float, size: int, entropy: Entropy) -> npt.NDArray[np.int64]:
    """Noise of one kind: [size] whole numbers.

    Args:
        kind: the law.
        deviation: the discrete Gaussian's parameter, or the root of the Skellam noise's variance, in steps.
        size: how many.
        entropy: of the draws.
    """
    if kind is NoiseKind.SKELLAM:
        return skellam(deviation**2, size, entropy)
    return discrete_gaussian(deviation, size, entropy)


def tail_exponent(kind: NoiseKind, variance: float, distance: float) -> float:
    """x in 2 exp(-x), which bounds the chance that a noise is at least so far from 0; see `NoiseShare.tail`.

    Args:
        kind: the law.
        variance: of the noise, or of all of it where it is a sum of shares.
        distance: in steps.
    """
    if kind is NoiseKind.DISCRETE_GAUSSIAN:
        exponent = distance**2 / (2 * variance)
    else:
        ratio = distance / variance
        # sqrt(1 + r^2) - 1 without cancellation.
        exponent = distance * (math.asinh(ratio) - ratio / (1 + math.sqrt(1 + ratio**2)))
    return exponent / _CAUTION


@dataclass(frozen=True, slots=True)
class NoiseShare:
    """The plan of noise that no single party adds, and what one client's share of it is.

    Attributes:
        kind: the noise.
        sigma: standard deviation, in steps, that the least allowed honest sum must hold.
        clients: how many add a share.
        dropouts: how many of them may be missing from the sum; sums of fewer than the rest must never be opened.
        colluders: how many may know their shares to the adversary, or add none.
    """

    kind: NoiseKind
    sigma: float
    clients: int
    dropouts: int = 0
    colluders: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", NoiseKind(self.kind))
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise UserError(f"noise.sigma is {self.sigma}", "use a finite number of steps above 0")
        if self.clients < 1 or self.dropouts < 0 or self.colluders < 0 or self.honest < 1:
            raise UserError(
                f"of {self.clients} clients {self.dropouts} may drop out and {self.colluders} collude",
                "leave at least one honest client in the sum",
            )
        if self.kind is NoiseKind.SKELLAM:
            inside = LEAST_VARIANCE <= self.variance <= MOST_VARIANCE
        else:
            inside = LEAST_SIGMA <= self.deviation <= MOST_SIGMA
        if not inside:
            raise UserError(
                f"noise.sigma {self.sigma} leaves a share of variance {self.variance:g}",
                "use shares of 2^-12 to 2^50 squared steps: change the grid's step",
            )

    @property
    def honest(self) -> int:
        """The fewest shares in a sum that the adversary does not know."""
        return self.clients - self.dropouts - self.colluders

    @property
    def deviation(self) -> float:
        """The parameter of a discrete Gaussian share: sigma / sqrt(honest), rounded up until the squares suffice."""
        share = self.sigma / math.sqrt(self.honest)
        while self.honest * Fraction(share) ** 2 < Fraction(self.sigma) ** 2:
            share = math.nextafter(share, math.inf)
        return share

    @property
    def variance(self) -> float:
        """The variance parameter of a share, rounded up: all a Skellam share has, and for a discrete Gaussian one
        the square of `deviation`, of which its true variance falls short only if it is far below 1."""
        if self.kind is NoiseKind.DISCRETE_GAUSSIAN:
            return self.deviation**2
        share = self.sigma**2 / self.honest
        while self.honest * Fraction(share) < Fraction(self.sigma) ** 2:
            share = math.nextafter(share, math.inf)
        return share

    @property
    def counted_variance(self) -> float:
        """The variance parameter that every allowed sum holds and the adversary does not know, rounded down: what to
        account for, and never below sigma^2 but for this rounding."""
        one = (
            Fraction(self.deviation) ** 2
            if self.kind is NoiseKind.DISCRETE_GAUSSIAN
            else Fraction(self.variance)
        )
        total = float(self.honest * one)
        return total if Fraction(total) <= self.honest * one else math.nextafter(total, 0.0)

    @property
    def overhead(self) -> float:
        """Standard deviation when nobody drops out, over the promised sigma: sqrt(n / (n - d - c))."""
        return math.sqrt(self.clients / self.honest)

    def sigma_of(self, survivors: int) -> float:
        """Standard deviation of the noise in a sum of so many clients, colluders' shares included."""
        if not 0 <= survivors <= self.clients:
            raise UserError(f"noise was asked for {survivors} survivors", f"use 0 to {self.clients}")
        return math.sqrt(survivors * self.variance)

    def draw(self, size: int, entropy: Entropy = _SECURE) -> npt.NDArray[np.int64]:
        """One client's share: [size] whole numbers, to be added to its own before masking."""
        if self.kind is NoiseKind.SKELLAM:
            return skellam(self.variance, size, entropy)
        return discrete_gaussian(self.deviation, size, entropy)

    def tail(self, distance: int) -> float:
        """A bound on the chance that one number of the noise, over all clients, is at least so far from 0.

        Chernoff's bound for both sides. A discrete Gaussian's moment generating function is at most
        exp(t^2 s^2 / 2): completing the square leaves the ratio of sum_x exp(-(x - t s^2)^2 / 2 s^2) to the same sum
        without the shift, and by Poisson's summation the sum is largest without one. So n of them give
        2 exp(-x^2 / 2 n s^2). For Skellam noise of total variance v it is exp(v (cosh t - 1)); at sinh t = x / v the
        bound is 2 exp(v (sqrt(1 + x^2/v^2) - 1) - x asinh(x/v)).
        """
        if distance < 1:
            return 1.0
        return min(1.0, 2 * math.exp(-tail_exponent(self.kind, self.clients * self.variance, distance)))


def wrap_bound(share: NoiseShare, bound: int, size: int, bits: int) -> float:
    """A bound on the chance that any number of the noised sum leaves the ring, with all clients in the sum.

    Args:
        share: the noise.
        bound: the largest magnitude of one number of one client before noise; hard, as rounding enforces it.
        size: numbers in an upload; the chance is a union over them.
        bits: the ring is modulo 2^bits.
    """
    largest = (1 << (bits - 1)) - 1
    return min(1.0, size * share.tail(largest - share.clients * bound + 1))


def modulus_bits(share: NoiseShare, bound: int, size: int, wrap_probability: float) -> int:
    """Bits of the smallest ring in which the noised sum wraps with at most the stated chance; see `wrap_bound`.

    Raises:
        UserError: no ring of up to 64 bits does.
    """
    if bound < 0 or size < 1 or not 0 < wrap_probability < 1:
        raise UserError(
            f"a ring for {size} numbers up to {bound} was asked to wrap with chance {wrap_probability}",
            "use a bound of at least 0, one number or more, and a chance above 0 and below 1",
        )
    for bits in range(2, MAX_BITS + 1):
        if wrap_bound(share, bound, size, bits) <= wrap_probability:
            return bits
    raise UserError(
        f"the sum of {share.clients} clients with numbers up to {bound} and noise of {share.sigma:g} steps needs more "
        f"than {MAX_BITS} bits",
        "make the step larger",
    )
