"""From some recordings to a verdict on what their sums isolate, with the other attacks' scores on what is isolated.

The invariant: the verdict is the algebra's; what other attacks read off an isolated vector stands beside it and does
not change it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifedpriv.errors import InputError

if TYPE_CHECKING:
    from attacks._base.attack import Progress
    from attacks._differences.isolated import Differences
    from attacks._judging.score import Subject

READERS = ("labels", "attributes", "invert", "membership")
"""Attacks that are tried on what is isolated, unless others are asked for."""
MOST = 40
ANEW = "their values are computed anew in each round, so two sums differ in more than who is in them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of diff beside those that every attack takes."""
    group = parser.add_argument_group("diff")
    group.add_argument(
        "more",
        nargs="*",
        type=Path,
        metavar="MORE",
        help="further recordings of the same federation, in order of time",
    )
    group.add_argument(
        "--min-clients",
        type=int,
        metavar="N",
        help="the fewest clients that a sum is to hide one among (default: what the recorded defense declares, or 3)",
    )
    group.add_argument(
        "--read-with",
        action="append",
        choices=READERS,
        help="try this attack on what is isolated; may be given again (default: all)",
    )
    group.add_argument("--algebra", action="store_true", help="say what is isolated, and read none of it")


def run(options: argparse.Namespace) -> int:
    """Run the attack; returns the exit code."""
    from attacks._program.diff_subject import small_runs
    from attacks._program.diff_table import render
    from attacks._program.launch import LEAKS, check_home, check_noise, write_out
    from ifedpriv.commands.console import Stages, print_json, say

    check_home()
    if options.min_clients is not None and options.min_clients < 2:
        raise InputError(f"--min-clients is {options.min_clients}", "give 2 or more")
    if options.strong:
        raise InputError("--strong is given to diff, whose adversary knows no other examples", "leave it out")
    check_noise(options.noise)
    with tempfile.TemporaryDirectory(prefix="ifedpriv-diff-") as made, Stages() as stages:
        folder = Path(made)
        paths = [options.target, *options.more] if options.target else small_runs(folder, stages.show)
        document = found(paths, options, folder, stages.show)
    if options.out is not None:
        write_out(options.out, json.dumps(document, indent=1) + "\n")
    if options.json:
        print_json(document)
    else:
        say(render(document))
    leaks = document["verdict"] in ("works", "severe") or any(
        finding["verdict"] in ("works", "severe") for each in document["read"] for finding in each["findings"]
    )
    return LEAKS if options.fail_on_leak and leaks else 0


def found(
    paths: Sequence[Path], options: argparse.Namespace, folder: Path, progress: Progress
) -> dict[str, Any]:
    """The whole result as plain data.

    Args:
        paths: runs or bare recordings.
        options: of the command line.
        folder: an empty one, for recordings that are made.
        progress: told of progress.
    """
    from attacks._base.declared import Declared
    from attacks._base.sites import sites
    from attacks._judging.score import open_subject
    from attacks._program.answers import shows
    from attacks._program.diff_subject import remarks
    from attacks._program.launch import wishes_of
    from attacks._readings.colluders import colluding, numbers_of, setup_of

    # Noise reaches the attacks in the variance of each isolated vector; declared too, it would count twice.
    wishes = replace(wishes_of(options), declared=Declared(0.0, options.clip))
    subjects = [open_subject(path, wishes, progress) for path in paths]
    clients = numbers_of(options.colluding)
    subjects = [
        colluding(one, clients, setup_of(path / "config.yaml", one) if clients else None)
        for path, one in zip(paths, subjects, strict=True)
    ]
    chosen = sites(options.layers, options.branch, subjects[0].backbone.n_layers)
    subjects = [replace(one, knowledge=replace(one.knowledge, sites=chosen)) for one in subjects]
    # Noise that is declared by hand stands in place of what a configuration says of a bare recording.
    given = options.config if options.noise is None else None
    configs = [path / "config.yaml" if (path / "config.yaml").is_file() else given for path in paths]
    document = looked_at(
        subjects,
        configs,
        minimum=options.min_clients,
        noise=options.noise or 0.0,
        readers=() if options.algebra else options.read_with or READERS,
        folder=folder,
        shown=shows(options.reveal),
        progress=progress,
    )
    return {**document, "remarks": remarks(paths), "revealed": options.reveal}


