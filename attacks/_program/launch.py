"""From an argument list to an exit code: open the recording, guess, judge, print.

The invariant: a script, ``python -m`` and `ifedpriv attack` run the very same module under its own name, and private
texts are printed only when they are asked for.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import attacks
import ifedpriv
from attacks import ATTACKS, SCRIPTS
from attacks._base.defaults import FEWEST_SHADOWS, SHADOWS
from ifedpriv.errors import InputError, UserError, writing

if TYPE_CHECKING:
    from attacks._base.attack import Attack, Guess, Progress, Scope
    from attacks._base.shelf import Shelf
    from attacks._judging.finding import Finding
    from attacks._judging.score import Subject, Wishes
    from attacks._readings.readings import Reading
    from defenses.upload import UploadKind

LEAKS = 3
"""Exit code where ``--fail-on-leak`` is given and a verdict is *works* or *severe*."""


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Run an attack's script: hands over to `ifedpriv attack NAME`, so that there is one program.

    Raises:
        SystemExit: the script started is not the file of the module that would run.
    """
    from ifedpriv.commands import main as program

    started = getattr(sys.modules["__main__"], "__file__", None)
    module = import_module(SCRIPTS[name])
    if (
        started
        and Path(started).name == f"{name}.py"
        and Path(started).resolve() != Path(str(module.__file__)).resolve()
    ):
        print(
            f"ifedpriv: error: {started} was started, and the attack that is installed is {module.__file__}\n"
            f"ifedpriv: hint: install this checkout (pip install -e .), or say ifedpriv attack {name}",
            file=sys.stderr,
        )
        return 2
    return program(["attack", name, *(sys.argv[1:] if argv is None else argv)])


def check_home() -> None:
    """Refuse a stranger's package of our name.

    Raises:
        UserError: ``attacks`` does not lie beside ``ifedpriv``.
    """
    ours, found = (
        Path(str(ifedpriv.__file__)).resolve().parents[1],
        Path(str(attacks.__file__)).resolve().parents[1],
    )
    if ours != found:
        raise UserError(
            f"the package attacks was found in {found}, and ifedpriv is in {ours}",
            "leave the folder that holds the other one, or take it off PYTHONPATH",
        )


