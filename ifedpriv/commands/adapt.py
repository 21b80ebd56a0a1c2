"""Tune a prompt of one's own from a run's library, on a few labelled texts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ifedpriv.commands.console import Json, print_json, say
from ifedpriv.errors import InputError, writing

if TYPE_CHECKING:
    from ifedpriv.experiment.adapting import Newcomer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv adapt`."""
    parser.add_argument("run", type=Path, help="the folder of a finished run of method ficpd")
    parser.add_argument(
        "--examples", type=Path, required=True, metavar="FILE", help="JSON Lines of labelled texts"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the prompt, for predict --prompt"
    )
    parser.add_argument("--template", help="of another task than the run's: text around {text}")
    parser.add_argument("--labels", nargs="+", metavar="WORD", help="likewise its label words")
    parser.add_argument(
        "--steps", type=int, help="of tuning (default: as many as a client took in the whole run)"
    )
    parser.add_argument(
        "--test", type=Path, metavar="FILE", help="labelled texts to answer before and after, for comparison"
    )
    parser.add_argument("--seed", type=int, default=0, help="of batches and directions")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if options.steps is not None and options.steps < 1:
        raise InputError(f"--steps is {options.steps}", "give 1 or more")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}", "give 0 or more")
    if options.out.is_dir():
        raise InputError(f"--out {options.out} is a folder", "give the name of a file")
    from ifedpriv.experiment.adapting import Wording, adapt_to

    made = adapt_to(
        options.run,
        options.examples,
        Wording(options.template, tuple(options.labels) if options.labels else None),
        steps=options.steps,
        test=options.test,
        seed=options.seed,
    )
    with writing(f"--out {options.out}", "give a file you may write"):
        made.prompt.save(options.out)
    if options.json:
        print_json(_facts(made, options.out))
    else:
        say(_told(made, options.out))
    return 0


def _facts(made: Newcomer, out: Path) -> dict[str, Json]:
    tested = made.tested
    return {
        "file": str(out),
        "task": made.task.name,
        "began": made.began,
        "losses": [float(loss) for loss in made.found.losses],
        "queries": made.found.queries,
        "tested": None
        if tested is None
        else {
            "texts": tested.texts,
            "plain": tested.plain,
            "start": tested.start,
            "adapted": tested.adapted,
        },
    }


def _told(made: Newcomer, out: Path) -> str:
    lines = [
        f"Prompt: {out} (fitted to your examples and protected by nothing: keep it where they may be)",
        f"began with {made.began}; {made.found.queries:,} queries of the model",
    ]
    if made.tested is not None:
        t = made.tested
        lines.append(
            f"right on {t.texts} other texts: {t.adapted:.3f} adapted, {t.start:.3f} before tuning, "
            f"{t.plain:.3f} with the bare model"
        )
    return "\n".join(lines)
