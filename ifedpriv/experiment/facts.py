"""What travels with an injection about its task, and how a task is told from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError


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


def task_hash(task: Task) -> str:
    """SHA-256 over the wording, by which a recording names the task."""
    return hashlib.sha256(task_facts(task)["task"].encode()).hexdigest()
