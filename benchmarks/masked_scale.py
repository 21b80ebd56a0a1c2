"""A masked round at 100, 1,000 and 10,000 clients: python benchmarks/masked_scale.py.

The sparse graph keeps a client's work nearly flat in the number of clients: its neighbours grow with the logarithm, and
only lists (a bit for each client) and the order of the ring with the number itself. Measured: the real server, which
takes every frame of every client, one after the other; and real clients in a sample of places (`_masked.py` plays the
others: real keys and signatures, no masks). 256 numbers, a share of 5% lost after sharing keys; the sum is checked.
"""

from __future__ import annotations

import argparse

import numpy as np
from _masked import Stage
from _shared import machine, median_interval, print_machine, store

VALUES, BITS, DROPPED = 256, 16, 0.05


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[100, 1000, 10_000], help="sizes of the roster"
    )
    parser.add_argument("--sample", type=int, default=30, help="clients measured at each size")
    parser.add_argument("--name", default="masked_scale", help="names the file under results/")
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    print(f"{VALUES} numbers, {DROPPED:.0%} lost; processor ms")
    head = (
        "clients",
        "k",
        "t",
        "client",
        "of which begin",
        "over floor",
        "up",
        "down",
        "server",
        "a client",
        "MiB",
    )
    print("".join(f"{name:>15}" for name in head))
    rows = []
    for n in options.clients:
        stage = Stage(n, VALUES, BITS, DROPPED)
        samples = []
        for place in np.linspace(0, len(stage.alive) - 1, options.sample).astype(int).tolist():
            took, size = stage.client(place)
            samples.append((sum(took.values()), took["begin"], sum(stage.client_floor().values()), size))
        took, floor, above = stage.server()
        found = {
            "clients": n,
            "neighbours": stage.shape.neighbours,
            "threshold": stage.shape.threshold,
            "client_ms": median_interval([each[0] for each in samples]),
            "client_begin_ms": median_interval([each[1] for each in samples]),
            "client_over_floor": median_interval([each[0] / each[2] for each in samples]),
            "up_bytes": max(each[3]["up"] for each in samples),
            "down_bytes": max(each[3]["down"] for each in samples),
            "server_ms": sum(took.values()),
            "server_floor_ms": sum(floor.values()),
            "server_steps_ms": took,
            "server_peak_bytes": above,
        }
        rows.append(found)
        cells = (
            *(n, found["neighbours"], found["threshold"], f"{found['client_ms']['median']:.1f}"),
            *(f"{found['client_begin_ms']['median']:.1f}", f"{found['client_over_floor']['median']:.2f}"),
            *(f"{found['up_bytes']:,}", f"{found['down_bytes']:,}", f"{found['server_ms']:,.0f}"),
            *(f"{found['server_ms'] / n:.2f}", f"{above / 2**20:.0f}"),
        )
        print("".join(f"{cell:>15}" for cell in cells), flush=True)
    print(f"stored in {store(options.name, {'machine': facts, 'values': VALUES, 'rows': rows})}")


if __name__ == "__main__":
    main()
