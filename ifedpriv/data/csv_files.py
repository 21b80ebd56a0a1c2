"""Reads CSV with a header line, UTF-8, comma-separated, fields with commas or line ends in double quotes.

The one invariant: every row has exactly the header's fields. A short or long row is refused rather than
padded, because a comma that was not quoted shifts a text into its neighbour's column.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ifedpriv.data.jsonl import not_utf8, read_bytes
from ifedpriv.data.rows import Row, Table
from ifedpriv.errors import InputError


def read_csv(path: Path) -> Table:
    """Read a CSV file with a header; all values are text.

    Raises:
        InputError: a byte that is not UTF-8, an unnamed or repeated column, a row of another length, quotes
            that do not close, or no rows.
    """
    reader = csv.reader(io.StringIO(_decoded(path), newline=""), strict=True)
    header: list[str] | None = None
    rows: list[Row] = []
    line = 1
    try:
        for cells in reader:
            if header is None:
                # A blank first line would be a header without columns; skip it as blank lines are elsewhere.
                header = _header(path, line, cells) if cells else None
            elif cells:
                if len(cells) != len(header):
                    raise InputError(
                        f"{path} line {line}: has {len(cells)} fields, but the header has {len(header)}",
                        'put texts with commas, quotes or line ends in double quotes, each " inside doubled',
                    )
                rows.append(Row(line, dict(zip(header, cells, strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path} line {line}: not CSV: {error}", "check the quotes of this row") from None
    if not rows:
        raise InputError(f"{path} holds no rows", "write a header line such as text,label and one row a line")
    return Table(str(path), "line", rows)


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for column, name in enumerate(names, start=1):
        if not name:
            raise InputError(
                f"{path} line {line}: column {column} of the header has no name", "name every column"
            )
        if names.count(name) > 1:
            raise InputError(
                f"{path} line {line}: the header names {name!r} twice", "rename one of the columns"
            )
    return names


def _decoded(path: Path) -> str:
    content = read_bytes(path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, line, error.start, content[error.start]) from None
