"""What travels with an injection about its task and about the guard's verdict, and how both are read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.guard import GuardVerdict


def task_facts(task: Task) -> dict[str, str]:
    """The task's wording as metadata."""
    wording = {
        "name": task.name,
        "template": task.template,
        "label_words": list(task.label_words),
        "kind": str(task.kind),
        "separator": task.separator,
        "gap": task.gap,
        "max_new_tokens": task.max_new_tokens,
    }
    return {"task": json.dumps(wording)}


def task_of(facts: Mapping[str, str]) -> Task:
    """The task that `task_facts` wrote down."""
    try:
        wording = json.loads(facts["task"])
        kind = TaskKind(wording.pop("kind"))
        return Task(**{**wording, "label_words": tuple(wording["label_words"]), "kind": kind})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("the injection does not say its task", "use one that this program wrote") from error


def guard_facts(verdict: GuardVerdict | None) -> dict[str, str]:
    """A guard's verdict as metadata; nothing where there was no guard."""
    if verdict is None:
        return {}
    return {"guard": json.dumps({"accepted": verdict.improves, "verdict": verdict.sentence()})}


def guard_warning(facts: Mapping[str, str]) -> str | None:
    """What a user of an injection must be told: the guard's sentence where it refused, else None."""
    if "guard" not in facts:
        return None
    try:
        said = json.loads(facts["guard"])
        return None if said["accepted"] else str(said["verdict"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the injection's guard verdict cannot be read", "the file is damaged; make it again"
        ) from error


def task_hash(task: Task) -> str:
    """SHA-256 over the wording, by which a recording names the task."""
    return hashlib.sha256(task_facts(task)["task"].encode()).hexdigest()
