"""What one unit can do to a sum: never more than the lattice says, whatever it holds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from defenses.dp.contribution import clip_rows, contribution
from defenses.dp.lattice import TAIL, lattice
from defenses.dp.transform import Transform
from defenses.errors import UserError

RANK = 6
ANY = st.floats(width=64, allow_nan=True, allow_infinity=True)


def terms(**changes):
    """A lattice of six numbers."""
    facts = {
        "rank": RANK,
        "clip": 2.0,
        "counted": True,
        "count_weight": 0.25,
        "most_units": 16,
        "multiplier": 1.0,
        "shares": 1,
        "bits": 20,
    }
    return lattice(**{**facts, **changes})


@settings(deadline=None)
@given(rows=arrays(np.float64, (5, RANK), elements=ANY), one=arrays(np.float64, (1, RANK), elements=ANY))
def test_one_row_more_moves_the_sum_by_no_more_than_the_sensitivity(rows, one):
    with_it = contribution([rows, one], Transform.identity(RANK), terms()).total
    without = contribution([rows], Transform.identity(RANK), terms()).total
    moved = with_it - without
    assert math.isqrt(int((moved**2).sum())) <= terms().sensitivity


@settings(deadline=None)
@given(
    rows=arrays(np.float64, (40, RANK), elements=st.floats(-5, 5)),
    one=arrays(np.float64, (1, RANK), elements=ANY),
)
def test_a_sum_that_is_cut_keeps_the_sensitivity(rows, one):
    """There is room for 2 units here and there are 41: most sums are cut."""
    small = terms(most_units=2)
    moved = (
        contribution([one, rows], Transform.identity(RANK), small).total
        - contribution([rows], Transform.identity(RANK), small).total
    )
    assert int((moved**2).sum()) <= small.sensitivity**2


@settings(deadline=None)
@given(rows=arrays(np.float64, (7, RANK), elements=st.floats(-100, 100)))
def test_no_row_is_longer_than_allowed_and_short_rows_are_only_rounded(rows):
    found = terms()
    whole, broken, clipped = clip_rows(rows, found)
    lengths = np.linalg.norm(rows, axis=1)
    assert broken == 0
    assert clipped == int((lengths > found.clip).sum())
    assert (np.square(whole).sum(axis=1) + found.unit**2 <= found.sensitivity**2).all()
    short = lengths <= found.clip
    np.testing.assert_allclose(
        whole[short] * found.clip / found.steps, rows[short], atol=0.5001 * found.clip / found.steps
    )


def test_long_rows_keep_their_direction():
    found = terms()
    whole, _, _ = clip_rows(np.full((1, RANK), 1e200), found)
    expected = found.steps / math.sqrt(RANK)
    np.testing.assert_allclose(whole[0], expected, atol=0.5)


def test_a_row_that_is_not_finite_counts_as_zero_and_is_still_one_unit():
    rows = np.zeros((3, RANK))
    rows[0, 1], rows[1, 2] = np.nan, np.inf
    found = contribution([rows], Transform.identity(RANK), terms())
    assert (found.units, found.broken) == (3, 2)
    assert found.total.tolist() == [0] * RANK + [3 * terms().unit]


def test_units_are_counted_exactly_until_there_is_no_room():
    found = [
        contribution([np.zeros((n, RANK))], Transform.identity(RANK), terms()).total[-1] for n in (0, 1, 16)
    ]
    assert found == [0, terms().unit, 16 * terms().unit]


def test_a_lattice_has_room_for_its_units_and_the_tail_of_its_noise():
    found = terms()
    assert found.reach >= 16 * found.steps
    assert found.levels == 2**19 - 1
    assert found.reach + TAIL * found.share <= found.levels + 1
    assert found.share == pytest.approx(found.noise)
    assert terms(shares=0).share == 0
    assert terms(shares=4).share == pytest.approx(terms(shares=4).noise / 2)


def test_rounding_lengthens_a_row_by_half_a_step_a_number_at_most():
    found = terms(counted=False)
    assert found.sensitivity == found.steps + math.sqrt(RANK) / 2
    assert found.unit == 0


def test_too_few_bits_are_refused_with_what_to_change():
    with pytest.raises(UserError, match=r"privacy.bits is 8, which leaves \d steps") as caught:
        terms(bits=8)
    assert "raise privacy.bits" in str(caught.value)


def test_the_chance_of_noise_without_room_is_tiny_and_stated():
    assert 0 < terms().beyond < 1e-28
    assert terms(shares=0).beyond == 0


def test_a_contribution_shows_nothing_of_itself():
    found = contribution([np.ones((2, RANK))], Transform.identity(RANK), terms())
    assert repr(found) == f"Contribution(<{RANK + 1} numbers>)"
