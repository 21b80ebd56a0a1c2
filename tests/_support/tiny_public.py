"""Public coefficients in miniature: sets for the tiny backbone, and files of public tasks that more are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny import LAYERS, TEMPLATE, WIDTH, examples, save_checkpoint, tiny_backbone

from ifedpriv.data.task import TaskKind
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public_coefficients import Member, PublicCoefficients, Trial
from ifedpriv.icl.vectors import Coefficients

LEVELS = (0.0, 0.05)
KINDS = ("first", "second")


def some_coefficients(seed: int = 0) -> Coefficients:
    """Random coefficients that move the tiny backbone's answers."""
    rng = np.random.default_rng(seed)
    return Coefficients(rng.normal(size=(LAYERS, 2, 2)) * 0.3 + [0.5, 1.0])


def member(
    kind: str = "first",
    noise: float = 0.0,
    seed: int = 0,
    task_kind: TaskKind = TaskKind.CLASSIFICATION,
) -> Member:
    return Member(kind, task_kind, noise, some_coefficients(seed))


def all_members(kinds: tuple[str, ...] = KINDS, levels: tuple[float, ...] = LEVELS) -> tuple[Member, ...]:
    """A set for each kind and level, all different."""
    pairs = [(kind, level) for kind in kinds for level in levels]
    return tuple(member(kind, level, seed) for seed, (kind, level) in enumerate(pairs))


def trial(noise: float = 0.0, injected: float = 0.8, task_kind: TaskKind = TaskKind.CLASSIFICATION) -> Trial:
    return Trial(task_kind, noise, 16, 3, 60, injected, 0.5)


def public(**changes: Any) -> PublicCoefficients:
    """Coefficients for the tiny backbone and task, with some parts changed."""
    parts = {
        "members": all_members(),
        "centre": np.random.default_rng(5).normal(size=(LAYERS, 2, WIDTH)) * 0.1,
        "backbone": tiny_backbone().fingerprint,
        "position": Position.LABEL,
        "templates": (TEMPLATE,),
        "tasks": ("first: one (A, B)", "second: two (A, B)"),
        "seed": 4,
        "trials": (trial(0.0), trial(0.05, 0.7)),
        "facts": {"settings": "{}", "kept_apart": "first: three (A, B)"},
    }
    return PublicCoefficients(**{**parts, **changes})


TASKS = {
    "plain-0": "first",
    "plain-1": "first",
    "plain-2": "first",
    "turned-0": "second",
    "turned-1": "second",
}
"""Name to kind of the tasks that `save_tasks` writes; those of the second kind are labelled the other way round."""

SETTINGS = {
    "threads": 1,
    "seed": 2,
    "examples": 12,
    "blanks": 6,
    "queries": 6,
    "kept_apart": 0.5,
    "noise": [0.05, 0.0],
    "steps": 3,
    "batch_size": 4,
    "fewest": 4,
    "most": 8,
    "trial_examples": 8,
}


def save_tasks(folder: Path, **changes: Any) -> Path:
    """A YAML file of five public tasks, with their texts and the tiny checkpoint beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "model")
    tasks = []
    for seed, (name, kind) in enumerate(TASKS.items(), 1):
        place = folder / name
        place.mkdir()
        for split, size, stream in (("train", 14, 2 * seed), ("test", 7, 2 * seed + 1)):
            turned = kind == "second"
            rows = [{"text": e.text, "label": e.label ^ turned} for e in examples(size, 100 + stream)]
            (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        data = {
            "source": "files",
            "path": str(place),
            "template": TEMPLATE,
            "label_words": ["A", "B"],
            "gap": "",
        }
        tasks.append({"kind": kind, "data": data})
    path = folder / "tasks.yaml"
    path.write_text(json.dumps({**SETTINGS, "tasks": tasks, **changes}), encoding="utf-8")
    return path
