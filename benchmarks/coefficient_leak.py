"""What released coefficients tell about one example: without noise, and under one budget with the vector.

    python benchmarks/coefficient_leak.py plain|private [--seeds 2] [--shadows 40]

The adversary knows the model, the configuration and all other examples, and not the draws of batches and noise; it
sees every round's aggregate. A federation of four clients with four examples each is played with one example (the
target) in it and without it. ``plain``: coefficients without noise, by a likelihood ratio that is fitted on half of the
shadow runs and applied to the other half. ``private``: at equal epsilon the vector alone with the whole budget, and
vector and coefficients that share it. There the noise is known, and so is the target's row given what was released
before: the likelihood ratio is the best test there is. A seed is a federation; targets are examples of it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from _shadows import FALSE_POSITIVES, Floats, permuted, power
from _sweep import Cell, sweep, table
from scipy.special import ndtr

from attacks._statistics.roc import auc, rate_at
from defenses.accounting import gaussian_mu_for
from defenses.accounting.tradeoff import gaussian_tpr
from defenses.dp.contribution import contribution
from defenses.dp.release import Bounded
from defenses.entropy import Entropy, InsecureSeeded
from defenses.upload import Layout, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.each import inject_each
from ifedpriv.config import RunConfig, parse_config
from ifedpriv.data.task import Example
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.play import agreed, first_ledger
from ifedpriv.experiment.pool import Clients
from ifedpriv.experiment.prepare import Material, Setup, gather, protect
from ifedpriv.federation.cohort import Cohort
from ifedpriv.federation.federation import Federation
from ifedpriv.federation.offering import step_rng
from ifedpriv.icl.extract import activations
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.private_calibrate import gradient_rows
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.vectors import Coefficients
from ifedpriv.methods.ifed_icl import IfedIcl, _rows
from ifedpriv.methods.method import State

CLIENTS, PER_CLIENT, ROUNDS, STEPS, TARGETS = 4, 4, 5, 2, 6
DELTA = 1e-5
EPSILONS = (1.0, 8.0)
PERMUTATIONS = 10
_ROOM, _BATCH = 2**28, 64
_WIRE = {"vector": "fp32", "coefficients": "fp32"}
# Between the seeds of the runs of two worlds.
_APART = 100_000


def configuration(seed: int, method: Mapping[str, Any], **defense: Any) -> RunConfig:
    """A small federation, whose wire rounds nothing off."""
    examples = CLIENTS * PER_CLIENT
    return parse_config(
        {
            "name": "coefficient-leak",
            "threads": 1,
            "seed": seed,
            "data": {"source": "embedded", "name": "mood", "train": examples + 8, "test": 8, "seed": seed},
            "partition": {"kind": "iid", "clients": CLIENTS, "examples_per_client": PER_CLIENT},
            "method": {"kind": "ifed_icl", "aggregation": "count", "guard": False, **method},
            "evaluation": {"every_round": False, "validation_fraction": 0.0},
            "defense": {"kind": "none", "wire": _WIRE, **defense},
        },
        "coefficient-leak",
    )


def federated(batch: int, rate: float) -> dict[str, Any]:
    """Coefficients calibrated in rounds."""
    plan = {"rounds": ROUNDS, "steps": STEPS, "batch_size": batch, "rate": rate}
    return {"coefficients": "federated", "calibration": plan}


def privacy(epsilon: float) -> dict[str, Any]:
    """Examples are hidden, each of which takes part in every step, as in ``one_shot.py`` up to 100 examples."""
    return {
        "unit": "example",
        "epsilon": epsilon,
        "delta": DELTA,
        "max_examples": math.ceil(1.3 * PER_CLIENT),
        "coefficients": {"rate": 1.0},
    }


def worlds(backbone: Backbone, config: RunConfig) -> tuple[Material, list[tuple[Material, Example]]]:
    """The federation with everybody in it, and for each target the one without, with the target."""
    whole = gather(config, backbone=backbone, room=_ROOM)
    without = []
    for number in range(TARGETS):
        client, place = whole.clients[number % CLIENTS], number // CLIENTS
        left = replace(client, train=(*client.train[:place], *client.train[place + 1 :]))
        clients = tuple(left if c.number == client.number else c for c in whole.clients)
        without.append((replace(whole, clients=clients), client.train[place]))
    return whole, without


def rounds_of(setup: Setup, seed: int, until: int | None = None) -> list[State]:
    """The states after each round that is played, with batches and noise from this seed."""
    federation = Federation(
        setup.method,
        setup.defense,
        setup.clients,
        Cohort(setup.config.cohort, setup.config.seed),
        entropy=InsecureSeeded(seed, "leak"),
        ledger=first_ledger(setup),
        seed=seed,
        agreed=agreed(setup),
    )
    state, found = setup.method.initial_state(), []
    while state.round < (setup.method.rounds if until is None else until):
        state, _ = federation.play_round(state)
        found.append(state)
    return found


# ---- without noise


def trajectories(config: RunConfig, material: Material, shadows: int, first: int) -> tuple[Floats, Floats]:
    """The vector ``[p]``, which no draw moves, and the coefficients of all rounds of shadow runs ``[n, rounds, 4L]``.

    Runs draw their batches from the seeds from ``first`` on.
    """
    setup = protect(config, material)
    state = rounds_of(setup, 0, until=1)[0]
    found = shadow_runs(setup, state, range(first, first + shadows))
    return state.arrays["vector"].reshape(-1).astype(np.float64), found.reshape(shadows, ROUNDS, -1)


def shadow_runs(setup: Setup, state: State, seeds: Sequence[int]) -> Floats:
    """Coefficients after each round, ``[seeds, rounds, L, 2, 2]``, of runs that go on from a vector.

    What `Federation` plays for each seed, up to rounding: all runs take their steps side by side, each client of each
    run with coefficients of its own, so that a shadow costs its examples and little more.
    """
    method = setup.method
    assert isinstance(method, IfedIcl)
    clients = [setup.clients[number] for number in setup.clients.numbers(1)]
    weights = torch.tensor([len(client.train) for client in clients], dtype=torch.float64)
    starts = np.cumsum([0, *(len(client.train) for client in clients)])
    everything = [example for client in clients for example in client.train]
    objective = Objective(setup.backbone, setup.data.task, everything)
    vector = torch.from_numpy(state.arrays["vector"].copy())
    start = torch.from_numpy(state.arrays["coefficients"].copy())
    at, found = start.expand(len(seeds), *start.shape), []
    for number in range(1, method.rounds):
        plan = method.plan(number)
        own = at.repeat_interleave(len(clients), dim=0).requires_grad_()
        adam = torch.optim.Adam([own], lr=plan.rate)
        batches = [
            method.work.calibrator(client).batches(
                plan.steps, plan.batch_size, step_rng(seed, number, client.number)
            )
            for seed in seeds
            for client in clients
        ]
        for step in range(plan.steps):
            adam.zero_grad()
            chosen = [
                (int(starts[run % len(clients)]) + index, run, 1 / len(steps[step]))
                for run, steps in enumerate(batches)
                for index in steps[step]
            ]
            _add_gradients(setup.backbone, objective, vector, own, chosen)
            adam.step()
        each = own.detach().reshape(len(seeds), len(clients), *start.shape).double()
        at = torch.einsum("sc...,c->s...", each, weights / weights.sum()).float()
        found.append(at)
    return torch.stack(found, dim=1).double().numpy()


def _add_gradients(
    backbone: Backbone,
    objective: Objective,
    vector: torch.Tensor,
    own: torch.Tensor,
    chosen: Sequence[tuple[int, int, float]],
) -> None:
    """Add to ``own.grad``: examples by index, whose coefficients they meet, and the weights of their losses."""
    by_length = sorted(chosen, key=lambda entry: len(objective.demonstrations[entry[0]].ids))
    for first in range(0, len(by_length), _BATCH):
        examples, runs, weights = zip(*by_length[first : first + _BATCH], strict=True)
        with inject_each(backbone, vector, own[list(runs)]):
            (objective.losses_of(examples) @ torch.tensor(weights)).backward()  # type: ignore[no-untyped-call]


def plain_cell(batch: int, shadows: int) -> Cell:
    """Every figure target by target: ``what, target``."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        config = configuration(seed, federated(batch, 0.1))
        whole, without = worlds(backbone, config)
        own, inside = trajectories(config, whole, shadows, 0)
        rng, found = np.random.default_rng([seed, 71]), {}
        for number, (material, _) in enumerate(without):
            other, outside = trajectories(config, material, shadows, _APART * (number + 1))
            found[f"vector moves, {number}"] = float(np.linalg.norm(own - other) / np.linalg.norm(own))
            flat = inside.reshape(shadows, -1), outside.reshape(shadows, -1)
            parts = {
                "all rounds": flat,
                "first round": (inside[:, 0], outside[:, 0]),
                "last round": (inside[:, -1], outside[:, -1]),
            }
            for name, pair in parts.items():
                found[f"{name}, AUC, {number}"], found[f"{name}, TPR, {number}"] = power(*pair)
            chance = [power(*permuted(*flat, rng)) for _ in range(PERMUTATIONS)]
            found[f"labels permuted, AUC, {number}"] = float(np.mean([a for a, _ in chance]))
            found[f"labels permuted, TPR, {number}"] = float(np.mean([t for _, t in chance]))
        return found

    return cell


