"""Masked sums against the floor of their own primitives: python benchmarks/secagg.py [--clients 16 64] [--drops 0 0.3].

A whole round, every message encoded and decoded: processor time of a client (mean over all) and of the server, and
bytes. Beside it stands the floor: the same masks, agreements, signatures, seals, shares and additions in bare loops,
in the same run and so on the same machine in the same mood. What a round takes beyond its floor is ours to answer
for: encoding, checks, rounding to the grid.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _shared import machine, median_interval, print_machine, store

from defenses.entropy import SecureEntropy
from defenses.secagg.masked import masks, shamir
from defenses.secagg.masked.channel import seal, unseal
from defenses.secagg.masked.client import MaskedClient
from defenses.secagg.masked.directory import enrol
from defenses.secagg.masked.keys import AgreementKey, IdentityKey, verify
from defenses.secagg.masked.phases import ServerPhase
from defenses.secagg.masked.policy import Policy
from defenses.secagg.masked.server import MaskedServer
from defenses.secagg.ratchet.client import RatchetClient
from defenses.secagg.ratchet.server import RatchetServer
from defenses.session import RoundInfo
from defenses.upload import Layout, Upload, UploadKind

CLIP = 4.0
COLLUSION = 0.1
DROPOUT = 0.05
COEFFICIENTS = 128
RATCHET_BITS = 10


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and what it gave."""
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def one_round(n: int, values: int, bits: int, share: float, seed: int) -> dict[str, Any]:
    """A whole round in which a share of the clients is lost after it has shared its keys."""
    entropy = SecureEntropy()
    members = enrol(range(n), entropy)
    policy = Policy(minimum=3, collusion=COLLUSION, dropout=DROPOUT, clip=CLIP, bits=bits, max_weight=1)
    info = RoundInfo(0, UploadKind.COEFFICIENTS, tuple(range(n)), Layout.of({"v": (values,)}))
    numbers = np.random.default_rng(seed).uniform(-1, 1, values).astype(np.float32)
    upload = Upload({"v": numbers}, 1, 0, UploadKind.COEFFICIENTS)
    server = MaskedServer(info, policy, members[0].directory)
    gone = set(range(n - round(share * n), n))
    stages: dict[str, list[float]] = {}
    up, down, on_server = [0] * n, [0] * n, 0.0
    clients = {me: MaskedClient(members[me], info, policy, entropy) for me in range(n)}
    answers: dict[int, list[bytes]] = {}
    for me, session in clients.items():
        took, answers[me] = spent(lambda session=session: session.protect(upload))  # type: ignore[misc]
        stages.setdefault("advertise", []).append(took)
    while answers:
        inbox: dict[int, list[bytes]] = {}
        for me, frames in answers.items():
            for frame in frames:
                up[me] += len(frame)
                took, out = spent(lambda me=me, frame=frame: server.receive(me, frame))  # type: ignore[misc]
                on_server += took
                inbox.update(out)
        answers = {}
        if server.phase is ServerPhase.MASKING and gone:
            took, out = spent(lambda: server.lost(gone))
            on_server += took
        stage = str(server.phase)
        for me, frames in inbox.items():
            if me in gone and stage == ServerPhase.MASKING:
                continue
            down[me] += sum(map(len, frames))
            took, answers[me] = spent(lambda me=me, frames=frames: clients[me].receive(frames[0]))  # type: ignore[misc]
            stages.setdefault(stage, []).append(took)
    unmasking, result = spent(server.aggregate)
    slack = 2 * CLIP / 2 ** (bits - 1)
    assert np.abs(result.means["v"] - numbers).max() <= slack and len(result.contributors) == n - len(gone)
    terms = server.terms
    by_stage = {stage: 1e3 * sum(each) / len(each) for stage, each in stages.items()}
    return {
        "neighbours": terms.graph.shape.neighbours,
        "threshold": terms.graph.shape.threshold,
        "ring_bits": terms.grid.ring.bits,
        "client_ms": sum(by_stage.values()),
        "client_stages_ms": by_stage,
        "server_ms": 1e3 * (on_server + unmasking),
        "unmask_ms": 1e3 * unmasking,
        "up_bytes": up[0],
        "down_bytes": down[0],
        "payload_bytes": terms.grid.ring.packed_size(terms.slots),
    }


def floor(n: int, values: int, row: dict[str, Any], share: float) -> dict[str, Any]:
    """The primitives that the round cannot do without, in bare loops: milliseconds of a client and of the server."""
    k, t, dropped = row["neighbours"], row["threshold"], round(share * n)
    entropy = SecureEntropy()
    vector = np.zeros(values + 1, dtype=masks.DTYPES[row["ring_bits"]])
    one, other, identity = (
        AgreementKey.fresh(entropy),
        AgreementKey.fresh(entropy),
        IdentityKey.fresh(entropy),
    )
    key, binding = bytes(32), bytes(32)
    mark = identity.sign("x", bytes(100))
    points = tuple(range(1, k + 2))

    def client() -> None:
        AgreementKey.fresh(entropy), AgreementKey.fresh(entropy)
        drawn = shamir.draw(t, entropy)
        for _ in range(2):
            shamir.split(key, t, points, drawn)
            identity.sign("x", bytes(100))
        for _ in range(2 * k):
            verify(identity.public, mark, "x", bytes(100))
        for number in range(k):
            sealed = seal(one, other.public, binding, 1, number, bytes(66))
            unseal(other, one.public, binding, 1, number, sealed)
            one.agree(other.public)
        for _ in range(k + 1):
            masks.apply(vector, key, 1)

    def server() -> None:
        for _ in range(2 * n):
            verify(identity.public, mark, "x", bytes(100))
        for _ in range(n - dropped):
            np.add(vector, vector, out=vector)
            masks.apply(vector, key, -1)
        for _ in range(dropped):
            AgreementKey(key)
            for _ in range(round(k * (1 - share))):
                one.agree(other.public)
                masks.apply(vector, key, 1)
        shares = shamir.split(key, t, points[:t], shamir.draw(t, entropy))
        for _ in range(n):
            shamir.combine(points[:t], shares)

    return {"client_ms": 1e3 * spent(client)[0], "server_ms": 1e3 * spent(server)[0]}


