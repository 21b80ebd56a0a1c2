"""Neighbouring data sets that are as easy to tell apart as the claim allows, or as everyday ones are.

The invariant: the two data sets of a pair differ by exactly one unit of the claim, as its neighbouring relation has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._mechanisms.mechanism import Claim, Floats
from defenses.units import Neighbouring, Unit
from ifedpriv.errors import InputError

LOUD = 1000.0
"""How many times longer than the longest record a crafted canary is: a clip must bring it down."""
_SHRUNK = 0.1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pair:
    """Two neighbouring data sets.

    Attributes:
        name: of the canary.
        without: each client's records without it, or with its opposite where neighbours replace.
        inside: each client's records with it.
    """

    name: str
    without: tuple[Floats, ...]
    inside: tuple[Floats, ...]

    def __repr__(self) -> str:
        """Show sizes, never records."""
        return f"Pair({self.name!r}, {[len(held) for held in self.without]})"


def pair(name: str, base: Sequence[Floats], record: Floats, claim: Claim, client: int = 0) -> Pair:
    """A pair that differs by one record, or by all records of one client.

    Example-level: the record is added to one client, or replaces its opposite there. Client-level: a client that
    holds nothing but copies of the record joins, or replaces one that holds its opposite.
    """
    held = [np.array(each, dtype=np.float64) for each in base]
    replaces = claim.neighbouring is Neighbouring.REPLACE
    if claim.unit is Unit.EXAMPLE:
        with_it = np.concatenate([held[client], record[None]])
        opposite = np.concatenate([held[client], -record[None]]) if replaces else held[client]
        return Pair(name, _swapped(held, client, opposite), _swapped(held, client, with_it))
    copies = np.repeat(record[None], max(1, len(held[client])), axis=0)
    inside = (*held, copies)
    return Pair(name, (*held, -copies) if replaces else tuple(held), inside)


def pairs(
    base: Sequence[Floats],
    claim: Claim,
    seed: int,
    natural: NDArray[np.floating] | None = None,
    crafted: Mapping[str, Floats] | None = None,
) -> tuple[Pair, ...]:
    """One pair for each kind of canary.

    - *random direction*: `LOUD` times the longest record, so that a clip brings it to the very edge;
    - *one block*: likewise, in the first block along a record's first axis alone;
    - *same everywhere*: likewise, equal in all numbers;
    - *farthest*: of the natural records, the one with the largest Mahalanobis norm;
    - *ordinary*: of the natural records, one at random;
    - whatever else is given, such as the activations of texts of random tokens.

    Args:
        base: each client's records.
        claim: says what neighbours are.
        seed: of the draws.
        natural: records like those of clients, ``[n, ...]``; the base's own, if not given.
        crafted: other canaries, by name.

    Reference:
        Azize & Basu, arXiv 2402.10065, section 5, on the largest Mahalanobis norm.
    """
    if not base or not sum(map(len, base)):
        raise InputError("the base data hold no record", "give every client one or more")
    rng = np.random.default_rng([seed, 19])
    known = np.concatenate(base) if natural is None else np.asarray(natural, dtype=np.float64)
    shape = known.shape[1:]
    length = LOUD * float(np.linalg.norm(known.reshape(len(known), -1), axis=1).max() or 1.0)
    direction = rng.normal(size=shape)
    records = {"random direction": direction, "same everywhere": np.ones(shape)}
    if len(shape) > 1:
        alone = np.zeros(shape)
        alone[0] = direction[0]
        records["one block"] = alone
    found = {name: length * each / np.linalg.norm(each) for name, each in records.items()}
    found["farthest"] = known[int(np.argmax(_mahalanobis(known)))]
    found["ordinary"] = known[int(rng.integers(len(known)))]
    for name, record in (crafted or {}).items():
        if np.shape(record) != shape:
            raise InputError(f"canary {name!r} has shape {np.shape(record)}", f"records have shape {shape}")
        found[name] = np.asarray(record, dtype=np.float64)
    return tuple(pair(name, base, record, claim) for name, record in found.items())


def _mahalanobis(records: Floats) -> Floats:
    """Squared Mahalanobis norm of each record, with a tenth of the mean variance added in every direction."""
    flat = records.reshape(len(records), -1)
    left, values, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    variance = values**2 / len(flat)
    squared: Floats = (left**2) @ (values**2 / (variance + _SHRUNK * variance.sum() / flat.shape[1] + 1e-300))
    return squared


def _swapped(held: Sequence[Floats], client: int, records: Floats) -> tuple[Floats, ...]:
    return tuple(records if i == client else each for i, each in enumerate(held))
