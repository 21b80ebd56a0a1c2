"""Public coefficients in miniature: sets for the tiny backbone, public tasks to make more from, and runs with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny import (
    LAYERS,
    TEMPLATE,
    WIDTH,
    examples,
    save_checkpoint,
    tiny_backbone,
    tiny_config,
    write_config,
)

from ifedpriv.config import load_config
from ifedpriv.data.task import TaskKind
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.experiment.reporting import build_report
from ifedpriv.experiment.run import Outcome, execute
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public_coefficients import Member, PublicCoefficients, Trial
from ifedpriv.icl.vectors import Coefficients
from ifedpriv.report.schema import Report

LEVELS = (0.0, 0.05)
WORDING = f"{TEMPLATE}{{answer}}\n"
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
        "wordings": (WORDING,),
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
    "trial_steps": 3,
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


def public_world(folder: Path, **changes: Any) -> Path:
    """A tiny run's files in ``folder``: configuration, public texts, and coefficients of two kinds and of one."""
    config = {**tiny_config(folder), "partition": {"kind": "iid", "clients": 5}, "seed": 3, **changes}
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    public().save(folder / "two.safetensors")
    public(members=all_members(("only",))).save(folder / "one.safetensors")
    return write_config(folder / "config.yaml", config)


def sets(folder: Path, coefficients: str, privacy: dict[str, Any] | None = None, **more: Any) -> list[str]:
    """The command line's changes for a run with public coefficients, private or not.

    Args:
        folder: of `public_world`.
        coefficients: ``public``, ``public+rounds`` or ``federated``.
        privacy: what differs in the section; None for no privacy.
        more: further settings by their paths.
    """
    # A defense that changes its kind begins anew, so that comes first.
    changes: dict[str, Any] = {name: more[name] for name in more if name == "defense.kind"}
    changes["method.coefficients"] = coefficients
    # Sets as they stand in the file; fitting them to the vector is asked for where it is tried.
    changes["method.public_steps"] = 0
    if coefficients != "federated":
        changes["method.coefficients_file"] = (
            str(folder / ("one" if privacy is None else "two")) + ".safetensors"
        )
    if privacy is not None:
        changes["method.aggregation"] = "uniform" if privacy.get("unit") == "client" else "count"
        changes["defense.privacy"] = {
            "epsilon": 4.0,
            "delta": 1e-3,
            "max_examples": 16,
            "public": {"path": str(folder / "public.jsonl"), "texts": 32},
            **privacy,
        }
    changes |= more
    return [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def ready(folder: Path, coefficients: str, privacy: dict[str, Any] | None = None, **more: Any) -> Setup:
    """The parts of a run over `public_world`, with the changes that `sets` makes."""
    return prepare(load_config(folder / "config.yaml", sets(folder, coefficients, privacy, **more)[1::2]))


def finished(setup: Setup, out: Path) -> tuple[Outcome, Report]:
    """A run to its end in a folder, without its page."""
    outcome = execute(setup, RunDirectory.create(out, setup.config))
    return outcome, build_report(outcome)
