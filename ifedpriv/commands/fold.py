"""Write a run's injection into a plain checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

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
    from ifedpriv.icl.folding import fold

    backbone, _, injection = load_run(options.run)
    fold(backbone, injection, options.out)
    print(f"Folded checkpoint: {options.out} (plain transformers loads it; it has no run-time cost)")
    return 0
