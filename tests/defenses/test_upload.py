"""Uploads own finite arrays and show nothing; layouts order arrays by name."""

import numpy as np
import pytest
from hypothesis import given
from wire_cases import uploads

from defenses import Layout, RoundInfo, Upload, UploadKind, UserError
from defenses.clear import ClearClient, ClearServer
from defenses.frame import DecodedFrame, Precision, decode, encode, peek
from defenses.session import Aggregate
from defenses.view import Direction, FrameRecord


def vector(value=1.0):
    return {"v": np.full((2, 2, 3), value, dtype=np.float32)}


def test_arrays_are_copied_and_read_only():
    mine = vector()
    upload = Upload(mine, 1, 0, UploadKind.VECTOR)
    mine["v"][0, 0, 0] = 99
    assert upload.arrays["v"][0, 0, 0] == 1
    with pytest.raises(ValueError):
        upload.arrays["v"][0, 0, 0] = 2
    with pytest.raises(TypeError):
        upload.arrays["w"] = mine["v"]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_not_finite_float32_are_refused(number):
    arrays = {"v": np.array([1.0, number], dtype=np.float64)}
    with pytest.raises(UserError, match="'v' holds a number that is not a finite float32"):
        Upload(arrays, 1, 0, UploadKind.VECTOR)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([True]), np.array([None])])
def test_only_real_numbers(array):
    with pytest.raises(UserError, match="dtype"):
        Upload({"v": array}, 1, 0, UploadKind.VECTOR)


@pytest.mark.parametrize("weight", [0, -1, np.nan, np.inf, 1e-50, 1e39])
def test_weight_is_above_zero_and_finite_as_float32(weight):
    with pytest.raises(UserError, match=r"upload\.weight"):
        Upload(vector(), weight, 0, UploadKind.VECTOR)


def test_weight_is_what_the_wire_carries():
    assert Upload(vector(), 0.1, 0, UploadKind.VECTOR).weight == float(np.float32(0.1))


@pytest.mark.parametrize("number", [-1, 2**32])
def test_round_is_a_u32(number):
    with pytest.raises(UserError, match=r"upload\.round"):
        Upload(vector(), 1, number, UploadKind.VECTOR)


@pytest.mark.parametrize(
    "shapes", [{}, {"": (1,)}, {"a b": (1,)}, {"a:b": (1,)}, {"a": (0,)}, {"a": (2, -1)}, {"a": (1,) * 9}]
)
def test_layouts_that_cannot_be(shapes):
    with pytest.raises(UserError, match="layout"):
        Layout.of(shapes)


def test_layout_does_not_depend_on_the_order_of_a_dictionary():
    one, other = Layout.of({"b": (2,), "a": (3, 1)}), Layout.of({"a": (3, 1), "b": (2,)})
    assert one == other
    assert one.digest == other.digest
    assert one.names == ("a", "b")


def test_digest_separates_shapes_and_names():
    shapes = [{"a": (2, 3)}, {"a": (3, 2)}, {"a": (6,)}, {"b": (2, 3)}, {"a": (2,), "b": (3,)}]
    assert len({Layout.of(shape).digest for shape in shapes}) == len(shapes)


@given(uploads())
def test_flat_and_back(upload):
    layout = upload.layout
    flat = layout.flatten(upload.arrays)
    assert flat.shape == (layout.size,)
    back = layout.unflatten(flat)
    assert list(back) == list(upload.arrays)
    for name, array in upload.arrays.items():
        assert back[name].tobytes() == array.tobytes()
        assert back[name].shape == array.shape


def test_flatten_and_unflatten_refuse_other_shapes():
    layout = Layout.of({"v": (2, 2, 3)})
    with pytest.raises(UserError, match="do not fit the layout"):
        layout.flatten({"v": np.zeros((2, 2, 4), dtype=np.float32)})
    with pytest.raises(UserError, match="give 12 numbers"):
        layout.unflatten(np.zeros(13))


def test_no_repr_shows_content():
    """Every object that holds private numbers or their weight; 8725 and 4242 stand for them."""
    upload = Upload({"v": np.full((2,), 8725.0)}, 4242, 0, UploadKind.VECTOR)
    frame = encode(upload, 1, Precision.FP32)
    round_info = RoundInfo(0, UploadKind.VECTOR, (1,), upload.layout)
    client, server = ClearClient(1, round_info, Precision.FP32), ClearServer(round_info, Precision.FP32)
    server.receive(1, client.protect(upload)[0])
    decoded = decode(frame, upload.layout)
    assert isinstance(decoded, DecodedFrame)
    things = [
        upload,
        decoded,
        peek(frame),
        client,
        server,
        server.aggregate(),
        Aggregate(upload.arrays, 4242.0, (1,), UploadKind.VECTOR, 0),
        FrameRecord(0, Direction.UP, 1, 2, 0, frame),
    ]
    for thing in things:
        text = repr(thing) + str(thing)
        assert "8725" not in text and "4242" not in text, text
        assert frame.hex()[-8:] not in text and repr(frame)[2:-1] not in text