def looked_at(
    subjects: Sequence[Subject],
    configs: Sequence[Path | None],
    *,
    minimum: int | None = None,
    noise: float = 0.0,
    readers: Sequence[str] = READERS,
    folder: Path,
    shown: Callable[[str], str],
    progress: Progress,
) -> dict[str, Any]:
    """What the sums of opened recordings isolate, and what other attacks read off it.

    Args:
        subjects: the recordings; no noise is declared in what is known of them.
        configs: of each the configuration that says how a private run's whole numbers are read; None for none.
        minimum: the fewest clients that a sum is to hide one among; None for what the recordings declare.
        noise: declared standard deviation in each number of a released mean.
        readers: attacks that are tried on what is isolated.
        folder: an empty one, for recordings that are made.
        shown: what stands for a text.
        progress: told of progress.
    """
    from attacks._program.diff_read import read_with, told, truth_of
    from attacks._program.diff_subject import private_reader
    from attacks.diff import NAME, diff

    views = [subject.view for subject in subjects]
    minimum = minimum or max(getattr(view.facts.defense, "min_clients", 3) for view in views)
    privates = [private_reader(path, subject) for path, subject in zip(configs, subjects, strict=True)]
    cannot = next((subject.knowledge.cannot for subject in subjects if subject.knowledge.cannot), "")
    told_by = [subject.told for subject in subjects]
    made, why = diff([] if cannot else views, subjects[0].backbone, minimum, privates, noise, told_by)
    verdict, because = verdict_of(made, minimum)
    if cannot:
        because, why = cannot, (cannot,) * len(views)
    told_off = sorted({client for one in made.sums for client in one.colluding})
    if told_off:
        because += f"; what clients {', '.join(map(str, told_off))} have told is taken off every sum"
    isolated = [told(each, truth_of(each, made.sums, subjects), subjects) for each in made.found]
    read: list[dict[str, Any]] = []
    left = ""
    if readers:
        for scope, vectors in (
            ("isolated by combinations of sums", made.found),
            ("single sums of one round", made.groups),
        ):
            if len(vectors) > MOST:
                left = f"{len(vectors) - MOST} of {len(vectors)} vectors were isolated and not read"
            read += read_with(
                scope,
                vectors[:MOST],
                made.sums,
                subjects,
                readers,
                folder,
                shown,
                progress,
            )
    return {
        "schema": 1,
        "attack": NAME,
        "recordings": [
            {
                "defense": view.facts.defense.kind,
                "sums": [
                    {
                        "round": one.round,
                        "clients": list(one.clients),
                        "colluding": list(one.colluding),
                        "weight": one.weight,
                    }
                    for one in made.sums
                    if one.recording == number
                ],
                "refused": reason,
                "lacks": subject.lacks,
            }
            for number, (subject, view, reason) in enumerate(zip(subjects, views, why, strict=True))
        ],
        "minimum": minimum,
        "rank": made.isolation.rank,
        "smallest": list(made.isolation.smallest.numbers) if made.isolation.smallest else [],
        "complete": made.isolation.complete,
        "changed": made.changed,
        "isolated": isolated,
        "not_evaluable": [*made.refused, *_other_rounds(subjects), *([left] if left else [])],
        "verdict": verdict,
        "why": because,
        "scored": all(subject.truth is not None for subject in subjects),
        "read": read,
    }


def verdict_of(made: Differences, minimum: int) -> tuple[str, str]:
    """What the algebra amounts to, before anything is read: the verdict and a sentence."""
    from attacks._differences.isolated import Kind
    from attacks._judging.finding import Verdict

    singles = [each for each in made.found if each.kind is Kind.CLIENT]
    changes = [each for each in made.found if each.kind in (Kind.NEW, Kind.GONE)]
    owned = [each for each in changes if len(each.clients) == 1]
    sets = [each for each in made.found if each.kind is Kind.SET]
    if not made.sums:
        return str(Verdict.NOT_EVALUABLE), "there is no sum of context vectors to subtract"
    if singles or owned:
        said = []
        if singles:
            said.append(f"{len(singles)} clients are isolated one by one")
        if owned:
            said.append(f"what came or left is isolated in {len(owned)} clients' data")
        return str(Verdict.SEVERE), " and ".join(said)
    if sets:
        return str(Verdict.WORKS), f"{len(sets[0].clients)} clients are isolated, fewer than {minimum}"
    if changes:
        number = min(each.examples or 1 for each in changes)
        return (
            str(Verdict.WORKS),
            f"{number} examples that came or left are isolated, of clients among {len(changes[0].clients)}",
        )
    if all(len(one.clients) == 1 for one in made.sums):
        return str(
            Verdict.NOT_EVALUABLE
        ), "the server reads single uploads, and no second one of any client differs"
    if made.changed or made.refused:
        return str(Verdict.INCONCLUSIVE), made.refused[
            0
        ] if made.refused else "data have changed between recordings"
    if not made.isolation.complete:
        return str(
            Verdict.INCONCLUSIVE
        ), f"there are too many sets below {minimum} clients to look at them all"
    if len(made.sums) == 1:
        return str(Verdict.NOT_EVALUABLE), (
            f"there is one sum, over {len(made.sums[0].clients)} clients, and no second one to subtract"
        )
    smallest = made.isolation.smallest
    assert smallest is not None
    return str(Verdict.RESISTED), (
        f"no combination of {len(made.sums)} sums depends on fewer than {min(minimum, len(smallest.clients))} clients"
        if len(smallest.clients) <= minimum
        else f"no combination of {len(made.sums)} sums depends on fewer than {len(smallest.clients)} clients, "
        f"and {minimum} are asked for"
    )


def _other_rounds(subjects: Sequence[Subject]) -> list[str]:
    """What else was summed, and why differences of it are not read."""
    from defenses.upload import UploadKind

    counts = Counter(
        entry.kind
        for subject in subjects
        for entry in subject.view.facts.rounds
        if entry.kind is not UploadKind.VECTOR
    )
    return [f"{number} rounds of {kind}: {ANEW}" for kind, number in sorted(counts.items())]
