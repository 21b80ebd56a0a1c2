"""From some recordings to a verdict on what their sums isolate, with the other attacks' scores on what is isolated.

The invariant: what an attack reads here is a recording made of isolated vectors alone, and the truth that it is judged
by is worked out by the same combination, from the examples behind each sum.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import math
import secrets
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifedpriv.errors import InputError

if TYPE_CHECKING:
    from attacks._base.attack import Attack, Finding, Guess, Progress
    from attacks._differences.sums import Difference, Differences, Private, Sum
    from attacks._judging.score import Subject
    from ifedpriv.data.task import Example

READERS = ("labels", "attributes", "invert", "membership")
"""Attacks that are tried on what is isolated, unless others are asked for."""
_MISSING = (0.0, 0.1, 0.25)
"""Failure rates of the small runs: with their seed nobody, one of 12 clients and two are missing."""
MOST = 40
FIRST_NUMBER = 1_000_000
"""Numbers under which vectors are recorded that are not one client's."""
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
    from attacks._program.diff_table import render
    from attacks._program.launch import LEAKS, check_home, write_out
    from ifedpriv.commands.console import Stages, print_json, say

    check_home()
    if options.min_clients is not None and options.min_clients < 2:
        raise InputError(f"--min-clients is {options.min_clients}", "give 2 or more")
    if options.strong:
        raise InputError("--strong is given to diff, whose adversary knows no other examples", "leave it out")
    if not (math.isfinite(options.noise) and options.noise >= 0):
        raise InputError(f"--noise is {options.noise}", "give a standard deviation, 0 for none")
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
    from attacks._base.attack import Declared
    from attacks._judging.score import Wishes, open_subject
    from attacks._program.launch import sites
    from attacks.diff import NAME, diff

    wishes = Wishes(
        config=options.config,
        public=options.public,
        pool_file=options.pool_file,
        pool=options.pool,
        covered=options.covered,
        declared=Declared(0.0, options.clip),
        seed=options.seed,
    )
    subjects = [open_subject(path, wishes, progress) for path in paths]
    chosen = sites(options.layers, options.branch, subjects[0].backbone.n_layers)
    subjects = [replace(one, knowledge=replace(one.knowledge, sites=chosen)) for one in subjects]
    views = [subject.view for subject in subjects]
    minimum = options.min_clients or max(getattr(view.facts.defense, "min_clients", 3) for view in views)
    privates = [private_reader(path, subject) for path, subject in zip(paths, subjects, strict=True)]
    made, why = diff(views, subjects[0].backbone, minimum, privates, options.noise)
    key = secrets.token_bytes(16)

    def shown(text: str) -> str:
        return text if options.reveal else hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:12]

    verdict, because = verdict_of(made, minimum)
    isolated = [_told(each, truth_of(each, made.sums, subjects), subjects) for each in made.found]
    read: list[dict[str, Any]] = []
    left = ""
    if not options.algebra:
        for scope, vectors in (
            ("isolated by combinations of sums", made.found),
            ("single sums of one round", made.groups),
        ):
            if len(vectors) > MOST:
                left = f"{len(vectors) - MOST} of {len(vectors)} vectors were isolated and not read"
            read += _read(scope, vectors[:MOST], made.sums, subjects, options, folder, shown, progress)
    return {
        "schema": 1,
        "attack": NAME,
        "recordings": [
            {
                "defense": view.facts.defense.kind,
                "sums": [
                    {"round": one.round, "clients": list(one.clients), "weight": one.weight}
                    for one in made.sums
                    if one.recording == number
                ],
                "refused": reason,
            }
            for number, (view, reason) in enumerate(zip(views, why, strict=True))
        ],
        "minimum": minimum,
        "rank": made.isolation.rank,
        "smallest": list(made.isolation.smallest.numbers) if made.isolation.smallest else [],
        "complete": made.isolation.complete,
        "changed": made.changed,
        "isolated": isolated,
        "not_evaluable": [*made.refused, *_other_rounds(subjects), *([left] if left else [])],
        "remarks": _remarks(paths),
        "verdict": verdict,
        "why": because,
        "scored": all(subject.truth is not None for subject in subjects),
        "revealed": options.reveal,
        "read": read,
    }


def verdict_of(made: Differences, minimum: int) -> tuple[str, str]:
    """What the algebra amounts to, before anything is read: the verdict and a sentence."""
    from attacks._base.attack import Verdict
    from attacks._differences.sums import Kind

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


def _remarks(paths: Sequence[Path]) -> list[str]:
    """Where simulated randomness makes a difference more exact than it would be in a deployment."""
    from ifedpriv.config import load_config

    configs = [load_config(path / "config.yaml") for path in paths if (path / "config.yaml").is_file()]
    seeds = [config.seed for config in configs if config.simulation]
    if len(set(seeds)) == len(seeds):
        return []
    return [
        "these runs are simulations that drew their noise and rounding from one seed: what they share of it cancels "
        "here, and would not in a deployment"
    ]


