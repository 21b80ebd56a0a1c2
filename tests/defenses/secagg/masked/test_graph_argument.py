"""The argument for the sparse graph, made again: its events by brute force, its tails exactly, its union by trial.

docs/sparse_graph.md has it in words.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from defenses.secagg.masked import graph
from defenses.secagg.masked.graph import Graph, Shape, choose


def exact_tail(population, marked, drawn, x):
    """P[H > x] as a fraction, from whole numbers alone."""
    ways = sum(
        math.comb(marked, i) * math.comb(population - marked, drawn - i)
        for i in range(max(x + 1, 0), min(marked, drawn) + 1)
    )
    return Fraction(ways, math.comb(population, drawn))


@pytest.mark.parametrize("n", [100, 256, 777, 1024])
@pytest.mark.parametrize("rates", [(0.1, 0.05), (0.2, 0.1), (1 / 3, 0.1)])
def test_the_three_bounds_hold_exactly(n, rates):
    bad, gone = (math.ceil(rate * n) for rate in rates)
    shape = choose(n, *rates)
    k, t = shape.neighbours, shape.threshold
    assert k < n - 1 and k % 2 == 0
    least = Fraction(1, 2 ** (graph.SECURITY_BITS + 1 + graph.TRIES_BITS))
    both, cut = (
        n * exact_tail(n - 1, bad, k, 2 * t - k - 2),
        2 * n * exact_tail(n - 1, bad, k // 2, t - k // 2 - 2),
    )
    assert both <= least and cut <= least
    assert n * exact_tail(n - 1, gone, k, k - t) <= Fraction(1, 2**graph.CORRECTNESS_BITS)
    # What the server may try: the worst of 2^64 orders leaves nobody open but with 2^-40.
    assert 2**graph.TRIES_BITS * (both + cut) <= Fraction(1, 2**graph.SECURITY_BITS)


def test_the_threshold_is_right_for_odd_and_even_numbers_of_colluders_around(monkeypatch):
    """The first bound alone: 2t - k - 2 must reach the number that is exceeded too rarely, odd or even."""
    beyond = graph._least_beyond
    for n, bad, k in itertools.product((64, 101, 200), (7, 12, 20), (10, 24, 40)):
        monkeypatch.setattr(
            graph, "_least_beyond", lambda p, m, d, log, k=k: beyond(p, m, d, log) if d == k else 0
        )
        monkeypatch.setattr(graph, "SECURITY_BITS", 8)
        monkeypatch.setattr(graph, "TRIES_BITS", 0)
        t = graph._sparse_threshold(n, bad, 0, k)
        if t is not None:
            assert n * exact_tail(n - 1, bad, k, 2 * t - k - 2) <= Fraction(1, 2**9)


@pytest.mark.parametrize("k", [4, 6, 8, 10])
def test_both_shares_are_to_be_had_just_when_the_bound_says_so(k):
    """Every way of splitting a client's honest holders into those told "alive" and those told "dropped"."""
    for t, bad in itertools.product(range(2, k + 1), range(k + 1)):
        honest = k + 1 - bad
        possible = any(
            alive + bad >= t and honest - alive + bad >= t and bad < k + 1 for alive in range(honest + 1)
        )
        assert possible == (bad > 2 * t - k - 2)


def closed_sets(ring, shape, colluders, answered):
    """What sums a server can learn: smallest sets of honest inputs whose masks all come off, by its choice of answers.

    An honest input is in one only if t holders opened its seed (the colluders always do), and then so is that of every
    honest neighbour that answered, since the key of the mask between them stays closed.
    """
    honest = set(range(ring.clients)) - colluders
    open_ = {i for i in honest if len(set(ring.holders(i)) & (answered | colluders)) >= shape.threshold}
    found = []
    for start in open_:
        inside, todo = {start}, [start]
        while todo:
            for other in set(ring.neighbours(todo.pop())) & answered - inside:
                inside.add(other)
                todo.append(other)
        if inside <= open_:
            found.append(frozenset(inside))
    return found


