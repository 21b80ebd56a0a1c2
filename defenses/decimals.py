"""Bounds as text of a few digits.

Invariant: what is printed of a bound is a bound.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context, Decimal


def at_most(bound: float, digits: int) -> str:
    """The least number of so many digits that is not below a bound, such as an epsilon that is promised.

    >>> at_most(0.99941, 3), at_most(1e-05, 6), at_most(3e-300, 4)
    ('1', '1e-05', '3e-300')
    """
    if not math.isfinite(bound):
        return f"{bound:g}"
    # By the digits that stand for the float: 1e-05 itself lies a little above one hundred-thousandth.
    up = Context(prec=digits, rounding=ROUND_CEILING).plus(Decimal(repr(float(bound))))
    return f"{float(up):.{digits}g}"
