"""The numbers in docs/wire.md and docs/server_view.md come from the code."""

import json
import re
import struct
from pathlib import Path

import pytest

from defenses import codec, frame, view
from defenses.frame import Precision, frame_size
from defenses.upload import Layout, UploadKind

ROOT = Path(__file__).parents[2]
WIRE = (ROOT / "docs" / "wire.md").read_text()
VIEW = (ROOT / "docs" / "server_view.md").read_text()
TYPES = {"2s": "bytes", "B": "u8", "H": "u16", "I": "u32", "f": "f32"}


def rows(text, first):
    """The cells of the table whose head begins with ``first``."""
    lines = text[text.index(f"| {first}") :].splitlines()
    table = lines[2 : lines.index("")] if "" in lines else lines[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize(
    ("text", "fields", "tail"),
    [(WIRE, frame.HEADER_FIELDS, []), (VIEW, view.RECORD_FIELDS, [["25", "length", "bytes", "frame"]])],
    ids=["frame", "record"],
)
def test_tables_of_offsets(text, fields, tail):
    expected, at = [], 0
    for name, code in fields:
        size = struct.calcsize("<" + code)
        expected.append([str(at), str(size), TYPES[code], name])
        at += size
    assert [row[:4] for row in rows(text, "offset")] == expected + tail
    assert at == (view.RECORD_HEADER_SIZE if tail else frame.HEADER_SIZE)


def test_header_length_and_version_in_words():
    assert f"a header of {frame.HEADER_SIZE} bytes" in WIRE
    assert WIRE.startswith(f"# The wire, version {frame.VERSION}\n")
    assert str(frame.SERVER) in WIRE and str(frame.SERVER) in VIEW
    assert f"`{frame.MAGIC.hex(' ')}`" in WIRE


def test_codes():
    kinds = {UploadKind(kind): int(code) for code, kind in rows(WIRE, "code | kind")}
    assert kinds == frame.KIND_CODES
    precisions = {Precision(precision): int(code) for code, precision in rows(WIRE, "code | precision")}
    assert precisions == frame.PRECISION_CODES


def test_grid_of_int4_in_words():
    assert "thirteen\nscales" in WIRE and len(codec.INT4_FACTORS) == 13
    assert codec.INT4_FACTORS[12] == 2 ** (-12 / 8)


def test_sizes():
    table = rows(WIRE, "model")
    assert len(table) == 8
    for _model, upload, *sizes in table:
        kind, shape = re.fullmatch(r"(\w+) (\[.*\])", upload).groups()
        layout = Layout.of({kind: json.loads(shape)})
        expected = [f"{frame_size(layout, UploadKind(kind), precision):,}" for precision in Precision]
        assert sizes == expected


def test_worked_example():
    folder = ROOT / "tests" / "vectors" / "wire"
    int8 = bytes.fromhex(json.loads((folder / "vector_int8.json").read_text())["frame"])
    size = frame.HEADER_SIZE
    assert f"    {int8[:size].hex(' ')}\n    {int8[size:].hex(' ')}\n" in WIRE
    assert (
        bytes.fromhex("".join(re.findall(r"`([^`]*)`", row[0])[0] for row in rows(WIRE, "bytes | field")))
        == int8
    )
    int4 = bytes.fromhex(json.loads((folder / "vector_int4.json").read_text())["frame"])
    assert f"`{int4[size:].hex(' ')}`" in WIRE
