"""Masked sums against the floor of their own primitives: python benchmarks/secagg.py [--clients 16 64 256 1024].

One end of a round at a time, with puppets for everybody else (`_masked.py`): processor time of a client, from a sample
of places, and of the server, with every message encoded, checked and decoded; bytes; and the server's memory, which
must not grow by a vector for each client. Beside each stands the **floor**: the same masks, agreements, signatures,
seals, shares, commitments and additions in bare loops, in the same repeat and so on the same machine in the same mood.
What a round takes beyond its floor is ours to answer for: rounding to the grid, encoding, lists, bookkeeping.

Below stand ratcheted rounds of coefficients, in which every client is real.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from _masked import CLIP, COLLUSION, DROPOUT, Stage, complete, spent
from _shared import machine, median_interval, print_machine, store

from defenses.clear import ClearClient, ClearServer
from defenses.entropy import SecureEntropy
from defenses.frame import Precision
from defenses.secagg.masked.directory import enrol
from defenses.secagg.masked.graph import SPARSE_FROM
from defenses.secagg.masked.policy import Policy
from defenses.secagg.ratchet.client import RatchetClient
from defenses.secagg.ratchet.server import RatchetServer
from defenses.session import RoundInfo
from defenses.upload import Layout, Upload, UploadKind

COEFFICIENTS = 128
RATCHET_BITS = 10
REPEATS = {16: 15, 64: 7}
"""Of each row; larger rosters are measured five times where nobody drops out, and once where masks take seconds."""


def row(n: int, values: int, bits: int, dropped: float, graph: str, sample: int) -> dict[str, Any]:
    """Every number of one kind of round."""
    clients: list[dict[str, Any]] = []
    servers: list[dict[str, Any]] = []
    memory = []
    for _ in range(REPEATS.get(n, 1 if dropped else 5)):
        stage = Stage(n, values, bits, dropped, complete(n) if graph == "complete" else None)
        for place in np.linspace(0, len(stage.alive) - 1, sample).astype(int).tolist():
            took, size = stage.client(place)
            floor = stage.client_floor()
            clients.append(
                {
                    "steps_ms": took,
                    "ms": sum(took.values()),
                    "floor_ms": sum(floor.values()),
                    "floors_ms": floor,
                    **size,
                }
            )
        took, floor, above = stage.server()
        servers.append(
            {"steps_ms": took, "ms": sum(took.values()), "floor_ms": sum(floor.values()), "floors_ms": floor}
        )
        memory.append(above)
    return {
        "clients": n,
        "dropped": dropped,
        "graph": graph,
        "neighbours": stage.shape.neighbours,
        "threshold": stage.shape.threshold,
        "values": values,
        "ring_bits": stage.terms.grid.ring.bits,
        "client_ms": median_interval([each["ms"] for each in clients]),
        "client_floor_ms": median_interval([each["floor_ms"] for each in clients]),
        "client_masking_ms": median_interval([each["floors_ms"]["masking"] for each in clients]),
        "client_over_floor": median_interval([each["ms"] / each["floor_ms"] for each in clients]),
        "server_ms": median_interval([each["ms"] for each in servers]),
        "server_over_floor": median_interval([each["ms"] / each["floor_ms"] for each in servers]),
        "up_bytes": max(each["up"] for each in clients),
        "down_bytes": max(each["down"] for each in clients),
        "vector_bytes": stage.terms.grid.ring.packed_size(stage.terms.slots),
        "server_peak_bytes": max(memory),
        "client_samples": clients,
        "server_samples": servers,
    }


def ratcheted(n: int, values: int, rounds: int) -> dict[str, Any]:
    """Rounds of coefficients under keys agreed once: 16-bit ring, nobody drops out; medians over rounds."""
    entropy = SecureEntropy()
    agreeing, members = spent(lambda: enrol(range(n), entropy))
    policy = Policy(
        minimum=3, collusion=COLLUSION, dropout=DROPOUT, clip=CLIP, bits=RATCHET_BITS, max_weight=1
    )
    layout = Layout.of({"v": (values,)})
    client_ms, server_ms, up, down = [], [], 0, 0
    for number in range(rounds):
        info = RoundInfo(number, UploadKind.COEFFICIENTS, tuple(range(n)), layout)
        upload = Upload({"v": np.full(values, 0.5)}, 1, number, UploadKind.COEFFICIENTS)
        began, server = spent(partial(RatchetServer, info, policy, members[0].directory))
        on_server, on_clients, up, down = began, 0.0, 0, 0
        clients: dict[int, RatchetClient] = {}
        inbox: dict[int, list[bytes]] = {me: [] for me in range(n)}
        while inbox:
            out: dict[int, list[bytes]] = {}
            for me, frames in inbox.items():
                if frames:
                    took, (answer,) = spent(partial(clients[me].receive, frames[0]))
                else:
                    began, clients[me] = spent(partial(RatchetClient, members[me], info, policy, entropy))
                    took, (answer,) = spent(partial(clients[me].protect, upload))
                    took += began
                on_clients += took
                if me == 0:
                    up, down = up + len(answer), down + sum(map(len, frames))
                took, sent = spent(partial(server.receive, me, answer))
                on_server += took
                out.update(sent)
            inbox = out
        assert len(server.aggregate().contributors) == n
        client_ms.append(on_clients / n)
        server_ms.append(on_server)
    return {
        "clients": n,
        "values": values,
        "ring_bits": server.terms.grid.ring.bits,
        "client_ms": median_interval(client_ms),
        "server_ms": median_interval(server_ms),
        "up_bytes": up,
        "down_bytes": down,
        "set_up_ms": agreeing / n,
        "set_up_up_bytes": len(members[0].identity.public)
        + len(next(iter(members[0].directory.agreements.values()))),
        "set_up_down_bytes": len(members[0].directory.save()),
    }


def clear(values: int, rounds: int) -> dict[str, Any]:
    """Uploads as they are, for comparison: by precision, medians over rounds of three clients."""
    found = {}
    for precision in (Precision.FP32, Precision.FP16):
        client_ms, server_ms = [], []
        layout = Layout.of({"v": (values,)})
        for number in range(rounds):
            info = RoundInfo(number, UploadKind.COEFFICIENTS, (0, 1, 2), layout)
            server = ClearServer(info, precision)
            for me in info.roster:
                numbers = np.random.default_rng(me).uniform(-1, 1, values).astype(np.float32)
                upload = Upload({"v": numbers}, 1, number, info.kind)
                took, (frame,) = spent(partial(ClearClient(me, info, precision).protect, upload))
                client_ms.append(took)
                took, _ = spent(partial(server.receive, me, frame))
                server_ms.append(took)
            took, _ = spent(server.aggregate)
            server_ms = [*server_ms[:-3], *(each + took / 3 for each in server_ms[-3:])]
        found[str(precision)] = {
            "client_ms": median_interval(client_ms),
            "server_ms_a_client": median_interval(server_ms),
            "up_bytes": len(frame),
        }
    return found


def main() -> None:
    """Measure, print a table, store the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[16, 64, 256, 1024], help="sizes of the roster"
    )
    parser.add_argument(
        "--drops", type=float, nargs="+", default=[0.0, 0.1, 0.3], help="shares that drop out"
    )
    parser.add_argument(
        "--most", type=float, default=0.1, help="share from 1,000 clients on; more takes minutes"
    )
    parser.add_argument("--values", type=int, default=262_144, help="numbers in an upload")
    parser.add_argument("--sample", type=int, default=6, help="clients measured in each repeat")
    parser.add_argument("--name", default="secagg", help="names the file under results/")
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    print(f"{options.values:,} numbers; processor ms; over: times the floor of the same repeat; medians")
    head: tuple[str, ...] = (
        "clients",
        "dropped",
        "k",
        "t",
        "ring",
        "client",
        "over",
        "server",
        "over",
        "up",
        "down",
        "server MiB",
    )
    widths: tuple[int, ...] = (8, 8, 5, 5, 5, 8, 6, 10, 6, 11, 9, 11)
    print("".join(f"{name:>{width}}" for name, width in zip(head, widths, strict=True)))
    rows = []
    for n in options.clients:
        graphs = ["complete"] if n < SPARSE_FROM else ["sparse", "complete"] if n <= 256 else ["sparse"]
        # 16 bits in a number need 32 in the sum; as many as a sum of 16 bits has room for need 16.
        drops = [share for share in options.drops if n < 1000 or share <= options.most]
        kinds = [(graph, 16, share) for graph in graphs for share in drops]
        kinds.append((graphs[0], 16 - (n - 1).bit_length(), options.drops[0]))
        for graph, bits, share in kinds:
            found = row(n, options.values, bits, share, graph, options.sample)
            rows.append(found)
            cells = (
                *(n, f"{share:.0%}", found["neighbours"], found["threshold"], found["ring_bits"]),
                *(f"{found['client_ms']['median']:.1f}", f"{found['client_over_floor']['median']:.2f}"),
                *(f"{found['server_ms']['median']:,.1f}", f"{found['server_over_floor']['median']:.2f}"),
                *(
                    f"{found['up_bytes']:,}",
                    f"{found['down_bytes']:,}",
                    f"{found['server_peak_bytes'] / 2**20:.1f}",
                ),
            )
            print("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)
    print(f"\nratcheted rounds of {COEFFICIENTS} coefficients at {RATCHET_BITS} bits; medians over 40 rounds")
    head = ("clients", "ring", "client ms", "server ms", "up", "down", "set-up ms", "set-up bytes")
    widths = (8, 6, 11, 11, 7, 7, 11, 14)
    print("".join(f"{name:>{width}}" for name, width in zip(head, widths, strict=True)))
    small = [ratcheted(n, COEFFICIENTS, 40) for n in (5, 10, 50)]
    for found in small:
        client, server = (found[name]["median"] for name in ("client_ms", "server_ms"))
        set_up = f"{found['set_up_up_bytes']} + {found['set_up_down_bytes']}"
        print(
            f"{found['clients']:>8}{found['ring_bits']:>6}{client:>11.2f}{server:>11.2f}{found['up_bytes']:>7,}"
            f"{found['down_bytes']:>7,}{found['set_up_ms']:>11.2f}{set_up:>14}"
        )
    result = {"machine": facts, "rows": rows, "ratcheted": small, "clear": clear(options.values, 4)}
    print(f"stored in {store(options.name, result)}")


if __name__ == "__main__":
    main()
