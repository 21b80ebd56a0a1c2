"""One client's bounded sum: every unit's row is clipped, made whole, and counted; nothing of it is trusted.

Invariant: whatever the rows hold, one more or one fewer of them moves the result by at most the lattice's
sensitivity, exactly, because lengths are checked in whole numbers after rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from defenses.dp.lattice import Lattice
from defenses.dp.transform import Transform
from defenses.entropy import Entropy, SecureEntropy
from defenses.noise.rotation import Rotation
from defenses.noise.rounding import How, round_to_bound

Int64Array = npt.NDArray[np.int64]

_SECURE = SecureEntropy()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Contribution:
    """What one client adds to the sum, before noise; as private as its examples.

    Attributes:
        total: ``[width]`` whole steps, the count last where it is released.
        units: how many units are in it; stays with the client.
        broken: how many rows held a number that was not finite and count as zero; stays with the client.
        clipped: how many rows were longer than the clip; stays with the client.
    """

    total: Int64Array
    units: int
    broken: int
    clipped: int

    def __repr__(self) -> str:
        return f"Contribution(<{len(self.total)} numbers>)"


def contribution(
    batches: Iterable[npt.NDArray[np.floating]],
    transform: Transform,
    lattice: Lattice,
    *,
    by_block: bool = False,
    rotation: Rotation | None = None,
    entropy: Entropy = _SECURE,
) -> Contribution:
    """Clip and add up rows.

    Args:
        batches: ``[n, transform.size]`` each.
        transform: public coordinates of the clip.
        lattice: the whole numbers of the release.
        by_block: no block of a row takes more than its even share of the clip.
        rotation: turns what the clip left of a row; None where the lattice is for rows as they are.
        entropy: of rounding at random. Each row has a branch of its own, so that one row more leaves the others' as
            they were, which a replay of neighbours depends on.
    """
    sources = (entropy.branch(f"row {number}") for number in itertools.count())
    total = np.zeros(lattice.width, dtype=np.int64)
    units = broken = clipped = 0
    for batch in batches:
        rows = _entered(batch, transform, lattice.clip, by_block)
        whole, bad, long = clip_rows(rows, lattice, rotation, sources)
        total[: lattice.rank] += whole.sum(axis=0)
        units, broken, clipped = units + len(rows), broken + bad, clipped + long
    if lattice.counted:
        total[-1] = units * lattice.unit
    np.clip(total, -lattice.reach, lattice.reach, out=total)
    return Contribution(total, units, broken, clipped)


def left_of(
    rows: npt.NDArray[np.floating], transform: Transform, clip: float, *, by_block: bool = False
) -> npt.NDArray[np.float64]:
    """What the clip leaves of rows ``[n, transform.size]``, in the coordinates of the clip and before it is made whole.

    Args:
        rows: as they are offered to `contribution`.
        transform: public coordinates of the clip.
        clip: in these.
        by_block: see `contribution`.
    """
    entered, _, lengths = _measured(_entered(rows, transform, clip, by_block))
    return np.asarray(entered * (clip / np.maximum(lengths, clip))[:, None], dtype=np.float64)


def _entered(
    rows: npt.NDArray[np.floating], transform: Transform, clip: float, by_block: bool
) -> npt.NDArray[np.float64]:
    entered = transform.forward(np.atleast_2d(rows))
    return clip_blocks(entered, transform.coordinate_blocks, clip) if by_block else entered


def clip_blocks(
    rows: npt.NDArray[np.float64], blocks: npt.NDArray[np.int64], clip: float
) -> npt.NDArray[np.float64]:
    """Rows none of whose blocks is longer than ``clip / sqrt(blocks)``, so that no row is longer than ``clip``.

    Args:
        rows: ``[n, rank]``.
        blocks: ``[rank]`` block numbers, from 0.
        clip: the whole row's.
    """
    count = int(blocks.max(initial=0)) + 1
    squares = np.zeros((len(rows), count))
    with np.errstate(invalid="ignore", over="ignore"):
        for block in range(count):
            squares[:, block] = np.square(rows[:, blocks == block]).sum(axis=1)
        factors = np.minimum(1.0, clip / math.sqrt(count) / np.sqrt(np.maximum(squares, 1e-300)))
        clipped: npt.NDArray[np.float64] = rows * factors[:, blocks]
    return clipped


def clip_rows(
    rows: npt.NDArray[np.float64],
    lattice: Lattice,
    rotation: Rotation | None = None,
    sources: Iterator[Entropy] | None = None,
) -> tuple[Int64Array, int, int]:
    """Rows in whole steps, none longer than the lattice allows.

    Args:
        rows: ``[n, rank]`` in the transform's units.
        lattice: says how long a row may be and how it is rounded.
        rotation: see `contribution`.
        sources: one for each row; needed only for rounding at random.

    Returns:
        Whole numbers ``[n, lattice.rank]``; how many rows were not finite and became zero; how many were clipped.
    """
    rows, finite, lengths = _measured(rows)
    factors = lattice.clip / np.maximum(lengths, lattice.clip)
    scaled = rows * (factors * (lattice.steps / lattice.clip))[:, None]
    if rotation is not None:
        scaled = rotation.apply(scaled)
    whole = _rounded(scaled, lattice, sources)
    # A float's last digit may leave a row a hair too long: such a row gives way, the bound does not.
    whole[np.square(whole).sum(axis=1) > lattice.longest] = 0
    return whole, int((~finite).sum()), int((lengths > lattice.clip).sum())


def _measured(
    rows: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Rows with zeros for those that are not finite, which ones are, and how long each is."""
    finite = np.asarray(np.isfinite(rows).all(axis=1))
    rows = np.where(finite[:, None], rows, 0.0)
    # Scaled by the largest number first, so that no square overflows.
    largest = np.maximum(np.abs(rows).max(axis=1, initial=0.0), np.finfo(np.float64).tiny)
    return rows, finite, largest * np.sqrt(np.square(rows / largest[:, None]).sum(axis=1))


def _rounded(
    scaled: npt.NDArray[np.float64], lattice: Lattice, sources: Iterator[Entropy] | None
) -> Int64Array:
    """Rows in steps, made whole in the lattice's way."""
    if lattice.how is How.NEAREST:
        return np.rint(scaled).astype(np.int64)
    whole = np.zeros(scaled.shape, dtype=np.int64)
    for number, row in enumerate(scaled):
        source = _SECURE if sources is None else next(sources)
        whole[number] = round_to_bound(row[None], 1.0, float(lattice.steps), source, lattice.how).numbers[0]
    return whole
