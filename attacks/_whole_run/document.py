"""The whole audit as one JSON document, and the exit code that it asks for.

The invariant: the document says the same to the digit for the same request on the same files; it holds no clock and,
but where it was asked for, no text of anybody's.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from attacks import ATTACKS
from attacks._base.attack import Progress, reads_of
from attacks._judging.finding import Verdict
from attacks._judging.score import Subject
from attacks._readings.readings import Reading
from attacks._statistics.epsilon import Conclusion
from attacks._whole_run.bound import bound_of
from attacks._whole_run.by_layer import LAYERS, by_layer
from attacks._whole_run.differences import DIFF, differences
from attacks._whole_run.kept import Kept
from attacks._whole_run.pieces import (
    OF_PARTS,
    ON_RECORDINGS,
    PIECES,
    SERVER,
    cheating,
    on_recordings,
    vectors_of,
    worst,
)
from attacks._whole_run.request import Request
from attacks._whole_run.subject import hasher, knowledge_of, opened, readings_for
from attacks._whole_run.whole_texts import SEARCH, TRAINED, by_inverter, whole_texts
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_lacks import lacks
from ifedpriv.config import load_config
from ifedpriv.experiment.reporting import versions

SCHEMA_VERSION = 1
OPEN, VIOLATED, UNDECIDED = 3, 4, 5
"""Exit codes: an attack reaches the level of the gate; the declared bound is violated; the audit cannot say."""
GATES = ("works", "severe")

NOT_COVERED = (
    "uploads of scores and weights, and coefficients after a client's own steps that come with noise: no attack here "
    "reads them",
    "whole texts behind vectors of more than 16 examples, and what `ifedpriv attack invert` finds by soft",
    "what a finished injection that is not one vector with its coefficients says to those who only use it",
    "differences between recordings: `ifedpriv attack diff` takes several",
    "fleets of invented clients, and a server that chooses the template: `ifedpriv attack template` plays one",
)
"""What no piece of an audit looks at; said in every document, behind what the pieces left out of this recording."""


def make(request: Request, folder: Path, progress: Progress) -> dict[str, Any]:
    """The document, from pieces that are kept in a folder and those that are missing there."""
    kept, told = Kept(folder), versions()
    keys = {
        name: request.key(told, bound=name == "bound", inverted=name == TRAINED.method) for name in PIECES
    }
    view = ServerView.open(request.view)
    shown = hasher(request)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="ifedpriv-audit-") as made:
        space = Path(made)
        where = [""]

        def say(stage: str, part: int, whole: int) -> None:
            progress(f"{where[0]}: {stage}", part, whole)

        # Once for all, and not at all where all pieces are kept.
        @cache
        def subject() -> Subject:
            return opened(request, say)

        @cache
        def readings(reads: UploadKind | None) -> tuple[Reading, ...]:
            return readings_for(request, subject(), space / f"own {reads}", reads)

        for number, name in enumerate(PIECES):
            where[0] = f"{number + 1}/{len(PIECES)} {name}"
            found[name] = kept.get(name, keys[name], _maker(name, request, view, readings, space, shown, say))
    return _together(request, view, found, told)


def _maker(
    name: str,
    request: Request,
    view: ServerView,
    readings: Callable[[UploadKind | None], tuple[Reading, ...]],
    space: Path,
    shown: Callable[[str], str],
    say: Progress,
) -> Callable[[], dict[str, Any]]:
    if name == "bound":
        return lambda: bound_of(request, say)
    if name == SERVER:
        return lambda: cheating(view.facts.defense, say)
    if name in ON_RECORDINGS:
        reads = reads_of(import_module(ATTACKS[name]))
        return lambda: on_recordings(name, readings(reads), space, shown, say)
    if name == SEARCH.method:
        return lambda: whole_texts(SEARCH, readings(UploadKind.VECTOR), space / name, shown, say)
    if name == TRAINED.method:
        return lambda: by_inverter(readings(UploadKind.VECTOR), request.inverters, space / name, shown, say)
    if name == LAYERS:
        return lambda: by_layer(readings(UploadKind.VECTOR), space / name, say)
    if name == DIFF:
        return lambda: differences(request, readings(UploadKind.VECTOR), space / name, shown, say)

    def subject() -> dict[str, Any]:
        given = readings(UploadKind.VECTOR)
        scored = given[0].subject.truth is not None
        vectors = vectors_of(given, shown)
        return {"knowledge": knowledge_of(given, request), "scored": scored, "vectors": vectors}

    return subject


def _together(
    request: Request, view: ServerView, found: Mapping[str, Mapping[str, Any]], told: Mapping[str, str]
) -> dict[str, Any]:
    attacks = [found[name] for name in (*ON_RECORDINGS, *OF_PARTS)]
    tests = [test for piece in (*attacks, found[SERVER]) for test in piece["tests"]]
    path = request.config_path
    config = load_config(path) if path is not None else None
    document = {
        "schema_version": SCHEMA_VERSION,
        "run": config.name if config is not None else view.facts.task[:12],
        "verdict": {},
        "knowledge": found["subject"]["knowledge"],
        "tests": tests,
        "bound": found["bound"],
        "curves": [{"attack": piece["attack"], **curve} for piece in attacks for curve in piece["curves"]],
        "vectors": [_with_results(vector, tests, attacks) for vector in found["subject"]["vectors"]],
        "parts": found[LAYERS]["parts"],
        "sums": found[DIFF]["sums"],
        "isolated": found[DIFF]["isolated"],
        "cheating_server": found[SERVER].get("cases", []),
        "not_covered": [
            *(reason for name in OF_PARTS for reason in found[name]["left_out"]),
            *NOT_COVERED,
        ],
        "lacks": lacks(view),
        "scored": found["subject"]["scored"],
        "revealed": request.reveal,
        "model": view.facts.backbone,
        "task": view.facts.task,
        "defense": view.facts.defense.model_dump(mode="json"),
        "settings": request.settings(),
        "config": config.model_dump(mode="json") if config is not None else None,
        "versions": dict(told),
    }
    document["verdict"] = _verdict(document)
    return document


def _with_results(
    vector: Mapping[str, Any], tests: Sequence[Mapping[str, Any]], attacks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A vector with the value of every metric on it, and with what was guessed of it."""
    who, scope = vector["who"], vector["scope"]
    results = []
    for test in (each for each in tests if each["scope"] == scope):
        values = {
            finding["metric"]: finding["by_vector"][who]
            for finding in test["findings"]
            if who in finding["by_vector"]
        }
        said = [
            {key: value for key, value in answer.items() if key != "who"}
            for piece in attacks
            for guess in piece["guesses"]
            for answer in guess["answers"]
            if (piece["attack"], guess["method"], guess["scope"]) == (test["attack"], test["method"], scope)
            and answer["who"] == who
        ]
        if values or said:
            results.append(
                {"attack": test["attack"], "method": test["method"], "values": values, "guessed": said[:1]}
            )
    return {**vector, "results": results}


