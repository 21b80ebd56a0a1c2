"""Strategies and helpers that several wire tests share."""

import struct
import zlib

import numpy as np
from hypothesis import strategies as st

from defenses.frame import HEADER_SIZE
from defenses.upload import Upload, UploadKind

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
HALF_NUMBERS = st.floats(min_value=-65504, max_value=65504, width=32)
KINDS = st.sampled_from(UploadKind)
SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@st.composite
def uploads(draw, numbers=HALF_NUMBERS, kinds=KINDS):
    shapes = draw(
        st.dictionaries(st.sampled_from(["a", "b.c", "d/e", "F_1"]), SHAPES, min_size=1, max_size=3)
    )
    arrays = {}
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=int))
        flat = draw(st.lists(numbers, min_size=size, max_size=size))
        arrays[name] = np.array(flat, dtype=np.float32).reshape(shape)
    weight = draw(st.floats(min_value=2**-10, max_value=2**20, width=32))
    return Upload(arrays, weight, draw(st.integers(0, 2**32 - 1)), draw(kinds))


def with_checksum(data):
    """The same bytes with a checksum (and a length) that fit, so that a decoder looks further."""
    if len(data) < HEADER_SIZE:
        return data
    head = data[:6] + struct.pack("<I", len(data) - HEADER_SIZE) + data[10:22]
    return head + struct.pack("<I", zlib.crc32(head + data[HEADER_SIZE:])) + data[HEADER_SIZE:]


def patched(data, at, replacement):
    """Bytes replaced at an offset, then the checksum mended."""
    return with_checksum(data[:at] + replacement + data[at + len(replacement) :])
