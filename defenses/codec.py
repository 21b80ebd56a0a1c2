"""Numbers to bytes at four precisions, as `docs/wire.md` writes them down.

Invariant: what decodes is finite, and `payload_size` is known from the layout alone, so that a decoder can
refuse a wrong length before it allocates anything.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from defenses.errors import FrameError
from defenses.upload import Float32Array, Layout, UploadKind

_Any = TypeVar("_Any", bound=np.generic)

GROUP = 1024
"""The most numbers that share a scale at int4 (and at int8 for weights)."""

INT4_FACTORS = tuple(2.0 ** (-k / 8) for k in range(13))
"""int4 tries the scale of the largest magnitude times each of these, and keeps the least squared error."""

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_SCALE_BYTES = 2
# An unsigned float: bits 30 to 15 of a float32. A scale has no sign and needs no long mantissa, so two bytes
# keep float32's whole range; an IEEE half would run out of it.
_SCALE_SHIFT = np.uint32(15)
_SCALE_INFINITE = 0xFF00


class Precision(StrEnum):
    """How a number travels."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    INT4 = "int4"


LEVELS = {Precision.INT8: 127, Precision.INT4: 7}
"""Largest code; codes are symmetric, so -128 and -8 never appear."""


def grouping(shape: tuple[int, ...], kind: UploadKind, precision: Precision) -> tuple[int, int, int]:
    """How an array's numbers share scales.

    A row is the last axis for a context vector (one layer, one branch) and the whole array otherwise. int8
    gives each row one scale. int4, and int8 for weights, cut a row into equal groups of up to `GROUP`.

    Returns:
        rows, numbers in a row, numbers in a group (the last group of a row may be shorter).
    """
    size = math.prod(shape)
    row = shape[-1] if kind is UploadKind.VECTOR and shape else size
    width = row
    if precision is Precision.INT4 or kind is UploadKind.WEIGHTS:
        width = math.ceil(row / math.ceil(row / GROUP))
    return size // row, row, width


def scale_count(layout: Layout, kind: UploadKind, precision: Precision) -> int:
    """How many scales a payload carries; none for the float precisions."""
    if precision not in LEVELS:
        return 0
    plans = (grouping(shape, kind, precision) for shape in layout.shapes)
    return sum(rows * math.ceil(row / width) for rows, row, width in plans)


def payload_size(layout: Layout, kind: UploadKind, precision: Precision) -> int:
    """Bytes of a payload: scales, then codes."""
    scales = _SCALE_BYTES * scale_count(layout, kind, precision)
    match precision:
        case Precision.FP32:
            return 4 * layout.size
        case Precision.FP16:
            return 2 * layout.size
        case Precision.INT8:
            return scales + layout.size
        case Precision.INT4:
            return scales + (layout.size + 1) // 2


def encode_values(flat: Float32Array, layout: Layout, kind: UploadKind, precision: Precision) -> bytes:
    """A payload from finite float32 numbers in the layout's flat order.

    Raises:
        FrameError: a number is too large for the precision; the sentence names the array, not the number.
    """
    if precision is Precision.FP32:
        return flat.astype("<f4").tobytes()
    if precision is Precision.FP16:
        with np.errstate(over="ignore"):
            half = flat.astype("<f2")
        if not np.isfinite(half).all():
            at = int(np.flatnonzero(~np.isfinite(half))[0])
            raise _too_large(_name_at(layout, at), precision, "65504", "send it as fp32, int8 or int4")
        return half.tobytes()
    scales, codes = [], []
    for name, shape, part in zip(layout.names, layout.shapes, _parts(flat, layout), strict=True):
        rows, row, width = grouping(shape, kind, precision)
        groups = _to_groups(part, rows, row, width)
        stored = _choose_scales(groups, precision)
        if stored.size and (LEVELS[precision] * _scale_values(stored) > _FLOAT32_MAX).any():
            raise _too_large(name, precision, "3.3e38", "send it as fp32, or look for an overflow before it")
        scales.append(stored)
        codes.append(_from_groups(_quantise(groups, stored, LEVELS[precision]), rows, row, width))
    all_codes = np.concatenate(codes)
    packed = all_codes.tobytes() if precision is Precision.INT8 else _pack_nibbles(all_codes)
    return np.concatenate(scales).astype("<u2").tobytes() + packed


