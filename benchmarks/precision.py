"""What coarse numbers on the wire cost in accuracy: whole runs with fp16, int8 and int4 vectors.

    python benchmarks/precision.py [--seeds 5] [--tasks ...]

The precision is that of a real run: uploads and broadcast travel at it, and the coefficients are calibrated on the
vector as the clients received it. Coefficients stay at fp16. Results go to
``results/precision.json`` cell by cell; every difference is against fp16 with the same seed.
"""

from __future__ import annotations

import argparse

from _sweep import Cell, sweep, table
from claims import TASKS, build, dirichlet, right

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment import baselines
from ifedpriv.experiment.run import train

WIRES = {
    "fp16": {"vector": "fp16"},
    "int8": {"vector": "int8"},
    "int4": {"vector": "int4"},
}


def cell(task: str) -> Cell:
    """All precisions for one task and seed, and what each loses against fp16."""

    def measure(backbone: Backbone, seed: int) -> dict[str, float]:
        found = {}
        for name, wire in WIRES.items():
            setup = build(backbone, task, seed, dirichlet(0.5), defense={"kind": "none", "wire": wire})
            found[name] = right(setup, baselines.global_injection(setup, train(setup)[1]))
        lost = {f"lost by {name}": found["fp16"] - found[name] for name in WIRES if name != "fp16"}
        return {**found, **lost}

    return measure


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    options = parser.parse_args()
    cells = {task: cell(task) for task in options.tasks}
    print(table(sweep("precision", Backbone.load(MODEL_PATH), cells, options.seeds)))


if __name__ == "__main__":
    main()
