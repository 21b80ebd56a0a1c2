"""Exact noise against the floor of its own bytes: python benchmarks/noise.py [--size 262144] [--repeats 15].

Processor time of a draw of many whole numbers, by law and width, with the first draw's table apart. Beside it stand
what the draw cannot do without, its random bytes, and what float noise costs: numpy's normal law, which no theorem
covers. Rotation and rounding of as many numbers follow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _shared import machine, median_interval, print_machine, store

from defenses.entropy import Entropy, InsecureSeeded, SecureEntropy
from defenses.noise import discrete_gaussian, skellam
from defenses.noise.rotation import Rotation
from defenses.noise.rounding import How, round_to_bound

SIGMAS = (0.1, 1.0, 20.0, 127.0, 1000.0, 2.0**16, 2.0**24, 2.0**40)
DEVIATIONS = (1.0, 20.0, 127.0, 1000.0, 2.0**16, 2.0**24)


class Counted:
    """An entropy that counts what it is asked for."""

    def __init__(self, source: Entropy) -> None:
        self.source, self.taken = source, 0

    @property
    def simulation(self) -> bool:
        """As the source."""
        return self.source.simulation

    def bytes(self, n: int) -> bytes:
        """The source's next bytes."""
        self.taken += n
        return self.source.bytes(n)

    def branch(self, label: str) -> Entropy:
        """The source's branch, which is not counted."""
        return self.source.branch(label)


def timed(work: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Milliseconds of processor time, as a median with its interval."""
    times = []
    for _ in range(repeats):
        before = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - before))
    return median_interval(times)


def measured(name: str, draw: Callable[[Entropy, int], Any], size: int, repeats: int) -> dict[str, Any]:
    """One sampler: its table, its draws from either source, and the bytes alone."""
    discrete_gaussian._blocks.cache_clear()
    skellam._poisson.cache_clear()
    secure = SecureEntropy()
    table = timed(lambda: draw(secure, 1), 1)
    counted = Counted(secure)
    draw(counted, size)
    row: dict[str, Any] = {"what": name, "size": size, "table_ms": table["median"]}
    row["secure_ms"] = timed(lambda: draw(secure, size), repeats)
    row["seeded_ms"] = timed(lambda: draw(InsecureSeeded(1), size), repeats)
    row["bytes"] = counted.taken / size
    row["bytes_ms"] = timed(lambda: secure.bytes(counted.taken), repeats)
    row["draws_per_second"] = 1e3 * size / row["secure_ms"]["median"]
    return row


def main() -> None:
    """Measure, print a table, store the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=262_144, help="numbers in a draw")
    parser.add_argument(
        "--repeats", type=int, default=15, help="draws of each kind; the table has the median"
    )
    options = parser.parse_args()
    size, repeats = options.size, options.repeats
    facts = machine(1)
    print_machine(facts)
    print(f"{size:,} numbers; milliseconds of processor time, medians")
    head = ("", "table", "secure", "seeded", "its bytes", "bytes each", "draws a second")
    widths = (30, 9, 9, 9, 11, 12, 16)
    print("".join(f"{name:>{width}}" for name, width in zip(head, widths, strict=True)))
    work: dict[str, Callable[[Entropy, int], Any]] = {
        f"discrete gaussian {sigma:g}": lambda entropy, n, sigma=sigma: discrete_gaussian.discrete_gaussian(  # type: ignore[misc]
            sigma, n, entropy
        )
        for sigma in SIGMAS
    }
    work |= {
        f"skellam {sigma:g}^2": lambda entropy, n, sigma=sigma: skellam.skellam(sigma**2, n, entropy)  # type: ignore[misc]
        for sigma in DEVIATIONS
    }
    values = np.random.default_rng(0).normal(size=(1, size))
    rotation = Rotation(size, b"a public seed")
    clip = float(np.linalg.norm(values))
    work["conditional rounding"] = lambda entropy, n: round_to_bound(values[:, :n], 0.01, clip, entropy)
    rows = []
    for name, draw in work.items():
        row = measured(name, draw, size, repeats)
        rows.append(row)
        cells = (
            *(row["what"], f"{row['table_ms']:.1f}", f"{row['secure_ms']['median']:.1f}"),
            *(f"{row['seeded_ms']['median']:.1f}", f"{row['bytes_ms']['median']:.1f}"),
            *(f"{row['bytes']:.2f}", f"{row['draws_per_second']:,.0f}"),
        )
        print("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)
    random = np.random.default_rng(1)
    floors = {
        "numpy_normal_ms": timed(lambda: random.standard_normal(size), repeats),
        "rotation_ms": timed(lambda: rotation.apply(values[0]), repeats),
        "rotation_back_ms": timed(lambda: rotation.undo(rotation.apply(values[0])), repeats),
        "nearest_rounding_ms": timed(lambda: round_to_bound(values, 0.01, clip, how=How.NEAREST), repeats),
    }
    for name, row in floors.items():
        print(f"{name.removesuffix('_ms').replace('_', ' '):>30}{row['median']:>18.1f}")
    print(f"stored in {store('noise', {'machine': facts, 'rows': rows, 'floors': floors})}")


if __name__ == "__main__":
    main()
