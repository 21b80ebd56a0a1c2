"""Errors of answers that are numbers.

The one invariant: every answer counts. One that is no number counts with the largest error that the declared range
allows, and how many there were is told, since a method that answers only where it is sure would look best otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")


def read_number(text: str) -> float | None:
    """The number that a text is, spaces around it and a full stop behind it aside; None where it is anything else.

    Example:
        >>> [read_number(text) for text in (" 42.", "-1e3", "about 7", "")]
        [42.0, -1000.0, None, None]
    """
    bare = text.strip()
    bare = bare[:-1] if bare.endswith(".") and bare.count(".") == 1 else bare
    found = _NUMBER.fullmatch(bare)
    if found is None:
        return None
    number = float(bare)
    return number if np.isfinite(number) else None


@dataclass(frozen=True, slots=True, eq=False)
class NumberErrors:
    """Distances of answers from the truth.

    Attributes:
        errors: absolute errors, float64 ``[n]``, each at most the range.
        unread: answers that are no number; each has the distance from the truth to the far end of the range.
        outside: answers beyond the range; each was taken for the end that it lies behind.
    """

    errors: Floats
    unread: int
    outside: int


def number_errors(truth: Sequence[str], answers: Sequence[str], low: float, high: float) -> NumberErrors:
    """Errors of answers in text, every one of them.

    Args:
        truth: what should have been answered, each a number.
        answers: what was.
        low: the smallest number there can be.
        high: the largest.
    """
    if len(truth) != len(answers) or not truth:
        raise ValueError(f"{len(truth)} truths and {len(answers)} answers: give as many, not none")
    errors, unread, outside = [], 0, 0
    for wanted, given in zip(truth, answers, strict=True):
        true = read_number(wanted)
        if true is None:
            raise ValueError("a true answer is no number")
        number = read_number(given)
        if number is None:
            unread += 1
            errors.append(max(true - low, high - true))
            continue
        outside += not low <= number <= high
        errors.append(abs(min(max(number, low), high) - true))
    return NumberErrors(np.asarray(errors, dtype=np.float64), unread, outside)


def label_errors(truth: Sequence[int], predicted: Sequence[int], values: Sequence[float]) -> NumberErrors:
    """Errors of labels that stand for numbers: class indices, and the number of each class."""
    table = np.asarray(values, dtype=np.float64)
    errors = np.abs(table[np.asarray(truth)] - table[np.asarray(predicted)])
    return NumberErrors(errors, 0, 0)


def rmse(errors: Floats) -> float:
    """The root of the mean squared error; the same unit as the answers, 0 is best."""
    if errors.size == 0:
        raise ValueError("no answers have no error")
    return float(np.sqrt(np.mean(errors**2)))
