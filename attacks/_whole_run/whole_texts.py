"""Whole texts behind vectors of few examples, as a piece of an audit: a bounded number of vectors is searched.

The invariant: which vectors are searched is drawn by the request's seed and never by what a search finds; what is left
out is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks._base.attack import Capability, Progress, Scope, Who
from attacks._base.targets import Targets, read_told
from attacks._judging.score import Subject
from attacks._texts.few import MOST, TooManyError, few_examples
from attacks._texts.wording import Wording
from attacks._whole_run.pieces import on_recordings
from attacks._whole_run.subject import Reading
from defenses.upload import UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter

SEARCH = "search"
MOST_VECTORS = 5
"""The most vectors that an audit searches, and the fewest that a verdict needs; each takes seconds."""


def whole_texts(
    readings: Sequence[Reading], folder: Path, shown: Callable[[str], str], progress: Progress
) -> dict[str, Any]:
    """`invert --methods search` on single uploads of at most 4 examples, and on an aggregate of so few.

    Args:
        readings: what is attacked.
        folder: an empty one, for recordings that are made.
        shown: what stands for a text.
        progress: told of progress.
    """
    chosen: list[Reading] = []
    left_out: list[str] = []
    for number, reading in enumerate(readings):
        knowledge = replace(reading.subject.knowledge, methods=(SEARCH,))
        subject = replace(reading.subject, knowledge=knowledge)
        singles, aggregate = read_told(subject.view, subject.backbone, knowledge.declared)
        few = _few(subject, singles) if Scope.UPLOADS in reading.scopes else []
        if len(few) <= MOST_VECTORS:
            chosen.append(Reading(subject, reading.scopes))
            continue
        rng = np.random.default_rng([knowledge.seed, 53])
        senders = {few[i] for i in sorted(rng.permutation(len(few))[:MOST_VECTORS].tolist())}
        view = _only(subject.view, senders, folder / f"searched{number}")
        chosen.append(Reading(replace(subject, view=view), (Scope.UPLOADS,)))
        left_out.append(
            f"whole texts: all but {len(senders)} of {len(few)} uploads of {MOST} examples at most, drawn by the seed"
        )
        if Scope.AGGREGATE in reading.scopes and aggregate.targets:
            left_out.append(
                "whole texts behind the aggregate, which is of more examples than single uploads are"
            )
    found = on_recordings("invert", chosen, folder, shown, progress)
    return {**found, "left_out": left_out}


def _few(subject: Subject, targets: Targets) -> list[int]:
    """Whose vectors stand for few examples."""
    needs = [Capability.PUBLIC_TEXTS]
    if targets.refused or subject.knowledge.lacks(needs):
        return []
    classes = len(Wording.of(subject.backbone, subject.knowledge).tails)
    try:
        told = few_examples(subject.backbone, subject.knowledge, targets.targets, classes)
    except TooManyError:
        return []
    whose: list[Who] = [each.target.who for each in told]
    return sorted({who.client for who in whose if who.client is not None})


def _only(view: ServerView, senders: set[int], folder: Path) -> ServerView:
    """The recording's vectors of some clients alone, as they crossed the wire."""
    facts = view.facts
    with ServerViewWriter.create(
        folder, backbone=facts.backbone, task=facts.task, defense=facts.defense
    ) as writer:
        for entry in facts.rounds:
            roster = tuple(n for n in entry.roster if n in senders)
            if entry.kind is UploadKind.VECTOR and roster:
                writer.begin_round(replace(entry, roster=roster))
        for record in view.frames():
            if record.direction is Direction.UP and record.sender in senders:
                writer.append(
                    record.direction,
                    sender=record.sender,
                    recipient=record.recipient,
                    round_number=record.round,
                    frame=record.frame,
                )
    return ServerView.open(folder)