# ---- under a budget


class Seen(Bounded):
    """A release that also tells the benchmark the sum before the noise, which the adversary knows but for one row."""

    def noised(self, total: Floats, roster: int, entropy: Entropy) -> Floats:
        """As `Bounded` does it; both sums are kept."""
        released = super().noised(total, roster, entropy)
        SUMS.append((total, released))
        return released


SUMS: list[tuple[Floats, Floats]] = []
"""True and released sum of each round since this was emptied."""


def watched(setup: Setup) -> Setup:
    """The same with releases that tell."""
    releases = {
        kind: Seen(**{field.name: getattr(release, field.name) for field in fields(Bounded)})
        for kind, release in setup.defense.releases.items()
    }
    return replace(setup, defense=replace(setup.defense, releases=releases))


def row_of(setup: Setup, kind: UploadKind, layout: Layout, values: Floats) -> Floats:
    """What one example adds to the sum of a round, in whole steps, its count included."""
    release = setup.defense.releases[kind]
    assert isinstance(release, Bounded)
    terms = release.lattice(CLIENTS)
    return contribution([values.reshape(1, -1)], release.transform, terms).total.astype(np.float64)


def ratios(setup: Setup, states: Sequence[State], targets: Sequence[Example], inside: bool) -> Floats:
    """For each target and round, its log-likelihood ratio and its squared distance over the noise.

    The released sum less all others' rows is noise, or the target's row and noise. That row depends on what was
    released before and on nothing else that is random, so that the rounds' ratios add up.

    Returns:
        ``[targets, rounds, 2]``.
    """
    method, task, backbone = setup.method, setup.data.task, setup.backbone
    assert isinstance(method, IfedIcl)
    objective, every = Objective(backbone, task, targets), range(len(targets))
    found = np.zeros((len(targets), len(SUMS), 2))
    for number, (true, released) in enumerate(SUMS):
        kind, layout = method.asks(number)
        if kind is UploadKind.VECTOR:
            place = Position(method.spec.position)
            read = list(activations(backbone, task, targets, position=place, batch_size=1))
            values = np.concatenate([rows.reshape(len(rows), -1) for _, rows in read])
            values = values[np.argsort(np.concatenate([chosen for chosen, _ in read]))]
        else:
            before = states[number - 1]
            at = Coefficients(before.arrays["coefficients"])
            values = np.concatenate(
                [
                    _rows(layout, g)
                    for g in gradient_rows(backbone, objective, method.vector(before), at, every)
                ]
            )
        release = setup.defense.releases[kind]
        assert isinstance(release, Bounded)
        variance = release.lattice(CLIENTS).noise ** 2
        for target in every:
            row = row_of(setup, kind, layout, values[target])
            left = released - true + (row if inside else 0.0)
            found[target, number] = (left @ row - row @ row / 2) / variance, row @ row / variance
    return found