def _verdict(document: Mapping[str, Any]) -> dict[str, Any]:
    # What a protocol withstands says nothing of what its sums tell, so the two are not added up.
    verdicts = [Verdict(test["verdict"]) for test in document["tests"] if test["attack"] != SERVER]
    protocol = [Verdict(test["verdict"]) for test in document["tests"] if test["attack"] == SERVER]
    counts = Counter(map(str, verdicts))
    return {
        "attacks": str(worst(verdicts)),
        "counts": {str(each): counts.get(str(each), 0) for each in Verdict},
        "protocol": str(worst(protocol)),
        "bound": document["bound"]["conclusion"],
        "declared": document["bound"]["declared"] is not None,
    }


def exit_code(document: Mapping[str, Any], fail_above: str | None) -> int:
    """What a release gate is told.

    A violated bound comes before an attack at the level of the gate, and both before an audit that cannot say: a bound
    is declared and could not be tested far enough to refute it, or a gate is asked for and no attack could be run.
    """
    verdict = document["verdict"]
    if verdict["bound"] == Conclusion.VIOLATION:
        return VIOLATED
    counts = verdict["counts"]
    if fail_above is not None:
        levels = ("works", "severe") if fail_above == "works" else ("severe",)
        if any(counts[level] for level in levels) or verdict["protocol"] in levels:
            return OPEN
        if sum(counts.values()) == counts["not evaluable"]:
            return UNDECIDED
    if verdict["declared"] and verdict["bound"] != Conclusion.CONSISTENT:
        return UNDECIDED
    return 0
