"""What a chance of a wrap saves in bits and bytes: python benchmarks/grid_ring.py [--clients 10 100 1000].

One private vector as long as the shipped model's is summed under masks, once in a ring that holds every sum and once in
one that sums leave with a chance of 1e-9, to hide one example or one client, at each number of bits. Rounds of up to
100 clients are played by real sessions, with noise and without texts; what a client sends is counted, and what comes
out is compared with the noised sum. For larger ones sizes are those that the sessions would insist on.
"""

from __future__ import annotations

import argparse
import itertools
import math
from typing import Any

import numpy as np
from _grid_release import LAYOUT, SHAPE, SIZE, masked, planned
from _shared import machine, print_machine, store

from defenses.defense import Defense
from defenses.dp.release import ARRAY, Bounded
from defenses.entropy import InsecureSeeded
from defenses.errors import UserError
from defenses.privacy_specs import GridPrivacy, PrivacySpec
from defenses.records import Records
from defenses.session import RoundInfo
from defenses.units import Unit
from defenses.upload import Upload, UploadKind
from ifedpriv.federation.exchange import Exchange
from ifedpriv.federation.traffic import Traffic

EPSILON, DELTA, DROPOUT, WRAP = 2.0, 1e-6, 0.1, 1e-9
EXAMPLES, BITS, CLIENTS = 200, (12, 16, 24), (10, 100, 1000)
UNITS = (("client", 1024), ("example", 16), ("example", 256))
"""Whom is hidden, and for how many examples of one client there is room."""
_MOST_PLAYED = 100


def section(unit: str, most: int, bits: int, wrap: float) -> PrivacySpec:
    """The privacy section of a run."""
    return PrivacySpec.model_validate(
        {
            "unit": unit,
            "trust": "distributed",
            "epsilon": EPSILON,
            "delta": DELTA,
            "dropout": DROPOUT,
            "bits": bits,
            "max_examples": most,
            "grid": GridPrivacy(wrap=wrap),
        }
    )


def sizes(release: Bounded, spec: PrivacySpec, clients: int) -> dict[str, Any]:
    """The ring of a round, and how many bytes of numbers and weight a client sends in it.

    Args:
        release: the vector's.
        spec: the privacy section.
        clients: how many take part, and stay.
    """
    # Who may collude shapes the graph, and no byte of these.
    defense = masked(release, spec, collusion=0.05)
    info = RoundInfo(0, release.kind, tuple(range(clients)), release.travels(LAYOUT))
    ring = defense.policy(info).grid(clients).ring
    found = {"ring": ring.bits, "bytes": ring.packed_size(info.layout.size + 1)}
    if clients > _MOST_PLAYED:
        return {**found, "played": False}
    sent, off = _played(release, defense, info)
    if sent != found["bytes"]:
        raise SystemExit(f"{clients} clients sent {sent} bytes each, not {found['bytes']}")
    return {**found, "played": True, "off_by": off}


def _played(release: Bounded, defense: Defense, info: RoundInfo) -> tuple[int, float]:
    """What each client sent, and how far any number that came out is from the sum of what was sent."""
    entropy, clients = InsecureSeeded(31, "grid ring"), len(info.roster)
    defense = defense.enrolled(info.roster, entropy)
    up, down = Traffic(), Traffic()
    server = defense.server(info)
    exchange = Exchange(server, up.count, down.count)
    total = np.zeros(info.layout.size)
    for client in range(clients):
        source = entropy.branch(str(client))
        upload = release.give(_offered(release, client), None, clients, source)
        total += upload.arrays[ARRAY]
        exchange.begin(client, defense.client(client, info, source), upload)
    exchange.finish()
    (sent,) = set(up.payload.values())
    came = server.aggregate().sums
    assert came is not None
    return sent, float(np.abs(came - total).max())


def _offered(release: Bounded, client: int) -> Upload | Records:
    """Made-up rows, all about as long as the clip: 20 examples of a client, or its one."""
    rng = np.random.default_rng([client, 37])
    if release.unit is Unit.CLIENT:
        row = rng.normal(size=SHAPE).astype(np.float32) / np.float32(math.sqrt(SIZE))
        return Upload({"vector": row}, 1, 0, UploadKind.VECTOR)
    rows = rng.normal(size=(20, SIZE)) / math.sqrt(SIZE)
    return Records(LAYOUT, iter([rows]), 0, UploadKind.VECTOR)


def main() -> None:
    """Play every round, print a line each, store them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="sizes of the roster")
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    rows: list[dict[str, Any]] = []
    for clients, (unit, most), bits in itertools.product(options.clients, UNITS, BITS):
        row: dict[str, Any] = {"clients": clients, "unit": unit, "max_examples": most, "bits": bits}
        for name, wrap in (("hard", 0.0), ("wrap", WRAP)):
            spec = section(unit, most, bits, wrap)
            try:
                release = planned(spec, clients, clients * (EXAMPLES if unit == "example" else 1))
            except UserError as refused:
                row["refused"] = str(refused)
                break
            terms = release.lattice(clients)
            row["needed"] = (clients * terms.levels).bit_length() + 1
            row[name] = {
                "multiplier": release.multiplier,
                "steps": terms.steps,
                **sizes(release, spec, clients),
            }
        rows.append(row)
        print(row, flush=True)
    budget = {"epsilon": EPSILON, "delta": DELTA, "dropout": DROPOUT, "wrap": WRAP}
    print(f"stored in {store('grid_ring', {'machine': facts, **budget, 'numbers': SIZE, 'rows': rows})}")


if __name__ == "__main__":
    main()