def decode_values(payload: bytes, layout: Layout, kind: UploadKind, precision: Precision) -> Float32Array:
    """Finite float32 numbers in the layout's flat order; the products code x scale are exact in float32.

    Raises:
        FrameError: the payload has another length, or holds what no encoder writes.
    """
    expected = payload_size(layout, kind, precision)
    if len(payload) != expected:
        raise FrameError(
            f"payload has {len(payload)} bytes, where {layout.size} numbers at {precision} take {expected}",
            "use the same layout and wire precision on both ends",
        )
    if precision not in LEVELS:
        floats = np.frombuffer(payload, dtype="<f4" if precision is Precision.FP32 else "<f2")
        if not np.isfinite(floats).all():
            raise FrameError(f"payload at {precision} holds a number that is not finite")
        return floats.astype(np.float32)
    n_scales = scale_count(layout, kind, precision)
    stored = np.frombuffer(payload, dtype="<u2", count=n_scales)
    levels = LEVELS[precision]
    if (stored >= _SCALE_INFINITE).any() or (levels * _scale_values(stored) > _FLOAT32_MAX).any():
        raise FrameError(f"payload at {precision} holds a scale that is not finite or too large")
    body = np.frombuffer(payload, dtype=np.int8, offset=_SCALE_BYTES * n_scales)
    codes = body if precision is Precision.INT8 else _unpack_nibbles(body.view(np.uint8), layout.size)
    if (codes < -levels).any():
        raise FrameError(f"payload at {precision} holds the code {-levels - 1}, which no encoder writes")
    out, used = [], 0
    for shape, part in zip(layout.shapes, _parts(codes, layout), strict=True):
        rows, row, width = grouping(shape, kind, precision)
        groups = _to_groups(part, rows, row, width)
        mine = stored[used : used + len(groups)]
        used += len(groups)
        if groups[mine == 0].any():
            raise FrameError(f"payload at {precision} holds a code other than 0 under the scale 0")
        values = groups.astype(np.float32) * _scale_values(mine).astype(np.float32)[:, None]
        out.append(_from_groups(values, rows, row, width))
    return np.concatenate(out)


def _too_large(name: str, precision: Precision, limit: str, hint: str) -> FrameError:
    return FrameError(f"array {name!r} holds a number beyond {limit}, which {precision} cannot carry", hint)


def _name_at(layout: Layout, index: int) -> str:
    return layout.names[int(np.searchsorted(np.cumsum(layout.sizes), index, side="right"))]


def _parts(flat: npt.NDArray[_Any], layout: Layout) -> list[npt.NDArray[_Any]]:
    return np.split(flat, np.cumsum(layout.sizes)[:-1])


def _to_groups(part: npt.NDArray[_Any], rows: int, row: int, width: int) -> npt.NDArray[_Any]:
    """An array's numbers as [groups, width]; short groups end in zeros."""
    short = -row % width
    table = part.reshape(rows, row)
    if short:
        table = np.pad(table, ((0, 0), (0, short)))
    return table.reshape(-1, width)


def _from_groups(groups: npt.NDArray[_Any], rows: int, row: int, width: int) -> npt.NDArray[_Any]:
    """The inverse of `_to_groups`."""
    return groups.reshape(rows, -(-row // width) * width)[:, :row].reshape(-1)


def _scale_values(stored: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    return (stored.astype(np.uint32) << _SCALE_SHIFT).view(np.float32).astype(np.float64)


def _stored_scales(wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """The least storable scales that are not below the wanted ones, so that no code exceeds its level."""
    near = wanted.astype(np.float32)
    near = np.where(near < wanted, np.nextafter(near, np.float32(np.inf)), near)
    bits = near.view(np.uint32)
    return ((bits + np.uint32(0x7FFF)) >> _SCALE_SHIFT).astype(np.uint16)


def _quantise(groups: Float32Array, stored: npt.NDArray[np.uint16], levels: int) -> npt.NDArray[np.int8]:
    # float64: the quotient of a 24-bit and a 9-bit number is then never rounded onto a tie.
    scales = _scale_values(stored)
    scales[stored == 0] = 1.0
    ratio = groups / scales[:, None]
    np.rint(ratio, out=ratio)
    return np.clip(ratio, -levels, levels, out=ratio).astype(np.int8)


def _choose_scales(groups: Float32Array, precision: Precision) -> npt.NDArray[np.uint16]:
    largest = np.abs(groups).max(axis=1).astype(np.float64)
    if precision is Precision.INT8:
        return _stored_scales(largest / LEVELS[precision])
    candidates = np.stack([_stored_scales(largest / LEVELS[precision] * factor) for factor in INT4_FACTORS])
    errors = np.stack([_squared_errors(groups, stored, candidates[0]) for stored in candidates])
    best = errors.argmin(axis=0)
    return np.asarray(np.take_along_axis(candidates, best[None], axis=0)[0], dtype=np.uint16)


def _squared_errors(
    groups: Float32Array, stored: npt.NDArray[np.uint16], unit: npt.NDArray[np.uint16]
) -> npt.NDArray[np.float64]:
    """Squared rounding error of each group, in units of one scale per group so that nothing overflows."""
    scales, units = _scale_values(stored), _scale_values(unit)
    scales[stored == 0] = 1.0
    units[unit == 0] = 1.0
    ratio = groups / scales.astype(np.float32)[:, None]
    level = np.float32(LEVELS[Precision.INT4])
    rounded = np.rint(ratio)
    np.clip(rounded, -level, level, out=rounded)
    np.subtract(ratio, rounded, out=ratio)
    np.square(ratio, out=ratio)
    return np.asarray(ratio.sum(axis=1, dtype=np.float64) * (scales / units) ** 2)


def _pack_nibbles(codes: npt.NDArray[np.int8]) -> bytes:
    nibbles = codes.view(np.uint8) & 0x0F
    if len(nibbles) % 2:
        nibbles = np.append(nibbles, np.uint8(0))
    return (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8).tobytes()


def _unpack_nibbles(packed: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.int8]:
    nibbles = np.empty(2 * len(packed), dtype=np.uint8)
    nibbles[0::2] = packed & 0x0F
    nibbles[1::2] = packed >> 4
    if nibbles[size:].any():
        raise FrameError("payload at int4 has a spare half byte that is not 0")
    return ((nibbles[:size] ^ 8).astype(np.int8) - 8).astype(np.int8)
