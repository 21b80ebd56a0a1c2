"""From a recording to a curve of leakage by layer: table, JSON and figure.

The invariant: every point of a curve has its control, made by the same attacker without the vector, beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifedpriv.errors import InputError

if TYPE_CHECKING:
    from attacks._base.attack import Progress
    from attacks._base.targets import Targets
    from attacks._judging.finding import Finding
    from attacks._judging.score import Subject
    from attacks.layers import Part

METHODS = ("labels", "attributes", "probe", "corpus", "membership")
KINDS = ("svg", "pdf", "png")
MOST = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of layers beside those that every attack takes."""
    group = parser.add_argument_group("layers")
    group.add_argument(
        "--measure",
        action="append",
        choices=METHODS,
        help="measure this alone; may be given again (default: all)",
    )
    group.add_argument(
        "--figure",
        action="append",
        type=Path,
        metavar="FILE",
        help=f"draw the curve there ({', '.join(KINDS)})",
    )
    group.add_argument(
        "--vectors",
        type=int,
        default=MOST,
        metavar="N",
        help=f"the most uploads that are read (default: {MOST})",
    )


def run(options: argparse.Namespace) -> int:
    """Run the attack; returns the exit code."""
    from attacks._program.launch import LEAKS, check_home, write_out
    from attacks._program.small_run import small_run
    from ifedpriv.commands.console import Stages, print_json, say
    from ifedpriv.report.layers_plot import draw

    check_home()
    for path in options.figure or ():
        if path.suffix.lstrip(".") not in KINDS:
            raise InputError(
                f"--figure {path} has no ending that can be drawn", f"use one of {', '.join(KINDS)}"
            )
    if options.vectors < 1:
        raise InputError(f"--vectors is {options.vectors}", "give 1 or more; a claim needs 5")
    if options.layers is not None or options.branch != "both":
        raise InputError(
            "--layers and --branch are given to layers, which goes through all of them", "leave them out"
        )
    with tempfile.TemporaryDirectory(prefix="ifedpriv-layers-") as made, Stages() as stages:
        path = options.target or small_run(Path(made) / "run", {}, (), stages.show)
        document = found(path, options, Path(made) / "readings", stages.show)
    if options.out is not None:
        write_out(options.out, json.dumps(document, indent=1) + "\n")
    for path in options.figure or ():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(document, path.suffix.lstrip(".")))
    if options.json:
        print_json(document)
    else:
        say(render(document))
    leaks = any(
        one["verdict"] in ("works", "severe")
        for part in document["parts"]
        for one in part["measured"].values()
    )
    return LEAKS if options.fail_on_leak and leaks else 0


def found(path: Path, options: argparse.Namespace, folder: Path, progress: Progress) -> dict[str, Any]:
    """Every part of every vector, measured.

    Args:
        path: a run or a bare recording.
        options: of the command line.
        folder: an empty one, for recordings that are made of this one.
        progress: told of progress.
    """
    from attacks._judging.score import open_subject
    from attacks._program.launch import read_back, wishes_of
    from attacks._readings.readings import told_of
    from attacks.layers import MEASURES, NAME, parts_of
    from defenses.upload import UploadKind

    opened = open_subject(path, wishes_of(options), progress)
    # Single uploads first, where there are any.
    reading = read_back(opened, path, options, folder, reads=UploadKind.VECTOR)[0]
    subject = reading.subject
    targets = targets_of(subject, options.vectors)
    names = options.measure or METHODS
    rows = []
    for part, judged in by_part(
        subject, targets, parts_of(subject.backbone.n_layers), names, progress=progress
    ):
        measured = {name: _one([f for f in judged if f.method == name], MEASURES[name][1]) for name in names}
        rows.append(
            {
                "group": part.group,
                "at": part.at,
                "branches": part.sites.branches,
                "layers": list(part.sites.layers) if part.sites.layers is not None else None,
                "measured": measured,
            }
        )
    return {
        "schema": 1,
        "attack": NAME,
        "scope": str(targets.scope),
        "vectors": len(targets.targets),
        "layers": subject.backbone.n_layers,
        "defense": opened.view.facts.defense.kind,
        "declared": told_of([reading]),
        "public_texts": len(subject.knowledge.public),
        "pool": len(subject.knowledge.pool),
        "scored": subject.truth is not None,
        "lacks": subject.lacks,
        "metrics": {name: MEASURES[name][1] for name in names},
        "parts": rows,
    }