def private_cell(epsilons: Sequence[float], runs: Mapping[str, int]) -> Cell:
    """Figures target by target, for the vector alone and for vector and coefficients that share each budget."""
    # Coefficients are fitted after the release, to what was released, and tell nothing more: they need no fitting here.
    public = {"coefficients": "public", "public_steps": 0}
    modes = {"vector alone": public, "shared": federated(PER_CLIENT, 0.1)}

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        whole: Material | None = None
        without: list[tuple[Material, Example]] = []
        for epsilon in epsilons:
            for mode, method in modes.items():
                config = configuration(seed, method, privacy=privacy(epsilon))
                if whole is None:
                    whole, without = worlds(backbone, config)
                setup = watched(protect(config, whole))
                targets = [target for _, target in without]
                inside, outside = [], []
                for run in range(runs[mode]):
                    states = _played(setup, whole, run)
                    inside.append(ratios(setup, states, targets, inside=True))
                    apart = []
                    for number, (material, target) in enumerate(without):
                        states = _played(setup, material, _APART * (number + 1) + run)
                        apart.append(ratios(setup, states, [target], inside=False)[0])
                    outside.append(np.stack(apart))
                one, other = np.stack(inside), np.stack(outside)
                parts = {"vector": slice(0, 1), "coefficients": slice(1, None), "both": slice(None)}
                for part in parts if mode == "shared" else ("vector",):
                    for number in range(len(without)):
                        name = f"epsilon {epsilon:g}, {mode}, {part}"
                        chosen = one[:, number, parts[part]], other[:, number, parts[part]]
                        found |= _figures(name, number, *chosen)
        return found

    return cell


