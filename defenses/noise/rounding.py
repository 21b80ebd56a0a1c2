"""From real numbers to whole steps, with a norm that is enforced on the whole numbers themselves.

A record x of d numbers and norm at most c becomes a vector z of whole numbers with ``|z|^2 <= B``. All lengths here
are in steps: y = x / step, c stands for clip / step.

- `nearest`: each number moves by at most 1/2, so |z| <= c + sqrt(d)/2 by the triangle inequality.
- `conditional`: each number goes up or down with the probability that makes its mean right, and the record is rounded
  anew until |z|^2 <= B. With a_i for the floor of y_i, z_i = a_i + b_i and b_i of mean f_i, |z|^2 is a sum of
  independent a_i^2 + (2 a_i + 1) b_i, of mean |y|^2 + sum f_i (1 - f_i) <= c^2 + d/4. Its terms have ranges
  |2 a_i + 1|, and |a_i + 1/2 - y_i| <= 1/2, so the squared ranges sum to at most (2c + sqrt(d))^2. Hoeffding gives
  P(|z|^2 > B) <= beta for B = c^2 + d/4 + sqrt(2 ln(1/beta)) (c + sqrt(d)/2); and always |z| <= c + sqrt(d). This is
  proposition 22 of Kairouz, Liu, Steinke, "The distributed discrete Gaussian mechanism for federated learning with
  secure aggregation", ICML 2021.

What is summed and noised has these norms, so one record more or less moves the sum by at most sqrt(B) in L2, and by
`l1_bound` in L1; replacing one, by twice that.

Where floats are: in y, in the draw's comparison, and in B. None can void the bound: B is a whole number, computed
once, *the* sensitivity to account for, and every record is checked against it in 64-bit integers. A float error can
only move which of the allowed z is sent, or how often.

Invariant: no returned record has a squared norm above the bound, whatever was given; what cannot be brought below it
becomes zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError

BETA = math.exp(-0.5)
"""The usual chance that a record is rounded anew: then sqrt(2 ln(1/beta)) is 1."""

_SECURE = SecureEntropy()
_TRIES = 64
_MOST_NORM = 2.0**31
"""Largest c + sqrt(d) in steps: squared norms then fit in 64 bits."""
_DRAW_BITS = 32

IntArray = npt.NDArray[np.int64]


class How(StrEnum):
    """How a number becomes a whole one."""

    NEAREST = "nearest"
    CONDITIONAL = "conditional"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rounded:
    """Records on whole steps, as private as the records. The counts depend on private data and stay where they are.

    Attributes:
        numbers: int64 [n, d]; read-only.
        zeroed: records that hold NaN or infinity, or could not be brought below the bound; they became zeros.
        shrunk: records whose norm was above the clip and that were scaled down to it.
        retried: records that were rounded more than once.
    """

    numbers: IntArray
    zeroed: int
    shrunk: int
    retried: int

    def __post_init__(self) -> None:
        self.numbers.flags.writeable = False

    def __repr__(self) -> str:
        return f"Rounded(<{list(self.numbers.shape)} whole numbers>)"


def squared_bound(clip: float, size: int, how: How = How.CONDITIONAL, beta: float = BETA) -> int:
    """The largest squared L2 norm of a rounded record, in squared steps: a whole number, enforced.

    Args:
        clip: the largest L2 norm of a record before rounding, in steps.
        size: numbers in a record.
        how: nearest, or at random under the condition.
        beta: chance that a record is rounded anew, in (0, 1); for conditional rounding.
    """
    how = How(how)
    if size < 1 or not (math.isfinite(clip) and clip > 0 and clip + math.sqrt(size) < _MOST_NORM):
        raise UserError(
            f"rounding has a clip of {clip} steps for {size} numbers",
            "keep clip / step above 0 and, with the root of the size, below 2^31",
        )
    if how is How.NEAREST:
        return math.floor((clip + math.sqrt(size) / 2) ** 2)
    if not 0 < beta < 1:
        raise UserError(f"rounding.beta is {beta}", "use a number above 0 and below 1")
    likely = clip**2 + size / 4 + math.sqrt(-2 * math.log(beta)) * (clip + math.sqrt(size) / 2)
    return math.floor(min(likely, (clip + math.sqrt(size)) ** 2))


def l2_bound(clip: float, size: int, how: How = How.CONDITIONAL, beta: float = BETA) -> float:
    """The largest L2 norm of a rounded record, in steps: the root of `squared_bound`, not below it."""
    return math.nextafter(math.sqrt(squared_bound(clip, size, how, beta)), math.inf)


def l1_bound(squared: int, size: int) -> int:
    """The largest L1 norm of whole numbers with a squared L2 norm up to ``squared``.

    |z|_1 <= sqrt(d) |z|_2 for any vector, and |z|_1 <= |z|_2^2 for whole numbers; L1 norms are whole.
    """
    return min(math.isqrt(size * squared), squared)


def round_to_bound(
    values: npt.ArrayLike,
    step: float,
    clip: float,
    entropy: Entropy = _SECURE,
    how: How = How.CONDITIONAL,
    beta: float = BETA,
) -> Rounded:
    """Records as whole steps with squared norms up to ``squared_bound(clip / step, d, how, beta)``.

    Conditional rounding has the right mean but for the condition: the mean of a record's z is off by a vector of norm
    at most beta / (1 - beta) * sqrt(d) steps, in practice far less, since what is left out is nearly symmetric. (With
    P <= beta for a refusal, E z - y = P / (1 - P) * (y - E[z | refused]), whose numbers are at most 1 apart.)
    A record that is refused 64 times is rounded towards 0, which never lengthens it.

    Args:
        values: [n, d] real numbers, one record a row.
        step: the width of a step, in the values' units.
        clip: the largest L2 norm of a record, in the values' units; a longer one is scaled down to it.
        entropy: 4 bytes a number and round, for conditional rounding.
        how: see the module.
        beta: see `squared_bound`.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] < 1:
        raise UserError(f"rounding was given shape {given.shape}", "give [records, numbers]")
    if not (math.isfinite(step) and step > 0 and math.isfinite(clip)):
        raise UserError(f"rounding.step is {step} and clip is {clip}", "use finite numbers above 0")
    size = given.shape[1]
    limit = clip / step
    most = squared_bound(limit, size, how, beta)
    broken: npt.NDArray[np.bool_] = ~np.asarray(np.isfinite(given).all(axis=1))
    scaled, shrunk = _shrunk(np.where(broken[:, None], 0.0, given), step, limit)
    if How(how) is How.NEAREST:
        numbers, retried = np.rint(scaled).astype(np.int64), 0
        left = np.flatnonzero(_squares(numbers) > most)
    else:
        numbers, retried, left = _conditional(scaled, most, entropy)
    numbers[left] = np.trunc(scaled[left]).astype(np.int64)
    # Only float errors can leave a record here: rounding towards 0 lengthens nothing.
    over = _squares(numbers) > most
    numbers[over] = 0
    return Rounded(numbers, int(np.count_nonzero(broken | over)), shrunk, retried)


