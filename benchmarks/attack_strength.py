"""What the attacks get from undefended uploads of the shipped model, by number of examples behind a vector.

    python benchmarks/attack_strength.py [--examples 1 2 4 8 16 32 64] [--vectors 20] [--pool 2000] [--only NAME]
        [--methods NAMES]

Every cell is a real run (one round, no calibration) whose recording is attacked as `ifedpriv attack` does. The number
of examples is not told to the attacker. With ``--only`` one attack is measured anew and the others' numbers stay; with
``--methods``, some methods of `invert`.
Results go to ``results/attacks.json`` cell by cell. The file is not called attacks.py: a script's folder comes first on
the path, and it would hide the package.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _shared import RESULTS, machine, print_machine, store

from attacks._judging.controls import NEAREST
from attacks._program.answers import to_json
from attacks._program.launch import add_arguments, attack
from ifedpriv.config import parse_config
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

TASK = "topic"
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
}


def record(folder: Path, examples: int, vectors: int) -> Path:
    """A recording of so many clients with so many examples each."""
    data = {"name": TASK, "train": vectors * examples + 60, "validation": 8, "test": 16}
    off = {"local_icl": False, "local_injection": False, "every_round": False, "validation_fraction": 0}
    config = parse_config(
        {
            "name": f"k{examples}",
            "threads": 1,
            "data": data,
            "partition": {"kind": "iid", "clients": vectors, "examples_per_client": examples},
            "method": {"guard": False, "calibration": {"rounds": 0}},
            "evaluation": off,
        },
        "the benchmark",
    )
    execute(prepare(config), RunDirectory.create(folder, config))
    return folder


def cell(examples: int, vectors: int, pool: int, names: Sequence[str], methods: str) -> dict[str, Any]:
    """All findings of some attacks at one number of examples, or of some methods of `invert`."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    found: dict[str, Any] = {"examples": examples, "vectors": vectors}
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder) / "run", examples, vectors)
        for name in names:
            chosen = ["--methods", methods] if methods else []
            options = parser.parse_args(["--pool", str(max(pool, 2 * vectors * examples)), *chosen])
            started = time.process_time()
            place = Path(folder) / name
            place.mkdir()
            result = to_json(attack(name, run, options, place, lambda *_: None))
            found[name] = result["findings"]
            found["pool"] = result["knowledge"]["pool"]
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
    options = parser.parse_args()
    names = ["invert"] if options.methods else [options.only] if options.only else list(SHOWN)
    facts = machine(1)
    print_machine(facts)
    path = RESULTS / "attacks.json"
    cells = json.loads(path.read_text())["cells"] if path.exists() else []
    for examples in options.examples:
        found = cell(examples, options.vectors, options.pool, names, options.methods)
        kept = next((c for c in cells if c["examples"] == examples and set(names) < set(SHOWN)), {})
        if kept and (kept["vectors"], kept["pool"]) != (found["vectors"], found["pool"]):
            raise SystemExit(
                f"the numbers kept for {examples} examples are of other sizes; leave --only and --methods out"
            )
        if options.methods:
            anew = set(options.methods.split(","))
            stay = [each for each in kept.get("invert", ()) if each["method"] not in anew]
            found = {**found, "invert": [*stay, *found["invert"]]}
            found[f"{options.methods} seconds"] = found.pop("invert seconds")
        found = {**kept, **found}
        cells = sorted([c for c in cells if c["examples"] != examples] + [found], key=lambda c: c["examples"])
        store("attacks", {"machine": facts, "task": TASK, "cells": cells})
        show(found)


if __name__ == "__main__":
    main()
