"""What an attack found at the points of a curve, as records, cells and sentences.

The one invariant: what was found stands beside what epsilon allows anybody to find, so that neither is read alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ifedpriv.report.mean import Mean
from ifedpriv.report.records import FieldError, Record

FALSE_ALARMS = 0.01


@dataclass(frozen=True, slots=True)
class AttackPoint(Record):
    """One run's noised vectors, and whoever knows everything but whether one unit is in them.

    Attributes:
        members: units of the run that were tested.
        trials: releases with each of them, and as many without.
        found: true positive rate at 1% false alarms, the mean over them.
        area: under the ROC curve, likewise.
        loudest_found, loudest_area: the same of made-up units that move the sum as far as one unit may.
    """

    members: int
    trials: int
    found: float
    area: float
    loudest_found: float
    loudest_area: float

    def check(self) -> None:
        """Counts are counts and rates are rates."""
        if self.members < 1 or self.trials < 1:
            raise FieldError("members", "and trials are at least 1 each")
        for name in ("found", "area", "loudest_found", "loudest_area"):
            if not 0 <= getattr(self, name) <= 1:
                raise FieldError(name, f"is {getattr(self, name)}, outside 0 to 1")


@dataclass(frozen=True, slots=True)
class AttackLevel(Record):
    """The same over seeds.

    Attributes:
        found: true positive rate at 1% false alarms of units of the run.
        loudest: of made-up ones.
        allowed: what the budget of the whole run allows anybody.
    """

    found: Mean
    loudest: Mean
    allowed: float


def rows(levels: Sequence[tuple[str, AttackLevel]], level: str) -> list[str]:
    """Lines for a terminal: each budget's name with what was found at it, ``level`` being that of the intervals."""
    heads = ["epsilon".ljust(10), f"found [{level}]".rjust(22), f"loudest [{level}]".rjust(22), "allowed"]
    title = "Found in the noised vectors at 1% false alarms, by whoever knows all else"
    lines = [title, "  ".join(heads), "  ".join("-" * len(head) for head in heads)]
    for name, each in levels:
        cells = [each.found.text().rjust(22), each.loudest.text().rjust(22), f"{each.allowed:.3f}".rjust(7)]
        lines.append("  ".join([name.ljust(10), *cells]))
    return lines


def explained(points: Sequence[AttackPoint]) -> str:
    """What the numbers mean, in sentences; empty where there are none."""
    if not points:
        return ""
    tested = max(point.members for point in points)
    trials = min(point.trials for point in points)
    return (
        f"Found: how often whoever knows everything but one unit finds it in the noised vectors alone, with 1% false "
        f"alarms: {tested} units of a run, and made-up ones that fill the clip (loudest), in {trials} releases with "
        "each and as many without. Allowed: what the epsilon of the whole run lets anybody reach."
    )
