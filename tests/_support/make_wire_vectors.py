"""Writes tests/vectors/wire/. Run it only when the wire's version changes:

PYTHONPATH=. python tests/_support/make_wire_vectors.py
"""

import json
from pathlib import Path

import numpy as np
from wire_cases import patched, with_checksum

from defenses.frame import HEADER_SIZE, SERVER, Precision, decode, encode
from defenses.upload import Layout, Upload, UploadKind

FOLDER = Path(__file__).parents[1] / "vectors" / "wire"


def save(name, content):
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def flat(arrays):
    return {name: [float(x) for x in array.reshape(-1)] for name, array in arrays.items()}


def good(name, upload, sender, precision, about):
    frame = encode(upload, sender, precision)
    decoded = decode(frame, upload.layout)
    save(
        name,
        {
            "about": about,
            "layout": upload.layout.to_dict(),
            "kind": str(upload.kind),
            "precision": str(precision),
            "sender": sender,
            "round": upload.round,
            "weight": upload.weight,
            "given": flat(upload.arrays),
            "frame": frame.hex(),
            "read": flat(decoded.upload.arrays),
        },
    )
    return frame


def bad(name, frame, layout, error, about):
    save(f"bad_{name}", {"about": about, "layout": layout.to_dict(), "frame": frame.hex(), "error": error})