def private_reader(path: Path, subject: Subject) -> Private | None:
    """How the whole numbers of a private run are read, from the clip and the steps in its configuration."""
    from attacks._whole_run.subject import in_numbers, vector_of
    from defenses.dp.release import ARRAY, Bounded
    from defenses.frame import DecodedFrame
    from defenses.upload import UploadKind
    from ifedpriv.config import load_config
    from ifedpriv.experiment.prepare import prepare

    if subject.view.facts.defense.privacy is None or not (path / "config.yaml").is_file():
        return None
    setup = prepare(load_config(path / "config.yaml"), backbone=subject.backbone)
    asked = dict(setup.method.asks(number) for number in range(setup.method.rounds))
    if UploadKind.VECTOR not in asked:
        return None
    release = setup.defense.release(UploadKind.VECTOR, asked[UploadKind.VECTOR])
    if not isinstance(release, Bounded):
        return None
    rosters = {entry.number: len(entry.roster) for entry in subject.view.facts.rounds}

    def reader(frame: DecodedFrame, clients: int) -> Any:
        if ARRAY not in frame.upload.arrays:
            return None
        roster = rosters[frame.upload.round]
        vector, units = vector_of(frame.upload.arrays[ARRAY].astype("float64") * clients, release, roster)
        steps = release.deviation(release.lattice(roster), clients)
        return vector, units, in_numbers(steps, units, release, roster)

    return reader


# ---- the truth, worked out by the same combination


def truth_of(
    each: Difference, sums: Sequence[Sum], subjects: Sequence[Subject]
) -> tuple[Example, ...] | None:
    """The examples behind a difference; None where nobody knows them here, or where it is no sum of examples."""
    from attacks._judging.score import key_of

    parts = [(factor, one) for factor, one in zip(each.combination.factors, sums, strict=True) if factor]
    by_key: dict[tuple[str, int, str], Example] = {}
    if any(subjects[one.recording].truth is None for _, one in parts):
        return None
    if any(one.counted for _, one in parts):
        counts: dict[tuple[str, int, str], Fraction] = {}
        for factor, one in parts:
            for client in one.clients:
                for example in (subjects[one.recording].truth or {}).get(client, ()):
                    by_key[key_of(example)] = example
                    counts[key_of(example)] = counts.get(key_of(example), Fraction()) + factor
        if any(count < 0 or count.denominator != 1 for count in counts.values()):
            return None
        return tuple(by_key[key] for key, count in counts.items() for _ in range(int(count)))
    found: list[Example] = []
    for client in each.clients:
        held = [
            tuple((subjects[one.recording].truth or {}).get(client, ()))
            for _, one in parts
            if client in one.clients
        ]
        if any(Counter(map(key_of, one)) != Counter(map(key_of, held[0])) for one in held):
            return None
        found += held[0]
    return tuple(found)


def _told(each: Difference, truth: tuple[Example, ...] | None, subjects: Sequence[Subject]) -> dict[str, Any]:
    """A difference as plain data, with how far it is from the truth in units of its error."""
    import numpy as np

    from attacks._differences.sums import Kind

    deviation = None
    if truth and each.kind is not Kind.SET:
        from attacks._base.attack import Sites
        from attacks._base.space import read

        knowledge = replace(subjects[0].knowledge, sites=Sites())
        mean = read(subjects[0].backbone, knowledge, truth, "checking what is isolated").mean(
            axis=0, dtype=np.float64
        )
        deviation = float(np.mean((each.vector - mean) ** 2 / each.variance))
    return {
        "kind": str(each.kind),
        "who": str(each),
        "clients": list(each.clients),
        "combination": str(each.combination),
        "examples": each.examples,
        "noise": each.noise,
        "error": float(np.sqrt(np.mean(each.variance))),
        "squared_deviation_from_truth": deviation,
    }


# ---- the other attacks, on what is isolated


