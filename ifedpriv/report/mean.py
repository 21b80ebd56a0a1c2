"""A mean over seeds, with its interval, as a record and as a cell."""

from __future__ import annotations

from dataclasses import dataclass

from ifedpriv.report.records import FieldError, Record


@dataclass(frozen=True, slots=True)
class Mean(Record):
    """A mean over seeds.

    Attributes:
        value: the mean.
        low, high: Student's interval, cut to 0 and 1; None with one seed, which has no spread.
    """

    value: float
    low: float | None
    high: float | None

    def check(self) -> None:
        """The interval is whole and holds the mean."""
        if (self.low is None) != (self.high is None):
            raise FieldError("low", "and high are there together or not at all")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise FieldError("value", f"is {self.value}, outside of its interval")

    def text(self) -> str:
        """Mean and interval in a cell."""
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
