"""Write a run's injection into a plain checkpoint."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ifedpriv.commands.console import say
from ifedpriv.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv fold`."""
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the checkpoint")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file", "give a new folder")
    if options.out.exists() and any(options.out.iterdir()):
        raise UserError(f"--out {options.out} is not empty", "give a new folder")
    from ifedpriv.experiment.artifact import load_run
    from ifedpriv.experiment.facts import guard_warning
    from ifedpriv.icl.folding import fold

    backbone, _, injection = load_run(options.run)
    warning = guard_warning(injection.facts)
    if warning is not None:
        say(f"ifedpriv: warning: {warning}", sys.stderr)
    fold(backbone, injection, options.out)
    print(f"Folded checkpoint: {options.out} (plain transformers loads it; it has no run-time cost)")
    return 0
