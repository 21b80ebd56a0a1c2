"""Findings as a table for a person.

The invariant: it is made from the JSON that a program gets, so both say the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 98


def render(result: Mapping[str, Any]) -> str:
    """The table, with controls beside every number and reasons below."""
    known = result["knowledge"]
    lines = [
        f"ifedpriv attack {result['attack']}: defense {result['view']['defense']['kind']},"
        f" {known['public_texts']} public texts ({known['provenance']}), pool of {known['pool']}",
        *([f"read: {known['read']}"] if known["read"] != "both branches" else []),
        *remark(result["view"]["lacks"]),
        *(
            [f"colluding: clients {', '.join(map(str, known['colluding']))}; the others are attacked"]
            if known["colluding"]
            else []
        ),
        "",
    ]
    lines += rows_of(result["findings"], result["curves"])
    lines += [_of_itself(guess) for guess in result["guesses"] if guess.get("facts")]
    if result["scored"]:
        lines.append(
            "Intervals of means are bootstraps over vectors, never over tokens. Verdicts: docs/attacks.md."
        )
    else:
        lines.append("Nothing was scored; --json lists what was guessed.")
    if not result["revealed"]:
        lines.append("Guessed texts are shown as hashes, in --json and --out; --reveal shows them.")
    return "\n".join(lines)


def remark(what: str) -> list[str]:
    """What has to be known of a recording before its numbers are read, wrapped; no line for nothing."""
    return textwrap.wrap(f"NOTE: {what}.", _WIDTH, subsequent_indent="  ") if what else []


def rows_of(found: list[Mapping[str, Any]], drawn: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Findings by method and scope, with controls beside every number, each group behind its name.

    Args:
        found: the findings.
        drawn: curves of scores, which are told with the method and scope that they are of.
    """
    curves = {(curve["method"], curve["scope"]): curve for curve in drawn}
    lines: list[str] = []
    for (method, scope), findings in _grouped(found).items():
        lines.append(f"{method}, {scope}")
        if findings[0]["value"] is None:
            lines += [*textwrap.wrap(f"not evaluable: {findings[0]['why']}", _WIDTH, initial_indent="  "), ""]
            continue
        lines.append(f"  {'metric':<19}{'value [95% interval]':<24}{'best and other controls'}")
        for finding in findings:
            lines += _row(finding)
        if (method, scope) in curves:
            lines += _together(curves[method, scope])
        for finding in findings:
            if finding["verdict"] is not None:
                said = f"{finding['metric']}: {finding['verdict'].upper()}, {finding['why']}"
                lines += textwrap.wrap(said, _WIDTH, initial_indent="  ", subsequent_indent="    ")
        lines.append("")
    return lines


def _row(finding: Mapping[str, Any]) -> list[str]:
    value = f"{finding['value']:.3f}"
    if finding["interval"]:
        value += f" [{finding['interval'][0]:.3f}, {finding['interval'][1]:.3f}]"
    lower = finding["metric"] in ("total variation", "attribute variation")
    ordered = sorted(finding["controls"].items(), key=lambda item: item[1] if lower else -item[1])
    controls = "; ".join(f"{name} {number:.3f}" for name, number in ordered) or "none"
    wrapped = textwrap.wrap(controls, _WIDTH - 45)
    first = f"  {finding['metric']:<19}{value:<24}{wrapped[0]}"
    return [first, *(" " * 45 + rest for rest in wrapped[1:])]


def _together(curve: Mapping[str, Any]) -> list[str]:
    """What the scores of all vectors together say, with exact intervals and the sizes that they rest on."""
    said = (
        f"area {curve['auc']:.3f} [{curve['interval'][0]:.3f}, {curve['interval'][1]:.3f}] ({curve['how']})"
    )
    for rate in curve["rates"]:
        low, high = rate["interval"]
        short = "" if rate["enough"] else f"; {rate['needed']:,} other candidates would certify so low a rate"
        target = rate["false_positive_rate"]
        said += (
            f"; TPR at {target:.1%} FPR {rate['value']:.3f} [{low:.3f}, {high:.3f}] (Clopper-Pearson{short})"
        )
    said += f"; {curve['members']:,} scores of members, {curve['others']:,} of others"
    return textwrap.wrap(
        f"all scores together: {said}", _WIDTH, initial_indent="  ", subsequent_indent="    "
    )


def _of_itself(guess: Mapping[str, Any]) -> str:
    facts = ", ".join(f"{name} {value:.4g}" for name, value in guess["facts"].items())
    return f"{guess['method']}, {guess['scope']}: {facts}."


def _grouped(findings: list[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault((finding["method"], finding["scope"]), []).append(finding)
    return groups
