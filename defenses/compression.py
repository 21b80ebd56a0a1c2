"""Public random projections: fewer numbers for an upload, by a linear map that everybody knows.

A projection P has orthonormal rows. A client sends Px, sums of such are P of the sum, and the server turns the result
back by the transpose. So no norm ever grows, a clip after the projection bounds what a client does, and turning back
and forth is a projection: what it loses is the part of x outside P's rows and nothing else. Over the drawing of P the
part that is left is ``kept / given`` of x in expectation, for either kind: (given / kept) PᵀPx is an unbiased estimate.
A public linear map hides nothing; it saves bytes, and it lets noise be spread over fewer numbers.

Invariant: P is a function of the configuration, the round and the layout, the same on every machine up to rounding.

References: Haar matrices by QR: Mezzadri, arXiv math-ph/0609050. Subsampled randomised Hadamard transform: Ailon and
Chazelle, SIAM J. Comput. 39 (2009).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from defenses.compression_specs import CompressionSpec, RowsCompression
from defenses.errors import UserError
from defenses.noise.rotation import hadamard
from defenses.upload import Layout, UploadKind

Rows = npt.NDArray[np.float64]

PROJECTED = "projected"
"""The array in which a flat projection travels."""

_DOMAIN = "ifedpriv projection 1"
_FIELD = "defense.compression.keep"


class Projection(Protocol):
    """A public linear map with orthonormal rows, from the numbers of one layout to those of a smaller one."""

    @property
    def given(self) -> Layout:
        """What goes in."""
        ...

    @property
    def kept(self) -> Layout:
        """What comes out."""
        ...

    def apply(self, rows: npt.NDArray[np.floating]) -> Rows:
        """``[n, given.size]`` to ``[n, kept.size]``."""
        ...

    def undo(self, rows: npt.NDArray[np.floating]) -> Rows:
        """The transpose: ``[n, kept.size]`` to ``[n, given.size]``."""
        ...


def compresses(spec: CompressionSpec | None, kind: UploadKind) -> bool:
    """Whether uploads of a kind are projected."""
    return spec is not None and str(kind) in spec.kinds


def projection(spec: CompressionSpec, layout: Layout, round_number: int) -> Projection:
    """The projection of one round.

    Raises:
        UserError: more is to be kept than there is.
    """
    return _projection(spec, layout, round_number if spec.each_round else 0)


@lru_cache(maxsize=8)
def _projection(spec: CompressionSpec, layout: Layout, drawn_for: int) -> Projection:
    stream = f"{_DOMAIN}|{spec.kind}|{spec.seed}|{drawn_for}"
    many = [name for name, shape in zip(layout.names, layout.shapes, strict=True) if len(shape) > 1]
    if not many:
        raise UserError(
            f"defense.compression is on for an upload of arrays {list(layout.names)}, none of which has two axes",
            "take its kind out of defense.compression.kinds",
        )
    if isinstance(spec, RowsCompression):
        return RowProjection(layout, spec.keep, stream)
    return FlatProjection(layout, spec.keep, stream)


class RowProjection:
    """W with orthonormal rows, ``[keep, n]``, times every array along its first axis of length n.

    Arrays of equal length share their W.

    Args:
        layout: what goes in.
        keep: rows of W.
        stream: names the drawing.
    """

    def __init__(self, layout: Layout, keep: int, stream: str) -> None:
        self.given = layout
        shapes, self._maps = {}, {}
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            shapes[name] = shape
            if len(shape) < 2:
                continue
            if keep > shape[0]:
                raise UserError(
                    f"{_FIELD} is {keep}, and array {name!r} has {shape[0]} rows",
                    f"keep at most {shape[0]}",
                )
            self._maps[name] = orthonormal_rows(keep, shape[0], stream)
            shapes[name] = (keep, *shape[1:])
        self.kept = Layout.of(shapes)

    def apply(self, rows: npt.NDArray[np.floating]) -> Rows:
        """W times every array."""
        return self._each(rows, self.given, transposed=False)

    def undo(self, rows: npt.NDArray[np.floating]) -> Rows:
        """Wᵀ times every array."""
        return self._each(rows, self.kept, transposed=True)

    def _each(self, rows: npt.NDArray[np.floating], layout: Layout, *, transposed: bool) -> Rows:
        parts = []
        for name, shape, part in zip(layout.names, layout.shapes, _parts(rows, layout), strict=True):
            if name in self._maps:
                matrix = self._maps[name].T if transposed else self._maps[name]
                turned = np.matmul(matrix, part.reshape(len(part), shape[0], -1))
                part = turned.reshape(len(part), -1)
            parts.append(part)
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Mixing:
    """An orthogonal map of vectors of any size: signs, a Hadamard transform of the head, signs, one of the tail.

    Head and tail are as long as the largest power of two in the size, so together they reach every number.
    """

    first: Rows
    second: Rows
    width: int

    @classmethod
    def drawn(cls, size: int, stream: str) -> _Mixing:
        signs = 1.0 - 2.0 * _bits(f"{stream}|signs", 2 * size)
        return cls(signs[:size], signs[size:], 1 << (size.bit_length() - 1))

    def apply(self, rows: Rows) -> Rows:
        mixed = rows * self.first
        mixed[:, : self.width] = hadamard(mixed[:, : self.width])
        mixed *= self.second
        mixed[:, -self.width :] = hadamard(mixed[:, -self.width :])
        return mixed

    def undo(self, rows: Rows) -> Rows:
        mixed = rows.copy()
        mixed[:, -self.width :] = hadamard(mixed[:, -self.width :])
        mixed *= self.second
        mixed[:, : self.width] = hadamard(mixed[:, : self.width])
        return mixed * self.first


class FlatProjection:
    """``keep`` coordinates, drawn at random, of a randomised Hadamard transform of all arrays together.

    Args:
        layout: what goes in.
        keep: coordinates that are kept.
        stream: names the drawing.
    """

    def __init__(self, layout: Layout, keep: int, stream: str) -> None:
        self.given = layout
        named = list(zip(layout.names, layout.shapes, layout.sizes, strict=True))
        self._mixed = [name for name, shape, _ in named if len(shape) > 1]
        self._sizes = [size for _, shape, size in named if len(shape) > 1]
        size = sum(self._sizes)
        if keep > size:
            raise UserError(
                f"{_FIELD} is {keep}, and the upload has {size} numbers",
                f"keep at most {size}",
            )
        self.kept = Layout.of({PROJECTED: (keep,), **{name: s for name, s, _ in named if len(s) < 2}})
        self._mixing = _Mixing.drawn(size, stream)
        self._chosen = _subset(keep, size, f"{stream}|subset")

    def apply(self, rows: npt.NDArray[np.floating]) -> Rows:
        """The chosen coordinates of the transform, and the arrays of one axis as they are."""
        parts = dict(zip(self.given.names, _parts(rows, self.given), strict=True))
        whole = np.concatenate([parts[name] for name in self._mixed], axis=1)
        parts[PROJECTED] = self._mixing.apply(whole)[:, self._chosen]
        return np.concatenate([parts[name] for name in self.kept.names], axis=1)

    def undo(self, rows: npt.NDArray[np.floating]) -> Rows:
        """Zeros for the other coordinates, and the transform turned back."""
        parts = dict(zip(self.kept.names, _parts(rows, self.kept), strict=True))
        spread = np.zeros((len(rows), sum(self._sizes)))
        spread[:, self._chosen] = parts.pop(PROJECTED)
        turned = np.split(self._mixing.undo(spread), np.cumsum(self._sizes)[:-1], axis=1)
        parts.update(zip(self._mixed, turned, strict=True))
        return np.concatenate([parts[name] for name in self.given.names], axis=1)


def orthonormal_rows(keep: int, size: int, stream: str) -> Rows:
    """``[keep, size]`` with orthonormal rows, uniform over all such, from a named stream."""
    drawn = _gaussians(f"{stream}|gaussian|{size}", keep * size).reshape(size, keep)
    basis, triangle = np.linalg.qr(drawn)
    # With these signs the factor is unique, so that it is uniform and the same on every machine.
    rows: Rows = np.ascontiguousarray((basis * np.sign(np.diag(triangle))).T)
    return rows


def _parts(rows: npt.NDArray[np.floating], layout: Layout) -> list[Rows]:
    given = np.asarray(rows, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != layout.size:
        raise UserError(f"projection was given shape {given.shape}", f"give rows of {layout.size} numbers")
    return np.split(given, np.cumsum(layout.sizes)[:-1], axis=1)


def _words(stream: str, count: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(hashlib.shake_256(stream.encode()).digest(8 * count), dtype="<u8").astype(np.uint64)


def _bits(stream: str, count: int) -> Rows:
    found = np.frombuffer(hashlib.shake_256(stream.encode()).digest((count + 7) // 8), dtype=np.uint8)
    return np.unpackbits(found, count=count, bitorder="little").astype(np.float64)


def _gaussians(stream: str, count: int) -> Rows:
    """Standard normal numbers, by Box and Muller; public, so their last digits do not matter."""
    half = (count + 1) // 2
    uniform = ((_words(stream, 2 * half) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(uniform[:half])), 2 * np.pi * uniform[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def _subset(keep: int, size: int, stream: str) -> npt.NDArray[np.int64]:
    order = np.argsort(_words(stream, size), kind="stable")
    return np.sort(order[:keep]).astype(np.int64)
