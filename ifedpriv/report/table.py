"""The table of results as plain text, for a terminal, a log or an e-mail.

The one invariant: no line is wider than 80 columns and none holds a control character, whatever names a run
has, so that a table can be pasted anywhere and a hostile name cannot steer a terminal.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from ifedpriv.report import measures_text, wording
from ifedpriv.report.schema import CONTROL_ROWS, Report, Row

# What a terminal has unless somebody made it wider; a wrapped table cannot be read.
WIDTH = 80
_GAP = "  "
_FIGURE_WIDTH = 20
# Sent, received, seconds, prompt tokens.
_COST_WIDTHS = (9, 9, 8, 10)
# A third metric would leave no room for names; the page shows them all.
_SHOWN_METRICS = 2


def render(report: Report) -> str:
    """The table with what a reader needs to judge it: how intervals were made, the guard, the privacy.

    Args:
        report: what a run found.

    Returns:
        Lines of at most 80 columns; the last one ends with a newline.
    """
    metrics = report.metrics()[:_SHOWN_METRICS]
    names = [wording.metric_name(metric)[:_FIGURE_WIDTH] for metric in metrics]
    intervals = [wording.interval_header(report, metric) for metric in metrics]
    notes = wording.footnotes(report)

    lines = _wrapped(f"ifedpriv run {wording.printable(report.run)}: {wording.headline(report)}")
    lines.append("")
    lines += _block(
        (["Method", *names], ["", *intervals]),
        [
            (wording.marked(row, notes), [wording.figure(row.figures.get(m)) for m in metrics])
            for row in report.rows
        ],
        [_FIGURE_WIDTH] * len(metrics),
    )
    lines.append("")
    told = _wrapped(wording.controls_line(report))
    lines += [*told, ""] if told else []
    lines += _block(
        (["Cost of one client", "sent", "received", "seconds", "prompt"], ["", "", "", "", "tokens"]),
        # Controls cost no client anything, and four lines of dashes would say no more than none.
        [(wording.printable(row.name), _costs(row)) for row in report.rows if not _free_control(row)],
        _COST_WIDTHS,
    )
    if notes:
        lines.append("")
    for note, mark in notes.items():
        lines += _wrapped(f"({mark}) {note}")
    privacy, *parts = wording.privacy_lines(report)
    blocks = (
        [wording.intervals_line(report), wording.COSTS_REMARK, *wording.rounds_lines(report)],
        list(measures_text.lines(report)),
        [
            wording.guard_line(report),
            *(f"Warning: {wording.printable(warning)}" for warning in report.warnings),
        ],
        [privacy],
    )
    for block in blocks:
        told = [line for remark in block for line in _wrapped(remark)]
        lines += ["", *told] if told else []
    lines += [f"  {line}" for part in parts for line in _wrapped(part)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _free_control(row: Row) -> bool:
    return row.key in CONTROL_ROWS and set(_costs(row)) == {wording.NOTHING}


def _costs(row: Row) -> list[str]:
    return [
        wording.wire(row.up_bytes_per_client),
        wording.wire(row.down_bytes_per_client),
        wording.seconds(row.client_seconds),
        wording.number(row.inference_tokens_per_query),
    ]


def _block(
    heads: Sequence[Sequence[str]], rows: Sequence[tuple[str, Sequence[str]]], widths: Sequence[int]
) -> list[str]:
    """One table: heads, a rule, and a line for each row; what is left beside the columns is the names'."""
    name_width = WIDTH - sum(widths) - len(_GAP) * len(widths)
    lines = [_line(name, cells, name_width, widths) for name, *cells in heads]
    lines.append(_line("-" * name_width, ["-" * width for width in widths], name_width, widths))
    for name, cells in rows:
        first, *rest = _split(name, name_width) or [""]
        lines += [_line(first, cells, name_width, widths), *rest]
    return lines


def _line(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return _GAP.join([name + " " * (name_width - _columns(name)), *padded])


def _wrapped(text: str) -> list[str]:
    return [("  " if index else "") + part for index, part in enumerate(_split(text, WIDTH - 4))]


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