def _read(
    scope: str,
    vectors: Sequence[Difference],
    sums: Sequence[Sum],
    subjects: Sequence[Subject],
    options: argparse.Namespace,
    folder: Path,
    shown: Any,
    progress: Progress,
) -> list[dict[str, Any]]:
    from attacks import ATTACKS
    from attacks._base.attack import Scope
    from attacks._base.targets import read_targets
    from attacks._judging.controls import random_view
    from attacks._judging.judge import curves_of, score
    from attacks._program.launch import finding_to_json, guess_to_json

    if not vectors:
        return []
    numbers = _numbers(vectors)
    names = {f"client {number}": str(each) for number, each in zip(numbers, vectors, strict=True)}
    truths = [truth_of(each, sums, subjects) for each in vectors]
    known = all(truths)
    # The pool around the recording with most examples holds those of the others, where data have only grown.
    base = max(subjects, key=lambda s: sum(map(len, (s.truth or {}).values())))
    own = write_vectors(folder / f"vectors {scope}", base, vectors, numbers)
    truth = {n: held for n, held in zip(numbers, truths, strict=True) if held} if known else None
    why = "" if known else "whose examples are behind an isolated vector is not known here"
    subject = replace(
        base, view=own, truth=truth, why_no_truth=why, knowledge=replace(base.knowledge, others={})
    )
    result = []
    for name in options.read_with or READERS:
        module: Attack = import_module(ATTACKS[name])
        made = module.guess(subject.view, subject.backbone, subject.knowledge)
        random: tuple[Guess, ...] = ()
        if known and subject.knowledge.public and any(guess.answers for guess in made):
            control = random_view(
                subject.view, subject.backbone, subject.knowledge, folder / f"{name} {scope}"
            )
            random = module.guess(control, subject.backbone, subject.knowledge)
        kept = tuple(guess for guess in made if guess.scope is Scope.UPLOADS)
        targets = {found.scope: found.targets for found in read_targets(subject.view, subject.backbone)}
        findings: tuple[Finding, ...] = score(subject, kept, targets, random)
        result.append(
            {
                "attack": name,
                "scope": scope,
                "findings": [
                    {
                        **finding_to_json(finding),
                        "scope": scope,
                        "by_vector": {names.get(who, who): value for who, value in finding.by_vector},
                    }
                    for finding in findings
                ],
                "curves": [{**curve, "scope": scope} for curve in curves_of(subject, kept)],
                "guesses": [_renamed(guess_to_json(guess, subject, shown), names, scope) for guess in kept],
            }
        )
        progress(f"reading what is {scope}", len(result), len(options.read_with or READERS))
    return result


def _numbers(vectors: Sequence[Difference]) -> list[int]:
    """A number for each vector: its client's where that is all there is to it."""
    from attacks._differences.sums import Kind

    return [
        each.clients[0] if each.kind is Kind.CLIENT else FIRST_NUMBER + place
        for place, each in enumerate(vectors)
    ]


def _renamed(guess: dict[str, Any], names: Mapping[str, str], scope: str) -> dict[str, Any]:
    answers = [{**answer, "who": names.get(answer["who"], answer["who"])} for answer in guess["answers"]]
    return {**guess, "scope": scope, "answers": answers}


def write_vectors(folder: Path, base: Subject, vectors: Sequence[Difference], numbers: Sequence[int]) -> Any:
    """A recording of isolated vectors, each as if a client had uploaded it, with its error's variance beside it."""
    import numpy as np

    from attacks._base.targets import VARIANCE
    from defenses.codec import Precision
    from defenses.frame import SERVER, encode
    from defenses.session import RoundInfo
    from defenses.specs import ClearSpec, WireSpec
    from defenses.upload import Upload, UploadKind
    from defenses.view import Direction, ServerView, ServerViewWriter

    facts = base.view.facts
    defense = ClearSpec(wire=WireSpec(vector=Precision.FP32))
    with ServerViewWriter.create(folder, backbone=facts.backbone, task=facts.task, defense=defense) as writer:
        for place, (number, each) in enumerate(zip(numbers, vectors, strict=True)):
            arrays = {
                "vector": each.vector.astype(np.float32),
                VARIANCE: each.variance.reshape(-1).astype(np.float32),
            }
            upload = Upload(arrays, float(each.examples or 1), 0, UploadKind.VECTOR)
            if place == 0:
                writer.begin_round(RoundInfo(0, UploadKind.VECTOR, tuple(numbers), upload.layout))
            frame = encode(upload, number, Precision.FP32)
            writer.append(Direction.UP, sender=number, recipient=SERVER, round_number=0, frame=frame)
    return ServerView.open(folder)


def small_runs(folder: Path, progress: Progress) -> list[Path]:
    """Recordings of one federation under secure aggregation, made to be attacked: each lacks one client more."""
    from defenses.view import ServerViewWriter
    from ifedpriv.config import parse_config
    from ifedpriv.experiment.facts import task_hash
    from ifedpriv.experiment.play import federation_of, first_ledger
    from ifedpriv.experiment.prepare import prepare
    from ifedpriv.experiment.rundir import RunDirectory

    paths: list[Path] = []
    backbone = None
    for number, missing in enumerate(_MISSING):
        config = parse_config(
            {
                "name": f"run{number + 1}",
                "data": {"name": "topic", "train": 400, "validation": 8, "test": 32},
                "partition": {"kind": "iid", "clients": 12, "examples_per_client": 8},
                "method": {"guard": False, "calibration": {"rounds": 0}},
                "defense": {"kind": "masked"},
                "cohort": {"failure_rate": missing},
                "evaluation": {"validation_fraction": 0},
            },
            "the small runs",
        )
        setup = prepare(config, backbone=backbone)
        backbone = setup.backbone
        run_folder = RunDirectory.create(folder / f"run{number + 1}", config)
        with ServerViewWriter.create(
            run_folder.view,
            backbone=backbone.fingerprint,
            task=task_hash(setup.data.task),
            defense=config.defense,
        ) as view:
            # What is attacked is the round of vectors; what else a run does is left out.
            federation_of(setup, first_ledger(setup), view).play_round(setup.method.initial_state())
        progress("recording rounds", number + 1, len(_MISSING))
        paths.append(run_folder.path)
    return paths
