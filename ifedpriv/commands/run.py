"""Run one experiment and report on it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ifedpriv.commands.console import Stages, print_json, say
from ifedpriv.config import RunConfig, load_config
from ifedpriv.errors import UserError

if TYPE_CHECKING:
    from ifedpriv.experiment.prepare import Setup
    from ifedpriv.experiment.rundir import RunDirectory
    from ifedpriv.report.schema import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv run`."""
    parser.add_argument(
        "config", nargs="?", type=Path, help="a YAML file; without one, the quickstart's defaults"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value, by its path"
    )
    parser.add_argument(
        "--no-controls", action="store_true", help="the same as --set controls.enabled=false: a quicker run"
    )
    parser.add_argument("--out", type=Path, help="the run's folder (default: runs/NAME)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with an interrupted run")
    parser.add_argument("--json", action="store_true", help="print report.json instead of a table")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from ifedpriv.report import table

    if options.resume is not None:
        if options.config or options.set or options.out or options.no_controls:
            raise UserError(
                "--resume is given with a configuration, --set, --no-controls or --out",
                "a run goes on as it was begun",
            )
        report, folder = resume_run(options.resume)
    else:
        changes = [*options.set, *(["controls.enabled=false"] if options.no_controls else [])]
        report, folder = start_run(load_config(options.config, changes), options.out)
    if options.json:
        print_json(json.loads(report.dumps()))
        return 0
    say(table.render(report))
    say(f"Report: {folder.path / 'report.html'}")
    return 0


def start_run(config: RunConfig, out: Path | None = None) -> tuple[Report, RunDirectory]:
    """Run an experiment from its beginning.

    Nothing is written before the configuration, the model and the data have been found good.
    """
    from ifedpriv.experiment import controls
    from ifedpriv.experiment.prepare import prepare
    from ifedpriv.experiment.run import run_folder
    from ifedpriv.experiment.rundir import RunDirectory

    folder = run_folder(out, config.name)
    setup = prepare(config)
    controls.sources(setup)
    return _finish(setup, RunDirectory.create(folder, config))


def resume_run(path: Path) -> tuple[Report, RunDirectory]:
    """Go on with a run where its checkpoint stands."""
    from ifedpriv.experiment.prepare import prepare
    from ifedpriv.experiment.rundir import RunDirectory

    folder = RunDirectory.open(path)
    return _finish(prepare(folder.config()), folder)


def _finish(setup: Setup, folder: RunDirectory) -> tuple[Report, RunDirectory]:
    from ifedpriv.experiment.reporting import build_report
    from ifedpriv.experiment.run import execute
    from ifedpriv.experiment.rundir import write_whole
    from ifedpriv.report.page import render

    with Stages() as stages:
        outcome = execute(setup, folder, stages.show)
    report = build_report(outcome)
    report.save(folder.path / "report.json")
    write_whole(folder.path / "report.html", render(report))
    return report, folder
