"""An audit for a terminal: the verdict, who knew what, and one line for every test.

The invariant: no line is wider than 98 columns, and none holds a character that a terminal would obey.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ifedpriv.report import wording
from ifedpriv.report.audit.parts import number, played, promised, reached
from ifedpriv.report.audit.sections import best, headline, verdict_lines

_WIDTH = 98
_COLUMN = 15
_NAME = 48


def render(document: Mapping[str, Any]) -> str:
    """Lines without a last newline."""
    lines = [*_wrapped(f"ifedpriv audit {document['run']}: {headline(document)}"), ""]
    verdict, *others = verdict_lines(document)
    # The tests that reached a verdict of their own stand in the table below.
    lines += _wrapped(verdict)
    for line in others:
        if not line.startswith(("SEVERE: ", "WORKS: ")):
            lines += _wrapped(line)
    lines += ["", "the attacker has"]
    for row in document["knowledge"]:
        lines += _wrapped(f"{'yes' if row['has'] else 'no':<5}{row['what']}: {row['detail']}", 2, 7)
    lines += ["", "tests"]
    for test in document["tests"]:
        lines += _wrapped(
            f"{test['verdict'].upper():<{_COLUMN}}{test['attack']}, {test['method']} ({test['scope']})", 2
        )
        lines += _wrapped(best(test), 2 + _COLUMN)
    bound = document["bound"]
    if bound["declared"] is not None:
        lines += ["", f"the declared bound: {bound['conclusion'].upper()}", *_bound(bound)]
    lines += ["", *_wrapped(f"Not looked at: {'; '.join(document['not_covered'])}.")]
    lines += _wrapped("Intervals are bootstraps over vectors. Verdicts: docs/audit_run.md.")
    return "\n".join(lines)


def _bound(bound: Mapping[str, Any]) -> list[str]:
    audited = bound["audited"] or {}
    heads = ("release", "declared", "accounted", "at least", "ceiling")
    accounted = bound["accounted"]["epsilon"] if bound["accounted"] else None
    rows = [("the whole run", bound["declared"]["epsilon"], accounted, None, None)]
    for release in audited.get("releases", ()):
        epsilon = release["claim"]["epsilon"] if "claim" in release else None
        rows.append((played(release), None, epsilon, release.get("lower_bound"), release.get("ceiling")))
    names = [wording.printable(row[0])[:_NAME] for row in rows]
    shown = (promised, promised, reached, number)
    wide = max(20, *map(len, names))
    lines = [f"  {heads[0]:<{wide}}" + "".join(f"{head:>11}" for head in heads[1:])]
    for name, row in zip(names, rows, strict=True):
        cells = (f"{show(cell):>11}" for show, cell in zip(shown, row[1:], strict=True))
        lines.append(f"  {name:<{wide}}" + "".join(cells))
    for release in audited.get("releases", ()):
        said = release.get("note") or ("" if "claim" in release else release["why"])
        if said:
            lines += _wrapped(f"{release['release']}: {said}", 2)
    return lines


def _wrapped(text: str, indent: int = 0, hanging: int | None = None) -> list[str]:
    after = " " * (indent + 2 if hanging is None else hanging)
    shown = "".join(mark if mark.isprintable() else "?" for mark in text)
    clean = wording.printable(shown) if not indent else shown
    return textwrap.wrap(
        clean, _WIDTH, initial_indent=" " * indent, subsequent_indent=after, break_on_hyphens=False
    )
