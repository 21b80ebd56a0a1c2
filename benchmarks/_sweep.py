"""A sweep: named cells, each over several seeds, kept one by one so that an interrupted sweep goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.measure.intervals import t_interval

RESULTS = Path(__file__).parent / "results"
Cell = Callable[[Backbone, int], dict[str, float]]


class Kept:
    """The figures of a result so far; every new one is on the disk before the next is measured.

    Args:
        name: of the result, ``results/<name>.json``.
        backbone: the model; a result measured on other weights is refused.
    """

    def __init__(self, name: str, backbone: Backbone) -> None:
        self._path = RESULTS / f"{name}.json"
        found: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}
        if found.get("backbone", backbone.fingerprint) != backbone.fingerprint:
            raise SystemExit(f"{self._path} was measured on another model; delete it first")
        self.results: dict[str, Any] = {"backbone": backbone.fingerprint, **found}

    def has(self, cell: str, seed: int, key: str | None = None) -> bool:
        """Whether a cell's seed, or one figure of it, is there."""
        figures = self.results.get(cell, {}).get(str(seed))
        return figures is not None and (key is None or key in figures)

    def put(self, cell: str, seed: int, figures: Mapping[str, float], seconds: float) -> None:
        """Add figures to those of a cell's seed, and say so."""
        self.results.setdefault(cell, {}).setdefault(str(seed), {}).update(figures)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self.results, indent=1) + "\n")
        partial.replace(self._path)
        print(f"{cell} seed {seed}: {dict(figures)} ({seconds:.0f} s)", flush=True)


def sweep(name: str, backbone: Backbone, cells: Mapping[str, Cell], seeds: int) -> dict[str, Any]:
    """Measure what is missing in ``results/<name>.json`` and return all of it.

    Args:
        name: of the result.
        backbone: the model; a result measured on other weights is refused.
        cells: cell name to what is measured for one seed.
        seeds: seeds 0 to ``seeds - 1`` are measured.
    """
    kept = Kept(name, backbone)
    for cell_name, cell in cells.items():
        for seed in range(seeds):
            if not kept.has(cell_name, seed):
                started = time.perf_counter()
                figures = cell(backbone, seed)
                kept.put(cell_name, seed, figures, time.perf_counter() - started)
    return kept.results


def table(results: Mapping[str, Any]) -> str:
    """Means over seeds with 95% Student intervals over them."""
    lines = []
    for name, by_seed in results.items():
        if name == "backbone":
            continue
        for key in dict.fromkeys(key for figures in by_seed.values() for key in figures):
            values = [figures[key] for figures in by_seed.values() if key in figures]
            lines.append(f"{name:45} {key:28} {mean_text(values)}  ({len(values)} seeds)")
    return "\n".join(lines)


def mean_text(values: Sequence[float]) -> str:
    """Mean with Student's interval over seeds; not cut at 0 and 1, since differences stand here too."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    found = t_interval(values)
    return f"{mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
