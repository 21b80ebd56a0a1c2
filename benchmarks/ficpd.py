"""Ablations of FICPD, one command each: python benchmarks/ficpd.py PART [--seeds 5] [--task domains] [...]

    clusters      K of 1, 2, 5, 10, 20
    compression   rows that travel, L' of 2, 5, 10, 20 (of 20)
    length        L of 10, 20, 50
    epsilon       1, 2, 4 and none, whole clients hidden; with the advantage of a loss threshold on membership
    clustering    clusters against one mean of all, and against clients who tune alone, on tasks of three kinds
    estimator     zeroth-order estimates against gradients, at equal queries
    clients       10 to 500
    unseen        adaptation to a domain, a language and a task that no client of the federation had
    membership    the same advantage without privacy, as usual and where there is something to find

Every number is the last round's, read off the run's own report. Results are added to
``benchmarks/results/ficpd_<part>.jsonl`` line by line; a command that is repeated goes on where it ended. Tables:
``findings.py``; figures: ``figures.py``. ``--small`` runs a federation of four clients that only shows that all works.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _cells import Cell, measure, text_table
from _ficpd_runs import SMALL, Scale, Settings, adapted, federation, measured, private, settings
from _sweep import RESULTS

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.embedded import MODEL_PATH

CLUSTERS = (1, 2, 5, 10, 20)
KEPT = (2, 5, 10, 20)
LENGTHS = (10, 20, 50)
EPSILONS = (1.0, 2.0, 4.0, math.inf)
BUDGETS = (160, 640)
"""Queries of a client in one tuning: 16 for a step by gradient, 160 for one in five directions."""
BATCH, DIRECTIONS = 16, 5
ROOM = 6
CLIENTS = (10, 50, 200, 500)
UNSEEN: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, str]]] = {
    "domain": (("domains", {"values": ["bank", "clinic", "support"]}), ("domains", "shop")),
    "language": (("dialects", {"values": ["upland"]}), ("dialects", "lowland")),
    "task": (("mood", {}), ("channel", "")),
}
"""What a federation has, and what the newcomer brings."""
SHOTS = (8, 32)


class Bench:
    """Cells of one scale, task and model."""

    def __init__(self, scale: Scale, task: str, backbone: Backbone) -> None:
        self.scale = scale
        self.task = task
        self.backbone = backbone

    def cell(self, given: Settings) -> Cell:
        """A run."""
        return Cell(given, partial(measured, given, self.backbone))

    def _room(self) -> dict[str, Any]:
        """Two clusters more than the task has groups."""
        return {"clusters": self.few(ROOM)}

    def few(self, clusters: int) -> int:
        """As many clusters as a small federation can have."""
        return min(clusters, self.scale.clients)

    def clusters(self) -> dict[str, Cell]:
        """K."""
        return {
            f"K = {k}": self.cell(settings(self.scale, self.task, {"clusters": self.few(k)}))
            for k in CLUSTERS
        }

    def compression(self) -> dict[str, Cell]:
        """L', with nothing projected where all rows travel; and with room for more clusters than there are groups."""
        found = {
            f"L' = {kept}": self.cell(settings(self.scale, self.task, defense=_rows(kept))) for kept in KEPT
        }
        roomy = settings(self.scale, self.task, self._room(), defense=_rows(5))
        return found | {f"L' = 5, K = {ROOM}": self.cell(roomy)}

    def length(self) -> dict[str, Cell]:
        """L."""
        return {
            f"L = {length}": self.cell(settings(self.scale, self.task, {"length": length}, aside=True))
            for length in LENGTHS
        }

    def epsilon(self) -> dict[str, Cell]:
        """Budgets, and what the attack on membership gets under each."""
        told = {**settings(self.scale, self.task)["evaluation"], "membership": True}
        return {
            f"epsilon = {epsilon:g}": self.cell(
                settings(self.scale, self.task, evaluation=told, **private(self.scale, epsilon))
            )
            for epsilon in EPSILONS
        }

    def clustering(self) -> dict[str, Cell]:
        """Clusters and one mean, each beside clients who tune alone as long."""
        alone = {**settings(self.scale, self.task)["evaluation"], "local_injection": True}
        return {
            f"{task}, {name}": self.cell(settings(self.scale, task, {"clusters": k}, evaluation=alone))
            for task in ("domains", "dialects", "mood")
            for name, k in (("clusters", 4), ("one mean", 1))
        }

    def estimator(self) -> dict[str, Cell]:
        """Both estimators, at equal queries in a tuning."""
        found = {}
        for budget in BUDGETS:
            room = settings(self.scale, self.task, {**self._room(), "tuning": _gradient(budget)}, aside=True)
            found[f"gradient, {budget} queries, K = {ROOM}"] = self.cell(room)
            gradient = _gradient(budget)
            zeroth = {
                "steps": budget // (2 * DIRECTIONS * BATCH),
                "batch_size": BATCH,
                "estimator": "zeroth_order",
                "directions": DIRECTIONS,
            }
            for name, method in (
                ("gradient", {"tuning": gradient}),
                ("zeroth-order", {"access": "black_box", "tuning": zeroth}),
            ):
                found[f"{name}, {budget} queries"] = self.cell(
                    settings(self.scale, self.task, method, aside=True)
                )
        return found

    def clients(self) -> dict[str, Cell]:
        """How many there are, each with as many examples."""
        most = max(CLIENTS) if self.scale is not SMALL else 10
        roomy = settings(self.scale, self.task, self._room(), clients=min(CLIENTS), aside=True)
        return {f"{min(CLIENTS)} clients, K = {ROOM}": self.cell(roomy)} | {
            f"{count} clients": self.cell(settings(self.scale, self.task, clients=count, aside=True))
            for count in CLIENTS
            if count <= most
        }

    def unseen(self) -> dict[str, Cell]:
        """Newcomers."""
        found = {}
        for name, ((task, split), other) in UNSEEN.items():
            given = settings(self.scale, task)
            given["partition"] = {**given["partition"], **split}
            # Only a part of the texts is of the values that are left.
            given["data"] = {**given["data"], "train": 4 * self.scale.clients * self.scale.examples}
            runs = federation(given, self.backbone)
            for shots in SHOTS:
                whole = {"federation": given, "other": list(other), "shots": shots, "steps": self._steps}
                run = partial(adapted, runs, other, self.scale.queries, shots, self._steps, self.backbone)
                found[f"{name}, {shots} examples"] = Cell(whole, run)
        return found

    @property
    def _steps(self) -> int:
        """A newcomer's steps: as many as a client takes in the whole federation."""
        return self.scale.steps * (self.scale.rounds + 2)

    def membership(self) -> dict[str, Cell]:
        """Beside the usual, clients who learn few examples by heart: the attack must find what is to be found."""
        told = {**settings(self.scale, self.task)["evaluation"], "membership": True}
        by_heart = settings(
            self.scale,
            self.task,
            {
                # Each has a cluster of its own: a mean of contrary prompts would have nothing by heart.
                "min_members": 1,
                "rounds": self.scale.private_rounds,
                "tuning": {"steps": 20 * self.scale.steps, "rate": 0.1},
            },
            clients=4,
            evaluation=told,
            aside=True,
        )
        usual = settings(self.scale, self.task, evaluation=told, aside=True)
        return {"usual tuning": self.cell(usual), "4 clients, long tuning": self.cell(by_heart)}


