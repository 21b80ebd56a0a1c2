"""What the sums of one recording give away by being added and subtracted, as a piece of an audit.

The invariant: the verdict on the algebra stands apart from what other attacks read off an isolated vector, and where
there is nothing to subtract the reason is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attacks._base.attack import Progress
from attacks._base.declared import Declared
from attacks._judging.finding import Verdict
from attacks._program.diff_launch import looked_at
from attacks._readings.readings import Reading
from attacks._whole_run.pieces import tests_of
from attacks._whole_run.request import Request
from defenses.view import ServerView

DIFF = "diff"
SCOPE = "sums of vectors"


def differences(
    request: Request,
    readings: Sequence[Reading],
    folder: Path,
    shown: Callable[[str], str],
    progress: Progress,
) -> dict[str, Any]:
    """Rosters of all sums, whom they isolate, and what is read off that.

    Args:
        request: what is asked for.
        readings: the last one is of what everybody is given.
        folder: an empty one, for recordings that are made.
        shown: what stands for a text.
        progress: told of progress.
    """
    # The algebra takes what colluding clients have told off the sums themselves, so it is given these as they are.
    subject = replace(readings[-1].subject, view=ServerView.open(request.view))
    # Noise is in the variance of each sum already; examples that are known belong to whole uploads.
    knowledge = replace(subject.knowledge, declared=Declared(), others={})
    folder.mkdir(parents=True)
    found = looked_at(
        [replace(subject, knowledge=knowledge)],
        [request.config_path],
        folder=folder,
        shown=shown,
        progress=progress,
    )
    (recording,) = found["recordings"]
    verdict, why = found["verdict"], found["why"]
    if recording["refused"]:
        verdict, why = str(Verdict.NOT_EVALUABLE), recording["refused"]
    algebra = {
        "attack": DIFF,
        "method": "rosters",
        "scope": SCOPE,
        "verdict": verdict,
        "decided_by": "",
        "why": why,
        "findings": [],
    }
    tests, curves, guesses = [algebra], [], []
    for read in found["read"]:
        rows = [_renamed(row, read) for row in read["findings"]]
        tests += tests_of(DIFF, rows)
        curves += [_renamed(curve, read) for curve in read["curves"]]
        for guess in read["guesses"]:
            guesses.append(
                _renamed({name: value for name, value in guess.items() if name != "seconds"}, read)
            )
    return {
        "attack": DIFF,
        "tests": tests,
        "curves": curves,
        "guesses": guesses,
        "sums": []
        if all(len(one["clients"] + one["colluding"]) == 1 for one in recording["sums"])
        else recording["sums"],
        "isolated": found["isolated"],
        "left_out": [f"differences of sums: {reason}" for reason in found["not_evaluable"]],
    }


def _renamed(row: dict[str, Any], read: dict[str, Any]) -> dict[str, Any]:
    return {**row, "method": f"{read['attack']}, {row['method']}"}
