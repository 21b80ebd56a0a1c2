"""Try everything on a run that can be tried, and report what leaks and whether its bound holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ifedpriv.commands.console import Stages, print_json, say
from ifedpriv.errors import UserError, writing

_CODES = """exit codes:
  0   done; with --fail-above, no attack reaches that level
  2   a mistake in what was given, told in one sentence
  3   with --fail-above: an attack reaches that level
  4   the declared bound is violated
  5   the audit cannot say: the declared bound could not be tested far enough to refute it,
      or with --fail-above no attack could be run
  Of 4, 3 and 5 the first that applies is given. What could not be run is never counted as withstood.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv audit`."""
    from attacks._base.defaults import ALPHA, ONE_RUN_CANARIES, TRIALS
    from attacks._program.launch import add_colluding, add_inverters, add_known_texts, add_shadows
    from attacks._whole_run.request import WITHHELD

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _CODES
    parser.add_argument("target", type=Path, metavar="RUN_OR_VIEW", help="a run's folder, or a recording's")
    parser.add_argument(
        "--config", type=Path, help="for a bare recording: the configuration of the run that was recorded"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the report goes (default: the run's folder)"
    )
    parser.add_argument(
        "--fail-above",
        choices=("works", "severe"),
        metavar="LEVEL",
        help="works or severe: exit with 3 if any attack reaches this verdict",
    )
    parser.add_argument("--json", action="store_true", help="print audit_report.json instead of a table")
    parser.add_argument(
        "--reveal", action="store_true", help="show guessed and true texts instead of their hashes"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=WITHHELD,
        help="an attacker who lacks this; may be given again (others: all examples but one)",
    )
    add_colluding(parser)
    add_known_texts(parser)
    parser.add_argument(
        "--trials", type=int, default=TRIALS, help=f"of the mechanism, a side and canary (default: {TRIALS})"
    )
    parser.add_argument(
        "--one-run",
        type=int,
        default=ONE_RUN_CANARIES,
        metavar="N",
        help="canaries of the single run; 0 for none",
    )
    parser.add_argument(
        "--alpha", type=float, default=ALPHA, help=f"level of the bound's verdict (default: {ALPHA})"
    )
    add_shadows(parser)
    add_inverters(parser, "do not try trained")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from attacks._readings.colluders import numbers_of
    from attacks._whole_run.request import Request

    names = (
        "target",
        "config",
        "public",
        "pool_file",
        "pool",
        "covered",
        "trials",
        "one_run",
        "alpha",
        "shadows",
        "inverters",
        "seed",
    )
    request = Request(
        **{name: getattr(options, name) for name in names},
        without=tuple(sorted(set(options.without))),
        colluding=numbers_of(options.colluding),
        reveal=options.reveal,
    )
    if options.out is None and not request.is_run:
        raise UserError(
            "there is no folder for the report", "name one with --out; a recording is left as it is"
        )

    from attacks._program.launch import check_home
    from attacks._whole_run.document import exit_code, make
    from ifedpriv.report.audit import table

    check_home()
    out: Path = options.out or request.target
    with Stages() as stages:
        document = make(request, out / "audit_pieces", stages.show)
    written = write(document, out)
    if options.json:
        print_json(document)
    else:
        say(table.render(document))
        say(f"Report: {written / 'audit_report.html'} (and .md, .json)")
    return exit_code(document, options.fail_above)


def write(document: dict[str, Any], out: Path) -> Path:
    """The three files of an audit; returns their folder."""
    from ifedpriv.experiment.rundir import write_whole
    from ifedpriv.report.audit import markdown, page

    with writing(f"--out {out}", "give a folder that you may write"):
        write_whole(out / "audit_report.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
        write_whole(out / "audit_report.md", markdown.render(document))
        write_whole(out / "audit_report.html", page.render(document))
    return out
