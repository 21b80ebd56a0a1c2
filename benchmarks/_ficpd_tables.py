"""Tables of FICPD's ablations for `findings.py`, one for each part; a part without results says how to get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _cells import by_cell
from _drawing import DOCS
from _ficpd_figures import PANELS
from _sweep import RESULTS, mean_text
from _tables import markdown


def table(part: str, results: Path = RESULTS, figures: Path = DOCS) -> str:
    """One row a cell, one column a figure, means over seeds; the figure below, where it was drawn."""
    found = by_cell(f"ficpd_{part}", results)
    if not found:
        return f"Not measured yet: `python benchmarks/ficpd.py {part}`.\n"
    keys = list(dict.fromkeys(key for by_seed in found.values() for one in by_seed.values() for key in one))
    rows = []
    for cell, by_seed in found.items():
        row = [cell, str(len(by_seed))]
        for key in keys:
            values = [one[key] for one in by_seed.values() if key in one]
            row.append(_text(key, values) if values else "")
        rows.append(row)
    drawn = figures / f"ficpd_{part}.svg"
    picture = f"\n![{part}](figures/{drawn.name})\n" if drawn.exists() else ""
    return markdown(["", "seeds", *keys], rows) + picture


def _text(key: str, values: Sequence[float]) -> str:
    """Scores with intervals; costs, which hardly differ between seeds, as plain means."""
    costs = key.startswith(("MB", "queries")) or key == "epsilon"
    return f"{np.mean(values):.4g}" if costs else mean_text(values)


TABLES: dict[str, Callable[[], str]] = {f"ficpd_{part}": partial(table, part) for part in PANELS}