def _shrunk(
    values: npt.NDArray[np.float64], step: float, limit: float
) -> tuple[npt.NDArray[np.float64], int]:
    """Records in steps, none longer than the limit but by float rounding, and how many were scaled down."""
    # By the largest number first, so that no square overflows.
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    unit = values / np.where(largest > 0, largest, 1.0)
    lengths = np.sqrt(np.einsum("nd,nd->n", unit, unit))[:, None]
    with np.errstate(over="ignore"):
        long = largest / step * lengths > limit
    scale = np.where(long, limit / np.where(lengths > 0, lengths, 1.0), np.where(long, 0.0, largest) / step)
    return unit * scale, int(np.count_nonzero(long))


def _squares(numbers: IntArray) -> IntArray:
    """Squared norms of rows; they fit, since no number is more than 1 from a record of bounded length."""
    return np.asarray(np.einsum("nd,nd->n", numbers, numbers), dtype=np.int64)


def _conditional(
    scaled: npt.NDArray[np.float64], most: int, entropy: Entropy
) -> tuple[IntArray, int, npt.NDArray[np.int64]]:
    """Rounded at random, how many records took more than one try, and which ones are still too long."""
    floors = np.floor(scaled)
    # A draw below the fraction, in 32 bits, rounds up.
    chances = (scaled - floors) * 2.0**_DRAW_BITS
    whole = floors.astype(np.int64)
    numbers = whole.copy()
    left = np.arange(len(scaled))
    retried = 0
    for attempt in range(_TRIES):
        draws = np.frombuffer(entropy.bytes(_DRAW_BITS // 8 * chances.size), dtype="<u4")
        tried = whole + (draws.reshape(chances.shape) < chances)
        numbers[left] = tried
        again = np.flatnonzero(_squares(tried) > most)
        if attempt == 0:
            retried = len(again)
        left, whole, chances = left[again], whole[again], chances[again]
        if not len(left):
            break
    return numbers, retried, left
