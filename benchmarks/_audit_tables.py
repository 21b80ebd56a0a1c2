"""Table of what an audit of each release of a run takes and proves, for `findings.py`."""

from __future__ import annotations

from collections.abc import Callable

from _tables import load, markdown


def own_releases() -> str:
    """One row for each release: how it was played, in what time, and how near the bound the games came."""
    rows = [
        [
            f"`{row['run']}`",
            row["release"],
            f"{row['numbers']:,}",
            f"{row['canaries']}",
            f"{row['trials']:,}",
            f"{row['seconds']:.1f}",
            f"{row['seconds, two sides a canary and one call at a time']:.0f}",
            f"{row['proved']:.2f} of {row['accounted']:.2f}",
        ]
        for row in load("audit")["release"]
    ]
    head = ["run", "release", "numbers", "canaries", "runs a side", "seconds", "call by call", "ε proved"]
    return markdown(head, rows)


TABLES: dict[str, Callable[[], str]] = {"own_releases": own_releases}
