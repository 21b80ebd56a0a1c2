"""When a target is reached: by the median of three, and never by luck."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.measure.target import first_reached


@pytest.mark.parametrize(
    ("scores", "place"),
    [
        ([], None), ([0.9], None), ([0.9, 0.9], None), ([0.9, 0.9, 0.1], 2), ([0.1, 0.9, 0.1, 0.1], None),
        ([0.1, 0.2, 0.5, 0.6], 3), ([0.1, 0.2, 0.5, 0.4, 0.5], 4), ([0.5, 0.5, 0.5], 2),
    ],
)  # fmt: skip
def test_where_it_is_reached(scores, place):
    assert first_reached(scores, 0.5) == place


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0, 1))
def test_nothing_before_it_reaches_it(scores, target):
    place = first_reached(scores, target)
    medians = [median(scores[i - 2 : i + 1]) for i in range(2, len(scores))]
    assert [m >= target for m in medians].index(True) + 2 == place if place is not None else True
    assert place is not None or all(m < target for m in medians)
