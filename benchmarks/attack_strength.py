"""What the attacks get from undefended uploads, by number of examples behind a vector.

    python benchmarks/attack_strength.py [--examples 1 2 4 8 16 32 64] [--vectors 20] [--pool 2000] [--only NAME]
        [--methods NAMES]
    python benchmarks/attack_strength.py --model DIR --data FOLDER/NAME [...]      another model, and real texts

Every cell is a real run (one round, no calibration) whose recording is attacked as `ifedpriv attack` does. The number
of examples is not told to the attacker. With ``--only`` one attack is measured anew and the others' numbers stay;
with ``--methods``, some methods of `invert`.
Results go to ``results/attacks.json``, or by data set to ``results/attacks_<model>.json``, cell by cell. The file is
not called attacks.py: a script's folder comes first on the path, and it would hide the package.

Of real texts, 1,000 of the training split are the attacker's and no client's; texts that are longer than the model's
context are left out and counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from _attacked import Source, add_source, configuration, keep, record, source_of, stored
from _shared import machine, print_machine

from attacks import ATTACKS
from attacks._base.attack import Scope
from attacks._judging.controls import NEAREST
from attacks._judging.score import Wishes, open_subject
from attacks._program.answers import finding_to_json
from attacks._program.launch import guess_and_judge
from attacks.membership import RATIO

NAME = "attacks"
SHOWN = {
    "labels": ("total variation", "exact counts"),
    "invert": (
        "average precision",
        "token recall",
        "token F1",
        "recall@S",
        "private strings",
        "string precision",
        "slot accuracy",
        "corpus recall",
        "corpus precision",
    ),
    "membership": ("AUC",),
}
MEMBERS = (RATIO,)
"""Of the ways to tell members, the strongest; `membership_strength.py` has the others."""


def cell(
    source: Source, examples: int, vectors: int, pool: int, names: Sequence[str], of_invert: Sequence[str]
) -> dict[str, Any]:
    """All findings of some attacks at one number of examples; of `invert` by some methods, or its default."""
    found: dict[str, Any] = {"examples": examples, "vectors": vectors}
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder) / "run", configuration(source, vectors, examples))
        wishes = Wishes(pool=max(pool, 2 * vectors * examples))
        subject = open_subject(run, wishes)
        found["pool"] = len(subject.knowledge.pool)
        for name in names:
            started = time.process_time()
            methods = {"membership": MEMBERS, "invert": tuple(of_invert)}.get(name, ())
            told = replace(subject, knowledge=replace(subject.knowledge, methods=methods))
            place = Path(folder) / name
            place.mkdir()
            _, findings = guess_and_judge(import_module(ATTACKS[name]), told, tuple(Scope), place)
            found[name] = [finding_to_json(finding) for finding in findings]
            found[f"{name} seconds"] = round(time.process_time() - started, 1)
    return found


def show(found: dict[str, Any]) -> None:
    """A line a metric."""
    for name, metrics in SHOWN.items():
        for finding in found.get(name, ()):
            if finding["metric"] in metrics:
                controls = [item for item in finding["controls"].items() if item[0] != NEAREST]
                lower = finding["metric"] == "total variation"
                best = (
                    (min if lower else max)(controls, key=lambda item: item[1]) if controls else ("none", 0)
                )
                print(
                    f"k={found['examples']:<3} {finding['method']:<12} {finding['scope']:<15} {finding['metric']:<18} "
                    f"{finding['value']:.3f} (best control {best[1]:.3f}, {best[0]}) {finding['verdict']}"
                )


def main() -> None:
    """Measure every cell and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--vectors", type=int, default=20)
    parser.add_argument("--pool", type=int, default=2000)
    parser.add_argument("--only", choices=tuple(SHOWN), help="measure this attack alone")
    parser.add_argument("--methods", default="", help="measure these methods of invert alone, with commas")
    add_source(parser)
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        measure(source_of(parser, options, Path(folder)), options, facts)


def measure(source: Source, options: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    """Measure and keep every cell."""
    cells = stored(NAME, source).get("cells", [])
    anew = [name for name in options.methods.split(",") if name]
    names = ["invert"] if anew else [options.only] if options.only else list(SHOWN)
    for examples in options.examples:
        found = cell(source, examples, options.vectors, options.pool, names, anew)
        kept: dict[str, Any] = next(
            (c for c in cells if c["examples"] == examples and set(names) < set(SHOWN)), {}
        )
        if kept and (kept["vectors"], kept["pool"]) != (found["vectors"], found["pool"]):
            raise SystemExit(
                f"the numbers kept for {examples} examples are of other sizes; leave --only and --methods out"
            )
        if anew:
            stay = [each for each in kept.get("invert", ()) if each["method"] not in anew]
            found = {**found, "invert": [*stay, *found["invert"]]}
            found[f"{options.methods} seconds"] = found.pop("invert seconds")
        found = {**kept, **found}
        cells = sorted([c for c in cells if c["examples"] != examples] + [found], key=lambda c: c["examples"])
        keep(NAME, source, {"machine": dict(facts), "task": source.task, **source.facts(), "cells": cells})
        show(found)


if __name__ == "__main__":
    main()
