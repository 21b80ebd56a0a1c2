"""Known answers: the package and a second, independent reader agree on every file."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import reference_wire

from defenses import FrameError, Layout, Upload, UploadKind, decode, encode

FILES = sorted((Path(__file__).parents[1] / "vectors" / "wire").glob("*.json"))
GOOD = [path for path in FILES if not path.stem.startswith("bad_")]
BAD = [path for path in FILES if path.stem.startswith("bad_")]


def load(path):
    case = json.loads(path.read_text())
    return case, Layout.of(case["layout"]), bytes.fromhex(case["frame"])


def test_there_are_vectors():
    assert len(GOOD) >= 10 and len(BAD) >= 20


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_known_answer(path):
    case, layout, frame = load(path)
    arrays = {
        name: np.array(case["given"][name], dtype=np.float32).reshape(shape)
        for name, shape in zip(layout.names, layout.shapes, strict=True)
    }
    upload = Upload(arrays, case["weight"], case["round"], UploadKind(case["kind"]))
    assert encode(upload, case["sender"], case["precision"]).hex() == case["frame"]
    decoded = decode(frame, layout)
    assert decoded.sender == case["sender"]
    assert decoded.precision == case["precision"]
    assert (decoded.upload.round, decoded.upload.kind) == (case["round"], case["kind"])
    assert decoded.upload.weight == case["weight"]
    for name, numbers in case["read"].items():
        read = decoded.upload.arrays[name].reshape(-1).tolist()
        assert [(x, math.copysign(1, x)) for x in read] == [(x, math.copysign(1, x)) for x in numbers]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_second_reader_agrees(path):
    case, _, frame = load(path)
    read = reference_wire.read(frame, case["layout"])
    assert read == {**{key: case[key] for key in read if key != "arrays"}, "arrays": case["read"]}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_known_bad(path):
    case, layout, frame = load(path)
    with pytest.raises(FrameError) as caught:
        decode(frame, layout)
    assert case["error"] in str(caught.value)
