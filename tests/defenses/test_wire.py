"""The wire: error bounds, sizes, and a decoder that nothing but FrameError ever leaves."""

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire_cases import NUMBERS, patched, uploads, with_checksum

from defenses import FrameError, Layout, Upload, UploadKind
from defenses.codec import INT4_FACTORS, LEVELS, _scale_values, _stored_scales, decode_values, grouping
from defenses.frame import HEADER_SIZE, SERVER, Precision, decode, encode, frame_size, peek

QUANTISED = [Precision.INT8, Precision.INT4]
SMALL = Layout.of({"v": (2, 2, 3)})


def groups_of(flat, layout, kind, precision):
    """Index lists of the numbers that share a scale, by plain loops."""
    at = 0
    for shape in layout.shapes:
        rows, row, width = grouping(shape, kind, precision)
        for first in range(at, at + rows * row, row):
            for start in range(first, first + row, width):
                yield slice(start, min(start + width, first + row))
        at += rows * row
    assert at == len(flat)


@given(uploads(numbers=NUMBERS), st.integers(0, SERVER))
def test_fp32_is_exact(upload, sender):
    frame = encode(upload, sender, Precision.FP32)
    decoded = decode(frame, upload.layout)
    assert decoded.sender == sender
    assert decoded.precision is Precision.FP32
    read = decoded.upload
    assert (read.round, read.kind, read.weight) == (upload.round, upload.kind, upload.weight)
    for name, array in upload.arrays.items():
        assert read.arrays[name].tobytes() == array.tobytes()
    assert encode(read, sender, Precision.FP32) == frame


@given(uploads())
def test_fp16_is_the_nearest_half(upload):
    read = decode(encode(upload, 0, Precision.FP16), upload.layout).upload
    for name, array in upload.arrays.items():
        expected = [struct.unpack("<e", struct.pack("<e", x))[0] for x in array.reshape(-1).tolist()]
        assert read.arrays[name].reshape(-1).tolist() == expected


@given(uploads(numbers=st.floats(min_value=-(2.0**126), max_value=2.0**126, width=32)))
def test_int8_errs_by_half_a_scale_at_most(upload):
    layout = upload.layout
    flat = layout.flatten(upload.arrays).astype(np.float64)
    read = decode(encode(upload, 0, Precision.INT8), layout).upload
    got = layout.flatten(read.arrays).astype(np.float64)
    for group in groups_of(flat, layout, upload.kind, Precision.INT8):
        largest = np.abs(flat[group]).max()
        # A stored scale is at most one step of its 8-bit mantissa above the wanted one; the finest is 2^-134.
        scale = largest / 127 * (1 + 2**-8) + 2.0**-134
        assert np.abs(got[group] - flat[group]).max() <= scale / 2


@given(
    uploads(
        numbers=st.floats(min_value=-(2.0**100), max_value=2.0**100, width=32).filter(
            lambda x: x == 0 or abs(x) > 2.0**-100
        )
    )
)
def test_int4_is_never_worse_than_the_largest_magnitude_rule(upload):
    layout = upload.layout
    flat = layout.flatten(upload.arrays).astype(np.float64)
    got = layout.flatten(decode(encode(upload, 0, Precision.INT4), layout).upload.arrays).astype(np.float64)
    for group in groups_of(flat, layout, upload.kind, Precision.INT4):
        scale = np.abs(flat[group]).max() / 7 * (1 + 2**-8)
        squares = np.sum((got[group] - flat[group]) ** 2)
        assert squares <= len(flat[group]) * (scale / 2) ** 2 * (1 + 1e-6)


def test_int4_scale_beats_the_largest_magnitude_on_bell_shaped_numbers():
    """A search that always kept its first candidate would leave the error where it is without a search."""
    numbers = np.random.default_rng(3).standard_normal((1, 1, 1024)).astype(np.float32)
    upload = Upload({"v": numbers}, 1, 0, UploadKind.VECTOR)
    got = decode(encode(upload, 0, Precision.INT4), upload.layout).upload.arrays["v"]
    plain = np.abs(numbers).max() / 7
    without = np.clip(np.rint(numbers / plain), -7, 7) * plain
    assert np.sum((got - numbers) ** 2) < 0.8 * np.sum((without - numbers) ** 2)
    assert len(INT4_FACTORS) == 13 and INT4_FACTORS[0] == 1


