"""Coefficients that were calibrated on public tasks alone, in the file that carries them from one run to another.

A file holds several sets: one for each kind of task, and for each level of noise in the vector. Which of them serves a
private task is decided by `ifedpriv.icl.choice`. The invariant: whatever a file was not made for (another model,
position or wording) is refused in one sentence before anything private is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.tensor_file import reading, write_tensors
from ifedpriv.icl.vectors import Coefficients

FORMAT = "ifedpriv-coefficients-2"
_WHAT = "coefficients"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One set of coefficients.

    Attributes:
        kind: what its public tasks have in common, in the words of whoever chose them.
        task_kind: whether they classify or generate.
        noise: standard deviation of the noise on the vectors that it was calibrated with, in units of a block's public
            size; 0 for none.
        coefficients: ``[layers, 2, 2]``.
    """

    kind: str
    task_kind: TaskKind
    noise: float
    coefficients: Coefficients

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.kind):
            raise ValueError("a kind is not a short name")
        _check_noise(self.noise)


@dataclass(frozen=True, slots=True)
class Trial:
    """What members did on public tasks that they were not calibrated on.

    Attributes:
        task_kind: of these tasks.
        noise: on their vectors.
        examples: behind each vector, at most.
        tasks: how many.
        queries: how many, over all tasks.
        injected: share of right answers with injection.
        plain: share of right answers of the bare model.
    """

    task_kind: TaskKind
    noise: float
    examples: int
    tasks: int
    queries: int
    injected: float
    plain: float

    def __post_init__(self) -> None:
        _check_noise(self.noise)
        if min(self.examples, self.tasks, self.queries) < 1:
            raise ValueError("a trial without tasks, queries or examples")
        if not (0 <= self.injected <= 1 and 0 <= self.plain <= 1):
            raise ValueError("a share that is not from 0 to 1")


