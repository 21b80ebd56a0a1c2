"""The tables of what rounding, rotation and Skellam noise are worth, from the stored results alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
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
    """What one client sends in a masked sum at each number of bits, as it is and rotated, in either kind of ring."""
    found: dict[int, dict[tuple[bool, str], set[int]]] = {}
    for row in load("grid_options")["rows"]:
        for ring in ("bytes", "bytes_with_wraps"):
            if ring in row:
                found.setdefault(row["bits"], {}).setdefault((row["rotate"], ring), set()).add(row[ring])
    columns = {
        (rotated, ring): f"{'rotated' if rotated else 'as it is'}, {said}"
        for rotated in (False, True)
        for ring, said in (("bytes", "no sum wraps"), ("bytes_with_wraps", "one in 10⁹ may"))
    }
    rows = [
        [str(bits), *(_from_to(by.get(way, ())) for way in columns)] for bits, by in sorted(found.items())
    ]
    return markdown(["bits", *columns.values()], rows)


def rings() -> str:
    """For whom is hidden and at how many bits: bits a value and bytes a client, by rosters."""
    stored = load("grid_ring")
    by: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for row in stored["rows"]:
        hidden = "client" if row["unit"] == "client" else f"example, room for {row['max_examples']}"
        by.setdefault((hidden, row["bits"]), {})[row["clients"]] = row
    rosters = sorted({row["clients"] for row in stored["rows"]})
    rows = [
        [hidden, str(bits), *(_ring_of(found[clients]) for clients in rosters)]
        for (hidden, bits), found in by.items()
    ]
    return markdown(["hidden", "bits", *(f"{clients:,} clients" for clients in rosters)], rows)


def _ring_of(row: dict[str, Any]) -> str:
    """Bits that the largest sum needs, those sent for it, those of the chosen ring; and bytes of the latter two."""
    if "refused" in row:
        return "no room"
    hard, chosen = row["hard"], row["wrap"]
    return f"{row['needed']}, {hard['ring']} → {chosen['ring']}; {hard['bytes']:,} → {chosen['bytes']:,}"


def _from_to(found: Collection[int]) -> str:
    """The least and the most of some cells."""
    if not found:
        return "none fits"
    least, most = min(found), max(found)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


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
    "grid_rings": rings,
    "grid_skellam": skellam,
}
