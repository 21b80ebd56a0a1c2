"""Which clients can be told apart by adding and subtracting sums whose rosters are known: exact linear algebra.

The invariant: arithmetic is in fractions throughout, so what is said to be isolated is isolated by the combination that
stands beside it, and what is said not to be cannot be, by any combination of these sums.

A sum over a roster is a row of zeros and ones. What a server can work out of several sums is their row space: a client
is isolated if and only if its unit vector is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

MOST_SETS = 20_000
"""Sets of clients that are tried one by one before a search is said not to be complete."""

_PRIME = 2**31 - 1

Row = tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Combination:
    """What some sums come to, each taken so many times.

    Attributes:
        factors: of each sum, in their order.
        clients: what each client counts in the result, by number; none that counts 0.
    """

    factors: Row
    clients: tuple[tuple[int, Fraction], ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Clients in the result, ascending."""
        return tuple(number for number, _ in self.clients)

    @property
    def even(self) -> bool:
        """Whether all clients in it count the same, so that it is a sum over them."""
        return len({share for _, share in self.clients}) == 1

    def __str__(self) -> str:
        """The combination over sums numbered from 1, such as ``1 - 2`` or ``2/3 x 1 + 3``."""
        said = ""
        for number, factor in enumerate(self.factors, start=1):
            if factor:
                size = f"{abs(factor)} x {number}" if abs(factor) != 1 else str(number)
                said += (f" {'-' if factor < 0 else '+'} " if said else "-" if factor < 0 else "") + size
        return said


@dataclass(frozen=True, slots=True)
class Isolation:
    """What can be worked out of some sums.

    Attributes:
        rank: how many of the sums are independent.
        singles: the combinations that isolate one client each, ascending.
        smallest: the combination on the fewest clients that any was found to depend on; None without a sum.
        complete: below so many clients, every set was looked at: none smaller than ``smallest`` depends on fewer.
        vanishing: combinations in which no client is left; what is left of their values is what has changed.
    """

    rank: int
    singles: tuple[Combination, ...]
    smallest: Combination | None
    complete: bool
    vanishing: tuple[Combination, ...]


def isolate(rosters: Sequence[frozenset[int]], below: int) -> Isolation:
    """What can be worked out of sums over these rosters.

    Args:
        rosters: whose contributions are in each sum.
        below: sets of fewer clients than this are looked for.
    """
    clients = sorted(frozenset().union(*rosters)) if rosters else []
    # Clients that are always together cannot be parted; each such class is one unknown.
    classes: dict[tuple[bool, ...], list[int]] = {}
    for client in clients:
        classes.setdefault(tuple(client in roster for roster in rosters), []).append(client)
    members = list(classes.values())
    matrix = [[Fraction(int(own[0] in roster)) for own in members] for roster in rosters]
    reduced, factors, pivots = _reduced(matrix)
    rank = len(pivots)

    def combination(row: Sequence[Fraction], of: Sequence[Fraction]) -> Combination:
        shares = {client: share for own, share in zip(members, row, strict=True) if share for client in own}
        return Combination(tuple(of), tuple(sorted(shares.items())))

    rows = [combination(reduced[i], factors[i]) for i in range(rank)]
    vanishing = tuple(Combination(tuple(each), ()) for each in factors[rank:])
    # A unit vector in the row space is a row of its reduced form, which is unique.
    singles = tuple(sorted((row for row in rows if len(row.clients) == 1), key=lambda row: row.numbers))
    if not rows:
        return Isolation(0, (), None, True, vanishing)
    if singles:
        return Isolation(rank, singles, singles[0], True, vanishing)
    found, complete = _smallest(reduced[:rank], [len(own) for own in members], below)
    best = min(rows, key=_order)
    for weights in found:
        row = _times(weights, reduced[:rank])
        of = _times(weights, factors[:rank])
        scale = next(share for share in row if share)
        best = min(best, combination([s / scale for s in row], [f / scale for f in of]), key=_order)
    return Isolation(rank, singles, best, complete, vanishing)


def _order(made: Combination) -> tuple[int, bool, tuple[int, ...]]:
    return len(made.clients), not made.even, made.numbers


