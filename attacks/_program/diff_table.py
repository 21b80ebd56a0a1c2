"""What sums isolate, as a table for a person.

The invariant: it is made from the JSON that a program gets, so both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from attacks._program.table import remark, rows_of

_WIDTH = 98
_SHOWN = 12


def render(result: Mapping[str, Any]) -> str:
    """The table: verdict, sums, what is isolated, and what other attacks read off it."""
    lines = [f"ifedpriv attack {result['attack']}: {result['verdict'].upper()}", *_wrapped(result["why"]), ""]
    for number, each in enumerate(result["recordings"], start=1):
        sizes = ", ".join(f"{len(one['clients'])}" for one in each["sums"][:_SHOWN])
        more = f" and {len(each['sums']) - _SHOWN} more" if len(each["sums"]) > _SHOWN else ""
        said = each["refused"] or f"sums over {sizes}{more} clients"
        lines += _wrapped(f"recording {number} (defense {each['defense']}): {said}", indent="")
        lines += remark(each["lacks"])
    smallest = len(result["smallest"])
    complete = "" if result["complete"] else ", as far as was searched"
    lines += [
        f"independent sums {result['rank']}; fewest clients that a combination depends on {smallest}{complete};"
        f" to be hidden among {result['minimum']}",
        "",
    ]
    if result["isolated"]:
        lines.append(f"{'isolated':<44}{'examples':<10}{'noise':<10}{'error':<10}{'off by, squared':<16}")
        for each in result["isolated"][:_SHOWN]:
            examples = "?" if each["examples"] is None else str(each["examples"])
            off = each["squared_deviation_from_truth"]
            lines.append(
                f"{each['who'][:42]:<44}{examples:<10}{each['noise']:<10.3g}{each['error']:<10.3g}"
                f"{'?' if off is None else f'{off:.2f}'}"
            )
            lines.append(f"  = {each['combination']}"[:_WIDTH])
        if len(result["isolated"]) > _SHOWN:
            lines.append(f"and {len(result['isolated']) - _SHOWN} more, in --json")
        lines += [
            "Sums are numbered in the order of the recordings. Off by: from the truth, in units of the error.",
            "",
        ]
    for each in result["read"]:
        lines += [f"{each['attack']}, {each['scope']}", *rows_of(each["findings"])]
    for why in result["not_evaluable"]:
        lines += _wrapped(f"not evaluable: {why}", indent="")
    for more in result["remarks"]:
        lines += _wrapped(f"remark: {more}", indent="")
    lines.append("Taken for granted: a client keeps its number, and its examples unless sums say otherwise.")
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return wrap(text, _WIDTH, initial_indent=indent, subsequent_indent="  ")
