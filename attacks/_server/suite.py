"""All attacks of a cheating server, by lane and name; and what came of them, for a person and for a program.

Invariant: the table is made from the JSON, so both say the same.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from attacks._server import company, in_groups, inputs, lists, ratcheted, rounds
from attacks._server.case import Case, Lane, Result, Trial, attempt, play

SCHEMA = 1
_WIDTH = 98
Progress = Callable[[str, int, int], None]


def cases(lanes: Sequence[Lane] = tuple(Lane), names: Sequence[str] = ()) -> tuple[Case, ...]:
    """The attacks of some lanes, and if names are given only those; in the order in which they are told of.

    Encrypted lanes are left out where the library that encrypts is not installed.
    """
    found = [*company.CASES, *lists.CASES, *rounds.CASES, *inputs.CASES, *in_groups.CASES, *ratcheted.CASES]
    if find_spec("tenseal") is not None and {Lane.BFV, Lane.CKKS} & set(lanes):
        from attacks._server import encrypted

        found += encrypted.CASES
    chosen = [case for case in found if case.lane in lanes and (not names or case.name in names)]
    return tuple(sorted(chosen, key=lambda case: list(Lane).index(case.lane)))


def as_weakened(case: Case) -> Case:
    """The case with what is shipped replaced by what is weakened for it: to see the suite fail."""
    return Case(case.name, case.lane, case.does, lambda _: case.attack(case.weakened[0]))


def results(chosen: Sequence[Case], progress: Progress, *, weakened: bool = False) -> list[dict[str, Any]]:
    """Play cases.

    Args:
        chosen: what `cases` gave.
        progress: told of the lane, how many cases are done, and how many there are.
        weakened: judge the weakened builds as if they were what is shipped; cases without one are left out.
    """
    found = []
    todo = [case for case in chosen if case.weakened or not weakened]
    for done, case in enumerate(todo):
        progress("attacks", done, len(todo))
        if weakened:
            found.append(_facts(Result(case, attempt(as_weakened(case), case.weakened[0]), ())))
        else:
            found.append(_facts(play(case)))
    return found


def _facts(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "lane": str(case.lane),
        "name": case.name,
        "does": case.does,
        "limits": case.limits,
        **_trial(result.trial),
        "held": result.trial.verdict.held,
        "weakened": [_trial(trial) for trial in result.weakened],
        "proved": result.proved,
    }


def _trial(trial: Trial) -> dict[str, str]:
    return {"build": trial.build, "verdict": str(trial.verdict), "answer": trial.answer}


def summary(found: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> dict[str, Any]:
    """Everything as one JSON document.

    Args:
        found: what `results` gave.
        missing: lanes that could not be tried.
    """
    promised = [each for each in found if not each["limits"]]
    return {
        "schema": SCHEMA,
        "attacks": list(found),
        "not_tried": list(missing),
        "held": sum(each["held"] for each in promised),
        "broken": [f"{each['lane']}: {each['name']}" for each in promised if not each["held"]],
        "unproved": [f"{each['lane']}: {each['name']}" for each in found if not each["proved"]],
    }


def render(document: Mapping[str, Any]) -> str:
    """The table."""
    found = document["attacks"]
    lines = [
        "ifedpriv attack server: what is shipped, against a server (or a client) that cheats.",
        "Lines with 'where' tell of the same attack on a build that lacks what stops it.",
        "",
    ]
    for lane in dict.fromkeys(each["lane"] for each in found):
        mine = [each for each in found if each["lane"] == lane and not each["limits"]]
        lines += [f"{lane} sums" if lane in ("masked", "ratchet") else f"sums under {lane} encryption", ""]
        for each in mine:
            lines += _block(each)
        lines.append("")
    beyond = [each for each in found if each["limits"]]
    if beyond:
        lines += ["what no protocol of this kind stops, and what limits it", ""]
        for each in beyond:
            lines += [*_block(each), *_wrapped("limited by", each["limits"])]
        lines.append("")
    for lane in document["not_tried"]:
        lines.append(f"{lane} was not tried: tenseal is not installed (ifedpriv[he])")
    total = len([each for each in found if not each["limits"]])
    lines.append(f"{document['held']} of {total} attacks were refused or harmless.")
    if document["broken"]:
        lines += _wrapped("NOT WITHSTOOD", "; ".join(document["broken"]), 0)
    if document["unproved"]:
        lines += _wrapped("FAILED ON A WEAKENED BUILD, SO PROVE NOTHING", "; ".join(document["unproved"]), 0)
    lines.append("Each is explained in docs/protocol.md, docs/ratchet.md and docs/secure_aggregation.md.")
    return "\n".join(lines)


def _block(each: Mapping[str, Any]) -> list[str]:
    lines = [f"{each['name']:<{_WIDTH - 12}}{each['verdict'].upper():>10}"]
    does = each["does"]
    lines += _wrapped("" if does.startswith("nothing: ") else "the server", does.removeprefix("nothing: "))
    lines += _wrapped("answer" if each["verdict"] == "refused" else "it got", each["answer"])
    for trial in each["weakened"]:
        lines += _wrapped(f"where {trial['build']}", f"{trial['verdict'].upper()}, {trial['answer']}")
    return lines


def _wrapped(title: str, text: str, indent: int = 2) -> list[str]:
    joined = f"{title}: {text}" if title and title != "the server" else f"{title} {text}".strip()
    return textwrap.wrap(
        joined,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_on_hyphens=False,
    )
