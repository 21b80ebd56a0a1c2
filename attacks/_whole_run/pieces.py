"""The pieces of an audit: each attack on all readings of a run, and the cheating server where there is a protocol.

The invariant: a piece is plain data, the same for the same request, and holds no clock; every piece of `PIECES` is in
every document, if only to say why nothing was tried.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from attacks import ATTACKS
from attacks._base.attack import Attack, Progress, Who
from attacks._base.targets import read_targets
from attacks._judging.finding import Finding, Verdict
from attacks._judging.judge import curves_of
from attacks._program.answers import finding_to_json, guess_to_json
from attacks._program.launch import guess_and_judge
from attacks._readings.readings import Reading
from defenses.specs import DefenseSpec

SERVER = "server"
ON_RECORDINGS = tuple(sorted(ATTACKS))
OF_PARTS = ("search", "trained", "layers", "diff")
"""Pieces that look at some of the vectors, at parts of them, and at what sums of them isolate; each a file here."""
PIECES = ("subject", *ON_RECORDINGS, *OF_PARTS, SERVER, "bound")
"""All pieces, in the order in which they are made; ``bound`` is made by `attacks._whole_run.bound`."""

_ORDER = (
    Verdict.SEVERE,
    Verdict.WORKS,
    Verdict.INCONCLUSIVE,
    Verdict.RESISTED,
    Verdict.NOT_EVALUABLE,
)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The one that a reader has to know of first; *not evaluable* for none."""
    return min(verdicts, key=_ORDER.index, default=Verdict.NOT_EVALUABLE)


def on_recordings(
    name: str, readings: Sequence[Reading], folder: Path, shown: Callable[[str], str], progress: Progress
) -> dict[str, Any]:
    """One attack on every reading, with its random control, judged.

    Args:
        name: of the attack.
        readings: what is attacked.
        folder: an empty one, for control recordings.
        shown: what stands for a text.
        progress: told of progress.
    """
    module: Attack = import_module(ATTACKS[name])
    findings: list[Finding] = []
    guesses: list[dict[str, Any]] = []
    curves: list[dict[str, object]] = []
    for number, reading in enumerate(readings):
        progress("guessing and judging", number, len(readings))
        subject = reading.subject
        kept, judged = guess_and_judge(module, subject, reading.scopes, folder / f"{name}{number}")
        findings += judged
        curves += curves_of(subject, kept)
        for guess in kept:
            told = guess_to_json(guess, subject, shown)
            # Two audits that differ in nothing but the clock are the same.
            del told["seconds"]
            guesses.append(told)
    return {
        "attack": name,
        "tests": tests_of(name, [{**finding_to_json(f), "by_vector": dict(f.by_vector)} for f in findings]),
        "curves": curves,
        "guesses": guesses,
    }


def tests_of(name: str, findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings as plain data, by method and scope, with what they amount to together."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault((finding["method"], finding["scope"]), []).append(finding)
    found = []
    for (method, scope), members in groups.items():
        judged = [finding for finding in members if finding["verdict"] is not None]
        verdict = worst([Verdict(finding["verdict"]) for finding in judged])
        first = next((finding for finding in judged if finding["verdict"] == verdict), members[0])
        found.append(
            {
                "attack": name,
                "method": method,
                "scope": scope,
                "verdict": str(verdict),
                "decided_by": first["metric"],
                "why": first["why"],
                "findings": [finding for finding in members if finding["metric"]],
            }
        )
    return found


def vectors_of(readings: Sequence[Reading], shown: Callable[[str], str]) -> list[dict[str, Any]]:
    """Every vector with the texts that are truly behind it, as far as they are known; those of a sum are not listed."""
    found = []
    for reading in readings:
        truth = reading.subject.truth
        for targets in read_targets(reading.subject.view, reading.subject.backbone):
            if targets.scope not in reading.scopes:
                continue
            for target in targets.targets:
                texts = _behind(truth, target.who)
                found.append(
                    {
                        "scope": str(targets.scope),
                        "who": str(target.who),
                        "examples": len(texts) if texts else target.examples,
                        "texts": [shown(text) for text in texts] if target.who.client is not None else [],
                    }
                )
    return found


def _behind(truth: Any, who: Who) -> list[str]:
    if truth is None:
        return []
    numbers = truth if who.client is None else [who.client]
    return [e.text for n in numbers for e in truth.get(n, ()) if who.label in (None, e.label)]


def cheating(defense: DefenseSpec, progress: Progress) -> dict[str, Any]:
    """A server that cheats, against the protocol that the run used; in rounds of its own."""
    from attacks import server

    lane = "ratchet" if getattr(defense, "ratchet", False) else defense.kind
    told = {"attack": SERVER, "method": "all lies that are known", "scope": "the protocol", "findings": []}
    if lane not in server.LANES:
        why = "no protocol hides single uploads from the server, so it need not cheat"
        return {"tests": [{**told, "verdict": str(Verdict.NOT_EVALUABLE), "decided_by": "", "why": why}]}
    options = argparse.Namespace(lane=[lane], only=None, list=False, weakened=False)
    document = server.play(options, progress).document
    total = sum(not each["limits"] for each in document["attacks"])
    if document["not_tried"]:
        verdict, why = Verdict.NOT_EVALUABLE, f"the library that encrypts {lane} sums is not installed"
    elif document["broken"]:
        verdict, why = Verdict.WORKS, f"not withstood: {'; '.join(document['broken'])}"
    elif document["unproved"]:
        verdict, why = (
            Verdict.INCONCLUSIVE,
            f"fails on a weakened build too: {'; '.join(document['unproved'])}",
        )
    else:
        verdict = Verdict.RESISTED
        why = (
            f"{document['held']} of {total} lies were refused or harmless ({lane} sums); each succeeds on weakened "
            "clients"
        )
        limited = len(document["attacks"]) - total
        if limited:
            why += f"; {limited} that no protocol withstands stand below with what limits them"
    cases = [
        {"name": each["name"], "does": each["does"], "verdict": each["verdict"], "limits": each["limits"]}
        for each in document["attacks"]
    ]
    return {"tests": [{**told, "verdict": str(verdict), "decided_by": "", "why": why}], "cases": cases}
