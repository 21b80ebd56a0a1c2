"""Texts that try to become something else, and a report in which every text is one."""

from __future__ import annotations

from typing import Any

from ifedpriv.report.schema import Report

MARKUP = (
    "<script>alert('x')</script>\"' onload=x & </svg></style> "
    '$\\frac{ url(#a) id="b" #010203 \x1b[2J\x00 ]]> -->'
)
# What programs compare with fixed words; everything else may be any text.
_FIXED = {"key", "kind", "remark"}


def hostile_report(report: Report) -> Report:
    """The same report with every text replaced by `MARKUP`, and metric names and other keys as well."""
    return Report.from_json(_hostile(report.to_json()))


def _hostile(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        keep = name not in ("figures", "versions", "platform", "seeds", "config")
        return {key if keep else f"{key} {MARKUP}": _hostile(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_hostile(item, name) for item in value]
    if not isinstance(value, str) or not value or name in _FIXED:
        return value
    # The old text keeps names apart from each other, and a metric equal to its key in the figures.
    return f"{value} {MARKUP}"