@dataclass(frozen=True, eq=False)
class PublicCoefficients:
    """A file's content.

    Attributes:
        members: every set of coefficients.
        centre: what all public tasks' vectors have in common, ``[layers, 2, width]``; it is taken off every vector.
        backbone: fingerprint of the model.
        position: the token that stood for a demonstration.
        wordings: of the public tasks' demonstrations, as `Task.wording` has them.
        tasks: the public tasks, each as ``kind: name (label words)``.
        seed: everything was drawn from.
        trials: what was measured on public tasks that were kept apart.
        facts: settings and versions, for whoever wants to repeat it.
    """

    members: tuple[Member, ...]
    centre: NDArray[np.float32]
    backbone: str
    position: Position
    wordings: tuple[str, ...]
    tasks: tuple[str, ...]
    seed: int
    trials: tuple[Trial, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        centre = np.array(self.centre, dtype=np.float32)
        centre.flags.writeable = False
        object.__setattr__(self, "centre", centre)
        if not self.members:
            raise ValueError("no set of coefficients")
        layers = {member.coefficients.values.shape[0] for member in self.members} | {len(centre)}
        if len(layers) > 1 or centre.ndim != 3 or centre.shape[1] != 2 or not np.isfinite(centre).all():
            raise ValueError("members and centre are not of one model")
        if len({(m.kind, m.task_kind, m.noise) for m in self.members}) < len(self.members):
            raise ValueError("two sets for one kind and one level of noise")
        if not all(isinstance(word, str) for word in (*self.wordings, *self.tasks)):
            raise ValueError("a wording or a task that is not text")

    def __repr__(self) -> str:
        return f"PublicCoefficients({len(self.members)} members, {len(self.tasks)} tasks)"

    def check(self, backbone: Backbone, task: Task, position: Position) -> None:
        """Refuse a run that these coefficients were not made for.

        Raises:
            InputError: another model, position or wording, or a kind of task that was not calibrated on.
        """
        again = "make others with `ifedpriv coefficients`"
        if self.backbone != backbone.fingerprint:
            raise InputError(
                f"the public coefficients were made for the model with fingerprint {self.backbone[:12]}, and this one "
                f"has {backbone.fingerprint[:12]}",
                again,
            )
        if self.centre.shape != (backbone.n_layers, 2, backbone.width):
            raise InputError(
                f"the public coefficients are for {len(self.centre)} layers of width {self.centre.shape[2]}, and this "
                f"model has {backbone.n_layers} of width {backbone.width}",
                f"the file was altered; {again}",
            )
        if self.position is not position:
            raise InputError(
                f"the public coefficients were made with position {str(self.position)!r}, and method.position is "
                f"{str(position)!r}",
                f"set it to {self.position}, or {again}",
            )
        if not any(member.task_kind is task.kind for member in self.members):
            raise InputError(
                f"task {task.name} is a {task.kind} task, and the public coefficients were made on none",
                again,
            )
        if task.wording not in self.wordings:
            known = ", ".join(repr(wording) for wording in self.wordings[:3])
            raise InputError(
                f"a demonstration reads {task.wording!r}, and the public coefficients were made with {known}",
                f"make template, gap and separator agree, or {again}",
            )

    def fitting(self, task_kind: TaskKind, noise: float) -> tuple[Member, ...]:
        """The members of one kind of task whose level of noise is nearest, by ratio.

        Args:
            task_kind: classification or generation.
            noise: on the vector at hand, in units of a block's public size.
        """
        some = [member for member in self.members if member.task_kind is task_kind]
        level = nearest([member.noise for member in some], noise)
        return tuple(member for member in some if member.noise == level)

    def trial(self, task_kind: TaskKind, noise: float) -> Trial | None:
        """What was measured nearest to this noise; None where no public task was kept apart."""
        some = [trial for trial in self.trials if trial.task_kind is task_kind]
        if not some:
            return None
        level = nearest([trial.noise for trial in some], noise)
        return next(trial for trial in some if trial.noise == level)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of every number and word in it."""
        words = {**self._metadata(), "facts": json.dumps(dict(self.facts), sort_keys=True)}
        found = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
        for array in self._tensors().values():
            found.update(f"|{array.shape}|".encode() + array.astype("<f4").tobytes())
        return found.hexdigest()

    def _tensors(self) -> dict[str, NDArray[np.float32]]:
        values = np.stack([member.coefficients.values for member in self.members])
        return {"centre": self.centre, "coefficients": values}

    def _metadata(self) -> dict[str, str]:
        members = [[m.kind, str(m.task_kind), m.noise] for m in self.members]
        trials = [
            [str(t.task_kind), t.noise, t.examples, t.tasks, t.queries, t.injected, t.plain]
            for t in self.trials
        ]
        return {
            "format": FORMAT,
            "backbone": self.backbone,
            "position": str(self.position),
            "wordings": json.dumps(self.wordings),
            "tasks": json.dumps(self.tasks),
            "seed": str(self.seed),
            "members": json.dumps(members),
            "trials": json.dumps(trials),
        }

    def save(self, path: Path) -> None:
        """Write a safetensors file; an interrupted write leaves nothing under the final name."""
        write_tensors(path, self._tensors(), self._metadata(), self.facts)

    @classmethod
    def load(cls, path: Path) -> PublicCoefficients:
        """Read a file that `save` wrote.

        Raises:
            InputError: there is none, or it is damaged or of another format.
        """
        with reading(path, _WHAT, FORMAT) as (tensors, metadata, facts):
            values = tensors["coefficients"]
            named = json.loads(metadata["members"])
            if len(named) != len(values):
                raise ValueError("members and coefficients do not agree")
            return cls(
                tuple(
                    Member(kind, TaskKind(task_kind), float(noise), Coefficients(array))
                    for (kind, task_kind, noise), array in zip(named, values, strict=True)
                ),
                tensors["centre"],
                metadata["backbone"],
                Position(metadata["position"]),
                _words(metadata["wordings"]),
                _words(metadata["tasks"]),
                int(metadata["seed"]),
                tuple(
                    Trial(TaskKind(kind), float(noise), int(n), int(tasks), int(q), float(i), float(p))
                    for kind, noise, n, tasks, q, i, p in json.loads(metadata["trials"])
                ),
                facts,
            )


def nearest(levels: list[float], noise: float) -> float:
    """The level nearest to ``noise`` by ratio; 0, if it is among them, below half of the smallest other."""
    above = sorted({level for level in levels if level > 0})
    if 0.0 in levels and (not above or noise < above[0] / 2):
        return 0.0
    return min(above, key=lambda level: abs(np.log(max(noise, 1e-12) / level)))


def _words(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError("not a list")
    return tuple(found)


def _check_noise(noise: float) -> None:
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError("a level of noise that is none")
