"""Measurements kept cell by cell and seed by seed, one JSON line each, so that an interrupted sweep goes on.

The one invariant: a line says what it was measured with (a digest of the cell's settings, the model's fingerprint), and
lines of other settings or of another model are never mixed with new ones: they are refused, by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _sweep import RESULTS, mean_text

Figures = dict[str, float]
_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\binf\b)")


@dataclass(frozen=True)
class Cell:
    """One point of a sweep.

    Attributes:
        settings: everything that decides its figures but the seed, as JSON can hold it.
        run: the figures of one seed, by name.
    """

    settings: Mapping[str, Any]
    run: Callable[[int], Figures]

    @property
    def digest(self) -> str:
        """By which a stored line is known to be this cell's."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def path_of(name: str, folder: Path = RESULTS) -> Path:
    """Where a sweep is kept."""
    return folder / f"{name}.jsonl"


def lines(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All whole lines of a sweep; none where it was never begun."""
    path = path_of(name, folder)
    if not path.exists():
        return []
    # A process that was killed may have left half a line behind the last whole one.
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole if line]


def by_cell(name: str, folder: Path = RESULTS) -> dict[str, dict[str, Figures]]:
    """Cell to seed to figures, by name, numbers in names by size: whatever was measured first."""
    found: dict[str, dict[str, Figures]] = {}
    for line in lines(name, folder):
        found.setdefault(line["cell"], {})[str(line["seed"])] = line["figures"]
    return {cell: dict(sorted(found[cell].items())) for cell in sorted(found, key=_by_size)}


def _by_size(cell: str) -> list[tuple[str, float]]:
    """A name as pairs of words and the number behind them."""
    parts = _NUMBER.split(cell)
    return [(words, float(number)) for words, number in zip(parts[::2], [*parts[1::2], "-inf"], strict=True)]


def measure(
    name: str, fingerprint: str, cells: Mapping[str, Cell], seeds: Sequence[int], folder: Path = RESULTS
) -> dict[str, dict[str, Figures]]:
    """Measure what is missing and return all of it.

    Args:
        name: of the sweep.
        fingerprint: of the model.
        cells: by name.
        seeds: to measure each cell with.
        folder: where results are kept.
    """
    path = path_of(name, folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = lines(name, folder)
    for line in kept:
        cell = cells.get(line["cell"])
        if line["backbone"] != fingerprint or (cell is not None and line["digest"] != cell.digest):
            raise SystemExit(
                f"{path}: cell {line['cell']!r} was measured on another model or with other settings; "
                "take the file away first"
            )
    # Also cuts off half a line.
    _write(path, "".join(json.dumps(line) + "\n" for line in kept))
    done = {(line["cell"], line["seed"]) for line in kept}
    for seed in seeds:
        for cell_name, cell in cells.items():
            if (cell_name, seed) in done:
                continue
            started = time.perf_counter()
            figures = cell.run(seed)
            took = time.perf_counter() - started
            line = {
                "schema": 1,
                "cell": cell_name,
                "seed": seed,
                "digest": cell.digest,
                "backbone": fingerprint,
                "seconds": round(took, 1),
                "figures": figures,
            }
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
            print(f"{cell_name}, seed {seed}: {_shown(figures)} ({took:.0f} s)", flush=True)
    return by_cell(name, folder)


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _shown(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def text_table(found: Mapping[str, Mapping[str, Figures]]) -> str:
    """Means over seeds with Student's intervals over them, one line a cell and figure."""
    told = []
    for cell, by_seed in found.items():
        for key in next(iter(by_seed.values())):
            values = [figures[key] for figures in by_seed.values() if key in figures]
            told.append(f"{cell:38} {key:26} {mean_text(values)}  ({len(values)} seeds)")
    return "\n".join(told)
