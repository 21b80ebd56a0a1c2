"""What sums over known rosters isolate: planted combinations are found, and none is claimed where there is none."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks._differences import rosters as algebra
from attacks._differences.rosters import isolate


def rosters_of(*each):
    return [frozenset(one) for one in each]


def brute_smallest(rosters, clients):
    """The fewest clients that any combination depends on, by ranks over floating point numbers of small matrices."""
    matrix = np.array([[float(c in roster) for c in clients] for roster in rosters])
    whole = np.linalg.matrix_rank(matrix)
    for size in range(1, len(clients) + 1):
        for chosen in combinations(range(len(clients)), size):
            rest = [c for c in range(len(clients)) if c not in chosen]
            if whole > (np.linalg.matrix_rank(matrix[:, rest]) if rest else 0):
                return size
    return None


def value(combination, rosters):
    """What the combination comes to, client by client, computed from its factors."""
    found = {}
    for factor, roster in zip(combination.factors, rosters, strict=True):
        for client in roster:
            found[client] = found.get(client, Fraction()) + factor
    return {client: share for client, share in found.items() if share}


ROSTERS = st.lists(st.frozensets(st.integers(0, 6), min_size=1, max_size=7), min_size=1, max_size=6)


@given(ROSTERS)
def test_what_is_claimed_is_what_the_factors_give_and_nothing_is_missed(rosters):
    found = isolate(rosters, below=7)
    clients = sorted(frozenset().union(*rosters))
    for each in (*found.singles, found.smallest):
        assert dict(each.clients) == value(each, rosters)
    for each in found.vanishing:
        assert value(each, rosters) == {}
    assert found.rank + len(found.vanishing) == len(rosters)
    assert (
        algebra._rank(algebra._residues([[Fraction(int(c in r)) for c in clients] for r in rosters]))
        == found.rank
    )
    assert found.complete
    assert len(found.smallest.clients) == brute_smallest(rosters, clients)
    matrix = np.array([[float(c in roster) for c in clients] for roster in rosters])
    whole = np.linalg.matrix_rank(matrix)
    alone = {
        client
        for i, client in enumerate(clients)
        if np.linalg.matrix_rank(np.vstack([matrix, np.eye(len(clients))[i]])) == whole
    }
    assert {each.numbers[0] for each in found.singles} == alone


@given(st.integers(0, 9), st.permutations(range(10)), st.integers(2, 4), st.randoms(use_true_random=False))
def test_a_planted_client_is_found(client, order, parts, random):
    """Everybody's sum, and the others' in some parts: the difference is one client, whatever else is there."""
    others = [c for c in order if c != client]
    cut = [frozenset(others[part::parts]) for part in range(parts)]
    rosters = [frozenset(range(10)), *cut]
    random.shuffle(rosters)
    found = isolate(rosters, below=3)
    assert client in {each.numbers[0] for each in found.singles}


@given(st.lists(st.frozensets(st.integers(0, 9), min_size=1), min_size=1, max_size=5))
def test_pairs_that_are_never_parted_are_never_claimed(rosters):
    """Clients 2c and 2c + 1 are in the same sums: no combination tells one from the other."""
    doubled = [frozenset(2 * c + i for c in roster for i in (0, 1)) for roster in rosters]
    found = isolate(doubled, below=2)
    assert found.singles == ()
    assert len(found.smallest.clients) >= 2


def test_no_pair_of_sums_but_three_of_them_isolate():
    """(1 + 2) + (1 + 3) - (2 + 3) is twice client 1: no difference of two sums is a client."""
    found = isolate(rosters_of({1, 2}, {1, 3}, {2, 3}), below=2)
    assert [each.numbers for each in found.singles] == [(1,), (2,), (3,)]
    assert found.singles[0].factors == (Fraction(1, 2), Fraction(1, 2), Fraction(-1, 2))
    assert str(found.singles[0]) == "1/2 x 1 + 1/2 x 2 - 1/2 x 3"


def test_the_same_roster_again_gives_nothing_but_what_has_changed():
    found = isolate(rosters_of({1, 2, 3}, {1, 2, 3}), below=3)
    assert (found.singles, found.smallest.numbers) == ((), (1, 2, 3))
    assert [str(each) for each in found.vanishing] == ["-1 + 2"]
    assert isolate([], below=3) == algebra.Isolation(0, (), None, True, ())


def test_two_clients_left_over():
    found = isolate(rosters_of(range(8), range(6)), below=3)
    assert found.singles == ()
    assert found.smallest.numbers == (6, 7)
    assert found.smallest.even
    assert str(found.smallest) == "1 - 2"


@pytest.mark.parametrize("most", [0, 10**6])
def test_both_ways_of_searching_agree(monkeypatch, most):
    """With room for all, sets are found by what vanishes elsewhere; without, one by one or not at all."""
    rng = np.random.default_rng(4)
    rosters = [frozenset(np.flatnonzero(rng.random(9) < 0.6).tolist()) | {0} for _ in range(4)]
    monkeypatch.setattr(algebra, "MOST_SETS", most)
    found = isolate(rosters, below=9)
    least = brute_smallest(rosters, sorted(frozenset().union(*rosters)))
    assert found.complete == bool(most)
    if most:
        assert len(found.smallest.clients) == least
    monkeypatch.setattr(algebra, "comb", lambda *_: most + 1)
    searched = isolate(rosters, below=9)
    assert len(searched.smallest.clients) == least or not searched.complete