def on_one_side(ring, place, colluders):
    """The most colluders among the k/2 neighbours on either side."""
    half, spot = ring.shape.neighbours // 2, ring._spot[place]
    sides = (
        [ring.order[(spot + way * step) % ring.clients] for step in range(1, half + 1)] for way in (1, -1)
    )
    return max(len(colluders & set(side)) for side in sides)


def test_no_choice_of_who_answers_cuts_the_honest_apart():
    """All 2^11 choices, on rings of 13 with 6 neighbours: where no side has too many colluders, one sum has all."""
    cuts = {True: 0, False: 0}
    for seed, t in itertools.product(range(4), (5, 6)):
        shape = Shape(6, t)
        ring = Graph(13, shape, bytes([seed]))
        colluders = {2, 7}
        honest = sorted(set(range(13)) - colluders)
        safe = all(on_one_side(ring, place, colluders) <= t - 6 // 2 - 2 for place in honest)
        for bits in range(1 << len(honest)):
            answered = {place for i, place in enumerate(honest) if bits >> i & 1}
            cuts[safe] += any(
                not answered <= inside for inside in closed_sets(ring, shape, colluders, answered)
            )
    assert cuts[True] == 0
    assert cuts[False] > 0  # so the condition is not idle


def test_the_union_bound_by_trial():
    """2,000 random rings at a threshold low enough to see failures: each tail per client, and all clients together.

    A client's tail is met within 5 standard deviations (one right build in 10^6 fails; the rings are always the same).
    """
    n, trials = 40, 2000
    shape = Shape(8, 6)
    bad = 10
    around, beside, failed = 0, 0, 0
    colluders = set(range(bad))
    for seed in range(trials):
        ring = Graph(n, shape, seed.to_bytes(4, "little"))
        place = {client: spot for spot, client in enumerate(ring.order)}
        line = np.zeros(n, dtype=int)
        line[[place[c] for c in colluders]] = 1
        wheel = np.concatenate([line, line, line])
        sums = np.concatenate([[0], np.cumsum(wheel)])
        spots = np.array([place[c] for c in range(n) if c not in colluders]) + n
        right = sums[spots + 5] - sums[spots + 1]
        left = sums[spots] - sums[spots - 4]
        both = right + left > 2 * shape.threshold - 8 - 2
        side = right > shape.threshold - 4 - 2
        around += int(both.sum())
        beside += int(side.sum())
        failed += bool(both.any() or side.any() or (left > shape.threshold - 4 - 2).any())
    honest = (n - bad) * trials
    for count, drawn, x in ((around, 8, 2 * shape.threshold - 8 - 2), (beside, 4, shape.threshold - 4 - 2)):
        p = float(exact_tail(n - 1, bad, drawn, x))
        assert 0.05 < p < 0.95
        # Clients of a ring share neighbours, so a ring counts as one draw; its mean has a variance of p(1-p) at most.
        assert abs(count / honest - p) < 5 * math.sqrt(p * (1 - p) / trials)
    bound = n * float(exact_tail(n - 1, bad, 8, 2)) + 2 * n * float(exact_tail(n - 1, bad, 4, 0))
    assert 0 < failed / trials <= min(1.0, bound)


def test_the_union_bound_is_not_vacuous_where_failures_are_rare():
    """At a bound of a few per cent: failures occur, and no oftener than it says by 5 standard deviations."""
    n, bad, shape, trials = 60, 8, Shape(20, 17), 1500
    k, t = shape.neighbours, shape.threshold
    bound = 2 * n * float(exact_tail(n - 1, bad, k // 2, t - k // 2 - 2))
    assert 0.001 < bound < 0.9
    colluders, failed = set(range(bad)), 0
    for seed in range(trials):
        ring = Graph(n, shape, b"rare" + seed.to_bytes(4, "little"))
        line = np.isin(np.array(ring.order), list(colluders)).astype(int)
        wheel = np.concatenate([[0], np.cumsum(np.concatenate([line, line, line]))])
        spots = np.flatnonzero(line == 0) + n
        right, left = wheel[spots + 1 + k // 2] - wheel[spots + 1], wheel[spots] - wheel[spots - k // 2]
        failed += bool((np.maximum(left, right) > t - k // 2 - 2).any())
    assert 0 < failed / trials <= bound + 5 * math.sqrt(bound / trials)
