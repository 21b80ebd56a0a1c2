"""The whole numbers in which a private release is made: how fine, how far a unit reaches, how much noise.

A unit's row, clipped to norm ``clip``, becomes whole steps, ``steps`` of them to the clip. Rounding to the nearest
step can lengthen a row of ``rank`` numbers by at most ``sqrt(rank) / 2``, so a row is at most ``sensitivity`` long,
and what is longer is not sent. Where the number of units is released too, each row has one more number, ``unit``
steps in every row. One client's sum and its noise stay within ``levels``: the sum is cut there before the noise is
added (cutting a coordinate brings two sums no further apart, so the sensitivity holds), and noise that would leave
is what `beyond` bounds.

Invariant: everything here follows from the configuration and the size of the roster, so all ends agree on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from defenses.errors import UserError

TAIL = 12.0
"""Standard deviations of noise for which there is room; beyond it lies less than 2^-100 of a (sub-)Gaussian."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """One kind of release for one size of roster.

    Attributes:
        rank: numbers of a row, without the count.
        clip: norm to which a row is clipped, in the transform's units.
        counted: whether the number of units is released with the sum.
        steps: whole steps to the clip.
        unit: steps that stand for one unit in the count; 0 where it is not released.
        sensitivity: the most that one unit moves the sum, as an L2 norm in steps.
        noise: standard deviation of the noise on the sum that the guarantee counts on, in steps.
        share: standard deviation of what one client adds; 0 where it adds none.
        levels: the largest whole number that one client sends.
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

    @property
    def reach(self) -> int:
        """Where one client's sum is cut, before its noise."""
        return self.levels - math.ceil(TAIL * self.share)

    @property
    def width(self) -> int:
        """Numbers that travel."""
        return self.rank + self.counted

    @property
    def beyond(self) -> float:
        """The probability that some number of one client's noise has no room: 2 exp(-t²/2) for each, since a discrete
        Gaussian is sub-Gaussian (Canonne, Kamath and Steinke 2020, Corollary 9)."""
        return 2 * math.exp(-(TAIL**2) / 2) * self.width if self.share else 0.0


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

    Raises:
        UserError: there is no room for even a few steps.
    """
    levels = 2 ** (bits - 1) - 1
    spread = TAIL * multiplier / math.sqrt(shares) if shares else 0.0
    rounding = math.sqrt(rank) / 2
    length = math.hypot(1.0, count_weight) if counted else 1.0
    # Room: most_units * steps for the sum, and the tail of the noise, which grows with the sensitivity.
    most = max(1.0, count_weight)
    steps = math.floor((levels - spread * (rounding + 1) - 2) / (most_units * most + spread * length))
    if steps < max(8.0, rounding / 2):
        raise UserError(
            f"privacy.bits is {bits}, which leaves {max(steps, 0)} steps to the clip of a row of {rank} numbers",
            "raise privacy.bits, lower privacy.max_examples, or project on fewer dimensions",
        )
    unit = max(1, round(count_weight * steps)) if counted else 0
    sensitivity = math.hypot(steps + rounding, unit)
    noise = multiplier * sensitivity
    share = noise / math.sqrt(shares) if shares else 0.0
    return Lattice(rank, clip, counted, steps, unit, sensitivity, noise, share, levels)