def add_known_texts(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which texts an attacker has, public ones and candidates."""
    parser.add_argument(
        "--public", type=Path, metavar="FILE", help="JSON Lines of texts that are no client's"
    )
    parser.add_argument("--pool-file", type=Path, metavar="FILE", help="JSON Lines of candidates")
    parser.add_argument(
        "--pool",
        type=int,
        default=2000,
        metavar="N",
        help="candidates of a drawn pool (default: 2000); more for a run with more than half as many examples",
    )
    parser.add_argument(
        "--covered",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the true texts in it (default: 1)",
    )


def add_shadows(parser: argparse.ArgumentParser) -> None:
    """How many shadows an attack on members compares with."""
    parser.add_argument(
        "--shadows",
        type=int,
        default=SHADOWS,
        metavar="N",
        help=f"membership, coefficients: shadows to compare with (default: {SHADOWS})",
    )


def add_inverters(parser: argparse.ArgumentParser, default: str) -> None:
    """Where trained inverters lie; ``default`` is what happens without."""
    parser.add_argument(
        "--inverters",
        type=Path,
        metavar="FOLDER",
        help=f"invert by trained: take inverters from there, and keep those trained there (default: {default})",
    )


def add_colluding(parser: argparse.ArgumentParser) -> None:
    """Who tells the server what it has uploaded."""
    parser.add_argument(
        "--colluding",
        metavar="N,N",
        help="clients who tell the server their own uploads and texts, which are then taken off every sum of vectors",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that every attack takes."""
    parser.add_argument(
        "target",
        nargs="?",
        type=Path,
        metavar="RUN_OR_VIEW",
        help="a run's folder, or the bare folder of a recording (default: a small run made for the purpose)",
    )
    parser.add_argument(
        "--config", type=Path, help="for a bare recording: the configuration of its model and task"
    )
    add_known_texts(parser)
    parser.add_argument(
        "--noise",
        type=float,
        metavar="STD",
        help="declared noise in each number that the server reads"
        " (default: what a private run's configuration declares, number by number; else none)",
    )
    parser.add_argument(
        "--clip",
        type=float,
        metavar="NORM",
        help="declared clip of each example's activations (default: likewise); either of the two takes the place of"
        " all that the configuration declares",
    )
    parser.add_argument(
        "--methods",
        metavar="NAMES",
        help="invert: which methods, with commas: unmix, probe, slots, corpus, search, soft, trained"
        " (default: the first four)",
    )
    add_inverters(parser, "train anew, and keep none")
    parser.add_argument(
        "--strong",
        action="store_true",
        help="membership: also as an adversary who is told all examples but one",
    )
    add_shadows(parser)
    add_colluding(parser)
    parser.add_argument(
        "--layers",
        metavar="N,N-N",
        help="read these layers alone, as if no other were uploaded (default: all)",
    )
    parser.add_argument(
        "--branch",
        choices=("attention", "mlp", "both"),
        default="both",
        help="read this branch of each layer alone (default: both)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    parser.add_argument("--json", action="store_true", help="print findings and guesses as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there, too")
    parser.add_argument("--reveal", action="store_true", help="show guessed texts instead of their hashes")
    parser.add_argument(
        "--fail-on-leak", action="store_true", help=f"exit with {LEAKS} if any verdict is works or severe"
    )


def run(name: str, options: argparse.Namespace) -> int:
    """Run an attack on what the options name; returns the exit code."""
    from attacks._program.answers import to_json
    from attacks._program.small_run import both_ways
    from attacks._program.table import render
    from ifedpriv.commands.console import Stages, print_json, say

    check_home()
    if options.pool < 2:
        raise InputError(f"--pool is {options.pool}", "give 2 or more candidates; a claim needs 1000")
    check_noise(options.noise)
    if options.clip is not None and not (math.isfinite(options.clip) and options.clip > 0):
        raise InputError(f"--clip is {options.clip}", "give a norm above 0, or leave it out")
    if options.shadows < FEWEST_SHADOWS:
        raise InputError(f"--shadows is {options.shadows}", f"give {FEWEST_SHADOWS} or more")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ifedpriv-attack-")))
        with Stages() as stages:
            if options.target is not None:
                made = attack(name, options.target, options, folder, stages.show)
                result, findings = to_json(made, reveal=options.reveal), made.findings
            else:
                result, findings = both_ways(name, options, folder, stages.show)
    if options.out is not None:
        write_out(options.out, json.dumps(result, indent=1) + "\n")
    if options.json:
        print_json(result)
    else:
        say("\n\n".join(render(each) for each in (result, result.get("defended")) if each))
    leaks = any(finding.verdict is not None and finding.verdict.leaks for finding in findings)
    return LEAKS if options.fail_on_leak and leaks else 0


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """What an attack made of a recording.

    Attributes:
        readings: what was attacked.
        guesses: of each reading.
        findings: of all of them.
    """

    readings: tuple[Reading, ...]
    guesses: tuple[tuple[Guess, ...], ...]
    findings: tuple[Finding, ...] = field(default=())


def attack(name: str, path: Path, options: argparse.Namespace, folder: Path, progress: Progress) -> Attacked:
    """Guess and judge, and do so once more on a recording with random vectors in place of the real ones."""
    from attacks._base.attack import reads_of
    from attacks._base.sites import sites
    from attacks._judging.score import open_subject

    module: Attack = import_module(ATTACKS[name])
    wishes = replace(
        wishes_of(options),
        strong=options.strong,
        shadows=options.shadows,
        methods=methods_of(module, options.methods),
    )
    subject = open_subject(path, wishes, progress)
    chosen = sites(options.layers, options.branch, subject.backbone.n_layers)
    subject = replace(subject, knowledge=replace(subject.knowledge, sites=chosen, shelf=shelf_of(options)))
    readings = read_back(subject, path, options, folder, reads=reads_of(module))
    made = [
        guess_and_judge(module, reading.subject, reading.scopes, folder / f"random{number}")
        for number, reading in enumerate(readings)
    ]
    return Attacked(
        readings, tuple(guesses for guesses, _ in made), tuple(f for _, findings in made for f in findings)
    )


def read_back(
    subject: Subject,
    path: Path,
    options: argparse.Namespace,
    folder: Path,
    *,
    reads: UploadKind | None,
) -> tuple[Reading, ...]:
    """What of a recording is attacked, as a private run's configuration lets anybody read it, or as the options say."""
    from attacks._readings.colluders import numbers_of
    from attacks._readings.readings import readings_of
    from ifedpriv.config import load_config

    is_run = (path / "config.yaml").is_file()
    config = (
        load_config(path / "config.yaml" if is_run else options.config) if is_run or options.config else None
    )
    if config is not None and not is_run and config.defense != subject.view.facts.defense:
        # Given for model and task alone.
        config = None
    given = subject.knowledge.declared if options.noise is not None or options.clip is not None else None
    return readings_of(
        subject,
        config,
        folder,
        declared=given,
        strong=options.strong,
        clients=numbers_of(options.colluding),
        reads=reads,
    )


def check_noise(noise: float | None) -> None:
    """Refuse what is no standard deviation."""
    if noise is not None and not (math.isfinite(noise) and noise >= 0):
        raise InputError(f"--noise is {noise}", "give a standard deviation, 0 for none")


def shelf_of(options: argparse.Namespace) -> Shelf | None:
    """The folder that ``--inverters`` names."""
    from attacks._program.shelf import FolderShelf

    return FolderShelf(options.inverters) if options.inverters is not None else None


def wishes_of(options: argparse.Namespace) -> Wishes:
    """What the arguments that every attack takes ask for."""
    from attacks._base.declared import Declared
    from attacks._judging.score import Wishes

    return Wishes(
        config=options.config,
        public=options.public,
        pool_file=options.pool_file,
        pool=options.pool,
        covered=options.covered,
        declared=Declared(options.noise or 0.0, options.clip),
        seed=options.seed,
    )


def guess_and_judge(
    module: Attack, subject: Subject, scopes: Sequence[Scope], folder: Path
) -> tuple[tuple[Guess, ...], tuple[Finding, ...]]:
    """The guesses of some scopes, judged with those on a recording of random vectors beside them."""
    from attacks._base.attack import reads_of
    from attacks._base.targets import read_targets
    from attacks._judging.controls import random_knowledge, random_view
    from attacks._judging.judge import score
    from attacks._judging.random_gradients import random_gradients_view
    from attacks._judging.random_moves import random_moves_view
    from defenses.upload import UploadKind

    made = module.guess(subject.view, subject.backbone, subject.knowledge)
    random: tuple[Guess, ...] = ()
    if subject.truth is not None and subject.knowledge.public and any(guess.answers for guess in made):
        # Whatever kind of upload an attack reads is what is drawn anew.
        draw = random_view
        if reads_of(module) is UploadKind.COEFFICIENTS:
            draw = random_gradients_view if subject.knowledge.declared.gradients else random_moves_view
        control = draw(subject.view, subject.backbone, subject.knowledge, folder)
        drawn = random_knowledge(subject.knowledge, subject.view, control, subject.backbone)
        random = module.guess(control, subject.backbone, drawn)
    targets = {found.scope: found.targets for found in read_targets(subject.view, subject.backbone)}
    guesses = tuple(guess for guess in made if guess.scope in scopes)
    return guesses, score(subject, guesses, targets, random)


def methods_of(module: Attack, wanted: str | None) -> tuple[str, ...]:
    """The methods that ``--methods`` names; none for an attack's default."""
    if wanted is None:
        return ()
    known: tuple[str, ...] = getattr(module, "METHODS", ())
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    strange = [name for name in names if name not in known]
    if strange:
        raise InputError(
            f"--methods names {strange[0]!r}, which attack {module.NAME} has not",
            f"choose among {', '.join(known)}"
            if known
            else "leave --methods out; it has no choice of methods",
        )
    return names


def write_out(path: Path, text: str) -> None:
    """Write a result to the file that ``--out`` names."""
    with writing(f"--out {path}", "give a file you may write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
