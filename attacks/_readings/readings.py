"""What of a recording is attacked, in which scopes, and what the attacker is told of clip and noise in each.

The invariant: every program that attacks a recording attacks these readings, so what one finds another finds too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks._base.attack import Scope
from attacks._base.declared import Declared
from attacks._base.noised_sum import NoisedSum
from attacks._base.targets import read_told
from attacks._judging.score import Subject, all_but_one
from attacks._readings.colluders import colluding, others_alone
from attacks._readings.gradients import as_gradients, gradient_release, sums_told
from attacks._readings.read_back import as_vectors, not_shrunk, released_sum, vector_release
from defenses.upload import UploadKind
from defenses.view_facts import Computes
from ifedpriv.config import RunConfig
from ifedpriv.errors import UserError
from ifedpriv.experiment.prepare import Setup, prepare


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A recording to attack, and in which scopes.

    Attributes:
        subject: the recording, with what is known.
        scopes: what of its guesses counts.
    """

    subject: Subject
    scopes: tuple[Scope, ...]


_Read = Callable[[Subject, Setup, Path, Declared | None, bool], tuple[Reading, ...] | None]


def readings_of(
    subject: Subject,
    config: RunConfig | None,
    folder: Path,
    *,
    declared: Declared | None = None,
    strong: bool = False,
    clients: Sequence[int] = (),
    reads: UploadKind | None = UploadKind.VECTOR,
) -> tuple[Reading, ...]:
    """What of a recording is attacked: single uploads and the aggregate apart where a private release made them.

    Args:
        subject: the recording as it was opened.
        config: of the run that was recorded; None where nobody has it.
        folder: an empty one, for recordings that are made of this one.
        declared: clip and noise as the auditor has them, in place of what the configuration says; None for that.
        strong: hand out all examples but one of every vector, where the truth is known.
        clients: who colludes with the server, and is in nothing that is attacked.
        reads: what kind of upload is read, vectors or coefficients, and is turned back from whole numbers; uploads
            of other kinds stay as they are. None where no upload is read.

    Raises:
        UserError: the recording was made under another defense than the configuration's.
    """
    read = None
    if config is not None and reads in _READ:
        _check_defense(subject, config)
        read = _READ[reads] if config.defense.privacy is not None else None
    # To make a run's parts takes seconds, and nobody else needs them.
    needed = read is not None or bool(clients)
    setup = prepare(config, backbone=subject.backbone) if config is not None and needed else None
    subject = colluding(subject, clients, setup)
    found = read(subject, setup, folder, declared, strong) if read is not None and setup is not None else None
    found = found or (Reading(subject, tuple(Scope)),)
    return tuple(
        replace(one, subject=others_alone(one.subject, folder / f"others{number}"))
        for number, one in enumerate(found)
    )


def _by_scope(
    subject: Subject, setup: Setup, folder: Path, declared: Declared | None, strong: bool
) -> tuple[Reading, ...] | None:
    """Of vectors; None where none is released that is turned back."""
    release = vector_release(setup)
    # What is compressed is not turned back.
    if release is None or release.compression is not None:
        return None
    view, shape = subject.view, (subject.backbone.n_layers, 2, subject.backbone.width)
    mean = Declared(mechanism=released_sum(view, release, shape))
    released = replace(subject, view=not_shrunk(view, release, folder / "released"))
    public = _told(released, declared or mean, strong)
    if Computes.INDIVIDUAL_UPLOADS not in view.facts.server_computes:
        return (Reading(public, tuple(Scope)),)
    own, known = as_vectors(view, release, shape, folder / "uploads")
    uploads = _told(replace(subject, view=own), declared or Declared(mechanism=known), strong)
    return Reading(uploads, (Scope.UPLOADS,)), Reading(public, (Scope.AGGREGATE,))


def _of_gradients(
    subject: Subject, setup: Setup, folder: Path, _: Declared | None, strong: bool
) -> tuple[Reading, ...] | None:
    """Of coefficients; None where no sums of gradients are released."""
    release = gradient_release(setup)
    if release is None:
        return None
    releases = {UploadKind.COEFFICIENTS: release}
    vectors = vector_release(setup)
    if vectors is not None and vectors.compression is None:
        releases[UploadKind.VECTOR] = vectors
    view, layers = subject.view, subject.backbone.n_layers
    together = Declared(gradients=sums_told(view, release, layers, single=False))
    released = _told(subject, together, strong)
    if Computes.INDIVIDUAL_UPLOADS not in view.facts.server_computes:
        return (Reading(released, tuple(Scope)),)
    own = as_gradients(view, releases, subject.backbone, folder / "gradients")
    alone = Declared(gradients=sums_told(view, release, layers, single=True))
    uploads = _told(replace(subject, view=own), alone, strong)
    return Reading(uploads, (Scope.UPLOADS,)), Reading(released, (Scope.AGGREGATE,))


_READ: Mapping[UploadKind | None, _Read] = {
    UploadKind.VECTOR: _by_scope,
    UploadKind.COEFFICIENTS: _of_gradients,
}
"""How a private run's uploads are turned back, by what is read."""


def _check_defense(subject: Subject, config: RunConfig) -> None:
    recorded = subject.view.facts.defense
    if config.defense != recorded:
        raise UserError(
            f"the recording was made under another defense ({recorded.kind}) than the configuration's "
            f"({config.defense.kind})",
            "use the folder as the run left it",
        )


def _told(subject: Subject, declared: Declared, strong: bool) -> Subject:
    knowledge = replace(subject.knowledge, declared=declared)
    if strong and subject.truth is not None and knowledge.pool:
        others = all_but_one(subject.view, subject.truth, knowledge.pool, knowledge.seed)
        knowledge = replace(knowledge, others=others)
    return replace(subject, knowledge=knowledge)


def told_of(readings: Sequence[Reading]) -> dict[str, dict[str, Any]]:
    """By scope, what the attacker is told of clip and noise, as plain data; scopes without a vector are left out.

    ``noise`` is the standard deviation in a number, as a root mean square over numbers and vectors, and of sums of
    gradients in a number of the sum; ``by_number``
    whether its size is told number by number, and with it how each example is bounded.
    """
    found: dict[str, dict[str, Any]] = {}
    for reading in readings:
        declared = reading.subject.knowledge.declared
        if declared.gradients:
            # Where single uploads are hidden, the aggregate is all that is read.
            scope = Scope.UPLOADS if reading.scopes == (Scope.UPLOADS,) else Scope.AGGREGATE
            found[str(scope)] = _of_sums(tuple(declared.gradients.values()))
            continue
        release = declared.mechanism
        both = read_told(reading.subject.view, reading.subject.backbone, declared)
        uploads = max(1, len(both[0].targets))
        for targets, sums in zip(both, (1, uploads), strict=True):
            if targets.scope not in reading.scopes or not targets.targets:
                continue
            noise = declared.noise / float(np.sqrt(sums))
            if release is not None:
                squares = [np.mean(release.in_numbers(each.weight, sums) ** 2) for each in targets.targets]
                noise = float(np.sqrt(np.mean(squares)))
            found[str(targets.scope)] = {
                "noise": noise,
                "clip": declared.clip if release is None else release.release.clip,
                "by_number": release is not None,
            }
    return found


def _of_sums(told: Sequence[NoisedSum]) -> dict[str, Any]:
    noise = float(np.sqrt(np.mean([np.mean(one.noise**2) for one in told])))
    return {"noise": noise, "clip": told[0].release.clip, "by_number": True}
