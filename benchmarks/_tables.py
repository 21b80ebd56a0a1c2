"""Stored results, and tables of them as Markdown: what every maker of tables has in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from _sweep import RESULTS, mean_text


def load(name: str) -> dict[str, Any]:
    """One result."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def cells(name: str) -> dict[str, dict[str, dict[str, float]]]:
    """A sweep's cells: name to seed to figures."""
    return {key: value for key, value in load(name).items() if key != "backbone"}


def values(by_seed: Mapping[str, Mapping[str, float]], key: str) -> list[float]:
    """One figure, seed by seed."""
    return [by_seed[seed][key] for seed in sorted(by_seed, key=int)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def plain(name: str, corner: str = "") -> str:
    """A sweep as it is: one row a cell, one column a figure.

    Args:
        name: of the result.
        corner: what the rows are.
    """
    found = cells(name)
    keys = list(dict.fromkeys(key for by_seed in found.values() for key in next(iter(by_seed.values()))))
    rows = []
    for cell, by_seed in found.items():
        has = next(iter(by_seed.values()))
        rows.append([cell, *(mean_text(values(by_seed, key)) if key in has else "" for key in keys)])
    return markdown([corner, *keys], rows)
