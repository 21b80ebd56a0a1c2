"""Clusters of clients that mean opposite things: who finds them, what that is worth, and what it costs.

    python benchmarks/prototypes.py PART [--seeds 5] [--only SUBSTRING]

    groups      one global vector, prototypes with their number found or known, a mix, an oracle that is told the
                groups, and each client alone
    controls    the same clusters with other vectors in the place of theirs
    number      too few and too many prototypes
    small       a group of three clients among sixteen
    examples    how many examples a client needs to be told apart, from sums and by k-means that sees every sketch
    protected   the same run in the clear, under masks, and encrypted
    private     whole clients hidden

Every accuracy is the last round's, a mean over clients on 500 queries labelled as the client's group labels them.
Results are added to ``benchmarks/results/prototypes_<part>.json`` cell by cell.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from _sweep import Cell, sweep, table

from defenses.prototypes.spherical import spherical_kmeans
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment import baselines, controls
from ifedpriv.experiment.comparisons import members, together
from ifedpriv.experiment.figures import score
from ifedpriv.experiment.play import play
from ifedpriv.experiment.pool import Clients
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.icl.evaluate import Answers
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.measure.agreement import adjusted_rand
from ifedpriv.methods.prototype_icl import PrototypeIcl
from ifedpriv.report.parts import CONTROL_ROWS

CLIENTS, PER_CLIENT, QUERIES = 16, 32, 500
WORLDS = {"remedy, 2 groups": ("remedy", 2), "mood, 4 groups": ("mood", 4)}
SINGLE = {"kind": "ifed_icl", "guard": False}


def clustered(**clusters: Any) -> dict[str, Any]:
    """The method section of clustered IFed-ICL."""
    return {"kind": "prototype_icl", "guard": False, "clusters": clusters}


def world(
    task: str,
    groups: int,
    seed: int,
    method: Mapping[str, Any],
    backbone: Backbone,
    *,
    clients: int = CLIENTS,
    per_client: int = PER_CLIENT,
    **more: Any,
) -> Setup:
    """A run of clients in groups of equal size that label in opposite ways."""
    config = {
        "name": "prototypes",
        "threads": 1,
        "seed": seed,
        "record_view": False,
        "data": {
            "source": "embedded",
            "name": task,
            "train": clients * per_client * 2 + 100,
            "test": QUERIES,
            "seed": seed,
        },
        "partition": {
            "kind": "contradictory",
            "groups": groups,
            "mode": "auto",
            "clients": clients,
            "examples_per_client": per_client,
        },
        "method": method,
        "evaluation": {"every_round": False, "validation_fraction": 0.0},
        **more,
    }
    return prepare(parse_config(config, "prototypes"), backbone=backbone)


def kept(setup: Setup, numbers: Sequence[int]) -> Setup:
    """The same with these clients alone, under new numbers."""
    chosen = [replace(setup.clients[old], number=new) for new, old in enumerate(numbers)]
    return replace(setup, clients=Clients(chosen, setup.method.takes_part))


def mean_over_clients(setup: Setup, lists: Sequence[Answers]) -> float:
    """Mean accuracy of the clients, each on its own group's queries."""
    return float(np.mean([score(setup.data.task.kind, answers) for answers in lists]))


def by_group(setup: Setup, lists: Sequence[Answers]) -> dict[str, float]:
    """Mean accuracy of each group's clients."""
    found: dict[str, list[float]] = {}
    for client, answers in zip(members(setup), lists, strict=True):
        found.setdefault(client.group, []).append(score(setup.data.task.kind, answers))
    return {f"clients of {group}": float(np.mean(values)) for group, values in sorted(found.items())}


def measured(setup: Setup) -> tuple[dict[str, float], list[Answers]]:
    """Accuracy, agreement of clusters and groups, and a client's bytes, with the answers."""
    state, _ = play(setup)
    artifact = setup.method.artifact(state)
    if not isinstance(setup.method, PrototypeIcl):
        found: Answers = baselines.global_injection(setup, artifact)
        size = len(found.truth) // len(setup.groups)
        parts = {
            group: Answers(
                found.truth[at * size : (at + 1) * size], found.predicted[at * size : (at + 1) * size]
            )
            for at, group in enumerate(setup.groups)
        }
        lists = [parts[client.group] for client in members(setup)]
        return {"accuracy": mean_over_clients(setup, lists)}, lists
    lists = together(setup, artifact)
    return {"accuracy": mean_over_clients(setup, lists), **agreement(setup, artifact)}, lists


def agreement(setup: Setup, bank: Any) -> dict[str, float]:
    """How well clusters fit groups, and how many there are."""
    assert isinstance(setup.method, PrototypeIcl) and isinstance(bank, PrototypeBank)
    slots = [int(setup.method.shares(bank, client).argmax()) for client in members(setup)]
    groups = [client.group for client in members(setup)]
    return {"adjusted Rand": adjusted_rand(slots, groups), "prototypes": float(len(bank))}


def cell_of(task: str, groups: int, method: Mapping[str, Any], **more: Any) -> Cell:
    """One method in one world."""
    return lambda backbone, seed: measured(world(task, groups, seed, method, backbone, **more))[0]


