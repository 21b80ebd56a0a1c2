"""Tables of clustered IFed-ICL for `findings.py`, one for each part that was measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from _sweep import RESULTS, mean_text
from _tables import cells, markdown, values

PARTS = ("groups", "controls", "number", "small", "examples", "protected", "private")


def table(part: str) -> str:
    """One row a cell, one column a figure, means over seeds."""
    name = f"prototypes_{part}"
    if not (RESULTS / f"{name}.json").exists():
        return f"Not measured yet: `python benchmarks/prototypes.py {part}`.\n"
    found = cells(name)
    keys = list(dict.fromkeys(key for by_seed in found.values() for key in next(iter(by_seed.values()))))
    rows = []
    for cell, by_seed in found.items():
        has = next(iter(by_seed.values()))
        figures = [mean_text(values(by_seed, key)) if key in has else "" for key in keys]
        rows.append([cell, str(len(by_seed)), *figures])
    return markdown(["", "seeds", *keys], rows)


TABLES: dict[str, Callable[[], str]] = {f"prototypes_{part}": partial(table, part) for part in PARTS}
