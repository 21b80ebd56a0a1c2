"""What a report says of its controls, as records.

The one invariant: a share is there with its interval, or not at all and with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from ifedpriv.report.parts import require
from ifedpriv.report.records import Record


@dataclass(frozen=True, slots=True)
class VectorShare(Record):
    """How much of the gain over zero-shot is lost with the public mean in the private vector's place.

    0: the vector is idle; 1: everything is lost without it. Neither end bounds it, and nothing is cut.

    Attributes:
        value: the share; None where it is not defined.
        low, high: its interval; None where there is no value.
        level: the coverage the interval aims at.
        method: how the interval was made; empty where there is none.
        why: why there is no value; empty where there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    why: str

    def check(self) -> None:
        """The value is there with its interval, or a reason in their place."""
        numbers = (self.value, self.low, self.high)
        missing = sum(number is None for number in numbers)
        require(missing in (0, 3), "value", "and interval are there together or not at all")
        require((missing == 3) == bool(self.why.strip()), "why", "says why there is no value, and only then")
        if self.value is not None and self.low is not None and self.high is not None:
            require(self.low <= self.value <= self.high, "value", f"is {self.value}, outside of its interval")
        require(0 < self.level < 1, "level", f"is {self.level}, outside 0 to 1")


@dataclass(frozen=True, slots=True)
class ControlsRecord(Record):
    """What was measured of where an injection's accuracy comes from; the controls themselves are rows.

    Attributes:
        enabled: False where the controls were switched off.
        share: the vector's share; None where they were, or where there is no public mean.
    """

    enabled: bool
    share: VectorShare | None
