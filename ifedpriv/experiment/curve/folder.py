"""A curve's folder: its configuration, one line for each measured point, and what they come to.

The invariant: a line is there whole or not at all, and belongs to the configuration beside it; so a curve goes on from
whatever a crash left, and no point of another curve gets into it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ifedpriv.errors import UserError
from ifedpriv.experiment.curve.config import CurveConfig, load_curve
from ifedpriv.experiment.curve.keys import Key
from ifedpriv.experiment.rundir import start_folder, write_whole

_REMEDY = "give --out another folder"


class CurveFolder:
    """Paths and files of one curve; make it with `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: CurveConfig) -> CurveFolder:
        """Start a curve's folder; nothing that is there is ever overwritten."""
        folder = cls(path)
        if any(
            (path / name).exists() for name in ("config.yaml", "points.jsonl", "curve.json", "rounds.jsonl")
        ):
            raise UserError(
                f"{path} holds a curve or a run already", f"{_REMEDY}, or --resume to go on with it"
            )
        start_folder(path, config.to_yaml())
        return folder

    @classmethod
    def open(cls, path: Path) -> CurveFolder:
        """An existing curve's folder."""
        if not (path / "config.yaml").is_file() or (path / "rounds.jsonl").exists():
            raise UserError(f"{path} is no curve", "give the folder that `ifedpriv curve` printed")
        return cls(path)

    def config(self) -> CurveConfig:
        """The configuration as it was resolved."""
        return load_curve(self.path / "config.yaml")

    @property
    def _points(self) -> Path:
        return self.path / "points.jsonl"

    def load(self, config: CurveConfig) -> dict[Key, dict[str, Any]]:
        """All measured points; a line that a crash cut short is dropped, and its point measured anew.

        Raises:
            UserError: a line is none of this curve's.
        """
        if not self._points.exists():
            return {}
        text = self._points.read_text(encoding="utf-8", errors="replace")
        *lines, rest = text.split("\n")
        expected, found = set(config.all_keys()), {}
        for number, line in enumerate(lines, start=1):
            try:
                point = json.loads(line)
                key = Key.of(point)
                ours = point["curve"] == config.digest() and key in expected
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"{self._points}, line {number} is no point of a curve", f"mend the file, or {_REMEDY}"
                ) from None
            if not ours:
                raise UserError(f"{self._points}, line {number} is a point of another configuration", _REMEDY)
            found[key] = point
        if rest:
            write_whole(self._points, "".join(f"{line}\n" for line in lines))
        return found

    def append(self, point: dict[str, Any]) -> None:
        """Add a point's line in one write, and see it onto the disk."""
        handle = os.open(self._points, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (json.dumps(point) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)