def _played(setup: Setup, material: Material, seed: int) -> list[State]:
    """The states of a run with other clients and nothing else changed, its sums in `SUMS`."""
    SUMS.clear()
    return rounds_of(replace(setup, clients=Clients(material.clients, setup.method.takes_part)), seed)


def _figures(name: str, number: int, one: Floats, other: Floats) -> dict[str, float]:
    """Measured power of the summed ratios, and the power that their separation stands for."""
    scores = one[..., 0].sum(axis=1), other[..., 0].sum(axis=1)
    mu = math.sqrt(np.concatenate([one, other])[..., 1].sum(axis=1).mean())
    return {
        f"{name}, AUC, {number}": auc(*scores),
        f"{name}, TPR, {number}": rate_at(*scores, FALSE_POSITIVES).value,
        f"{name}, mu, {number}": mu,
        f"{name}, expected AUC, {number}": float(ndtr(mu / math.sqrt(2))),
        f"{name}, expected TPR, {number}": gaussian_tpr(FALSE_POSITIVES, mu),
    }


def ceiling(epsilon: float) -> tuple[float, float, float]:
    """μ, AUC and true positive rate at 10% false positives of the best attack on Gaussian releases of this budget."""
    mu = gaussian_mu_for(epsilon, DELTA)
    return mu, float(ndtr(mu / math.sqrt(2))), gaussian_tpr(FALSE_POSITIVES, mu)


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("plain", "private"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--shadows", type=int, default=40)
    parser.add_argument("--batches", nargs="*", type=int, default=(1, 2))
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = Backbone.load(str(MODEL_PATH))
    if options.part == "plain":
        cells = {
            f"without noise, {batch * STEPS} of {PER_CLIENT} examples a round, {options.shadows} shadows": plain_cell(
                batch, options.shadows
            )
            for batch in options.batches
        }
    else:
        runs = {"vector alone": options.runs, "shared": options.runs}
        name = f"under a budget, {options.runs} runs a side"
        cells = {name: private_cell(EPSILONS, runs)}
    print(table(sweep("coefficient_leak", backbone, cells, options.seeds)))


if __name__ == "__main__":
    main()
