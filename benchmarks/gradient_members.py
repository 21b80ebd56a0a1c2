"""What noised sums of gradients tell of members: every round's single uploads, under a falling epsilon.

    python benchmarks/gradient_members.py [--vectors 120] [--examples 16] [--rounds 20] [--epsilons 50 8 1]

Each row is a run of the shipped model in which every client adds noise by itself to its vector and, in every round
after it, to the sum of its examples' gradients; epsilon is that of the whole run. `ifedpriv attack coefficients` reads
the rounds. The pool holds every true text, and as many others or more. Results go to
``results/gradient_members.json``, row by row; rows that are there already are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from _attacked import Source, configuration, record
from _shared import RESULTS, machine, print_machine, store
from epsilon_order import FEWEST, defense

from attacks import coefficients
from attacks._base.attack import Scope
from attacks._program.answers import finding_to_json
from attacks._program.launch import guess_and_judge
from attacks._whole_run.request import Request
from attacks._whole_run.subject import opened, readings_for
from defenses.upload import UploadKind

NAME = "gradient_members"


def row(epsilon: float, vectors: int, examples: int, rounds: int) -> dict[str, Any]:
    """One run and what is found in its single uploads."""
    started = time.process_time()
    source, pool = Source(), max(FEWEST, 2 * vectors * examples)
    told = defense(source, examples, epsilon)
    config = configuration(source, vectors, examples, defense=told, counted=True, train=pool, rounds=rounds)
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder) / "run", config)
        request = Request(target=run, pool=pool)
        subject = opened(request, lambda *_: None)
        readings = readings_for(request, subject, Path(folder) / "own", UploadKind.COEFFICIENTS)
        (reading,) = (each for each in readings if Scope.UPLOADS in each.scopes)
        _, found = guess_and_judge(coefficients, reading.subject, (Scope.UPLOADS,), Path(folder) / "random")
        size = len(reading.subject.knowledge.pool)
    judged = [finding_to_json(each) for each in found if each.metric]
    return {
        "epsilon": epsilon,
        "vectors": vectors,
        "examples": examples,
        "rounds": rounds,
        "pool": size,
        "findings": judged,
        "seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Measure row by row and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vectors", type=int, default=120)
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--epsilons", nargs="+", type=float, default=[50.0, 8.0, 1.0])
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    path = RESULTS / f"{NAME}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    for epsilon in options.epsilons:
        asked = (epsilon, options.vectors, options.examples, options.rounds)
        if asked in [(r["epsilon"], r["vectors"], r["examples"], r["rounds"]) for r in rows]:
            continue
        rows.append(row(*asked))
        store(NAME, {"machine": facts, "rows": rows})
        for each in rows[-1]["findings"]:
            if each["verdict"] is not None:
                said = f"epsilon {epsilon:g}: {each['method']}, {each['metric']} {each['value']:.3f}"
                print(f"{said}: {each['verdict']}, {each['why']}", flush=True)
        print(f"{rows[-1]['seconds']:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
