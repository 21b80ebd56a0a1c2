"""What rounding, rotation and the law of the noise cost in accuracy: python benchmarks/grid_options.py [--draws 100].

Ten clients release the mean of their rows under distributed trust that tolerates a fifth of them missing, with nobody
missing, at each number of bits and each choice in ``defense.privacy.grid``. The rows are made up, as long as those of
the shipped model, and some of their numbers are far larger than others. No model is run.

Errors are of the released mean, before it is pulled toward anything, from the mean of the clipped rows, over the error
that a trusted server would make with continuous Gaussian noise of the same budget and clip, and a count of the same
weight. Nobody gets below sqrt(10/8): that is what it costs that two of ten may be missing.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from _grid_release import CLIP, COUNT_WEIGHT, LAYOUT, SIZE, masked, planned
from _shared import machine, print_machine, store

from defenses.accounting import gaussian_mu_for
from defenses.dp.release import ARRAY, Bounded
from defenses.entropy import InsecureSeeded
from defenses.errors import UserError
from defenses.privacy_specs import GridPrivacy, PrivacySpec
from defenses.records import Records
from defenses.session import Aggregate, RoundInfo
from defenses.upload import UploadKind

Floats = npt.NDArray[np.float64]

CLIENTS, DROPOUT, DELTA = 10, 0.2, 1e-5
EXAMPLES, EPSILONS, BITS = (50, 500), (0.25, 1.0, 4.0), (8, 10, 12, 16, 24)
GRIDS = [
    GridPrivacy(noise=noise, rotate=rotate, rounding=rounding)
    for noise, rotate, rounding in itertools.product(
        ("gaussian", "skellam"), (False, True), ("nearest", "conditional")
    )
]
WRAP = 1e-9
"""A chance of a wrap over the run, here of one round, for comparison with sums that cannot."""
_CENTRAL_DRAWS = 2000


def rows_of(examples: int) -> list[Floats]:
    """Each client's rows, ``[examples, SIZE]``: half of a typical one is shared by all, and a few numbers stand out."""
    rng = np.random.default_rng([examples, 17])
    sizes = np.exp(rng.normal(size=SIZE))
    shared = sizes * rng.normal(size=SIZE)
    found = [shared + sizes * rng.standard_t(4, size=(examples, SIZE)) for _ in range(CLIENTS)]
    typical = float(np.median([np.linalg.norm(rows, axis=1) for rows in found]))
    return [rows * (CLIP / typical) for rows in found]


def clipped_mean(held: list[Floats]) -> Floats:
    """What a release without noise and rounding would be."""
    rows = np.concatenate(held)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    mean: Floats = (rows * np.minimum(1.0, CLIP / lengths)).mean(axis=0)
    return mean


def central(truth: Floats, units: int, epsilon: float) -> float:
    """Root mean square error of a trusted server's continuous Gaussian mechanism on the sum and the count."""
    noise = math.hypot(CLIP, CLIP * COUNT_WEIGHT) / gaussian_mu_for(epsilon, DELTA)
    rng = np.random.default_rng(23)
    errors = []
    for _ in range(_CENTRAL_DRAWS):
        count = units + noise * rng.normal() / (CLIP * COUNT_WEIGHT)
        errors.append((truth * units + noise * rng.normal(size=SIZE)) / max(count, 1.0) - truth)
    return float(np.sqrt(np.mean(np.square(errors))))


def section(grid: GridPrivacy, examples: int, bits: int, epsilon: float) -> PrivacySpec:
    """The privacy section of a run whose vector is all that it releases."""
    return PrivacySpec(
        epsilon=epsilon,
        delta=DELTA,
        trust="distributed",
        dropout=DROPOUT,
        bits=bits,
        max_examples=examples,
        grid=grid,
    )


def upload_bytes(release: Bounded, spec: PrivacySpec, wrap: float) -> int:
    """What one client sends of numbers and weight under masks, where sums may wrap with such a chance."""
    info = RoundInfo(0, release.kind, tuple(range(CLIENTS)), release.travels(LAYOUT))
    grid = masked(replace(release, wrap=wrap), spec).policy(info).grid(CLIENTS)
    return grid.ring.packed_size(info.layout.size + 1)


def error(release: Bounded, held: list[Floats], truth: Floats, draws: int) -> float:
    """Root mean square error over so many draws of noise; each client's rows are bounded once."""
    entropy = InsecureSeeded(29, "grid options")
    sent = np.zeros((draws, release.lattice(CLIENTS).width), dtype=np.int64)
    for number, rows in enumerate(held):
        records = Records(LAYOUT, iter([rows]), 0, UploadKind.VECTOR)
        sent += release.several(records, None, CLIENTS, entropy.branch(str(number)), draws)
    errors = []
    for total in sent:
        mean = {ARRAY: (total / CLIENTS).astype(np.float32)}
        summed = Aggregate(mean, float(CLIENTS), tuple(range(CLIENTS)), UploadKind.VECTOR, 0, sums=total)
        taken = release.take(summed, LAYOUT, None, CLIENTS, entropy)
        errors.append(taken.means["vector"].reshape(-1) - truth)
    return float(np.sqrt(np.mean(np.square(errors))))


def main() -> None:
    """Measure every cell, print a line each, store them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--draws", type=int, default=100, help="draws of noise a cell; more narrow the errors"
    )
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    rows: list[dict[str, Any]] = []
    for examples in EXAMPLES:
        held = rows_of(examples)
        truth = clipped_mean(held)
        for epsilon in EPSILONS:
            floor = central(truth, CLIENTS * examples, epsilon)
            for bits, grid in itertools.product(BITS, GRIDS):
                row: dict[str, Any] = {
                    "examples": examples,
                    "epsilon": epsilon,
                    "bits": bits,
                    **grid.model_dump(),
                }
                try:
                    spec = section(grid, examples, bits, epsilon)
                    release = planned(spec, CLIENTS, CLIENTS * examples)
                except UserError as refused:
                    row["refused"] = str(refused)
                else:
                    terms = release.lattice(CLIENTS)
                    row["steps"] = terms.steps
                    row["lengthened"] = terms.sensitivity / math.hypot(terms.steps, terms.unit)
                    row["noise_over_sensitivity"] = release.multiplier
                    row["bytes"] = upload_bytes(release, spec, 0.0)
                    row["bytes_with_wraps"] = upload_bytes(release, spec, WRAP)
                    row["error"] = error(release, held, truth, options.draws) / floor
                rows.append(row)
                told = f"{row['error']:.3f} at {row['steps']} steps" if "error" in row else "refused"
                print(f"{examples} rows, epsilon {epsilon:g}, {bits} bits, {grid}: {told}", flush=True)
    print(f"stored in {store('grid_options', {'machine': facts, 'draws': options.draws, 'rows': rows})}")


if __name__ == "__main__":
    main()
