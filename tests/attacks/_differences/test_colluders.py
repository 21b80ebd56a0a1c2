"""Sums less what some have told: what is left is over the others, with the error that the sum has."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attacks._base.targets import OwnUpload
from attacks._differences.colluders import others_in
from attacks._differences.isolated import Kind, differences
from attacks._differences.sums import Sum

SHAPE = (2, 2, 3)


def recorded(rosters, vectors):
    found = []
    for number, roster in enumerate(rosters):
        clients = tuple(sorted(roster))
        total = sum((1.0 + c) * vectors[c] for c in clients)
        weight = sum(1.0 + c for c in clients)
        found.append(Sum(0, number, clients, total, weight, True, np.full(SHAPE, 0.26), np.full(SHAPE, 0.25)))
    return found


@given(
    st.lists(st.frozensets(st.integers(0, 5), min_size=1), min_size=1, max_size=4, unique=True),
    st.frozensets(st.integers(0, 5), min_size=1, max_size=5),
)
def test_what_is_left_is_the_sum_over_the_others(rosters, gone):
    vectors = np.random.default_rng(0).standard_normal((6, *SHAPE))
    told = {c: OwnUpload((1.0 + c) * vectors[c], 1.0 + c) for c in gone}
    sums = recorded(rosters, vectors)
    left = others_in(sums, told)
    assert [one.clients for one in left] == [
        kept for roster in rosters if (kept := tuple(sorted(roster - gone)))
    ]
    by_round = {one.round: one for one in sums}
    for one in left:
        assert np.allclose(one.total, sum((1.0 + c) * vectors[c] for c in one.clients))
        assert np.isclose(one.weight, sum(1.0 + c for c in one.clients))
        whole = by_round[one.round]
        assert one.colluding == tuple(sorted(set(whole.clients) & gone))
        assert (one.noise, one.counted) == (whole.noise, True)
        assert np.array_equal(one.variance, whole.variance)


def test_all_others_colluding_isolate_one_of_a_single_sum():
    vectors = np.random.default_rng(1).standard_normal((6, *SHAPE))
    sums = recorded([range(6)], vectors)
    assert not differences(sums, 3).found
    told = {c: OwnUpload((1.0 + c) * vectors[c], 1.0 + c) for c in range(5)}
    (one,) = differences(others_in(sums, told), 3).found
    assert (one.kind, one.clients, one.examples) == (Kind.CLIENT, (5,), 6)
    assert np.allclose(one.vector, vectors[5])
    (pair,) = differences(others_in(sums, {c: told[c] for c in range(4)}), 3).found
    assert (pair.kind, pair.clients) == (Kind.SET, (4, 5))
