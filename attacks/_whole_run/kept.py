"""Finished pieces on disk, so that an audit that was cut off goes on where it was.

The invariant: a piece is taken only if it was made for the same request on the same files and is as it was written; in
doubt it is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ifedpriv.errors import writing
from ifedpriv.experiment.rundir import write_whole

Piece = dict[str, Any]


class Kept:
    """A folder of pieces.

    Args:
        folder: where they lie; made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, key: str, make: Callable[[], Piece]) -> Piece:
        """A piece that is kept, or a new one, which then is."""
        path = self._folder / f"{name}.json"
        found = _read(path, key)
        if found is not None:
            return found
        # Through text and back, so that a new piece and a kept one are the same.
        content: Piece = json.loads(json.dumps(make(), allow_nan=False))
        text = json.dumps({"key": key, "sha256": _sum(content), "content": content}, allow_nan=False)
        with writing(str(path), "give --out a folder that you may write"):
            write_whole(path, text)
        return content


def _read(path: Path, key: str) -> Piece | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = found["key"] == key and found["sha256"] == _sum(found["content"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found["content"]) if whole else None


def _sum(content: Piece) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
