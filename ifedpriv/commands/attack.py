"""Attack a run's recording, and say what it leaks; or audit a mechanism, and say whether it keeps its bound."""

from __future__ import annotations

import argparse

from attacks import SCRIPTS
from attacks._launch import add_arguments as add_common
from attacks._launch import run as launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv attack`."""
    from attacks._audit_launch import add_arguments as add_audit

    parser.add_argument("name", choices=sorted(SCRIPTS), help="the attack: " + ", ".join(sorted(SCRIPTS)))
    add_common(parser)
    add_audit(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    if options.name == "audit":
        from attacks._audit_launch import run as audit

        return audit(options)
    return launch(options.name, options)
