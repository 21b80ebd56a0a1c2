"""Whole texts behind vectors of few examples, as pieces of an audit: a bounded number of vectors is looked at.

The invariant: which vectors are looked at is drawn by the request's seed and never by what is found; what is left out
is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks._base.attack import Capability, Progress, Scope, Who
from attacks._base.targets import Targets, read_told
from attacks._judging.changed_copy import changed_copy, is_of
from attacks._judging.finding import Verdict
from attacks._judging.score import Subject
from attacks._program.shelf import FolderShelf
from attacks._readings.readings import Reading
from attacks._texts.few import MOST, TooManyError, few_examples
from attacks._texts.trained import MOST_TRAINED
from attacks._texts.wording import Wording
from attacks._whole_run.pieces import on_recordings
from defenses.upload import UploadKind
from defenses.view import Direction, FrameRecord, ServerView

MOST_VECTORS = 5
"""The most vectors that an audit looks at, and the fewest that a verdict needs; each takes seconds."""
INVERT = "invert"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to look for whole texts.

    Attributes:
        method: of `attacks.invert`.
        most: examples behind a vector beyond which it looks for none.
        parts: whether it can do with parts of the vectors.
        called: what is said of it where something is left out.
    """

    method: str
    most: int
    parts: bool
    called: str


SEARCH = Way("search", MOST, False, "whole texts")
TRAINED = Way("trained", MOST_TRAINED, True, "whole texts by a trained inverter")
NO_FOLDER = "no folder for trained inverters is given (--inverters FOLDER)"


def by_inverter(
    readings: Sequence[Reading],
    inverters: Path | None,
    folder: Path,
    shown: Callable[[str], str],
    progress: Progress,
) -> dict[str, Any]:
    """`invert --methods trained`, which takes inverters from a folder and leaves there those that it has to train.

    Without a folder nothing is trained, and the reason is told: training takes minutes, and would be for this once.

    Args:
        readings: what is attacked.
        inverters: where inverters lie; None where nobody names a folder.
        folder: an empty one, for recordings that are made.
        shown: what stands for a text.
        progress: told of progress.
    """
    if inverters is not None:
        shelf = FolderShelf(inverters)
        shelved = [
            replace(
                each, subject=replace(each.subject, knowledge=replace(each.subject.knowledge, shelf=shelf))
            )
            for each in readings
        ]
        return whole_texts(TRAINED, shelved, folder, shown, progress)
    untried = {"verdict": str(Verdict.NOT_EVALUABLE), "decided_by": "", "why": NO_FOLDER, "findings": []}
    scopes = [scope for reading in readings for scope in reading.scopes]
    return {
        "attack": INVERT,
        "tests": [
            {"attack": INVERT, "method": TRAINED.method, "scope": str(scope), **untried} for scope in scopes
        ],
        "curves": [],
        "guesses": [],
        "left_out": [f"{TRAINED.called}, behind vectors of {TRAINED.most} examples at most: {NO_FOLDER}"],
    }


def whole_texts(
    way: Way, readings: Sequence[Reading], folder: Path, shown: Callable[[str], str], progress: Progress
) -> dict[str, Any]:
    """One way to look for whole texts, on single uploads of few examples, and on an aggregate of so few.

    Args:
        way: how.
        readings: what is attacked.
        folder: an empty one, for recordings that are made.
        shown: what stands for a text.
        progress: told of progress.
    """
    chosen: list[Reading] = []
    left_out: list[str] = []
    for number, reading in enumerate(readings):
        knowledge = replace(reading.subject.knowledge, methods=(way.method,))
        subject = replace(reading.subject, knowledge=knowledge)
        singles, aggregate = read_told(subject.view, subject.backbone, knowledge.declared)
        few = _few(way, subject, singles) if Scope.UPLOADS in reading.scopes else []
        if len(few) <= MOST_VECTORS:
            chosen.append(Reading(subject, reading.scopes))
            continue
        rng = np.random.default_rng([knowledge.seed, 53])
        senders = {few[i] for i in sorted(rng.permutation(len(few))[:MOST_VECTORS].tolist())}
        view = _only(subject.view, senders, folder / f"{way.method}{number}")
        chosen.append(Reading(replace(subject, view=view), (Scope.UPLOADS,)))
        left_out.append(
            f"{way.called}: all but {len(senders)} of {len(few)} uploads of {way.most} examples at most, "
            "drawn by the seed"
        )
        if Scope.AGGREGATE in reading.scopes and aggregate.targets:
            left_out.append(
                f"{way.called} behind the aggregate, which is of more examples than single uploads are"
            )
    found = on_recordings(INVERT, chosen, folder, shown, progress)
    return {**found, "left_out": left_out}


def _few(way: Way, subject: Subject, targets: Targets) -> list[int]:
    """Whose vectors stand for few examples."""
    needs = [Capability.PUBLIC_TEXTS]
    if targets.lacks(subject.knowledge, needs):
        return []
    classes = len(Wording.of(subject.backbone, subject.knowledge).tails)
    try:
        told = few_examples(
            subject.backbone, subject.knowledge, targets.targets, classes, most=way.most, parts=way.parts
        )
    except TooManyError:
        return []
    whose: list[Who] = [each.target.who for each in told]
    return sorted({who.client for who in whose if who.client is not None})


def _only(view: ServerView, senders: set[int], folder: Path) -> ServerView:
    """The recording's vectors of some clients alone, as they crossed the wire."""
    rounds = [
        replace(entry, roster=tuple(n for n in entry.roster if n in senders))
        for entry in view.facts.rounds
        if entry.kind is UploadKind.VECTOR and senders & set(entry.roster)
    ]

    def change(record: FrameRecord) -> bytes | None:
        kept = record.sender in senders and is_of(record, Direction.UP, UploadKind.VECTOR)
        return record.frame if kept else None

    return changed_copy(view, folder, change, rounds)