@pytest.mark.parametrize("precision", QUANTISED)
def test_rounding_is_half_to_even(precision):
    top = LEVELS[precision]
    numbers = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, top] + [top] * 40, dtype=np.float32)
    upload = Upload({"v": numbers}, 1, 0, UploadKind.VECTOR)
    got = decode(encode(upload, 0, precision), upload.layout).upload.arrays["v"]
    assert got[:7].tolist() == [0, 2, 2, 0, -2, -2, top]


@given(st.floats(min_value=0, max_value=2.0**126))
@example(1 + 1e-9)
@example(1e-300)
@example(2.0**-134 * 1.5)
def test_a_stored_scale_is_the_least_that_is_not_below(wanted):
    stored = _stored_scales(np.array([wanted]))
    assert _scale_values(stored)[0] >= wanted
    if stored[0]:
        assert _scale_values(stored - np.uint16(1))[0] < wanted


@given(uploads(), st.sampled_from(Precision))
def test_size_is_known_beforehand_and_encoding_repeats(upload, precision):
    frame = encode(upload, 1, precision)
    assert len(frame) == frame_size(upload.layout, upload.kind, precision)
    assert encode(upload, 1, precision) == frame
    header = peek(frame)
    assert (header.kind, header.precision, header.sender) == (upload.kind, precision, 1)


@given(uploads(), st.sampled_from(QUANTISED))
def test_products_of_codes_and_scales_are_exact(upload, precision):
    """The decoder's float32 products equal the same products in Python's doubles."""
    layout = upload.layout
    frame = encode(upload, 0, precision)
    flat = layout.flatten(decode(frame, layout).upload.arrays)
    groups = list(groups_of(flat, layout, upload.kind, precision))
    stored = struct.unpack(f"<{len(groups)}H", frame[HEADER_SIZE : HEADER_SIZE + 2 * len(groups)])
    for group, bits in zip(groups, stored, strict=True):
        scale = struct.unpack("<f", struct.pack("<I", bits << 15))[0]
        for number in flat[group].tolist():
            code = round(number / scale) if scale else 0
            assert abs(code) <= LEVELS[precision]
            assert code * scale == number


@pytest.mark.parametrize("number", [65520.0, -65520.0, 1e30])
def test_fp16_overflow_is_refused_without_naming_the_number(number):
    upload = Upload({"a": np.zeros(2), "b": np.array([0.0, number])}, 1, 0, UploadKind.VECTOR)
    with pytest.raises(FrameError, match="array 'b' holds a number beyond 65504") as caught:
        encode(upload, 0, Precision.FP16)
    assert "65520" not in str(caught.value)
    for precision in (Precision.FP32, Precision.INT8, Precision.INT4):
        assert np.isfinite(decode(encode(upload, 0, precision), upload.layout).upload.arrays["b"]).all()


@pytest.mark.parametrize("precision", QUANTISED)
@given(st.floats(min_value=2.0**120, width=32, allow_infinity=False, allow_nan=False))
@example(float(np.finfo(np.float32).max))
def test_numbers_near_the_end_of_float32_are_refused_or_finite(precision, number):
    upload = Upload({"v": np.array([number, -number / 3])}, 1, 0, UploadKind.VECTOR)
    try:
        frame = encode(upload, 0, precision)
    except FrameError as error:
        assert "'v'" in str(error)
        assert number > 3.3e38
        return
    assert np.isfinite(decode(frame, upload.layout).upload.arrays["v"]).all()


@pytest.mark.parametrize("sender", [-1, 2**32])
def test_sender_is_a_u32(sender):
    with pytest.raises(FrameError, match="sender"):
        encode(Upload({"v": np.zeros(2)}, 1, 0, UploadKind.VECTOR), sender, Precision.FP32)


