"""A second reader of the wire, written from docs/wire.md alone, one number at a time and without numpy.

It exists so that the vectors have two witnesses. It shares no code with the package.
"""

import hashlib
import math
import struct
import zlib
from itertools import chain

KINDS = {1: "vector", 2: "coefficients", 3: "weights", 4: "scores", 5: "clusters", 6: "prompts", 7: "counts"}
PRECISIONS = {1: "fp32", 2: "fp16", 3: "int8", 4: "int4"}


def _float(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def _groups(shape, kind, precision):
    size = math.prod(shape)
    row = shape[-1] if kind == "vector" and shape else size
    width = row
    if precision == "int4" or kind == "weights":
        width = -(-row // -(-row // 1024))
    for start in range(0, size, row):
        for at in range(0, row, width):
            yield min(width, row - at), start + at


def read(data, layout):
    """Sender, round, kind, precision, weight and flat lists of numbers by name; asserts what must hold."""
    assert data[0:2] == b"IF" and data[2] == 1
    kind, precision = KINDS[data[3] >> 4], PRECISIONS[data[3] & 15]
    text = "".join(f"{n}:{'x'.join(map(str, s))}\n" for n, s in sorted(layout.items()))
    assert data[4:6] == hashlib.sha256(text.encode()).digest()[:2]
    length, number, sender = struct.unpack("<III", data[6:18])
    (weight,) = struct.unpack("<f", data[18:22])
    assert struct.unpack("<I", data[22:26])[0] == zlib.crc32(data[:22] + data[26:])
    payload = data[26:]
    assert len(payload) == length
    names = sorted(layout)
    sizes = [math.prod(layout[name]) for name in names]
    total = sum(sizes)
    if precision in ("fp32", "fp16"):
        numbers = list(struct.unpack(f"<{total}{'f' if precision == 'fp32' else 'e'}", payload))
    else:
        plan = [list(_groups(layout[name], kind, precision)) for name in names]
        n_scales = sum(map(len, plan))
        scales = [_float(s << 15) for s in struct.unpack(f"<{n_scales}H", payload[: 2 * n_scales])]
        body = payload[2 * n_scales :]
        if precision == "int8":
            codes = list(struct.unpack(f"<{total}b", body))
        else:
            assert len(body) == (total + 1) // 2
            nibbles = [half for byte in body for half in (byte & 15, byte >> 4)]
            assert not any(nibbles[total:])
            codes = [n - 16 if n >= 8 else n for n in nibbles[:total]]
        each = [scale for scale, (count, _) in zip(scales, chain(*plan), strict=True) for _ in range(count)]
        numbers = [code * scale for code, scale in zip(codes, each, strict=True)]
    arrays, at = {}, 0
    for name, size in zip(names, sizes, strict=True):
        arrays[name] = numbers[at : at + size]
        at += size
    return {
        "sender": sender,
        "round": number,
        "kind": kind,
        "precision": precision,
        "weight": weight,
        "arrays": arrays,
    }