def _reduced(
    matrix: Sequence[Sequence[Fraction]],
) -> tuple[list[list[Fraction]], list[list[Fraction]], list[int]]:
    """The reduced echelon form, what each of its rows is made of, and its pivot columns; zero rows come last."""
    rows = [list(row) for row in matrix]
    factors = [[Fraction(int(i == j)) for j in range(len(rows))] for i in range(len(rows))]
    pivots: list[int] = []
    for column in range(len(rows[0]) if rows else 0):
        at = len(pivots)
        chosen = next((i for i in range(at, len(rows)) if rows[i][column]), None)
        if chosen is None:
            continue
        for table in (rows, factors):
            table[at], table[chosen] = table[chosen], table[at]
        scale = rows[at][column]
        rows[at], factors[at] = [x / scale for x in rows[at]], [x / scale for x in factors[at]]
        for i in range(len(rows)):
            if i != at and (times := rows[i][column]):
                rows[i] = [x - times * y for x, y in zip(rows[i], rows[at], strict=True)]
                factors[i] = [x - times * y for x, y in zip(factors[i], factors[at], strict=True)]
        pivots.append(column)
    return rows, factors, pivots


def _times(weights: Sequence[Fraction], rows: Sequence[Sequence[Fraction]]) -> list[Fraction]:
    return [
        sum((w * x for w, x in zip(weights, column, strict=True)), Fraction())
        for column in zip(*rows, strict=True)
    ]


def _smallest(
    basis: Sequence[Sequence[Fraction]], sizes: Sequence[int], below: int
) -> tuple[list[list[Fraction]], bool]:
    """Combinations of a basis on few clients, and whether there are no others below the size asked for.

    A vector on as few columns as can be vanishes on one column less than there are dimensions: with few sums, all of
    those are tried. With many, all sets of columns below the size are.
    """
    rank, columns = len(basis), len(sizes)
    if comb(columns, rank - 1) <= MOST_SETS:
        return [w for zeros in combinations(range(columns), rank - 1) for w in _vanish(basis, zeros)], True
    found: list[list[Fraction]] = []
    residues = _residues(basis)
    for tried, chosen in enumerate(_sets_below(sizes, below)):
        if tried == MOST_SETS:
            return found, False
        zeros = [c for c in range(columns) if c not in chosen]
        if _rank(residues[:, zeros]) == rank:
            continue
        found += _vanish(basis, zeros)
        if found:
            # Sets come in order of size.
            return found, True
    return found, True


def _residues(basis: Sequence[Sequence[Fraction]]) -> NDArray[np.int64]:
    """A basis in the integers modulo a prime; a rank there is never above the rank in fractions."""
    rows = [[x.numerator * pow(x.denominator, -1, _PRIME) % _PRIME for x in row] for row in basis]
    return np.array(rows, dtype=np.int64)


def _rank(matrix: NDArray[np.int64]) -> int:
    """The rank modulo the prime: where it is full, so it is in fractions, and nothing vanishes in these columns."""
    left, rank = matrix.copy(), 0
    for column in range(left.shape[1]):
        at = np.flatnonzero(left[rank:, column])
        if not len(at):
            continue
        left[[rank, rank + at[0]]] = left[[rank + at[0], rank]]
        left[rank] = left[rank] * pow(int(left[rank, column]), -1, _PRIME) % _PRIME
        below = left[rank + 1 :]
        below -= below[:, column : column + 1] * left[rank] % _PRIME
        below %= _PRIME
        rank += 1
        if rank == len(left):
            break
    return rank


def _vanish(basis: Sequence[Sequence[Fraction]], zeros: Sequence[int]) -> Iterator[list[Fraction]]:
    """A combination of the basis, not 0 itself, that is 0 in some columns; none if there is none."""
    transposed = [[row[column] for row in basis] for column in zeros]
    reduced, _, pivots = _reduced(transposed) if transposed else ([], [], [])
    free = next((i for i in range(len(basis)) if i not in pivots), None)
    if free is None:
        return
    weights = [Fraction(int(i == free)) for i in range(len(basis))]
    for row, pivot in zip(reduced, pivots, strict=False):
        weights[pivot] = -row[free]
    yield weights


def _sets_below(sizes: Sequence[int], below: int) -> Iterator[tuple[int, ...]]:
    """Sets of columns that stand for fewer clients than this, the smallest first."""
    small = [i for i, size in enumerate(sizes) if size < below]
    for total in range(1, below):
        for count in range(1, total + 1):
            for chosen in combinations(small, count):
                if sum(sizes[i] for i in chosen) == total:
                    yield chosen
