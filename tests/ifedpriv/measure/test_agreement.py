"""The adjusted Rand index against values worked out by hand."""

import numpy as np
import pytest

from ifedpriv.measure.agreement import adjusted_rand


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 1, 1], ["a", "a", "b", "b"], 1.0),
        ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),
        # Of six pairs 1 and 2 are together, 1 in both; a third is expected: (1 - 1/3) / (3/2 - 1/3).
        ([0, 0, 1, 2], [0, 0, 1, 1], 4 / 7),
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
        ([0, 0, 0], [5, 5, 5], 1.0),
        ([0], [1], 1.0),
    ],
)
def test_values_by_hand(first: list[object], second: list[object], expected: float) -> None:
    assert adjusted_rand(first, second) == pytest.approx(expected)


def test_chance_is_zero_on_average() -> None:
    """The mean of 2,000 indices of independent draws has a deviation below 0.002: false alarms 1 in 10^6 and fewer."""
    rng = np.random.default_rng(0)
    found = [
        adjusted_rand(list(rng.integers(3, size=20)), list(rng.integers(3, size=20))) for _ in range(2000)
    ]
    assert abs(np.mean(found)) < 5 * np.std(found) / np.sqrt(len(found))


def test_lists_of_unequal_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="2 and 3 things"):
        adjusted_rand([0, 1], [0, 1, 2])
