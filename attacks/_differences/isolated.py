"""What sums isolate when they are added and subtracted, each vector with its own error.

The invariant: a vector made here is a combination of recorded sums with factors that stand beside it, and the variances
of what it is made of are in its variance; nothing else of a client is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np

from attacks._base.targets import Floats
from attacks._differences.rosters import Combination, Isolation, Row, isolate
from attacks._differences.sums import Sum

CHANGED = 4.0
"""Mean squared deviation, in units of the error, above which what should vanish shows that data have changed."""


class Kind(StrEnum):
    """What a difference is of."""

    CLIENT = "one client"
    SET = "a few clients"
    NEW = "examples that came"
    GONE = "examples that left"
    GROUP = "one sum"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Difference:
    """A vector that a combination of sums gives.

    Attributes:
        kind: what it is of.
        combination: of which sums, and whose they leave.
        clients: whose examples it may be of.
        vector: the mean, float64 ``[layers, 2, width]``.
        variance: of its error, same shape.
        noise: standard deviation of the declared noise in a number, as a root mean square; part of the variance.
        examples: how many it is the mean of; None where weights do not tell.
    """

    kind: Kind
    combination: Combination
    clients: tuple[int, ...]
    vector: Floats
    variance: Floats
    noise: float
    examples: int | None

    def __str__(self) -> str:
        """Whose it is, in words; no content."""
        match self.kind:
            case Kind.CLIENT:
                return f"client {self.clients[0]}"
            case Kind.NEW | Kind.GONE:
                whose = (
                    f"client {self.clients[0]}" if len(self.clients) == 1 else f"{len(self.clients)} clients"
                )
                return f"{self.kind} of {whose}, {self.combination}"
            case _:
                return f"clients {', '.join(map(str, self.clients))}"

    def __repr__(self) -> str:
        return f"Difference({self}, {self.vector.shape})"


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """All that some sums give.

    Attributes:
        sums: what they were made from.
        isolation: the algebra of the rosters.
        found: vectors of one client, of fewer clients than the minimum, or of examples that came or left.
        groups: the sums themselves, where one round gave several.
        changed: whether sums that should agree do not, so that somebody's data have changed.
        refused: what could not be made or is not to be trusted, a sentence each.
    """

    sums: tuple[Sum, ...]
    isolation: Isolation
    found: tuple[Difference, ...]
    groups: tuple[Difference, ...]
    changed: bool
    refused: tuple[str, ...]


def differences(sums: Sequence[Sum], minimum: int) -> Differences:
    """What can be worked out of sums beyond the sums themselves.

    A client's number stands for the same client in all recordings, with the same examples unless the sums contradict
    it: then only examples that came or left are read.

    Args:
        sums: of all recordings.
        minimum: sets of fewer clients than this are looked for.
    """
    isolation = isolate([frozenset(each.clients) for each in sums], minimum)
    changed = any(_moved(each, sums) for each in isolation.vanishing)
    refused: list[str] = []
    found: list[Difference] = []
    wanted = [(Kind.CLIENT, each) for each in isolation.singles]
    smallest = isolation.smallest
    if smallest is not None and 1 < len(smallest.clients) < minimum:
        if smallest.even:
            wanted.append((Kind.SET, smallest))
        else:
            refused.append(
                f"{smallest} depends on clients {list(smallest.numbers)} alone, who count unlike in it, so it is "
                "no mean that an attack here reads"
            )
    mixed = 0
    for kind, each in wanted:
        parts = [one for one, factor in zip(sums, each.factors, strict=True) if factor]
        if len(parts) == 1 and kind is Kind.CLIENT and not parts[0].colluding:
            # Read as it is, with nothing added or subtracted.
            continue
        if changed and len({one.recording for one in parts}) > 1:
            mixed += 1
            continue
        made = _difference(kind, each, sums)
        if made is None:
            refused.append(f"{each} leaves a weight below 1, which noise on the counts can make")
        else:
            found.append(made)
    if mixed:
        refused.append(
            f"{mixed} combinations of sums from different recordings isolate clients, but sums over the same clients "
            "differ between recordings: data have changed, and a difference mixes that with the client"
        )
    came, why = _changes(sums)
    groups = [
        _single(one, sums)
        for i, one in enumerate(sums)
        if len(one.clients) > 1
        and sum((o.recording, o.round) == (one.recording, one.round) for o in sums) > 1
        and all(one.clients != earlier.clients for earlier in sums[:i])
    ]
    return Differences(tuple(sums), isolation, (*found, *came), tuple(groups), changed, (*refused, *why))


def _value(combination: Combination, sums: Sequence[Sum]) -> tuple[Floats, float, Floats, float]:
    """Total, weight, variance of the total and the noise's standard deviation in it."""
    parts = [(float(f), one) for f, one in zip(combination.factors, sums, strict=True) if f]
    total = sum((f * one.total for f, one in parts), np.zeros_like(sums[0].total))
    variance = sum((f**2 * one.variance for f, one in parts), np.zeros_like(sums[0].total))
    noise = float(np.sqrt(sum((f * one.noise) ** 2 for f, one in parts)))
    return total, sum(f * one.weight for f, one in parts), variance, noise