def targets_of(subject: Subject, most: int | None) -> Targets:
    """The single uploads where there are any, else the aggregate; at most so many, the first, or all."""
    from dataclasses import replace

    from attacks._base.targets import read_told

    singles, aggregate = read_told(subject.view, subject.backbone, subject.knowledge.declared)
    targets = singles if singles.targets else aggregate
    return replace(targets, targets=targets.targets[:most])


def by_part(
    subject: Subject,
    targets: Targets,
    parts: Sequence[Part],
    names: Sequence[str],
    *,
    random: Targets | None = None,
    among: int = 1,
    progress: Progress,
) -> Iterator[tuple[Part, tuple[Finding, ...]]]:
    """What each measure finds in each part.

    Args:
        subject: what is attacked.
        targets: its vectors.
        parts: to read, one after the other.
        names: of the measures.
        random: vectors drawn at random in place of them, for a control; None for none.
        among: of how many findings of a measure the worst verdict counts.
        progress: told of progress.
    """
    from dataclasses import replace

    from attacks._judging.judge import score
    from attacks._judging.truths import Truths
    from attacks.layers import guesses

    truths = Truths(subject)
    for number, part in enumerate(parts):
        progress("reading parts of vectors", number, len(parts))
        made = guesses(subject.backbone, subject.knowledge, targets, part, names)
        drawn = guesses(subject.backbone, subject.knowledge, random, part, names) if random else ()
        told = replace(subject, knowledge=replace(subject.knowledge, sites=part.sites))
        yield part, score(told, made, {targets.scope: targets.targets}, drawn, among, truths)
    progress("reading parts of vectors", len(parts), len(parts))


def _one(findings: Sequence[Finding], metric: str) -> dict[str, Any]:
    """The finding of one metric, with its best control; why there is none."""
    from attacks._judging.rules import RULES

    chosen = next((f for f in findings if f.metric == metric), None)
    if chosen is None:
        why = findings[0].why if findings else "nothing was measured"
        return {"value": None, "interval": None, "control": None, "verdict": "not evaluable", "why": why}
    lower = RULES[metric].lower_is_better
    # The nearest public texts read the vector too, and are no control.
    controls = {name: value for name, value in chosen.controls if name != "nearest public texts"}
    best = (min if lower else max)(controls.values()) if controls else None
    return {
        "value": chosen.value,
        "interval": list(chosen.interval) if chosen.interval else None,
        "control": best,
        "verdict": str(chosen.verdict) if chosen.verdict is not None else None,
        "why": chosen.why,
    }


def render(document: Mapping[str, Any]) -> str:
    """The curve as a table: a row for each part, a column for each measure, the best control in brackets."""
    from attacks._program.table import remark

    names = list(document["metrics"])
    lines = [
        f"ifedpriv attack {document['attack']}: defense {document['defense']}, {document['vectors']} vectors of "
        f"{document['scope']}, {document['public_texts']} public texts, pool of {document['pool']}",
        *remark(document["lacks"]),
        "",
        f"{'what is read':<30}" + "".join(f"{name:<18}" for name in names),
        f"{'':<30}" + "".join(f"{document['metrics'][name]:<18}" for name in names),
    ]
    reasons: list[str] = []
    for part in document["parts"]:
        cells = []
        for name in names:
            one = part["measured"][name]
            if one["value"] is None:
                cells.append(f"{'-':<18}")
                reasons.append(f"{name}: not evaluable, {one['why']}")
                continue
            control = "" if one["control"] is None else f" ({one['control']:.2f})"
            cells.append(f"{one['value']:.3f}{control}".ljust(18))
        lines.append(f"{named(part):<30}" + "".join(cells))
    lines += [
        "",
        "In brackets: the best control, which is made without the vector. Of variations, smaller is better.",
    ]
    return "\n".join(line.rstrip() for line in [*lines, *dict.fromkeys(reasons)])


def named(part: Mapping[str, Any]) -> str:
    """A part in a few words."""
    branch = {"both": "both branches"}.get(part["branches"], part["branches"])
    match part["group"]:
        case "all":
            return "everything"
        case "branch":
            return f"{branch}, all layers"
        case "prefix":
            return f"layers 0 to {part['at']}"
        case _:
            return f"layer {part['at']}, {branch}"
