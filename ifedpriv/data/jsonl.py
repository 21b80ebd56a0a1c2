"""Reads JSON Lines: one object a line, UTF-8.

The one invariant: a table comes back only if every line was read; nothing is skipped but blank lines, and
nothing is replaced. A bad byte or a bad line is named by line and by offset.
"""

from __future__ import annotations

import json
from pathlib import Path

from ifedpriv.data.rows import Row, Table
from ifedpriv.errors import InputError

_BOM = b"\xef\xbb\xbf"


def read_jsonl(path: Path) -> Table:
    """Read a JSON Lines file.

    Raises:
        InputError: a byte that is not UTF-8, a line that is not a JSON object, a key given twice, or no rows.
    """
    rows: list[Row] = []
    offset = 0
    for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
        if line.strip():
            rows.append(Row(number, _object(path, number, offset, line)))
        offset += len(line) + 1
    if not rows:
        raise InputError(f"{path} holds no rows", "write one JSON object a line")
    return Table(str(path), "line", rows)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; a byte order mark becomes three spaces, so that offsets stay true."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check the path and the data root") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "give a file you may read") from None
    return b"   " + content[3:] if content.startswith(_BOM) else content


def not_utf8(path: Path, line: int, offset: int, byte: int) -> InputError:
    """The error for a byte that is not UTF-8; ``offset`` counts bytes from the start of the file, from 0."""
    return InputError(
        f"{path} line {line}: byte 0x{byte:02x} at offset {offset} is not UTF-8",
        "save the file as UTF-8",
    )


class _RepeatedKeyError(ValueError):
    """A JSON object gives one key twice; the standard reader would keep the last one in silence."""


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return fields


def _object(path: Path, number: int, offset: int, line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line.decode(), object_pairs_hook=_distinct)
    except UnicodeDecodeError as error:
        raise not_utf8(path, number, offset + error.start, line[error.start]) from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} line {number}: not JSON at column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}",
            'write one object a line, such as {"text": "...", "label": 0}',
        ) from None
    except _RepeatedKeyError as error:
        raise InputError(
            f"{path} line {number}: the key {str(error)!r} occurs twice", "keep one of the two"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} line {number}: a number is too long or the nesting too deep to read",
            'write one flat object a line, such as {"text": "...", "label": 0}',
        ) from None
    if not isinstance(value, dict):
        raise InputError(
            f"{path} line {number}: holds a JSON {_json_name(value)} in place of an object",
            'write one object a line, such as {"text": "...", "label": 0}',
        )
    return value


def _json_name(value: object) -> str:
    names = {
        list: "array",
        str: "string",
        bool: "boolean",
        int: "number",
        float: "number",
        type(None): "null",
    }
    return names[type(value)]
