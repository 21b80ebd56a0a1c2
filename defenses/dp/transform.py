"""The public change of coordinates in which contributions are clipped: centre, scale, and a subspace.

Noise has the same size in every direction, so what is clipped should be round: activations are centred on the mean
of public ones, each block is divided by its public size, and directions that public activations do not use are
dropped. Invariant: nothing here is computed from private data; whoever gets a `Transform` may publish it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from defenses.compression import Projection
from defenses.errors import UserError
from defenses.upload import Float32Array

Float64Array = npt.NDArray[np.float64]

_ORTHONORMAL = 1e-4
"""How far a float32 basis may be from orthonormal."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Transform:
    """x becomes ``basis @ ((x - centre) / scale)``, or the projection of that.

    Attributes:
        centre: ``[size]``.
        scale: ``[size]``, above 0.
        basis: ``[rank, size]`` with orthonormal rows; None keeps all directions.
        blocks: ``[size]`` whole numbers; coordinates of one block are shrunk together, where there is no basis.
        projection: what the upload is compressed by; never beside a basis.
        noise_unit: what noise of deviation 1 in every coordinate is once it is turned back, as a root mean square over
            all numbers, in units in which whoever uses the numbers measures it; a projection is not counted.
    """

    centre: Float32Array
    scale: Float32Array
    basis: Float32Array | None = None
    blocks: npt.NDArray[np.int64] | None = None
    projection: Projection | None = None
    noise_unit: float = 1.0

    def __post_init__(self) -> None:
        for name in ("centre", "scale"):
            array = np.array(getattr(self, name), dtype=np.float32)
            if array.ndim != 1 or not np.isfinite(array).all():
                raise UserError(f"transform.{name} is not one row of finite numbers", "look for an overflow")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.scale.shape != self.centre.shape or not (self.scale > 0).all():
            raise UserError("transform.scale is not one number above 0 for each of the centre's", "check it")
        if self.projection is not None and (
            self.basis is not None or self.projection.given.size != self.size
        ):
            raise UserError(
                f"transform.projection takes {self.projection.given.size} numbers, and a transform of {self.size} "
                f"{'with' if self.basis is not None else 'without'} a basis is given",
                "make both for the same upload, and use a basis or a projection",
            )
        if self.basis is None:
            return
        basis = np.array(self.basis, dtype=np.float32)
        if basis.ndim != 2 or basis.shape[1] != self.size or not 1 <= len(basis) <= self.size:
            raise UserError(
                f"transform.basis has shape {basis.shape}", f"use up to {self.size} rows of {self.size}"
            )
        wide = basis.astype(np.float64)
        if not np.abs(wide @ wide.T - np.eye(len(basis))).max() <= _ORTHONORMAL:
            raise UserError("transform.basis has rows that are not orthonormal", "orthonormalise them first")
        basis.flags.writeable = False
        object.__setattr__(self, "basis", basis)

    @classmethod
    def identity(cls, size: int) -> Transform:
        """Changes nothing."""
        return cls(np.zeros(size, dtype=np.float32), np.ones(size, dtype=np.float32))

    @property
    def size(self) -> int:
        """Numbers that go in."""
        return len(self.centre)

    @property
    def rank(self) -> int:
        """Numbers that come out."""
        if self.projection is not None:
            return self.projection.kept.size
        return self.size if self.basis is None else len(self.basis)

    @property
    def coordinate_blocks(self) -> npt.NDArray[np.int64]:
        """Block of each number that comes out; one block where a basis or a projection mixes them."""
        if self.blocks is None or self.basis is not None:
            return np.zeros(self.rank, dtype=np.int64)
        return self.blocks if self.projection is None else _unmixed(self.blocks, self.projection)

    def around(self, centre: Float32Array) -> Transform:
        """The same around another public centre, such as what the server has broadcast."""
        return replace(self, centre=centre)

    def through(self, projection: Projection) -> Transform:
        """The same, compressed."""
        return replace(self, projection=projection)

    def forward(self, rows: npt.NDArray[np.floating]) -> Float64Array:
        """Rows ``[n, size]`` in the coordinates of the clip, ``[n, rank]``; what is not finite stays so."""
        with np.errstate(invalid="ignore", over="ignore"):
            moved = (np.asarray(rows, dtype=np.float64) - self.centre) / self.scale
            if self.projection is not None:
                return self.projection.apply(moved)
            return moved if self.basis is None else moved @ self.basis.astype(np.float64).T

    def back(self, values: Float64Array) -> Float32Array:
        """The numbers ``[..., size]`` for coordinates ``[..., rank]``; in directions that were dropped, the centre."""
        if self.projection is not None:
            rows = self.projection.undo(values.reshape(-1, self.rank))
            values = rows.reshape(*values.shape[:-1], self.size)
        moved = values if self.basis is None else values @ self.basis.astype(np.float64)
        return (moved * self.scale + self.centre).astype(np.float32)

    @property
    def digest(self) -> str:
        """Hexadecimal digest of every number, by which two ends know that they use the same one."""
        found = hashlib.sha256(b"ifedpriv transform 1")
        for array in (self.centre, self.scale, self.basis):
            found.update(
                b"|none" if array is None else f"|{array.shape}".encode() + array.astype("<f4").tobytes()
            )
        return found.hexdigest()

    def __repr__(self) -> str:
        return f"Transform({self.size} to {self.rank})"


def _unmixed(blocks: npt.NDArray[np.int64], projection: Projection) -> npt.NDArray[np.int64]:
    """Blocks after a projection: arrays that it leaves alone keep theirs, all others are block 0."""
    before = dict(
        zip(projection.given.names, np.split(blocks, np.cumsum(projection.given.sizes)[:-1]), strict=True)
    )
    alone = {
        name
        for name, shape in zip(projection.given.names, projection.given.shapes, strict=True)
        if len(shape) < 2
    }
    parts = [
        before[name] if name in alone else np.zeros(size, dtype=np.int64)
        for name, size in zip(projection.kept.names, projection.kept.sizes, strict=True)
    ]
    return np.concatenate(parts)
