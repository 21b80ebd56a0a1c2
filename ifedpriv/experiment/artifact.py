"""A finished run as something to use: the backbone, the task's wording, and the artifact, checked to fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.jsonl import read_jsonl
from ifedpriv.data.rows import LabelTable
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.errors import InputError, UserError
from ifedpriv.experiment.facts import task_of
from ifedpriv.experiment.prepare import load_backbone
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.icl.soft_prompt.client_model import WhiteBox
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt
from ifedpriv.methods.ficpd import best


def load_run(path: Path) -> tuple[Backbone, Task, Injection]:
    """Backbone, task and injection of a finished run.

    Raises:
        UserError: if the run has none, or its files do not fit each other.
    """
    run = RunDirectory.open(path)
    method = run.config().method.kind
    if method not in ("ifed_icl", "prototype_icl"):
        raise UserError(
            f"{path} is a run of method {method!r}, which has no injection",
            "give a run of method ifed_icl or prototype_icl",
        )
    if method == "prototype_icl":
        raise UserError(
            f"{path} is a run of method 'prototype_icl', which has an injection for each cluster",
            "say which: `ifedpriv predict` takes --prototype or --examples",
        )
    return _fitting(run, Injection.load(run.injection))


def has_prototypes(path: Path) -> bool:
    """Whether a folder is of a run of clustered injections."""
    return RunDirectory.open(path).config().method.kind == "prototype_icl"


def load_prototypes(path: Path) -> tuple[Backbone, Task, PrototypeBank]:
    """Backbone, task and prototypes of a finished run of clustered injections.

    Raises:
        UserError: its files do not fit each other.
    """
    run = RunDirectory.open(path)
    return _fitting(run, PrototypeBank.load(run.prototypes))


def nearest_prototype(bank: PrototypeBank, backbone: Backbone, task: Task, path: Path) -> int:
    """The prototype, from 1, with the least loss on a few labelled examples; ``path`` as in `nearest_prompt`."""
    return 1 + bank.nearest(backbone, task, labelled_texts(task, path))


def has_library(path: Path) -> bool:
    """Whether a folder is of a run of soft prompts."""
    return RunDirectory.open(path).config().method.kind == "ficpd"


def load_library(path: Path) -> tuple[Backbone, Task, PromptLibrary]:
    """Backbone, task and prompts of a finished run of soft prompts.

    Raises:
        UserError: its files do not fit each other.
    """
    run = RunDirectory.open(path)
    return _fitting(run, PromptLibrary.load(run.library))


def load_prompt(path: Path, file: Path) -> tuple[Backbone, Task, SoftPrompt]:
    """The backbone of a run, and a prompt that was tuned from the run's library, with its own task.

    Raises:
        UserError: the prompt is of another model, or its file cannot be used.
    """
    return _fitting(RunDirectory.open(path), SoftPrompt.load(file))


class _Made(Protocol):
    @property
    def facts(self) -> Mapping[str, str]: ...

    def check(self, backbone: Backbone) -> None: ...


_Any = TypeVar("_Any", bound=_Made)


def _fitting(run: RunDirectory, made: _Any) -> tuple[Backbone, Task, _Any]:
    """What a run has made, on the backbone that it was made for."""
    backbone = load_backbone(run.config())
    made.check(backbone)
    return backbone, task_of(made.facts), made


def nearest_prompt(library: PromptLibrary, backbone: Backbone, task: Task, path: Path) -> int:
    """The prompt with the least loss on a few labelled examples: 0 is the meta prompt, k the k-th prototype.

    Args:
        library: the prompts.
        backbone: the frozen model.
        task: the wording.
        path: a JSON Lines file of ``text`` and ``label`` (or ``answer``).
    """
    examples = labelled_texts(task, path)
    model = WhiteBox(backbone, task, examples)
    return best(model.losses(library.prompts(), range(model.examples)))


def labelled_texts(task: Task, path: Path) -> list[Example]:
    """Texts of a JSON Lines file with one of the task's label words each, or with an answer."""
    table = read_jsonl(path)
    labels = LabelTable(task.label_words, task.label_words)
    found = []
    for row in table.rows:
        text, where = row.fields.get("text"), table.at(row)
        wanted = "answer" if task.kind is TaskKind.GENERATION else "label"
        if not isinstance(text, str) or not text.strip() or wanted not in row.fields:
            raise InputError(
                f"{where}: there is no text with its {wanted}",
                f"give each row the fields 'text' and {wanted!r}",
            )
        value = row.fields[wanted]
        if task.kind is TaskKind.GENERATION:
            found.append(Example(text.strip(), answer=str(value)))
        else:
            found.append(Example(text.strip(), labels.index(value, where, wanted)))
    return found
