"""Calibrate coefficients on public tasks, for runs that release nothing but a vector."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ifedpriv.commands.console import Json, Stages, print_json, say

if TYPE_CHECKING:
    from ifedpriv.icl.public_coefficients import PublicCoefficients


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv coefficients`."""
    parser.add_argument("backbone", help="embedded, a folder, or a hub name")
    parser.add_argument(
        "--tasks", default="embedded", metavar="FILE", help="a YAML file of public tasks (default: embedded)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, by its path"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="the file to write; work that was cut off is gone on with"
    )
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from ifedpriv.experiment.coefficients.config import load_coefficients_config

    config = load_coefficients_config(options.backbone, options.tasks, options.set)
    # Loads the model libraries, which a mistake in the settings need not wait for.
    from ifedpriv.experiment.coefficients.make import make_coefficients

    with Stages() as stages:
        made = make_coefficients(config, options.out, stages.show)
    if options.json:
        print_json(_facts(made, options.out))
        return 0
    say(_told(made, options.out))
    return 0


def _facts(made: PublicCoefficients, out: Path) -> dict[str, Json]:
    members: list[Json] = [
        {"kind": m.kind, "task_kind": str(m.task_kind), "noise": m.noise} for m in made.members
    ]
    trials: list[Json] = [
        {
            "task_kind": str(t.task_kind),
            "noise": t.noise,
            "examples": t.examples,
            "tasks": t.tasks,
            "queries": t.queries,
            "injected": t.injected,
            "plain": t.plain,
        }
        for t in made.trials
    ]
    return {
        "file": str(out),
        "digest": made.digest,
        "backbone": made.backbone,
        "position": str(made.position),
        "wordings": list(made.wordings),
        "seed": made.seed,
        "tasks": list(made.tasks),
        "members": members,
        "trials": trials,
    }


def _told(made: PublicCoefficients, out: Path) -> str:
    kinds = dict.fromkeys(member.kind for member in made.members)
    levels = dict.fromkeys(f"{member.noise:g}" for member in made.members)
    lines = [
        f"Coefficients: {out}",
        f"{len(made.members)} sets: kinds {', '.join(kinds)}; levels of noise {', '.join(levels)}",
        f"calibrated on {len(made.tasks)} public tasks, seed {made.seed}, model {made.backbone[:12]}",
    ]
    for t in made.trials:
        lines.append(
            f"tried on {t.tasks} public {t.task_kind} tasks that were kept apart ({t.queries} queries, vectors of "
            f"{t.examples} examples, noise {t.noise:g}): {t.injected:.3f} right, {t.plain:.3f} without injection"
        )
    if not made.trials:
        lines.append("no public task was kept apart, so runs that use them have no guard")
    return "\n".join(lines)
