"""Errors of numbers: every answer counts, also one that is no number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.measure.numbers import label_errors, number_errors, read_number, rmse

RANGE = (0.0, 10.0)
VALUES = st.floats(0, 10, allow_nan=False).map(lambda value: round(value, 3))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42.0), (" -3.5 ", -3.5), ("7.", 7.0), ("1e3", 1000.0), (".5", 0.5), ("+2", 2.0),
        ("", None), ("about 7", None), ("7 days", None), ("nan", None), ("inf", None), ("1,000", None),
        ("1e999", None), ("9" * 5000, None), ("3.1.4", None),
    ],
)  # fmt: skip
def test_what_is_a_number(text, number):
    assert read_number(text) == number


def test_an_unread_answer_costs_the_most_that_there_is_and_is_counted():
    found = number_errors(["2", "9", "5", "5"], ["none", "", "5", "99"], *RANGE)
    assert found.errors.tolist() == [8.0, 9.0, 0.0, 5.0]
    assert (found.unread, found.outside) == (2, 1)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_saying_nothing_never_pays(pairs):
    """Any answer that is a number has at most the error of none; and no error leaves the range."""
    truth = [str(true) for true, _ in pairs]
    said = number_errors(truth, [str(given) for _, given in pairs], *RANGE)
    silent = number_errors(truth, ["?"] * len(pairs), *RANGE)
    assert (said.errors <= silent.errors).all()
    assert (silent.errors <= 10).all()
    assert rmse(said.errors) == pytest.approx(np.sqrt(np.mean([(a - b) ** 2 for a, b in pairs])))
    assert (said.unread, silent.unread) == (0, len(pairs))


def test_labels_stand_for_numbers():
    found = label_errors([0, 1, 2, 2], [0, 2, 0, 2], (0.0, 1.0, 7.0))
    assert found.errors.tolist() == [0.0, 6.0, 7.0, 0.0]
    assert rmse(found.errors) == pytest.approx(np.sqrt((36 + 49) / 4))


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ValueError, match="no number"):
        number_errors(["seven"], ["7"], *RANGE)
    with pytest.raises(ValueError, match="no answers"):
        rmse(np.zeros(0))
