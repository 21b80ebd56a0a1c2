"""Attack a run's recording, and say what it leaks; or play a cheating server, and say what clients answer."""

from __future__ import annotations

import argparse

from attacks import ATTACKS, PLAYED
from attacks._launch import add_arguments as add_common
from attacks._launch import add_played_arguments, run_played
from attacks._launch import run as launch

_SUMMARIES = {
    "invert": "which words, and which texts of a pool, a client holds",
    "labels": "how many examples of each class a client holds",
    "server": "what clients answer to a server that cheats; needs no run",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv attack`."""
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name in sorted({**ATTACKS, **PLAYED}):
        sub = names.add_parser(name, help=_SUMMARIES.get(name, ""), description=_SUMMARIES.get(name))
        if name in PLAYED:
            add_played_arguments(name, sub)
        else:
            add_common(sub)


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if options.name in PLAYED:
        return run_played(options.name, options)
    return launch(options.name, options)