def _moved(combination: Combination, sums: Sequence[Sum]) -> bool:
    total, weight, variance, noise = _value(combination, sums)
    # Noise on counts moves weights, too, and is no sign of anything.
    return (not noise and abs(weight) > 0.5) or float(np.mean(total**2 / variance)) > CHANGED


def _difference(
    kind: Kind, combination: Combination, sums: Sequence[Sum], clients: Sequence[int] | None = None
) -> Difference | None:
    total, weight, variance, noise = _value(combination, sums)
    if combination.clients:
        # An even combination counts each client so many times.
        share = float(combination.clients[0][1])
        total, weight, variance, noise = (
            total / share,
            weight / share,
            variance / share**2,
            noise / abs(share),
        )
    if weight < 0.5:
        return None
    counted = any(one.counted for one, f in zip(sums, combination.factors, strict=True) if f)
    return Difference(
        kind,
        combination,
        tuple(clients if clients is not None else combination.numbers),
        total / weight,
        variance / weight**2,
        noise / weight,
        max(1, round(weight)) if counted else None,
    )


def _single(one: Sum, sums: Sequence[Sum]) -> Difference:
    factors = tuple(int(other is one) for other in sums)
    combination = Combination(
        _fractions(factors), tuple(zip(one.clients, _fractions([1] * len(one.clients)), strict=True))
    )
    made = _difference(Kind.GROUP, combination, sums)
    assert made is not None
    return made


def _changes(sums: Sequence[Sum]) -> tuple[list[Difference], list[str]]:
    """What came and what left between sums over the very same clients, from a recording to the next that has them."""
    found: list[Difference] = []
    uncounted = False
    for i, later in enumerate(sums):
        before = [
            j for j in range(i) if sums[j].clients == later.clients and sums[j].recording < later.recording
        ]
        if not before:
            continue
        j = before[-1]
        factors = [0] * len(sums)
        factors[i], factors[j] = 1, -1
        grown = later.weight - sums[j].weight
        if not _moved(Combination(_fractions(factors), ()), sums):
            continue
        if not (later.counted or sums[j].counted):
            uncounted = True
            continue
        kind = Kind.NEW if grown > 0 else Kind.GONE
        signed = Combination(_fractions(factors if grown > 0 else [-f for f in factors]), ())
        made = _difference(kind, signed, sums, later.clients)
        if made is not None:
            found.append(made)
    why = (
        [
            "vectors of the same clients differ between recordings, but the wire carries no numbers of examples, so "
            "what came is not parted from what was there"
        ]
        if uncounted
        else []
    )
    return found, why


def _fractions(factors: Iterable[int]) -> Row:
    return tuple(Fraction(factor) for factor in factors)
