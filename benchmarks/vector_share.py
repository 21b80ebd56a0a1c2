"""When does the vector carry the knowledge? Accuracy and the vector's share by examples, rounds, skew and conventions.

    python benchmarks/vector_share.py [--seeds 2] [--only examples|rounds|skew|conventions]
    python benchmarks/vector_share.py --model DIR --data DIR [...]      on a real model: task mr, public texts of sst2

Task mood, 8 clients, calibration as by default; each cell changes one thing: examples of a client (4 to 1,000, IID),
rounds of calibration (0 to 30, 32 examples a client, IID), skew of 32 examples a client, or how many groups of clients
there are that name the classes in ways of their own. Beside the run: the same calibration with the public mean in the
vector's place, and with none. Accuracy on 500 test queries (of all groups together), last round.
Results: ``benchmarks/results/vector_share.json`` or ``vector_share_<model>.json``, cell by cell.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
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
QUERIES = 500
# Examples that are nobody's, so that skewed draws find enough of each class.
_SPARE, _LEAST = 60, 600


class Shipped:
    """The shipped task mood, on the shipped model."""

    def sections(self, seed: int, train: int, test: int) -> dict[str, Any]:
        """What the configuration says about data, and about the public texts."""
        return {"data": {"source": "embedded", "name": "mood", "train": train, "test": test, "seed": seed}}


@dataclass(frozen=True, slots=True)
class Real:
    """Film reviews of mr, with the training texts of sst2 as public ones.

    Attributes:
        root: the folder with both sets, in the layout of docs/data.md.
    """

    root: Path

    def sections(self, seed: int, train: int, test: int) -> dict[str, Any]:
        """What the configuration says about data, and about the public texts."""
        data = {"source": "preset", "name": "mr", "max_train": train, "max_test": test, "seed": seed}
        public = {"path": str(self.root / "sst2" / "train.jsonl"), "texts": 300}
        return {"data_root": str(self.root), "data": data, "controls": {"public": public}}


def cell(
    source: Shipped | Real, examples: int, rounds: int = 20, partition: dict[str, Any] | None = None
) -> Cell:
    """The run, and what is left of it with another vector."""

    def measure(backbone: Backbone, seed: int) -> dict[str, float]:
        groups = (partition or {}).get("groups", 1)
        held = {"clients": CLIENTS, "examples_per_client": examples, **(partition or {"kind": "iid"})}
        config = {
            "name": "share",
            "threads": 1,
            "seed": seed,
            **source.sections(seed, max(_LEAST, CLIENTS * examples + _SPARE), QUERIES // groups),
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
    parser.add_argument(
        "--model", type=Path, help="a directory with a causal LM, in place of the shipped one"
    )
    parser.add_argument("--data", type=Path, help="the real data sets, with --model")
    options = parser.parse_args()
    if (options.model is None) != (options.data is None):
        parser.error("--model and --data go together")
    source = Shipped() if options.data is None else Real(options.data)
    name = "vector_share" if options.model is None else f"vector_share_{options.model.name}"
    cells: dict[str, Cell] = {}
    if options.only in (None, "examples"):
        cells |= {f"{n} examples a client": cell(source, n) for n in EXAMPLES}
    if options.only in (None, "rounds"):
        cells |= {f"{n} rounds": cell(source, 32, n) for n in ROUNDS}
    if options.only in (None, "skew"):
        cells |= {name: cell(source, 32, partition=partition) for name, partition in SKEWS.items()}
    if options.only in (None, "conventions"):
        cells |= {
            f"{n} conventions": cell(
                source, 32, partition={"kind": "contradictory", "groups": n, "mode": "permute"}
            )
            for n in CONVENTIONS
        }
    torch.set_num_threads(1)
    backbone = Backbone.load(str(options.model or MODEL_PATH))
    print(table(sweep(name, backbone, cells, options.seeds)))


if __name__ == "__main__":
    main()
