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


def sweep(name: str, backbone: Backbone, cells: Mapping[str, Cell], seeds: int) -> dict[str, Any]:
    """Measure what is missing in ``results/<name>.json`` and return all of it.

    Args:
        name: of the result.
        backbone: the model; a result measured on other weights is refused.
        cells: cell name to what is measured for one seed.
        seeds: seeds 0 to ``seeds - 1`` are measured.
    """
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if found.get("backbone", backbone.fingerprint) != backbone.fingerprint:
        raise SystemExit(f"{path} was measured on another model; delete it first")
    results: dict[str, Any] = {"backbone": backbone.fingerprint, **found}
    for cell_name, cell in cells.items():
        by_seed = results.setdefault(cell_name, {})
        for seed in range(seeds):
            if str(seed) not in by_seed:
                started = time.perf_counter()
                by_seed[str(seed)] = cell(backbone, seed)
                partial = path.with_suffix(".partial")
                partial.write_text(json.dumps(results, indent=1) + "\n")
                partial.replace(path)
                took = time.perf_counter() - started
                print(f"{cell_name} seed {seed}: {by_seed[str(seed)]} ({took:.0f} s)", flush=True)
    return results


def table(results: Mapping[str, Any]) -> str:
    """Means over seeds with 95% Student intervals over them."""
    lines = []
    for name, by_seed in results.items():
        if name == "backbone":
            continue
        for key in next(iter(by_seed.values())):
            values = [cell[key] for cell in by_seed.values()]
            lines.append(f"{name:45} {key:28} {mean_text(values)}  ({len(values)} seeds)")
    return "\n".join(lines)


def mean_text(values: Sequence[float]) -> str:
    """Mean with Student's interval over seeds; not cut at 0 and 1, since differences stand here too."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.3f}"
    found = t_interval(values)
    return f"{mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
