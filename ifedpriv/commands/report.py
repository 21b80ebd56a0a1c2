"""Print a finished run's table, or write its page anew."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ifedpriv.commands.console import print_json, say
from ifedpriv.errors import writing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv report`."""
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the page there (default: RUN/report.html)"
    )
    parser.add_argument("--json", action="store_true", help="print report.json instead of a table")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from ifedpriv.experiment.rundir import RunDirectory, write_whole
    from ifedpriv.report import page, table
    from ifedpriv.report.schema import Report

    folder = RunDirectory.open(options.run)
    report = Report.load(folder.path / "report.json")
    target = options.html or folder.path / "report.html"
    with writing(f"--html {target}", "name a file in a folder that you may write to"):
        write_whole(target, page.render(report))
    if options.json:
        print_json(json.loads(report.dumps()))
    else:
        say(table.render(report))
        say(f"Report: {target}")
    return 0
