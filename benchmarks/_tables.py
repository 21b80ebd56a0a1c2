"""Stored results, and tables of them as Markdown: what every maker of tables has in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from _sweep import RESULTS


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
