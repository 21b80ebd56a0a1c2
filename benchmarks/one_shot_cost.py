"""Bytes and client time of a whole task: one vector with public coefficients against a vector and thirty rounds.

    python benchmarks/one_shot_cost.py [--repeats 3]

Ten clients of 32 examples, task mood, in the clear and with masked sums. Bytes are exact and the same in every repeat;
seconds are processor time of one client from its first step to its last, the protection included, the median over
repeats. Results: ``benchmarks/results/one_shot_cost.json``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _shared import machine, print_machine, store

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

CLIENTS, ROUNDS = 10, 30
METHODS: dict[str, dict[str, Any]] = {
    "vector and 30 rounds": {"calibration": {"rounds": ROUNDS}},
    "one vector": {"coefficients": "public"},
}
DEFENSES: dict[str, dict[str, Any]] = {
    "in the clear": {"kind": "none"},
    "masked": {"kind": "masked"},
    "masked, with a ratchet": {"kind": "masked", "ratchet": True},
}


def measure(backbone: Backbone, method: dict[str, Any], defense: dict[str, Any]) -> dict[str, Any]:
    """One run: messages, bytes and seconds of one client, and what each round asked for."""
    config = parse_config(
        {
            "name": "cost",
            "threads": 1,
            "record_view": False,
            "data": {"source": "embedded", "name": "mood", "train": 360, "test": 8},
            "partition": {"kind": "iid", "clients": CLIENTS, "examples_per_client": 32},
            "method": {"kind": "ifed_icl", "guard": False, **method},
            "defense": defense,
            "controls": {"enabled": False},
            "evaluation": {"every_round": False, "local_icl": False, "local_injection": False},
        },
        "cost",
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = execute(
            prepare(config, backbone=backbone), RunDirectory.create(Path(folder) / "run", config)
        )
    return {
        "rounds": len(outcome.rounds),
        "up": outcome.up.totals()[1] / CLIENTS,
        "down": outcome.down.totals()[1] / CLIENTS,
        "seconds": sum(line["client_seconds"] for line in outcome.rounds) / CLIENTS,
    }


def main() -> None:
    """Measure all, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    facts = machine(1)
    print_machine(facts)
    backbone = Backbone.load(str(MODEL_PATH))
    rows: dict[str, Any] = {}
    for protection, defense in DEFENSES.items():
        for name, method in METHODS.items():
            if "ratchet" in defense and name == "one vector":
                continue
            found = [measure(backbone, method, defense) for _ in range(repeats)]
            row = {**found[0], "seconds": median(each["seconds"] for each in found), "repeats": repeats}
            rows[f"{name}, {protection}"] = row
            print(f"{name}, {protection}: {row}", flush=True)
    store("one_shot_cost", {"machine": facts, "clients": CLIENTS, "rows": rows})


if __name__ == "__main__":
    main()