def _gradient(budget: int) -> dict[str, int]:
    return {"steps": budget // BATCH, "batch_size": BATCH}


def _rows(kept: int) -> dict[str, Any]:
    return {"kind": "none", **({} if kept == max(KEPT) else {"compression": {"kind": "rows", "keep": kept}})}


PARTS: dict[str, Callable[[Bench], dict[str, Cell]]] = {
    "clusters": Bench.clusters,
    "compression": Bench.compression,
    "length": Bench.length,
    "epsilon": Bench.epsilon,
    "clustering": Bench.clustering,
    "estimator": Bench.estimator,
    "clients": Bench.clients,
    "unseen": Bench.unseen,
    "membership": Bench.membership,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--task", default="domains", help="a shipped task; clustering and unseen have their own"
    )
    parser.add_argument(
        "--private-clients", type=int, default=Scale().private_clients, help="clients of a run with a budget"
    )
    parser.add_argument("--cells", nargs="*", default=(), help="only these cells, by name")
    parser.add_argument("--list", action="store_true", help="name the cells and measure nothing")
    parser.add_argument("--small", action="store_true", help="four clients and few steps; needs --out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder for results")
    options = parser.parse_args(arguments)
    if options.small and options.out == RESULTS:
        parser.error("--small measures nothing worth keeping: give --out FOLDER")
    torch.set_num_threads(1)
    backbone = Backbone.load(str(MODEL_PATH))
    scale = SMALL if options.small else Scale(private_clients=options.private_clients)
    cells = PARTS[options.part](Bench(scale, options.task, backbone))
    if options.list:
        print("\n".join(cells))
        return
    unknown = sorted(set(options.cells) - set(cells))
    if unknown:
        parser.error(f"there is no cell {unknown[0]!r}; the cells are {', '.join(map(repr, cells))}")
    chosen = {name: cell for name, cell in cells.items() if not options.cells or name in options.cells}
    plain = options.task == "domains" or options.part in ("clustering", "unseen")
    name = f"ficpd_{options.part}" + ("" if plain else f"_{options.task}")
    print(text_table(measure(name, backbone.fingerprint, chosen, range(options.seeds), options.out)))


if __name__ == "__main__":
    main()
