"""The table of results as plain text, for a terminal, a log or an e-mail.

The one invariant: no line is wider than 100 columns and none holds a control character, whatever names a run
has, so that a table can be pasted anywhere and a hostile name cannot steer a terminal.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from string import ascii_lowercase

from ifedpriv.report import wording
from ifedpriv.report.schema import Report, Row

WIDTH = 100
_GAP = "  "
_FIGURE_WIDTH = 20
_BYTES_WIDTH = 9
_SECONDS_WIDTH = 7
# A third metric would not fit beside the bytes; the page shows them all.
_SHOWN_METRICS = 2


def render(report: Report) -> str:
    """The table with what a reader needs to judge it: how intervals were made, the guard, the privacy.

    Args:
        report: what a run found.

    Returns:
        Lines of at most 100 columns; the last one ends with a newline.
    """
    metrics = report.metrics()[:_SHOWN_METRICS]
    widths = [_FIGURE_WIDTH] * len(metrics) + [_BYTES_WIDTH, _BYTES_WIDTH, _SECONDS_WIDTH]
    name_width = WIDTH - sum(widths) - len(_GAP) * len(widths)
    names = [wording.metric_name(metric)[:_FIGURE_WIDTH] for metric in metrics]
    intervals = [wording.interval_header(report, metric) for metric in metrics]

    lines = _wrapped(f"ifedpriv run {wording.printable(report.run)}: {wording.headline(report)}")
    lines.append("")
    lines.append(_line("Method", [*names, "up", "down", "client"], name_width, widths))
    lines.append(_line("", [*intervals, "/client", "/client", "seconds"], name_width, widths))
    lines.append(_line("-" * name_width, ["-" * width for width in widths], name_width, widths))
    notes: dict[str, str] = {}
    for row in report.rows:
        mark = notes.setdefault(wording.printable(row.notes), _mark(len(notes))) if row.notes else ""
        name = wording.printable(row.name) + (f" ({mark})" if mark else "")
        first, *rest = _split(name, name_width) or [""]
        lines.append(_line(first, _cells(row, metrics), name_width, widths))
        lines.extend(f"{part}" for part in rest)
    lines.append("")
    for note, mark in notes.items():
        lines.extend(_wrapped(f"({mark}) {note}"))
    remarks = [
        wording.intervals_line(report),
        wording.BYTES_REMARK,
        *wording.rounds_lines(report),
        wording.guard_line(report),
        *(f"Warning: {wording.printable(warning)}" for warning in report.warnings),
        wording.privacy_line(report),
    ]
    for remark in remarks:
        lines.extend(_wrapped(remark))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _cells(row: Row, metrics: Sequence[str]) -> list[str]:
    return [
        *(wording.figure(row.figures.get(metric)) for metric in metrics),
        wording.wire(row.up_bytes_per_client),
        wording.wire(row.down_bytes_per_client),
        wording.seconds(row.client_seconds),
    ]


def _line(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return _GAP.join([name + " " * (name_width - _columns(name)), *padded])


def _mark(index: int) -> str:
    """The name of a footnote: a, b, ..., z, aa, ab, ..."""
    mark = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, len(ascii_lowercase))
        mark = ascii_lowercase[letter] + mark
    return mark


def _wrapped(text: str) -> list[str]:
    return [("  " if index else "") + part for index, part in enumerate(_split(text, WIDTH - 2))]


def _split(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns; East Asian characters take two."""
    wide = _columns(text) - len(text)
    if not wide:
        return textwrap.wrap(text, width, break_on_hyphens=False)
    # Half the width is always safe, and wide names are rare enough not to need more care.
    return textwrap.wrap(text, width // 2, break_on_hyphens=False)


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1
        for mark in text
    )
