"""A finished run as something to use: the backbone, the task's wording, and the injection, checked to fit."""

from __future__ import annotations

from pathlib import Path

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.errors import UserError
from ifedpriv.experiment.facts import task_of
from ifedpriv.experiment.prepare import load_backbone
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.injection import Injection


def load_run(path: Path) -> tuple[Backbone, Task, Injection]:
    """Backbone, task and injection of a finished run.

    Raises:
        UserError: if the run has none, or its files do not fit each other.
    """
    run = RunDirectory.open(path)
    method = run.config().method.kind
    if method != "ifed_icl":
        raise UserError(
            f"{path} is a run of method {method!r}, which has no injection",
            "give a run of method ifed_icl",
        )
    injection = Injection.load(run.injection)
    backbone = load_backbone(run.config())
    injection.check(backbone)
    return backbone, task_of(injection.facts), injection
