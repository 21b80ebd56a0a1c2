"""Measure accuracy against epsilon, with intervals over seeds."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ifedpriv.commands.console import Stages, print_json, say
from ifedpriv.errors import UserError

if TYPE_CHECKING:
    from ifedpriv.experiment.curve.bench import Attack, Bench
    from ifedpriv.experiment.curve.config import CurveConfig
    from ifedpriv.experiment.curve.folder import CurveFolder
    from ifedpriv.report.curve import Curve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv curve`."""
    parser.add_argument("config", nargs="?", type=Path, help="a YAML file, such as configs/curve.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value, by its path"
    )
    parser.add_argument(
        "--no-controls",
        action="store_true",
        help="the same as --set run.controls.enabled=false: a fifth of the work",
    )
    parser.add_argument("--out", type=Path, help="the curve's folder (default: runs/NAME-curve)")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="DIR",
        help="go on with an interrupted curve, or draw a finished one anew",
    )
    parser.add_argument("--json", action="store_true", help="print curve.json instead of a table")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from ifedpriv.experiment.curve.config import load_curve
    from ifedpriv.report.curve import table

    if options.config is None and options.resume is None:
        raise UserError("there is no configuration", "give one such as configs/curve.yaml, or --resume")
    for name, given in (("--set", options.set), ("--no-controls", options.no_controls)):
        if options.config is None and given:
            raise UserError(f"{name} is given without a configuration", "a curve goes on as it was begun")
    if options.resume is not None and options.out is not None:
        raise UserError("--resume is given with --out", "a curve goes on where it is")
    changes = [*options.set, *(["run.controls.enabled=false"] if options.no_controls else [])]
    config = load_curve(options.config, changes) if options.config is not None else None
    if options.resume is not None:
        curve, folder = resume_curve(options.resume, config)
    else:
        assert config is not None
        curve, folder = start_curve(config, options.out)
    if options.json:
        print_json(json.loads(curve.dumps()))
        return 0
    say(table(curve))
    say(f"Figure: {folder.path / 'curve.png'} (and .svg, .pdf); numbers: curve.csv, curve.json beside it")
    return 0


def start_curve(config: CurveConfig, out: Path | None = None) -> tuple[Curve, CurveFolder]:
    """Measure a curve from its beginning.

    Nothing is written before the runs at both ends of every line have been built.
    """
    from ifedpriv.experiment.curve.bench import Bench
    from ifedpriv.experiment.curve.folder import CurveFolder
    from ifedpriv.experiment.run import run_folder

    path = run_folder(out, f"{config.name}-curve")
    bench = Bench(config, _attack(config))
    bench.check()
    return _finish(config, CurveFolder.create(path, config), bench)


def resume_curve(path: Path, config: CurveConfig | None = None) -> tuple[Curve, CurveFolder]:
    """Go on with a curve; one of another configuration than ``config`` is refused."""
    from ifedpriv.experiment.curve.bench import Bench
    from ifedpriv.experiment.curve.folder import CurveFolder

    folder = CurveFolder.open(path)
    begun = folder.config()
    if config is not None and config.digest() != begun.digest():
        raise UserError(
            f"{path} is a curve of another configuration",
            "leave the configuration out, or give another folder",
        )
    return _finish(begun if config is None else config, folder, Bench(begun, _attack(begun)))


def _attack(config: CurveConfig) -> Attack | None:
    """The attack on a private run's vectors, where one is asked for."""
    if not config.attack:
        return None
    from attacks._judging.released_vectors import attack_release

    return attack_release


def _finish(config: CurveConfig, folder: CurveFolder, bench: Bench) -> tuple[Curve, CurveFolder]:
    from ifedpriv.experiment.curve.keys import Key
    from ifedpriv.experiment.curve.summary import build_curve
    from ifedpriv.experiment.curve.workers import measure_all
    from ifedpriv.experiment.rundir import write_whole
    from ifedpriv.report import curve_plot
    from ifedpriv.report.curve import to_csv

    keys = config.all_keys()
    found = folder.load(config)
    left = [key for key in keys if key not in found]
    with Stages() as stages:
        stages.show("points", len(found), len(keys))
        for line in measure_all(config, left, config.workers or os.cpu_count() or 1, bench):
            folder.append(line)
            found[Key.of(line)] = line
            stages.show("points", len(found), len(keys))
    curve = build_curve(config, found)
    write_whole(folder.path / "curve.csv", to_csv(curve))
    write_whole(folder.path / "curve.json", curve.dumps())
    for kind in curve_plot.KINDS:
        target = folder.path / f"curve.{kind}"
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(curve_plot.draw(curve, kind))
        partial.replace(target)
    return curve, folder
