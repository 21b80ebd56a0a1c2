"""When does the vector carry the knowledge? Accuracy and the vector's share by examples, rounds, skew and conventions.

    python benchmarks/vector_share.py [--seeds 2] [--only examples|rounds|skew|conventions]

Task mood, 8 clients, calibration as by default; each cell changes one thing: examples of a client (4 to 1,000, IID),
rounds of calibration (0 to 30, 32 examples a client, IID), skew of 32 examples a client, or how many groups of clients
there are that name the classes in ways of their own. Beside the run: the same calibration with the public mean in the
vector's place, and with none. Accuracy on 500 test queries (of all groups together), last round.
Results: ``benchmarks/results/vector_share.json``, cell by cell.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from _sweep import Cell, sweep, table

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment import baselines, controls
from ifedpriv.experiment.figures import score
from ifedpriv.experiment.play import play
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.icl.predict import Adaptation
from ifedpriv.methods.method import State
from ifedpriv.report.parts import PUBLIC_MEAN, ZERO_VECTOR

CLIENTS = 8
EXAMPLES = (4, 16, 64, 256, 1000)
ROUNDS = (0, 2, 5, 10, 30)
SKEWS: dict[str, dict[str, Any]] = {
    "Dirichlet(0.1)": {"kind": "dirichlet", "alpha": 0.1, "min_examples": 4},
    "Dirichlet(0.5)": {"kind": "dirichlet", "alpha": 0.5, "min_examples": 4},
    "IID": {"kind": "iid"},
}


CONVENTIONS = (2, 4)


def cell(examples: int, rounds: int = 20, partition: dict[str, Any] | None = None) -> Cell:
    """The run, and what is left of it with another vector."""

    def measure(backbone: Backbone, seed: int) -> dict[str, float]:
        groups = (partition or {}).get("groups", 1)
        held = {"clients": CLIENTS, "examples_per_client": examples, **(partition or {"kind": "iid"})}
        config = {
            "name": "share",
            "threads": 1,
            "seed": seed,
            "data": {
                "source": "embedded",
                "name": "mood",
                "train": max(600, CLIENTS * examples + 60),
                "test": 500 // groups,
                "seed": seed,
            },
            "partition": held,
            "method": {"kind": "ifed_icl", "guard": False, "calibration": {"rounds": rounds}},
            "evaluation": {"every_round": False, "validation_fraction": 0.0},
        }
        setup = prepare(parse_config(config, "share"), backbone=backbone)
        state, _ = play(setup)
        made_from = controls.sources(setup)
        found = {"zero-shot": _right(setup, None), "IFed-ICL": _right(setup, state)}
        for name, key in (("public mean", PUBLIC_MEAN), ("no vector", ZERO_VECTOR)):
            vector = controls.stand_in(key, setup, made_from, lambda: np.asarray(state.arrays["vector"]))
            found[name] = _right(setup, controls.calibrated(setup, vector))
        return found

    return measure


def _right(setup: Setup, state: State | None) -> float:
    injection: Adaptation | None = None if state is None else setup.method.artifact(state)
    answers = (
        baselines.zero_shot(setup) if injection is None else baselines.global_injection(setup, injection)
    )
    return score(setup.data.task.kind, answers)


def main() -> None:
    """Measure what is missing and print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", choices=("examples", "rounds", "skew", "conventions"))
    options = parser.parse_args()
    cells: dict[str, Cell] = {}
    if options.only in (None, "examples"):
        cells |= {f"{n} examples a client": cell(n) for n in EXAMPLES}
    if options.only in (None, "rounds"):
        cells |= {f"{n} rounds": cell(32, n) for n in ROUNDS}
    if options.only in (None, "skew"):
        cells |= {name: cell(32, partition=partition) for name, partition in SKEWS.items()}
    if options.only in (None, "conventions"):
        cells |= {
            f"{n} conventions": cell(32, partition={"kind": "contradictory", "groups": n, "mode": "permute"})
            for n in CONVENTIONS
        }
    torch.set_num_threads(1)
    print(table(sweep("vector_share", Backbone.load(str(MODEL_PATH)), cells, options.seeds)))


if __name__ == "__main__":
    main()
