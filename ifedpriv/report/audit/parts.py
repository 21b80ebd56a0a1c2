"""What a report of an audit is put together from, and how its numbers are written.

The invariant: one way for all renderers, so that a number on the page is found in the table by its letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

_THREE = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        name: what it is called where it cannot be seen.
        heads: of the columns.
        rows: of cells.
        caption: what the numbers mean.
        words_last: whether the last column holds sentences.
    """

    name: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    words_last: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Attributes:
        anchor: of the page.
        title: its heading.
        lines: sentences.
        tables: after them.
        folded: tables that are shown on demand.
        curves: ROC curves to draw, each as in the JSON.
        layers: what each part of the vectors tells, to draw; None for nothing.
        allowed: the bound under which they are drawn, ε and δ; None for none.
        data: JSON to show as it is, on demand.
    """

    anchor: str
    title: str
    lines: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    curves: tuple[Mapping[str, Any], ...] = ()
    allowed: tuple[float, float] | None = None
    layers: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None


def number(value: float | None) -> str:
    """Three digits after the point; ``-`` for none."""
    return "-" if value is None else f"{value:.3f}"


def promised(value: float | None) -> str:
    """As `number`, of what is promised not to be exceeded: never rounded down."""
    return "-" if value is None else str(Decimal(repr(float(value))).quantize(_THREE, ROUND_CEILING))


def reached(value: float | None) -> str:
    """As `number`, of what was shown to be reached: never rounded up."""
    return "-" if value is None else str(Decimal(repr(float(value))).quantize(_THREE, ROUND_FLOOR))


def bracketed(value: float, interval: Sequence[float] | None) -> str:
    """A value with its interval, where it has one."""
    return number(value) + (f" [{number(interval[0])}, {number(interval[1])}]" if interval else "")


def played(release: Mapping[str, Any]) -> str:
    """Which release an audit has played, and one of how many rounds it is; of no round, where it is no run's."""
    match release["rounds"]:
        case None:
            return str(release["release"])
        case 1:
            return f"{release['release']}, its round"
        case several:
            return f"{release['release']}, one of {several} rounds"
