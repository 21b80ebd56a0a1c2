"""IFed-ICL with and without protected sums, from the same seed: python benchmarks/protected_runs.py.

Two experiments: the quickstart as it is, and a hundred clients of which every fifth fails in every round, where masks
follow the sparse graph. Each runs in the clear and under masks, BFV and CKKS with the very same clients, batches and
failures; what differs is the rounding to the grid (uploads in the clear travel as float32). Stored: the accuracy on the
test queries after the last round, and how far vector and coefficients lie from those of the clear run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _shared import machine, print_machine, store

from defenses.secagg.masked.enrolment import masked_policy
from defenses.session import RoundInfo
from defenses.specs import MaskedSpec
from ifedpriv.config import load_config
from ifedpriv.experiment import baselines
from ifedpriv.experiment.figures import score
from ifedpriv.experiment.prepare import load_backbone, prepare
from ifedpriv.experiment.run import train
from ifedpriv.icl.injection import Injection

CONFIGS = Path(__file__).parent.parent / "configs"
CLEAR = ("defense.kind=none", "defense.wire.coefficients=fp32", "defense.wire.vector=fp32")
DEFENSES: dict[str, tuple[str, ...]] = {
    "clear": CLEAR,
    "masked": ("defense.kind=masked",),
    "bfv": ("defense.kind=bfv",),
    "ckks": ("defense.kind=ckks",),
}
EXPERIMENTS = {"quickstart": "quickstart.yaml", "hundred": "hundred.yaml"}


def one(config_file: str, overrides: tuple[str, ...], backbone: Any) -> tuple[dict[str, Any], Injection]:
    """A whole run: its accuracy, its processor time, and what it trained."""
    config = load_config(CONFIGS / config_file, (*overrides, "threads=1"))
    setup = prepare(config, backbone=backbone)
    before = time.process_time()
    _, injection = train(setup)
    assert isinstance(injection, Injection)
    took = time.process_time() - before
    answers = baselines.global_injection(setup, injection)
    found = {"accuracy": score(setup.data.task.kind, answers), "cpu_seconds": took}
    if isinstance(config.defense, MaskedSpec):
        kind, layout = setup.method.asks(0)
        asked = RoundInfo(0, kind, setup.clients.numbers(0), layout)
        shape = masked_policy(config.defense, asked).shape(len(asked.roster))
        found |= {"neighbours": shape.neighbours, "threshold": shape.threshold}
    return found, injection


def main() -> None:
    """Run, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiments", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument(
        "--defenses",
        nargs="+",
        choices=list(DEFENSES)[1:],
        default=list(DEFENSES)[1:],
        help="beside the clear run",
    )
    parser.add_argument("--seeds", type=int, default=1, help="of each run")
    parser.add_argument(
        "--set", nargs="*", default=[], help="settings for all runs, as in `ifedpriv run --set`"
    )
    parser.add_argument("--name", default="protected_runs", help="names the file under results/")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(1)
    print_machine(facts)
    backbone = load_backbone(load_config(CONFIGS / "quickstart.yaml"))
    rows = []
    for name in options.experiments:
        for seed in range(options.seeds):
            clear: Injection | None = None
            for defense in ("clear", *options.defenses):
                overrides = DEFENSES[defense]
                found, injection = one(
                    EXPERIMENTS[name], (*overrides, f"seed={seed}", *options.set), backbone
                )
                clear = clear or injection
                found |= {
                    "experiment": name,
                    "seed": seed,
                    "defense": defense,
                    "vector_difference": _farthest(injection.vector.values, clear.vector.values),
                    "coefficient_difference": _farthest(
                        injection.coefficients.values, clear.coefficients.values
                    ),
                    "largest_coefficient": float(np.abs(clear.coefficients.values).max()),
                }
                rows.append(found)
                path = store(options.name, {"machine": facts, "settings": options.set, "rows": rows})
                print(
                    f"{name:12} seed {seed} {defense:7} accuracy {found['accuracy']:.3f}, vector off by "
                    f"{found['vector_difference']:.1e}, coefficients by {found['coefficient_difference']:.1e}, "
                    f"{found['cpu_seconds']:.0f} CPU s",
                    flush=True,
                )
    print(f"stored in {path}")


def _farthest(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


if __name__ == "__main__":
    main()
