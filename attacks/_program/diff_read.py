"""What is isolated, given to the other attacks: a recording of its own, and the truth that guesses are judged by.

The invariant: what an attack reads here is a recording made of isolated vectors alone, and the truth is worked out by
the same combination as the vector, from the examples behind each sum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from attacks import ATTACKS
from attacks._base.attack import Attack, Progress, Scope
from attacks._base.sites import Sites
from attacks._base.space import read
from attacks._base.targets import VARIANCE
from attacks._differences.isolated import Difference, Kind
from attacks._differences.sums import Sum
from attacks._judging.judge import curves_of
from attacks._judging.score import Subject
from attacks._program.answers import finding_to_json, guess_to_json
from attacks._program.launch import guess_and_judge
from defenses.codec import Precision
from defenses.frame import SERVER, encode
from defenses.session import RoundInfo
from defenses.specs import ClearSpec, WireSpec
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter
from ifedpriv.data.task import Example, key_of

FIRST_NUMBER = 1_000_000
"""Numbers under which vectors are recorded that are not one client's."""


def truth_of(
    each: Difference, sums: Sequence[Sum], subjects: Sequence[Subject]
) -> tuple[Example, ...] | None:
    """The examples behind a difference; None where nobody knows them here, or where it is no sum of examples."""

    parts = [(factor, one) for factor, one in zip(each.combination.factors, sums, strict=True) if factor]
    by_key: dict[tuple[str, int, str], Example] = {}
    if any(subjects[one.recording].truth is None for _, one in parts):
        return None
    if any(one.counted for _, one in parts):
        counts: dict[tuple[str, int, str], Fraction] = {}
        for factor, one in parts:
            for client in one.clients:
                for example in (subjects[one.recording].truth or {}).get(client, ()):
                    by_key[key_of(example)] = example
                    counts[key_of(example)] = counts.get(key_of(example), Fraction()) + factor
        if any(count < 0 or count.denominator != 1 for count in counts.values()):
            return None
        return tuple(by_key[key] for key, count in counts.items() for _ in range(int(count)))
    found: list[Example] = []
    for client in each.clients:
        held = [
            tuple((subjects[one.recording].truth or {}).get(client, ()))
            for _, one in parts
            if client in one.clients
        ]
        if any(Counter(map(key_of, one)) != Counter(map(key_of, held[0])) for one in held):
            return None
        found += held[0]
    return tuple(found)


def told(each: Difference, truth: tuple[Example, ...] | None, subjects: Sequence[Subject]) -> dict[str, Any]:
    """A difference as plain data, with how far it is from the truth in units of its error."""

    deviation = None
    if truth and each.kind is not Kind.SET:
        knowledge = replace(subjects[0].knowledge, sites=Sites())
        mean = read(subjects[0].backbone, knowledge, truth, "checking what is isolated").mean(
            axis=0, dtype=np.float64
        )
        deviation = float(np.mean((each.vector - mean) ** 2 / each.variance))
    return {
        "kind": str(each.kind),
        "who": str(each),
        "clients": list(each.clients),
        "combination": str(each.combination),
        "examples": each.examples,
        "noise": each.noise,
        "error": float(np.sqrt(np.mean(each.variance))),
        "squared_deviation_from_truth": deviation,
    }


def read_with(
    scope: str,
    vectors: Sequence[Difference],
    sums: Sequence[Sum],
    subjects: Sequence[Subject],
    attacks: Sequence[str],
    folder: Path,
    shown: Callable[[str], str],
    progress: Progress,
) -> list[dict[str, Any]]:

    if not vectors:
        return []
    numbers = _numbers(vectors)
    names = {f"client {number}": str(each) for number, each in zip(numbers, vectors, strict=True)}
    truths = [truth_of(each, sums, subjects) for each in vectors]
    known = all(truths)
    # The pool around the recording with most examples holds those of the others, where data have only grown.
    base = max(subjects, key=lambda s: sum(map(len, (s.truth or {}).values())))
    own = write_vectors(folder / f"vectors {scope}", base, vectors, numbers)
    truth = {n: held for n, held in zip(numbers, truths, strict=True) if held} if known else None
    why = "" if known else "whose examples are behind an isolated vector is not known here"
    subject = replace(
        base, view=own, truth=truth, why_no_truth=why, knowledge=replace(base.knowledge, others={})
    )
    result = []
    for name in attacks:
        module: Attack = import_module(ATTACKS[name])
        kept, findings = guess_and_judge(module, subject, (Scope.UPLOADS,), folder / f"{name} {scope}")
        result.append(
            {
                "attack": name,
                "scope": scope,
                "findings": [
                    {
                        **finding_to_json(finding),
                        "scope": scope,
                        "by_vector": {names.get(who, who): value for who, value in finding.by_vector},
                    }
                    for finding in findings
                ],
                "curves": [{**curve, "scope": scope} for curve in curves_of(subject, kept)],
                "guesses": [_renamed(guess_to_json(guess, subject, shown), names, scope) for guess in kept],
            }
        )
        progress(f"reading what is {scope}", len(result), len(attacks))
    return result


def _numbers(vectors: Sequence[Difference]) -> list[int]:
    """A number for each vector: its client's where that is all there is to it."""

    return [
        each.clients[0] if each.kind is Kind.CLIENT else FIRST_NUMBER + place
        for place, each in enumerate(vectors)
    ]


def _renamed(guess: dict[str, Any], names: Mapping[str, str], scope: str) -> dict[str, Any]:
    answers = [{**answer, "who": names.get(answer["who"], answer["who"])} for answer in guess["answers"]]
    return {**guess, "scope": scope, "answers": answers}


def write_vectors(
    folder: Path, base: Subject, vectors: Sequence[Difference], numbers: Sequence[int]
) -> ServerView:
    """A recording of isolated vectors, each as if a client had uploaded it, with its error's variance beside it."""

    facts = base.view.facts
    defense = ClearSpec(wire=WireSpec(vector=Precision.FP32))
    with ServerViewWriter.create(folder, backbone=facts.backbone, task=facts.task, defense=defense) as writer:
        for place, (number, each) in enumerate(zip(numbers, vectors, strict=True)):
            arrays = {
                "vector": each.vector.astype(np.float32),
                VARIANCE: each.variance.reshape(-1).astype(np.float32),
            }
            upload = Upload(arrays, float(each.examples or 1), 0, UploadKind.VECTOR)
            if place == 0:
                writer.begin_round(RoundInfo(0, UploadKind.VECTOR, tuple(numbers), upload.layout))
            frame = encode(upload, number, Precision.FP32)
            writer.append(Direction.UP, sender=number, recipient=SERVER, round_number=0, frame=frame)
    return ServerView.open(folder)