def ratcheted(n: int, values: int, rounds: int) -> dict[str, Any]:
    """Rounds of coefficients under keys agreed once: 16-bit ring, nobody drops out; medians over rounds."""
    entropy = SecureEntropy()
    agreeing, members = spent(lambda: enrol(range(n), entropy))
    policy = Policy(
        minimum=3, collusion=COLLUSION, dropout=DROPOUT, clip=CLIP, bits=RATCHET_BITS, max_weight=1
    )
    layout = Layout.of({"v": (values,)})
    client_ms, server_ms, up = [], [], 0
    for number in range(rounds):
        info = RoundInfo(number, UploadKind.COEFFICIENTS, tuple(range(n)), layout)
        upload = Upload({"v": np.full(values, 0.5)}, 1, number, UploadKind.COEFFICIENTS)
        on_server, server = spent(lambda info=info: RatchetServer(info, policy, members[0].directory))  # type: ignore[misc]
        on_clients, up = 0.0, 0
        clients: dict[int, RatchetClient] = {}
        inbox: dict[int, list[bytes]] = {number: [] for number in range(n)}
        while inbox:
            out: dict[int, list[bytes]] = {}
            for me, frames in inbox.items():
                before = time.process_time()
                if frames:
                    answer = clients[me].receive(frames[0])
                else:
                    clients[me] = RatchetClient(members[me], info, policy, entropy)
                    answer = clients[me].protect(upload)
                on_clients += time.process_time() - before
                up += len(answer[0]) if me == 0 else 0
                took, sent = spent(lambda me=me, answer=answer, server=server: server.receive(me, answer[0]))  # type: ignore[misc]
                on_server += took
                out.update(sent)
            inbox = out
        assert len(server.aggregate().contributors) == n
        client_ms.append(1e3 * on_clients / n)
        server_ms.append(1e3 * on_server)
    return {
        "clients": n,
        "values": values,
        "ring_bits": server.terms.grid.ring.bits,
        "agree_once_ms": 1e3 * agreeing / n,
        "client_ms": median_interval(client_ms),
        "server_ms": median_interval(server_ms),
        "up_bytes": up,
    }


def main() -> None:
    """Measure, print a table, store the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[16, 64], help="sizes of the roster")
    parser.add_argument(
        "--drops", type=float, nargs="+", default=[0.0, 0.1, 0.3], help="shares that drop out"
    )
    parser.add_argument("--values", type=int, default=262_144, help="numbers in an upload")
    parser.add_argument("--bits", type=int, default=16, help="levels of a number, as in defense.grid.bits")
    parser.add_argument(
        "--repeats", type=int, default=3, help="rounds of each kind; the table has the least time"
    )
    parser.add_argument("--name", default="secagg", help="names the file under results/")
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    print(f"{options.values:,} numbers at {options.bits} bits; milliseconds of processor time, ours / floor")
    head = ("clients", "dropped", "k", "t", "ring", "client", "server", "up", "down")
    widths = (8, 8, 5, 5, 5, 18, 20, 11, 9)
    print("".join(f"{name:>{width}}" for name, width in zip(head, widths, strict=True)))
    rows = []
    for n in options.clients:
        for share in options.drops:
            pairs = []
            for seed in range(options.repeats):
                row = one_round(n, options.values, options.bits, share, seed)
                pairs.append((row, floor(n, options.values, row, share)))
            best = {
                name: (min(row[name] for row, _ in pairs), min(least[name] for _, least in pairs))
                for name in ("client_ms", "server_ms")
            }
            rows.append(
                {"clients": n, "dropped": share, "values": options.values, "rounds": [r for r, _ in pairs],
                 "floors": [f for _, f in pairs]}
            )  # fmt: skip
            first = pairs[0][0]
            cells = (
                *(n, f"{share:.0%}", first["neighbours"], first["threshold"], first["ring_bits"]),
                *(f"{ours:.1f} / {least:.1f}" for ours, least in best.values()),
                *(f"{first['up_bytes']:,}", f"{first['down_bytes']:,}"),
            )
            print("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)
    print(f"\nratcheted rounds of {COEFFICIENTS} coefficients at {RATCHET_BITS} bits; medians over 40 rounds")
    print(f"{'clients':>8}{'ring':>6}{'client ms':>11}{'server ms':>11}{'up':>7}{'agree once, ms':>16}")
    small = [ratcheted(n, COEFFICIENTS, 40) for n in (5, 10, 50)]
    for row in small:
        client, server = (row[name]["median"] for name in ("client_ms", "server_ms"))
        print(
            f"{row['clients']:>8}{row['ring_bits']:>6}{client:>11.2f}{server:>11.2f}{row['up_bytes']:>7,}"
            f"{row['agree_once_ms']:>16.2f}"
        )
    print(f"stored in {store(options.name, {'machine': facts, 'rows': rows, 'ratcheted': small})}")


if __name__ == "__main__":
    main()
