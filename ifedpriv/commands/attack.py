"""Attack a run's recording, and say what it leaks."""

from __future__ import annotations

import argparse

from attacks import ATTACKS
from attacks._launch import add_arguments as add_common
from attacks._launch import run as launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv attack`."""
    parser.add_argument("name", choices=sorted(ATTACKS), help="the attack: " + ", ".join(sorted(ATTACKS)))
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    return launch(options.name, options)
