"""The tables of what rounding, rotation and Skellam noise are worth, from the stored results alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from _tables import load, markdown

WAYS = {
    (False, "nearest"): "nearest",
    (False, "conditional"): "conditional",
    (True, "nearest"): "rotated, nearest",
    (True, "conditional"): "rotated, conditional",
}
"""The columns: whether rows are rotated, and how they are rounded."""


def errors() -> str:
    """One row for examples, budget and bits, with discrete Gaussian noise: error over the central one, and steps."""
    rows = []
    for key, ways in _cells("gaussian").items():
        examples, epsilon, bits = key
        rows.append([str(examples), f"{epsilon:g}", str(bits), *(_told(ways[way]) for way in WAYS)])
    return markdown(["examples", "ε", "bits", *WAYS.values()], rows)


def upload_bytes() -> str:
    """What one client sends in a masked sum at each number of bits, as it is and rotated."""
    found: dict[int, dict[bool, int]] = {}
    for row in load("grid_options")["rows"]:
        if "bytes" in row:
            found.setdefault(row["bits"], {})[row["rotate"]] = row["bytes"]
    rows = [
        [str(bits), *(f"{by[rotate]:,}" if rotate in by else "none fits" for rotate in (False, True))]
        for bits, by in sorted(found.items())
    ]
    return markdown(["bits", "as it is, bytes", "rotated, bytes"], rows)


def skellam() -> str:
    """For each way, noise and error with Skellam noise over those with discrete Gaussian: least and most over cells."""
    gaussian, other = _cells("gaussian"), _cells("skellam")
    rows = []
    for way, name in WAYS.items():
        ratios = [
            other[key][way]["error"] / by[way]["error"]
            for key, by in gaussian.items()
            if "error" in by[way] and "error" in other[key][way]
        ]
        noise = [
            other[key][way]["noise_over_sensitivity"] / by[way]["noise_over_sensitivity"]
            for key, by in gaussian.items()
            if "error" in by[way] and "error" in other[key][way]
        ]
        rows.append(
            [
                name,
                str(len(ratios)),
                f"{min(noise):.4f} to {max(noise):.4f}",
                f"{min(ratios):.3f} to {max(ratios):.3f}",
            ]
        )
    return markdown(["", "cells", "noise asked for", "error measured"], rows)


def _cells(noise: str) -> dict[tuple[int, float, int], dict[tuple[bool, str], dict[str, Any]]]:
    """Rows of one law of noise by examples, epsilon and bits, then by way."""
    found: dict[tuple[int, float, int], dict[tuple[bool, str], dict[str, Any]]] = {}
    for row in load("grid_options")["rows"]:
        if row["noise"] == noise:
            by = found.setdefault((row["examples"], row["epsilon"], row["bits"]), {})
            by[row["rotate"], row["rounding"]] = row
    return found


def _told(row: dict[str, Any]) -> str:
    return f"{row['error']:.2f} ({row['steps']:,})" if "error" in row else "no room"


TABLES: dict[str, Callable[[], str]] = {
    "grid_errors": errors,
    "grid_bytes": upload_bytes,
    "grid_skellam": skellam,
}
