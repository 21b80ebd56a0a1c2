"""The whole numbers in which a private release is made: how fine, how far a unit reaches, how much noise.

A unit's row, clipped to norm ``clip``, becomes whole steps, ``steps`` of them to the clip. Rounding a row of ``rank``
numbers to the nearest step can lengthen it by at most ``sqrt(rank) / 2``; rounding at random is repeated until the row
is within a bound (`defenses.noise.rounding`). So a row is at most ``sensitivity`` long, and what is longer is not sent.
Where the number of units is released too, each row has one more number, ``unit`` steps in every row. One client's sum
and its noise stay within ``levels``: the sum is cut there before the noise is added (cutting a coordinate brings two
sums no further apart, so the sensitivity holds), and noise that would leave is what `beyond` bounds.

A row that was turned by a public random rotation has ``rank`` numbers of a power of two. A coordinate of a client's sum
x is then a sum of x's numbers over sqrt(rank) with random signs, so by Hoeffding it reaches t with chance at most
2 exp(-rank t^2 / 2 |x|^2). For the sum of most_units rows all coordinates stay within `turned` of its largest length
but for a chance of `SPILL`, and there is room for that and for the rounding of each row. What leaves is cut like
any sum: a client's accuracy suffers, and privacy does not.

Invariant: everything here follows from the configuration and the size of the roster, so all ends agree on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from defenses.errors import UserError
from defenses.noise.distributed import NoiseKind, tail_exponent
from defenses.noise.rotation import padded
from defenses.noise.rounding import How, l1_bound, squared_bound

TAIL = 12.0
"""Standard deviations of noise for which there is room; beyond it lies less than 2^-100 of a (sub-)Gaussian. Skellam
noise has as much room as makes what lies beyond it as improbable."""

SPILL = 2.0**-20
"""The chance that a sum of as many rotated rows as there is room for is cut at all, whatever they hold, over the
rotation's signs."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """One kind of release for one size of roster.

    Attributes:
        rank: numbers of a row as it travels, without the count.
        clip: norm to which a row is clipped, in the transform's units.
        counted: whether the number of units is released with the sum.
        steps: whole steps to the clip.
        unit: steps that stand for one unit in the count; 0 where it is not released.
        sensitivity: the most that one unit moves the sum, as an L2 norm in steps.
        noise: standard deviation of the noise on the sum that the guarantee counts on, in steps.
        share: standard deviation of what one client adds; 0 where it adds none.
        levels: the largest whole number that one client sends.
        kind: law of the noise.
        how: how a row's numbers become whole.
    """

    rank: int
    clip: float
    counted: bool
    steps: int
    unit: int
    sensitivity: float
    noise: float
    share: float
    levels: int
    kind: NoiseKind = NoiseKind.DISCRETE_GAUSSIAN
    how: How = How.NEAREST

    @property
    def reach(self) -> int:
        """Where one client's sum is cut, before its noise."""
        return self.levels - tail_room(self.kind, self.share)

    @property
    def width(self) -> int:
        """Numbers that travel."""
        return self.rank + self.counted

    @property
    def longest(self) -> int:
        """The largest squared norm of a row, without the count, in squared steps: enforced on every row."""
        return int(self.sensitivity**2) - self.unit**2

    @property
    def sensitivity_l1(self) -> int:
        """The most that one unit moves the sum, as an L1 norm in steps: follows from what is enforced."""
        return l1_bound(self.longest, self.rank) + self.unit

    @property
    def beyond(self) -> float:
        """The probability that some number of one client's noise has no room: 2 exp(-t²/2) for each, since a discrete
        Gaussian is sub-Gaussian (Canonne, Kamath and Steinke 2020, Corollary 9), and by `tail_room` for Skellam noise.
        """
        return 2 * math.exp(-(TAIL**2) / 2) * self.width if self.share else 0.0


