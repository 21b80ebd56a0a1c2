"""One client's bounded sum: every unit's row is clipped, made whole, and counted; nothing of it is trusted.

Invariant: whatever the rows hold, one more or one fewer of them moves the result by at most the lattice's
sensitivity, exactly, because lengths are checked in whole numbers after rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from defenses.dp.lattice import Lattice
from defenses.dp.transform import Transform

Int64Array = npt.NDArray[np.int64]


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
) -> Contribution:
    """Clip and add up rows.

    Args:
        batches: ``[n, transform.size]`` each.
        transform: public coordinates of the clip.
        lattice: the whole numbers of the release.
        by_block: no block of a row takes more than its even share of the clip.
    """
    total = np.zeros(lattice.width, dtype=np.int64)
    units = broken = clipped = 0
    for batch in batches:
        rows = transform.forward(np.atleast_2d(batch))
        if by_block:
            rows = clip_blocks(rows, transform.coordinate_blocks, lattice.clip)
        whole, bad, long = clip_rows(rows, lattice)
        total[: lattice.rank] += whole.sum(axis=0)
        units, broken, clipped = units + len(rows), broken + bad, clipped + long
    if lattice.counted:
        total[-1] = units * lattice.unit
    np.clip(total, -lattice.reach, lattice.reach, out=total)
    return Contribution(total, units, broken, clipped)


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


def clip_rows(rows: npt.NDArray[np.float64], lattice: Lattice) -> tuple[Int64Array, int, int]:
    """Rows in whole steps, none longer than the lattice allows.

    Returns:
        Whole numbers ``[n, rank]``; how many rows were not finite and became zero; how many were clipped.
    """
    finite = np.asarray(np.isfinite(rows).all(axis=1))
    rows = np.where(finite[:, None], rows, 0.0)
    # Scaled by the largest number first, so that no square overflows.
    largest = np.maximum(np.abs(rows).max(axis=1, initial=0.0), np.finfo(np.float64).tiny)
    lengths = largest * np.sqrt(np.square(rows / largest[:, None]).sum(axis=1))
    factors = lattice.clip / np.maximum(lengths, lattice.clip)
    whole = np.rint(rows * (factors * (lattice.steps / lattice.clip))[:, None]).astype(np.int64)
    # A float's last digit may leave a row a hair too long: such a row gives way, the bound does not.
    allowed = int(lattice.sensitivity**2) - lattice.unit**2
    whole[np.square(whole).sum(axis=1) > allowed] = 0
    return whole, int((~finite).sum()), int((lengths > lattice.clip).sum())
