"""The tables of what protected sums cost, from the stored results alone; `findings.py` writes them into the pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from _sweep import RESULTS

NUMBERS = 262_144


def _load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _mid(v: Mapping[str, float], digits: int = 1) -> str:
    return f"{v['median']:,.{digits}f}"


def _mb(size: float) -> str:
    return f"{size / 1e6:.2f} MB"


def _masked(n: int, graph: str, dropped: float, ring: int = 32) -> dict[str, Any]:
    for row in _load("secagg")["rows"]:
        if (row["clients"], row["graph"], row["dropped"], row["ring_bits"]) == (n, graph, dropped, ring):
            found: dict[str, Any] = row
            return found
    raise SystemExit(f"benchmarks/secagg.py has not measured {n} clients, {graph}, {dropped}, {ring} bits")


def lanes() -> str:
    """Every lane on one page: what it costs a client and the server, how exact it is, and whom it trusts."""
    found = _load("secagg")
    rows = []
    for bits, each in found["clear"].items():
        rows.append(
            [
                f"`none`, {bits}",
                _mid(each["client_ms"]),
                _mid(each["server_ms_a_client"], 2),
                "",
                _mb(each["up_bytes"]),
                "as sent",
                "the server, with every upload",
            ]
        )
    for n, graph, ring in (
        (16, "complete", 16),
        (16, "complete", 32),
        (64, "complete", 32),
        (1024, "sparse", 32),
    ):
        row = _masked(n, graph, 0.0, ring)
        rows.append(
            [
                f"`masked`, {n} clients, {graph}, ring of {ring} bits",
                _mid(row["client_ms"]),
                f"{row['server_ms']['median'] / n:.2f}",
                "",
                _mb(row["up_bytes"]),
                "exact on the grid",
                "nobody alone; that not too many clients join with the server",
            ]
        )
    encrypted = {row["variant"]: row for row in _load("homomorphic")["rows"]}
    for kind in ("bfv", "ckks"):
        for mode in ("public", "symmetric"):
            session = encrypted[f"{kind} {mode}"]["session"]
            rows.append(
                [
                    f"`{kind}`, {mode}",
                    f"{session['client_ms']:.0f}",
                    f"{session['server_ms_a_client']:.0f}",
                    f"{session['key_holder_ms']:.0f}",
                    _mb(session["upload_bytes"]),
                    "exact on the grid" + (", by rounding" if kind == "ckks" else ""),
                    "that key holder and server do not join"
                    + (", nor any client with the server" if mode == "symmetric" else ""),
                ]
            )
    for row in found["ratcheted"]:
        if row["clients"] == 10:
            rows.append(
                [
                    f"`masked` with `ratchet`, 10 clients, {row['values']} numbers",
                    _mid(row["client_ms"], 2),
                    f"{row['server_ms']['median'] / 10:.2f}",
                    "",
                    f"{row['up_bytes']} B",
                    "exact on the grid",
                    "as `masked`; and nobody may drop out after its input",
                ]
            )
    head = [
        "lane",
        "client ms",
        "server ms a client",
        "key holder ms a round",
        "up",
        "the sum",
        "who must be trusted",
    ]
    return _table(head, rows)


def masked_sums() -> str:
    """Every measured kind of masked round beside its floor."""
    rows = []
    for row in _load("secagg")["rows"]:
        rows.append(
            [
                f"{row['clients']:,}",
                f"{row['dropped']:.0%}",
                f"{row['neighbours']}, {row['threshold']}",
                str(row["ring_bits"]),
                _mid(row["client_ms"]),
                _mid(row["client_over_floor"], 2),
                _mid(row["server_ms"], 0),
                _mid(row["server_over_floor"], 2),
                f"{row['up_bytes']:,}",
                f"{row['down_bytes']:,}",
                f"{row['server_peak_bytes'] / 2**20:.1f}",
            ]
        )
    head = ["clients", "dropped", "k, t", "ring", "client ms", "× floor", "server ms", "× floor", "up B", "down B",
            "server MiB"]  # fmt: skip
    return _table(head, rows)


def marks() -> str:
    """What was aimed for, and what is measured."""
    found = _load("secagg")["rows"]
    whole = [row for row in found if not row["dropped"]]
    large = [
        row for row in found if row["clients"] >= 256 and row["graph"] == "sparse" and not row["dropped"]
    ]
    wide = _masked(1024, "sparse", 0.0)
    ckks = next(row for row in _load("homomorphic")["rows"] if row["variant"] == "ckks public")
    beside = [row["flower_over_ours"] for row in _load("flower_secagg")["rows"]]

    def span(numbers: Sequence[float], form: str) -> str:
        return f"{min(numbers):{form}} to {max(numbers):{form}}"

    def within(rows: Sequence[Mapping[str, Any]], name: str) -> str:
        ratios = [row[name]["median"] for row in rows]
        return f"{span(ratios, '.2f')}; {sum(ratio <= 1.5 for ratio in ratios)} of {len(ratios)} rows"

    def uploads(ring: int) -> str:
        return f"{span([row['up_bytes'] / 1e6 for row in large if row['ring_bits'] == ring], '.3f')} MB"

    lost = [row for row in found if row["dropped"]]
    rows = [
        ["a client's time", "1.5 × floor", within(found, "client_over_floor")],
        ["the server's, some dropping out", "1.5 × floor", within(lost, "server_over_floor")],
        ["the server's, nobody dropping out", "1.5 × floor", within(whole, "server_over_floor")],
        [
            f"a client among 1,024, {wide['neighbours']} neighbours",
            "40 ms",
            f"{_mid(wide['client_ms'])} ms, floor {_mid(wide['client_floor_ms'])}, "
            f"of it masks {_mid(wide['client_masking_ms'])}",
        ],
        ["upload, 256 clients and more, sparse, 32 bits", "1.06 MB", uploads(32)],
        ["the same, 16 bits", "0.53 MB", uploads(16)],
        ["upload under CKKS", "7.9 MB", f"{ckks['bytes'] / 1e6:.2f} MB"],
        ["CKKS's encryption, public key", "0.5 of usual", f"{ckks['encrypt_over_usual']['median']:.2f}"],
        *(
            [f"Flower's {end}, over ours", f"{least}", span([each[name]["median"] for each in beside], ".1f")]
            for end, name, least in (("client", "client_ms", 8), ("server", "server_ms", 25))
        ),
    ]
    return _table(["", "mark", "measured"], rows)


def ratchets() -> str:
    """Ratcheted rounds of coefficients, with what is spent once."""
    rows = []
    for row in _load("secagg")["ratcheted"]:
        rows.append(
            [
                str(row["clients"]),
                _mid(row["client_ms"], 2),
                _mid(row["server_ms"], 2),
                str(row["up_bytes"]),
                str(row["down_bytes"]),
                f"{row['set_up_ms']:.2f}",
                str(row["set_up_up_bytes"]),
                f"{row['set_up_down_bytes']:,}",
            ]
        )
    head = ["clients", "client ms", "server ms", "up B", "down B", "once: ms", "once: up B", "once: down B"]
    return _table(head, rows)


def flower() -> str:
    """Masked rounds beside Flower's SecAgg+ at equal shapes."""
    rows = []
    for row in _load("flower_secagg")["rows"]:
        cells = [f"{row['clients']}", f"{row['neighbours']}, {row['threshold']}"]
        for name in ("client_ms", "server_ms", "up_bytes", "down_bytes"):
            theirs, mine = (
                sorted(each[name] for each in row[side])[len(row[side]) // 2] for side in ("flower", "ours")
            )
            ratio = row["flower_over_ours"][name]["median"]
            digits = 0 if name.endswith("bytes") or theirs >= 1000 else 1
            cells.append(
                f"{theirs:,.{digits}f} / {mine:,.{0 if digits == 0 and name.endswith('bytes') else 1}f} = {ratio:.1f}"
            )
        rows.append(cells)
    return _table(["clients", "k, t", "client ms", "server ms", "up B", "down B"], rows)


def scale() -> str:
    """A round of few numbers with up to 10,000 clients."""
    rows = []
    for row in _load("masked_scale")["rows"]:
        rows.append(
            [
                f"{row['clients']:,}",
                f"{row['neighbours']}, {row['threshold']}",
                _mid(row["client_ms"]),
                _mid(row["client_begin_ms"]),
                f"{row['up_bytes']:,}",
                f"{row['down_bytes']:,}",
                f"{row['server_ms'] / row['clients']:.2f}",
                f"{row['server_peak_bytes'] / 2**20:.0f}",
            ]
        )
    head = [
        "clients",
        "k, t",
        "client ms",
        "of it before the round",
        "up B",
        "down B",
        "server ms a client",
        "server MiB",
    ]
    return _table(head, rows)


def protected() -> str:
    """Whole runs in the clear and under each protection."""
    rows = []
    for row in _load("protected_runs")["rows"]:
        graph = f", k {row['neighbours']}, t {row['threshold']}" if "neighbours" in row else ""
        rows.append(
            [
                f"{row['experiment']}, {row['defense']}{graph}",
                f"{row['accuracy']:.3f}",
                f"{row['vector_difference']:.1e}",
                f"{row['coefficient_difference']:.1e}",
                f"{row['largest_coefficient']:.2f}",
            ]
        )
    return _table(["run", "accuracy", "vector off by", "coefficients off by", "largest coefficient"], rows)


def fuzzing() -> str:
    """What was fuzzed, how long, and what came of it."""
    found = _load("fuzz_secagg")
    rows = [
        [
            f"`{name}`",
            f"{each['inputs']:,}",
            f"{each['cpu_seconds']:,}",
            f"{each['edges_covered']:,}",
            str(len(each["findings"])),
        ]
        for name, each in found["targets"].items()
    ]
    rows.append(["all", f"{found['inputs']:,}", f"{found['cpu_seconds']:,}", "", str(found["findings"])])
    return _table(["target", "inputs", "CPU s", "edges", "findings"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "lanes": lanes,
    "masked_sums": masked_sums,
    "marks": marks,
    "ratchets": ratchets,
    "flower_secagg": flower,
    "masked_scale": scale,
    "protected_runs": protected,
    "fuzz_secagg": fuzzing,
}
