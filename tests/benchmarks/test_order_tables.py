"""From which epsilon on an attack is over: not where it first fails, but from where on it never succeeds again."""

import math

import pytest
from benchmarked import benchmark

tables = benchmark("_order_tables")


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        ({math.inf: True, 100: True, 8: False, 1: False}, "8"),
        ({1: False, 8: False, 100: True, math.inf: True}, "8"),
        ({math.inf: True, 100: False, 8: True, 1: False}, "1"),
        ({math.inf: True, 100: True, 8: True, 1: True}, "below 1"),
        ({math.inf: False, 100: False, 1: False}, "needs none"),
        ({math.inf: True, 100: False, 1: False}, "100"),
    ],
)
def test_the_epsilon_from_which_on_an_attack_is_over(judged, said):
    assert tables.ended(judged) == said


def test_a_verdict_and_a_gain_are_two_questions():
    """Little may be found for certain, and much by chance."""
    row = {"verdict": "inconclusive", "gain": {"interval": [0.01, 0.02]}}
    assert not tables.works(row) and tables.tells(row)
    row = {"verdict": "severe", "gain": {"interval": [0.5, 0.6]}}
    assert tables.works(row) and tables.tells(row)
    assert not tables.tells({"verdict": "resisted", "gain": {"interval": [-0.01, 0.01]}})
