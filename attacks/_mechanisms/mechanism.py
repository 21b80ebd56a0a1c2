"""What is audited: any callable from private records and randomness to what it releases, with what is claimed of it.

The invariant: the auditor looks at what comes out and never inside, so that a mechanism that is written differently, or
wrongly, is audited as what it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from defenses.entropy import Entropy, InsecureSeeded
from defenses.ledger import Ledger
from defenses.statement import PrivacyStatement
from defenses.units import Neighbouring, Unit
from ifedpriv.errors import InputError

Floats = NDArray[np.float64]

Round = NDArray[np.floating] | Mapping[str, NDArray[np.floating]]
"""What one round releases: an array, or named arrays and numbers. All of it is seen by the attacker."""

Release = Round | Sequence[Round]
"""All that is released: a list of rounds, or one round by itself."""


class Mechanism(Protocol):
    """From records to releases.

    It draws from the entropy it is given and from nowhere else, so that an auditor can freeze its noise.
    """

    def __call__(self, records: Sequence[Floats], entropy: Entropy, /) -> Release:
        """Release once.

        Args:
            records: the examples of each client, ``[n, ...]``, all of one shape but for their number.
            entropy: the source of all noise.
        """
        ...


@runtime_checkable
class Repeatable(Protocol):
    """A `Mechanism` that can be called many times at once on the same records, each time with fresh noise."""

    def many(self, records: Sequence[Floats], entropy: Entropy, times: int, /) -> NDArray[np.floating]:
        """So many independent releases of one array, ``[times, ...]``; of one, just what a call by itself gives."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a mechanism is said to be.

    Attributes:
        epsilon: of all that is released together.
        delta: likewise.
        sensitivity: the most, in Euclidean norm, that one unit moves the numbers of one round.
        noise: standard deviation of the Gaussian noise in each number, in the same units; None where the noise is
            not Gaussian or not declared: then only bounds that assume nothing are taken for a verdict.
        unit: whose presence is hidden.
        neighbouring: how neighbouring data sets differ by one unit.
        rounds: how many rounds are released.
    """

    epsilon: float
    delta: float
    sensitivity: float | None = None
    noise: float | None = None
    unit: Unit = Unit.EXAMPLE
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE
    rounds: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise InputError(f"claim.epsilon is {self.epsilon}", "give a finite bound, 0 or more")
        if not 0 < self.delta < 1:
            raise InputError(f"claim.delta is {self.delta}", "give a share above 0 and below 1")
        for name in ("sensitivity", "noise"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"claim.{name} is {value}", "give a finite number above 0, or leave it out")
        if self.rounds < 1:
            raise InputError(f"claim.rounds is {self.rounds}", "give 1 or more")

    @classmethod
    def of_run(cls, statement: PrivacyStatement, ledger: Ledger | None = None) -> Claim | None:
        """What a run declares; None where it declares no bound.

        Sensitivity and noise are taken where all releases with a mechanism agree on them.
        """
        if statement.epsilon is None or not statement.delta:
            return None
        assert statement.unit is not None and statement.neighbouring is not None
        claim = cls(
            statement.epsilon, statement.delta, unit=statement.unit, neighbouring=statement.neighbouring
        )
        events = [event for event in ledger.events if event.sensitivity is not None] if ledger else []
        if not events:
            return claim
        pairs = {(event.sensitivity, event.noise) for event in events}
        sensitivity, noise = pairs.pop() if len(pairs) == 1 else (None, None)
        rounds = len({event.round for event in events})
        return replace(claim, sensitivity=sensitivity, noise=noise, rounds=rounds)


@dataclass(frozen=True, slots=True)
class Segment:
    """Where one array of one round stands in the flat release.

    Attributes:
        round: from 0.
        name: of the array; empty where a round is one array.
        shape: of the array.
        start, stop: in the flat release.
    """

    round: int
    name: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.name or 'the array'} of round {self.round}"

    def blocks(self) -> list[slice]:
        """The whole, or its parts along the first axis where it has more than one."""
        size = self.stop - self.start
        parts = self.shape[0] if len(self.shape) > 1 and size else 1
        step = size // max(parts, 1)
        return [slice(self.start + i * step, self.start + (i + 1) * step) for i in range(parts)]


def flatten(release: Release) -> tuple[Floats, tuple[Segment, ...]]:
    """All numbers of a release in one list, and where each array stands in it."""
    rounds = [release] if isinstance(release, Mapping | np.ndarray) else list(release)
    parts: list[Floats] = []
    segments: list[Segment] = []
    at = 0
    for number, released in enumerate(rounds):
        named = released if isinstance(released, Mapping) else {"": released}
        for name, values in named.items():
            array = np.asarray(values, dtype=np.float64)
            parts.append(array.reshape(-1))
            segments.append(Segment(number, name, array.shape, at, at + array.size))
            at += array.size
    flat = np.concatenate(parts) if parts else np.zeros(0)
    return flat, tuple(segments)


_AT_ONCE, _NUMBERS_AT_ONCE = 250, 500_000
"""The most releases that are held at a time, and the most numbers."""


def releases(
    mechanism: Mechanism, data: Sequence[Floats], trials: int, entropy: InsecureSeeded
) -> Iterator[Floats]:
    """So many releases of the same data under fresh entropy, flat, a block ``[some, numbers]`` at a time.

    A mechanism that can be called many times at once is, where one release by that way is to the digit the one that a
    call by itself gives; else it is called one by one.
    """
    if isinstance(mechanism, Repeatable):
        alone, _ = flatten(mechanism(data, entropy.branch("one")))
        (row,) = np.asarray(mechanism.many(data, entropy.branch("one"), 1), dtype=np.float64)
        if np.array_equal(alone, row.reshape(-1)):
            most = max(1, min(_AT_ONCE, _NUMBERS_AT_ONCE // max(1, alone.size)))
            for start in range(0, trials, most):
                times = min(most, trials - start)
                made = np.asarray(mechanism.many(data, entropy.branch(f"from {start}"), times), np.float64)
                yield made.reshape(times, -1)
            return
    for i in range(trials):
        yield flatten(mechanism(data, entropy.branch(str(i))))[0][None]
