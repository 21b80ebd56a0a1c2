"""The paper's data sets with whatever real model is on disk: zero-shot, ICL, local and global injection, and v = 0.

    python benchmarks/real_data.py --model DIR [--data DIR] [--sets subj trec sst2 agnews] [--seeds 5]

Data come from ``--data`` or ``IFEDPRIV_DATA``, in the layout of docs/data.md; sets that are not there are left out and
named. 10 clients, Dirichlet(0.5), 500 class-balanced test texts, the last round. Results go to
``results/real_<model>.json`` cell by cell.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from _sweep import Cell, sweep, table
from claims import clients, right, with_vector

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.experiment import baselines
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.experiment.run import train

SETS = ("subj", "trec", "sst2", "agnews")


def build(backbone: Backbone, name: str, root: Path, seed: int, options: argparse.Namespace) -> Setup:
    """One experiment of ten clients on a data set with the literature's wording."""
    config: dict[str, Any] = {
        "name": "real",
        "threads": 1,
        "seed": seed,
        "data_root": str(root),
        "data": {
            "source": "preset",
            "name": name,
            "max_train": options.train,
            "max_test": 500,
            "balance_test": True,
            "seed": seed,
        },
        "partition": {"kind": "dirichlet", "alpha": 0.5, "clients": 10, "min_examples": 5},
        "method": {
            "kind": "ifed_icl",
            "calibration": {"rounds": options.rounds, "rate": options.rate},
        },
        "evaluation": {"every_round": False},
    }
    return prepare(parse_config(config, "real_data"), backbone=backbone)


def cell(name: str, root: Path, options: argparse.Namespace) -> Cell:
    """All methods on one data set and seed."""

    def measure(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = build(backbone, name, root, seed, options)
        _, injection = train(setup)
        bare = with_vector(setup, lambda s: np.zeros_like(s.arrays["vector"]))
        own = clients(setup)[: options.locals]
        alone = [baselines.local_injection(setup, baselines.train_alone(setup, c), c) for c in own]
        return {
            "chance": 1 / setup.data.task.n_classes,
            "zero-shot": right(setup, baselines.zero_shot(setup)),
            "ICL, up to 8 own": float(np.mean([right(setup, baselines.local_icl(setup, c)) for c in own])),
            "local injection": float(np.mean([right(setup, a) for a in alone])),
            "IFed-ICL": right(setup, baselines.global_injection(setup, injection)),
            "control: v = 0": right(setup, baselines.global_injection(setup, bare)),
        }

    return measure


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a directory with a causal LM")
    parser.add_argument("--data", type=Path, default=os.environ.get("IFEDPRIV_DATA"), help="the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train", type=int, default=2000, help="training texts, over all clients")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--locals", type=int, default=4, help="clients whose own prompt and injection count")
    options = parser.parse_args()
    if options.data is None:
        raise SystemExit("there are no data: give --data, or set IFEDPRIV_DATA")
    root = Path(options.data)
    missing = [name for name in options.sets if not (root / name).is_dir()]
    if missing:
        print(f"not in {root}: {', '.join(missing)}")
    cells = {name: cell(name, root, options) for name in options.sets if name not in missing}
    backbone = Backbone.load(options.model)
    print(table(sweep(f"real_{options.model.name}", backbone, cells, options.seeds)))


if __name__ == "__main__":
    main()
