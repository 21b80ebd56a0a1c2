"""Audited mechanisms as a table for a person.

The invariant: it is made from the JSON that a program gets, so both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from attacks._base.defaults import NAME
from defenses.decimals import at_most
from ifedpriv.report.audit.parts import played, reached

_WIDTH = 98
_MARKS = {True: "yes", False: "NO", None: "?"}


def render(result: Mapping[str, Any]) -> str:
    """The verdict, and behind it each release."""
    if not result["releases"]:
        return f"ifedpriv attack {NAME}: {result['conclusion']}, {result['why']}"
    lines = [f"ifedpriv attack {NAME}: {result['conclusion'].upper()}", *_wrapped(result["why"])]
    for release in result["releases"]:
        lines += ["", *_release(release)]
    return "\n".join(lines)


def _release(release: Mapping[str, Any]) -> list[str]:
    lines = wrap(f"{played(release)}: {release['conclusion'].upper()}", _WIDTH)
    if "claim" not in release:
        return [*lines, *_wrapped(release["why"])]
    claim = release["claim"]
    bound = f"({at_most(claim['epsilon'], 4)}, {at_most(claim['delta'], 6)})"
    told = [f"{bound} for one {claim['unit']} ({claim['neighbouring']})"]
    told += [f"{name} {claim[name]:.5g}" for name in ("sensitivity", "noise") if claim[name] is not None]
    lines += [
        *_wrapped(release["note"]),
        f"  declared: {', '.join(told)}, rounds {claim['rounds']}",
        "",
        "replayed                     holds  why",
    ]
    for check in release["checks"]:
        why = wrap(check["why"], _WIDTH - 36)
        lines.append(f"{check['name']:<29}{_MARKS[check['holds']]:<7}{why[0]}")
        lines += [" " * 36 + more for more in why[1:]]
    first = release["games"][0]["bounds"]
    lines += [
        "",
        f"ε at least, by canary ({release['trials']:,} runs a side; {first[0]['estimator']} decides)",
        "",
    ]
    lines.append(f"{'canary':<19}" + "".join(f"{bound['estimator']:<16}" for bound in first) + "verdict")
    for game in release["games"]:
        values = "".join(f"{reached(bound['epsilon']):<16}" for bound in game["bounds"])
        lines.append(f"{game['canary']:<19}{values}{game['conclusion']}")
    lines.append(f"{'at the most':<19}" + "".join(f"{bound['ceiling']:<16.3f}" for bound in first))
    once = release["one_run"]
    if once is not None:
        lines += [
            "",
            f"one run, {once['canaries']} canaries: ε at least {reached(once['epsilon'])} "
            f"(at the most {once['ceiling']:.3f}); {once['gaussian']:.3f} if Gaussian",
        ]
    return lines


def _wrapped(text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
