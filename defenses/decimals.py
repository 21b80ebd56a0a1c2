"""Bounds as text of a few digits.

Invariant: what is printed of a bound is a bound.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal


def at_most(bound: float, digits: int) -> str:
    """The least number of so many digits that is not below a bound, such as an epsilon that is promised.

    >>> at_most(0.99941, 3), at_most(1e-05, 6), at_most(3e-300, 4)
    ('1', '1e-05', '3e-300')
    """
    return _rounded(bound, digits, ROUND_CEILING)


def at_least(bound: float, digits: int) -> str:
    """The largest number of so many digits that is not above what was shown to be reached.

    >>> at_least(0.77779, 3)
    '0.777'
    """
    return _rounded(bound, digits, ROUND_FLOOR)


def _rounded(bound: float, digits: int, rounding: str) -> str:
    if not math.isfinite(bound):
        return f"{bound:g}"
    # By the digits that stand for the float: 1e-05 itself lies a little above one hundred-thousandth.
    found = Context(prec=digits, rounding=rounding).plus(Decimal(repr(float(bound))))
    return f"{float(found):.{digits}g}"
