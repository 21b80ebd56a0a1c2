"""Write the tables of the pages of docs from ``benchmarks/results``, so that no number is typed.

    python benchmarks/findings.py            rewrite what stands between the pages' markers
    python benchmarks/findings.py --check    say whether the pages are up to date

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; the text around it is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import _attack_tables
import _audit_tables
import _curve_tables
import _ficpd_tables
import _grid_tables
import _leak_tables
import _one_shot_tables
import _order_tables
import _prototype_tables
import _secagg_tables
import _share_tables
from _sweep import mean_text
from _tables import cells, load, markdown, plain, values

DOCS = Path(__file__).parent.parent / "docs"
PAGES = tuple(
    page for page in sorted(DOCS.glob("*.md")) if "<!-- table: " in page.read_text(encoding="utf-8")
)
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
FULL = "linear, both branches, all layers"


def turned(name: str) -> str:
    """A sweep with its cells as columns and its figures as rows, for few cells with many figures."""
    found = cells(name)
    keys = list(next(iter(next(iter(found.values())).values())))
    rows = [[key, *(mean_text(values(by_seed, key)) for by_seed in found.values())] for key in keys]
    return markdown(["", *found], rows)


def ablations() -> str:
    """One row a variant; for each task its accuracy, and what it loses against the whole method, seed by seed."""
    found = cells("claims_ablations")
    tasks = list(dict.fromkeys(name.partition(", ")[0] for name in found))
    variants = list(dict.fromkeys(name.partition(", ")[2] for name in found))
    rows = []
    for variant in variants:
        row = [variant]
        for task in tasks:
            own = values(found[f"{task}, {variant}"], "accuracy")
            whole = values(found[f"{task}, {FULL}"], "accuracy")
            lost = [a - b for a, b in zip(whole, own, strict=True)]
            row += [mean_text(own), "" if variant == FULL else mean_text(lost)]
        rows.append(row)
    return markdown(["", *(part for task in tasks for part in (task, f"{task}: lost"))], rows)


def shipped_tasks() -> str:
    """Zero-shot, 8-shot and IFed-ICL on every shipped classification task."""
    found = load("model_card")["accuracies"]
    keys = ("zero_shot", "few_shot", "ifed_icl")
    rows = [[task, *(mean_text(by[key]) for key in keys)] for task, by in found.items()]
    return markdown(["", "zero-shot", "8-shot prompt", "IFed-ICL"], rows)


def client_cost() -> str:
    """Client time, memory, accuracy and bytes of each method and amount of local work."""
    rows = []
    for name, row in load("client_cost")["summary"]["rows"].items():
        rows.append(
            [
                name,
                _ranged(row["client_seconds"], 2),
                _ranged(row["time_over_reference"], 2),
                _ranged(row["accuracy"], 3),
                _ranged(row["above_baseline_mib"], 1),
                f"{row['up_bytes_per_client']:,.0f}",
                f"{row['down_bytes_per_client']:,.0f}",
            ]
        )
    head = [
        "method, local work",
        "client CPU s",
        "time / ours",
        "accuracy",
        "MiB above base",
        "up B",
        "down B",
    ]
    return markdown(head, rows)


def reach() -> str:
    """Client time until one method reaches the other's last-round accuracy."""
    rows = []
    for name, row in load("client_cost")["summary"]["reach"].items():
        times = "" if row["times_faster"] is None else _ranged(row["times_faster"], 2)
        rows.append([name, f"{row['reached']} of {row['seeds']}", times])
    return markdown(["", "seeds in which it does", "times less client time"], rows)


def inference() -> str:
    """Ratios of processor time to the plain model's."""
    rows = []
    for name, found in load("inference")["models"].items():
        for what in ("forward", "decode"):
            ratios = found[what]["ratios"]
            rows.append(
                [f"{name}, {what}", *(_ordered(ratios[v]) for v in ("plain again", "folded", "hooks"))]
            )
    return markdown(["", "plain again", "folded", "hooks"], rows)


def scale() -> str:
    """Time and memory of every stage by number of clients."""
    sizes = load("scale")["sizes"]
    rows = []
    for stage in next(iter(sizes.values()))["summary"]:
        for clients, found in sizes.items():
            row = found["summary"][stage]
            rows.append(
                [
                    stage,
                    clients,
                    f"{row['cpu_seconds']:.2f}",
                    f"{row['peak_above_start_mib']:.1f}",
                    f"{row['kept_mib']:.1f}",
                ]
            )
    return markdown(["stage", "clients", "CPU s", "MiB peak", "MiB kept"], rows)


def _ranged(v: Mapping[str, float], digits: int) -> str:
    return f"{v['mean']:.{digits}f} [{v['low']:.{digits}f}, {v['high']:.{digits}f}]"


def _ordered(v: Mapping[str, float]) -> str:
    return f"{v['median']:.3f} [{v['low']:.3f}, {v['high']:.3f}]"


TABLES: dict[str, Callable[[], str]] = {
    "shipped_tasks": shipped_tasks,
    "methods": lambda: turned("claims_methods"),
    "skew": lambda: plain("claims_skew"),
    "ablations": ablations,
    "precision": lambda: plain("precision"),
    "generation": lambda: turned("claims_generation"),
    "groups": lambda: turned("claims_groups"),
    "client_cost": client_cost,
    "reach": reach,
    "inference": inference,
    "scale": scale,
    **_attack_tables.TABLES,
    **_order_tables.TABLES,
    **_audit_tables.TABLES,
    **_secagg_tables.TABLES,
    **_ficpd_tables.TABLES,
    **_prototype_tables.TABLES,
    **_one_shot_tables.TABLES,
    **_leak_tables.TABLES,
    **_share_tables.TABLES,
    **_grid_tables.TABLES,
    **_curve_tables.TABLES,
}


def render(page: str) -> str:
    """The page with every marked table made anew."""
    return _MARKED.sub(lambda m: m[1] + TABLES[m[2]]() + m[4], page)


def main() -> int:
    """Rewrite or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is old")
    options = parser.parse_args()
    old = {page: page.read_text(encoding="utf-8") for page in PAGES}
    new = {page: render(text) for page, text in old.items()}
    if options.check:
        stale = [page.name for page in PAGES if old[page] != new[page]]
        print(f"{', '.join(stale)}: old; run this script without --check" if stale else "up to date")
        return int(bool(stale))
    for page, text in new.items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