@pytest.mark.parametrize(
    ("shape", "kind", "precision", "limit"),
    [
        ((32, 2, 4096), UploadKind.VECTOR, Precision.INT8, 263_000),
        ((32, 2, 4096), UploadKind.VECTOR, Precision.INT4, 132_000),
        ((32, 2, 2), UploadKind.COEFFICIENTS, Precision.INT8, 160),
    ],
)
def test_frames_of_an_eight_billion_model_keep_their_budget(shape, kind, precision, limit):
    numbers = np.random.default_rng(0).standard_normal(shape)
    assert len(encode(Upload({"v": numbers}, 9, 1, kind), 1, precision)) <= limit
    assert HEADER_SIZE <= 32


@pytest.mark.parametrize("kind", UploadKind)
@pytest.mark.parametrize("precision", QUANTISED)
@pytest.mark.parametrize("row", [1, 2, 1023, 1024, 1025, 2047, 2049, 3584])
def test_groups_tile_a_row(kind, precision, row):
    rows, length, width = grouping((3, row), kind, precision)
    assert rows * length == 3 * row
    if precision is Precision.INT4 or kind is UploadKind.WEIGHTS:
        assert width <= 1024
        assert -(-length // width) == -(-length // 1024)
    else:
        assert width == length
    assert length == (row if kind is UploadKind.VECTOR else 3 * row)


@given(uploads(), st.sampled_from(Precision))
def test_another_layout_is_refused(upload, precision):
    frame = encode(upload, 0, precision)
    with pytest.raises(FrameError, match="layout"):
        decode(frame, Layout.of({"other": (upload.layout.size,)}))


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_decode_or_are_refused(data):
    for wire in (data, with_checksum(data), b"IF\x01" + data, with_checksum(b"IF\x01" + data)):
        try:
            decode(wire, SMALL)
        except FrameError as error:
            assert error.message and not error.message.endswith(".")


@given(uploads(), st.sampled_from(Precision), st.data())
@settings(max_examples=300)
def test_changed_frames_decode_to_something_finite_or_are_refused(upload, precision, data):
    frame = encode(upload, 0, precision)
    at = data.draw(st.integers(0, len(frame) - 1))
    change = data.draw(st.binary(min_size=1, max_size=4))
    damaged = frame[:at] + change + frame[at + len(change) :]
    if damaged[: len(frame)] != frame or len(damaged) != len(frame):
        with pytest.raises(FrameError):
            decode(damaged, upload.layout)
    try:
        decoded = decode(patched(frame, at, change), upload.layout)
    except FrameError:
        return
    assert all(np.isfinite(array).all() for array in decoded.upload.arrays.values())
    assert decoded.upload.weight > 0


@given(st.binary(max_size=64), st.sampled_from(UploadKind), st.sampled_from(Precision))
def test_any_payload_decodes_to_finite_numbers_or_is_refused(payload, kind, precision):
    try:
        flat = decode_values(payload, SMALL, kind, precision)
    except FrameError:
        return
    assert flat.shape == (SMALL.size,) and np.isfinite(flat).all()


def test_every_cut_of_a_frame_is_refused():
    frame = encode(Upload({"v": np.ones((2, 2, 3))}, 1, 0, UploadKind.VECTOR), 0, Precision.INT4)
    for end in range(len(frame)):
        for wire in (frame[:end], with_checksum(frame[:end])):
            with pytest.raises(FrameError):
                decode(wire, SMALL)


def test_a_large_layout_makes_a_small_frame_cost_nothing():
    layout = Layout.of({"v": (2**15, 2**15)})
    tiny = encode(Upload({"v": np.zeros(4)}, 1, 0, UploadKind.VECTOR), 0, Precision.INT8)
    wire = patched(tiny, 4, layout.digest.to_bytes(2, "little"))
    for kind_code in (1, 2, 3, 4):
        for precision_code in (1, 2, 3, 4):
            claimed = patched(wire, 3, bytes([kind_code << 4 | precision_code]))
            tracemalloc.start()
            with pytest.raises(FrameError, match="payload has"):
                decode(claimed, layout)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 100_000