def main():
    numbers = np.array([[[1, -0.5, 0.25, 0], [3, 2, -1, 0.125]]], dtype=np.float32)
    small = Upload({"v": numbers}, 5, 7, UploadKind.VECTOR)
    frames = {
        precision: good(f"vector_{precision}", small, 3, precision, "two rows of four, every precision")
        for precision in Precision
    }
    for kind in (UploadKind.CLUSTERS, UploadKind.PROMPTS, UploadKind.COUNTS):
        blocks = Upload({"members": np.eye(2, dtype=np.float32)[1], "v": numbers}, 1, 9, kind)
        good(f"{kind}_fp16", blocks, 4, Precision.FP16, "an upload in blocks, one for each cluster")
    ties = np.arange(-8, 9, dtype=np.float32) / 2
    rounding = np.concatenate([ties, [127]]).astype(np.float32)
    good(
        "int8_half_even",
        Upload({"v": rounding}, 1, 0, UploadKind.VECTOR),
        0,
        Precision.INT8,
        "the scale is 1, so halves round to even",
    )
    fp16 = np.array(
        [2049, 2051, 65504, 65519, -65519, 2**-24, 2**-25, 2**-25 * 1.5, 0, -0.0], dtype=np.float32
    )
    good(
        "fp16_half_even",
        Upload({"v": fp16}, 1, 1, UploadKind.VECTOR),
        0,
        Precision.FP16,
        "ties to even, the largest number that still rounds down, subnormals and both zeros",
    )
    layers = np.arange(2)
    coefficients = np.stack([np.array([[0.1, 1.0], [0.05, 0.9]]) * (1 + layer / 10) for layer in layers])
    good(
        "coefficients_int8",
        Upload({"coefficients": coefficients}, 20, 30, UploadKind.COEFFICIENTS),
        9,
        Precision.INT8,
        "one scale for the whole array",
    )
    good(
        "several_arrays_int4",
        Upload(
            {"b": np.linspace(-1, 1, 5), "a": np.array(2.5), "c": np.zeros((2, 3))},
            0.5,
            2,
            UploadKind.WEIGHTS,
        ),
        1,
        Precision.INT4,
        "arrays in name order, a single number, zeros under the scale 0, an odd count with a spare half byte",
    )
    good(
        "groups_int4",
        Upload(
            {"v": np.cos(np.arange(1030) * 0.37)[None] * np.linspace(1, 4, 1030)}, 2, 3, UploadKind.VECTOR
        ),
        1,
        Precision.INT4,
        "a row of 1030 is cut into two groups of 515",
    )
    good(
        "groups_int8_weights",
        Upload({"w": np.sin(np.arange(1026) * 0.11).reshape(2, 513)}, 2, 3, UploadKind.WEIGHTS),
        1,
        Precision.INT8,
        "weights share scales in groups at int8 too: 1026 numbers are two groups of 513",
    )
    good(
        "tiny_int8",
        Upload({"v": np.array([1e-45, -3e-39, 2e-40])}, 1, 0, UploadKind.VECTOR),
        0,
        Precision.INT8,
        "float32 subnormals under a subnormal scale",
    )
    good(
        "broadcast_scores",
        Upload({"s": np.array([0.5])}, 1, 2**32 - 1, UploadKind.SCORES),
        SERVER,
        Precision.FP32,
        "largest round number, the server as sender",
    )

    layout, frame, int8, int4 = small.layout, frames["fp32"], frames["int8"], frames["int4"]
    zero4 = encode(Upload({"v": np.zeros(3)}, 1, 0, UploadKind.VECTOR), 0, Precision.INT4)
    cases = [
        ("empty", b"", layout, "less than a header", "no bytes at all"),
        ("short_header", frame[:25], layout, "less than a header", "one byte short of a header"),
        ("magic", b"XF" + frame[2:], layout, "magic", "another magic"),
        ("version", patched(frame, 2, b"\x02"), layout, "version 2", "a later version"),
        ("truncated", frame[:-1], layout, "announces", "one byte short"),
        ("trailing", frame + b"\0", layout, "announces", "one byte too many"),
        (
            "checksum",
            frame[:-1] + bytes([frame[-1] ^ 1]),
            layout,
            "checksum",
            "one bit flipped in the payload",
        ),
        (
            "checksum_header",
            frame[:10] + bytes([frame[10] ^ 1]) + frame[11:],
            layout,
            "checksum",
            "one bit flipped in the round",
        ),
        ("kind", patched(frame, 3, b"\x81"), layout, "unknown kind 8", "kind 8"),
        ("kind_zero", patched(frame, 3, b"\x01"), layout, "unknown kind 0", "kind 0"),
        ("precision", patched(frame, 3, b"\x15"), layout, "unknown precision 5", "precision 5"),
        ("weight_zero", patched(frame, 18, bytes(4)), layout, "weight", "weight 0"),
        ("weight_negative", patched(frame, 18, b"\0\0\x80\xbf"), layout, "weight", "weight -1"),
        ("weight_nan", patched(frame, 18, b"\0\0\xc0\x7f"), layout, "weight", "weight NaN"),
        ("weight_infinite", patched(frame, 18, b"\0\0\x80\x7f"), layout, "weight", "weight infinite"),
        ("layout", frame, Layout.of({"w": (1, 2, 4)}), "layout", "the layout of another run"),
        ("layout_order", frame, Layout.of({"v": (2, 1, 4)}), "layout", "the same count in another shape"),
        ("length", with_checksum(frame[:-4]), layout, "payload has", "a whole frame with one number too few"),
        ("not_a_number", patched(frame, HEADER_SIZE, b"\0\0\xc0\x7f"), layout, "not finite", "a NaN"),
        (
            "half_infinite",
            patched(frames["fp16"], HEADER_SIZE, b"\0\x7c"),
            layout,
            "not finite",
            "an infinite half",
        ),
        ("scale_infinite", patched(int8, HEADER_SIZE, b"\0\xff"), layout, "scale", "an infinite scale"),
        ("scale_nan", patched(int8, HEADER_SIZE, b"\xff\xff"), layout, "scale", "a NaN as scale"),
        ("scale_large", patched(int8, HEADER_SIZE, b"\xff\xfe"), layout, "scale", "127 times it overflows"),
        ("scale_zero", patched(int8, HEADER_SIZE, b"\0\0"), layout, "scale 0", "codes under the scale 0"),
        ("code_int8", patched(int8, HEADER_SIZE + 4, b"\x80"), layout, "code -128", "the unused code"),
        ("code_int4", patched(int4, HEADER_SIZE + 4, b"\x08"), layout, "code -8", "the unused code"),
        (
            "spare_half_byte",
            patched(zero4, len(zero4) - 1, b"\x10"),
            Layout.of({"v": (3,)}),
            "spare half byte",
            "three numbers and something in the fourth place",
        ),
    ]
    for name, data, agreed, error, about in cases:
        bad(name, data, agreed, error, about)


if __name__ == "__main__":
    main()