def alone_cell(task: str, groups: int) -> Cell:
    """Each client's own vector and coefficients; two clients of each group."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = world(task, groups, seed, SINGLE, backbone)
        asked = members(setup)[: 2 * groups]
        lists = [
            baselines.local_injection(setup, baselines.train_alone(setup, client), client) for client in asked
        ]
        return {
            "accuracy": mean_over_clients(setup, lists),
            "zero-shot": score(setup.data.task.kind, baselines.zero_shot(setup)),
        }

    return cell


def group_cells() -> dict[str, Cell]:
    """Every method in every world."""
    cells: dict[str, Cell] = {}
    for name, (task, groups) in WORLDS.items():
        cells |= {
            f"{name}: one vector": cell_of(task, groups, SINGLE),
            f"{name}: prototypes, number found": cell_of(task, groups, clustered()),
            f"{name}: prototypes, number known": cell_of(task, groups, clustered(number=groups)),
            f"{name}: a mix of prototypes": cell_of(task, groups, clustered(use="mix")),
            f"{name}: oracle": cell_of(task, groups, clustered(number=groups, found_by="oracle")),
            f"{name}: alone": alone_cell(task, groups),
        }
    return cells


def controls_cell(task: str, groups: int) -> Cell:
    """The clusters' own vectors, and what stands in for them; accuracies by column."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = world(task, groups, seed, clustered(number=groups), backbone)
        state, _ = play(setup)
        made_from = controls.sources(setup)
        found = {"their own vectors": together(setup, setup.method.artifact(state))}
        for control in CONTROL_ROWS:
            vector = controls.stand_in(control, setup, made_from, lambda: controls.vector_in(state))
            other = controls.calibrated(setup, vector, known=state)
            found[control.replace("_", " ")] = together(setup, setup.method.artifact(other))
        return {name: mean_over_clients(setup, lists) for name, lists in found.items()}

    return cell


def controls_cells() -> dict[str, Cell]:
    """What the vectors add to the clusters' coefficients, in every world."""
    return {name: controls_cell(task, groups) for name, (task, groups) in WORLDS.items()}


def number_cells() -> dict[str, Cell]:
    """Too few prototypes, enough, and too many."""
    return {
        f"mood, 4 groups: K {k}": cell_of("mood", 4, clustered(number=k, min_members=2))
        for k in (1, 2, 3, 4, 6, 8)
    }


def small_cell(method: Mapping[str, Any]) -> Cell:
    """Thirteen clients of one group and three of the other."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        whole = world("mood", 2, seed, method, backbone, clients=26)
        by_name: dict[str, list[int]] = {}
        for client in members(whole):
            by_name.setdefault(client.group, []).append(client.number)
        large, small = (by_name[group] for group in sorted(by_name))
        setup = kept(whole, [*large[:13], *small[:3]])
        found, lists = measured(setup)
        return {**found, **by_group(setup, lists)}

    return cell


def small_cells() -> dict[str, Cell]:
    """Every method where one group is small."""
    return {
        "13 and 3 clients: one vector": small_cell(SINGLE),
        "13 and 3 clients: prototypes, number found": small_cell(clustered()),
        "13 and 3 clients: prototypes, number known": small_cell(clustered(number=2)),
        "13 and 3 clients: oracle": small_cell(clustered(number=2, found_by="oracle")),
    }


def examples_cell(task: str, groups: int, per_client: int) -> Cell:
    """Clusters alone, without a round of coefficients."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        method = {**clustered(number=groups, min_members=1), "calibration": {"rounds": 0}}
        setup = world(task, groups, seed, method, backbone, per_client=per_client)
        assert isinstance(setup.method, PrototypeIcl)
        state, _ = play(setup)
        found = agreement(setup, setup.method.artifact(state))
        sketches = np.stack([setup.method.sketch_of(client) for client in members(setup)])
        central = spherical_kmeans(sketches, groups, np.random.default_rng(seed), restarts=20)
        names = [client.group for client in members(setup)]
        return {**found, "k-means that sees every sketch": adjusted_rand(list(central.labels), names)}

    return cell


def examples_cells() -> dict[str, Cell]:
    """Clusters by how much a client holds."""
    return {
        f"{name}: {size} examples a client": examples_cell(task, groups, size)
        for name, (task, groups) in WORLDS.items()
        for size in (4, 8, 16, 32, 64)
    }


def protected_cells() -> dict[str, Cell]:
    """One run under every kind of protection."""
    defenses = {"in the clear": "none", "masked": "masked", "bfv": "bfv"}
    return {
        f"remedy, 2 groups, 8 clients: {name}": cell_of(
            "remedy", 2, clustered(number=2), clients=8, defense={"kind": kind}
        )
        for name, kind in defenses.items()
    }


def private_cell(clients: int, epsilon: float) -> Cell:
    """Whole clients hidden by the server's noise; coefficients are public, so clusters and vectors get all of it."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        method = {**clustered(number=2), "coefficients": "public"}
        privacy = {"unit": "client", "epsilon": epsilon, "delta": 1 / (10 * clients)}
        defense = {"kind": "none", **({"privacy": privacy} if epsilon < 1000 else {})}
        setup = world("remedy", 2, seed, method, backbone, clients=clients, per_client=16, defense=defense)
        return measured(setup)[0]

    return cell


def private_cells() -> dict[str, Cell]:
    """Clients hidden under several budgets."""
    return {
        f"{clients} clients, epsilon {epsilon:g}": private_cell(clients, epsilon)
        for clients in (64, 256)
        for epsilon in (2.0, 8.0, 32.0, 1000.0)
    }


PARTS = {
    "groups": group_cells,
    "controls": controls_cells,
    "number": number_cells,
    "small": small_cells,
    "examples": examples_cells,
    "protected": protected_cells,
    "private": private_cells,
}


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="cells whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = {name: cell for name, cell in PARTS[options.part]().items() if options.only in name}
    print(table(sweep(f"prototypes_{options.part}", Backbone.load(str(MODEL_PATH)), cells, options.seeds)))


if __name__ == "__main__":
    main()