@lru_cache(maxsize=64)
def lattice(
    *,
    rank: int,
    clip: float,
    counted: bool,
    count_weight: float,
    most_units: int,
    multiplier: float,
    shares: float,
    bits: int,
    kind: NoiseKind = NoiseKind.DISCRETE_GAUSSIAN,
    how: How = How.NEAREST,
    rotated: bool = False,
) -> Lattice:
    """The finest lattice that has room for everything.

    Args:
        rank: numbers of a row.
        clip: norm to which a row is clipped.
        counted: whether the number of units is released.
        count_weight: what one unit counts, as a share of the clip: more takes noise from the count and gives it to the
            sum.
        most_units: units of one client for which there is room without cutting.
        multiplier: noise on the sum over sensitivity.
        shares: into how many clients' shares the noise is divided; 1 where each adds all of it, 0 where none adds any.
        bits: a client's number has 2^(bits-1) - 1 steps on either side of 0.
        kind: law of the noise.
        how: how a row's numbers become whole.
        rotated: whether rows are turned by a `defenses.noise.rotation.Rotation`, which pads them.

    Raises:
        UserError: there is no room for even a few steps.
    """
    rank = padded(rank) if rotated else rank
    levels = 2 ** (bits - 1) - 1
    rounding = math.sqrt(rank) / 2

    def made(steps: int) -> Lattice:
        unit = max(1, round(count_weight * steps)) if counted else 0
        if how is How.NEAREST:
            sensitivity = math.hypot(steps + rounding, unit)
        else:
            # The root's last digit may lie below it, and `Lattice.longest` must not.
            squared = squared_bound(float(steps), rank, how) + unit**2
            sensitivity = math.nextafter(math.sqrt(squared), math.inf)
        noise = multiplier * sensitivity
        share = noise / math.sqrt(shares) if shares else 0.0
        return Lattice(rank, clip, counted, steps, unit, sensitivity, noise, share, levels, kind, how)

    if rotated or how is not How.NEAREST or kind is not NoiseKind.DISCRETE_GAUSSIAN:
        steps = _most_steps(made, most_units, levels, rotated=rotated)
    else:
        # In closed form, a step or two below what fits: changing it would change runs that are on record.
        spread = TAIL * multiplier / math.sqrt(shares) if shares else 0.0
        length = math.hypot(1.0, count_weight) if counted else 1.0
        # Room: most_units * steps for the sum, and the tail of the noise, which grows with the sensitivity.
        most = max(1.0, count_weight)
        steps = math.floor((levels - spread * (rounding + 1) - 2) / (most_units * most + spread * length))
    if steps < max(8.0, rounding / 2):
        raise UserError(
            f"privacy.bits is {bits}, which leaves {max(steps, 0)} steps to the clip of a row of {rank} numbers",
            "raise privacy.bits, lower privacy.max_examples, or project on fewer dimensions",
        )
    return made(steps)


def tail_room(kind: NoiseKind, deviation: float) -> int:
    """How far from 0 there is room for noise: beyond it a number lies with a chance of at most 2 exp(-TAIL²/2).

    Args:
        kind: law of the noise.
        deviation: of one client's noise, in steps; 0 for none.
    """
    low = math.ceil(TAIL * deviation)
    if kind is NoiseKind.DISCRETE_GAUSSIAN or not deviation:
        return low
    # Skellam noise has longer tails than a Gaussian.
    variance, wanted = deviation**2, TAIL**2 / 2
    high = low
    while tail_exponent(kind, variance, high) < wanted:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tail_exponent(kind, variance, middle) >= wanted else (middle + 1, high)
    return low


def turned(rank: int) -> float:
    """Within what share of its length all coordinates of a rotated vector stay, but for a chance of `SPILL`."""
    return min(1.0, math.sqrt(2 * math.log(2 * rank / SPILL) / rank))


def _most_steps(made: Callable[[int], Lattice], most_units: int, levels: int, *, rotated: bool) -> int:
    """The most steps to the clip for which one client's sum and its noise have room; 0 if there are none."""

    def fits(steps: int) -> bool:
        terms = made(steps)
        summed = most_units * steps
        if rotated:
            a_row = 0.5 if terms.how is How.NEAREST else 1.0
            summed = min(summed, math.ceil(most_units * (steps * turned(terms.rank) + a_row)))
        return max(summed, most_units * terms.unit) + tail_room(terms.kind, terms.share) <= levels

    low, high = 0, levels
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
