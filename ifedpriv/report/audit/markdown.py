"""An audit as one Markdown page.

The invariant: no text of a run can become markup: what has a meaning in Markdown is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ifedpriv.report import wording
from ifedpriv.report.audit.parts import Table
from ifedpriv.report.audit.sections import headline, sections, verdict_lines


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    first, *others = verdict_lines(document)
    lines = [
        f"# Audit of {_plain(document['run'])}",
        "",
        f"**{_plain(headline(document))}**",
        "",
        _plain(first),
        "",
    ]
    lines += [f"- {_plain(line)}" for line in others]
    for section in sections(document):
        lines += ["", f"## {_plain(section.title)}", ""]
        lines += [f"- {_plain(line)}" for line in section.lines]
        for table in (*section.tables, *section.folded):
            lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    lines = [f"**{_plain(table.name)}.** {_plain(table.caption)}".rstrip(), ""]
    lines.append(_row(table.heads))
    lines.append("|" + "---|" * len(table.heads))
    return [*lines, *(_row(row) for row in table.rows)]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#&!$~])", r"\\\1", wording.printable(text))
