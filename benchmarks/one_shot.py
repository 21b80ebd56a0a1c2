"""One-shot IFed-ICL: one private vector with public coefficients, on tasks that these were not calibrated on.

    python benchmarks/one_shot.py gain|unfitted|curve|clients|options [--seeds 5] [--tasks ...] [--modes ...] [...]

``gain``: what it recovers of the gain of 8-shot prompts, and what the controls do; ``unfitted``: the same without the
fitting on public texts. ``curve``: accuracy against epsilon
and the number of examples, for public, federated and public+rounds coefficients under one budget. ``clients``: the
same for clients as units. ``options``: what each way of spending less on noise is worth. Every number is the last
round's, on 500 test queries that no choice was made on. Results are added to
``benchmarks/results/one_shot_<part>.json`` as they come.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _sweep import Cell, Kept, sweep, table
from numpy.typing import NDArray

from defenses.privacy_specs import PublicSpec
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig, parse_config
from ifedpriv.data import shipped
from ifedpriv.data.public import public_examples
from ifedpriv.data.public_conventions import KEPT_APART, kept_apart
from ifedpriv.data.specs import EmbeddedData
from ifedpriv.data.task import TaskData
from ifedpriv.embedded import COEFFICIENTS_PATH, MODEL_PATH
from ifedpriv.experiment import baselines
from ifedpriv.experiment.figures import score
from ifedpriv.experiment.play import play
from ifedpriv.experiment.prepare import Material, Setup, gather, ground, protect
from ifedpriv.icl.evaluate import Answers, answer
from ifedpriv.icl.extract import extract
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.public_coefficients import PublicCoefficients
from ifedpriv.icl.vectors import ContextVector

AGREEING = ("tone", "urgency", "mood", "channel", "topic", "intake")
"""Shipped classification tasks whose clients agree with each other."""
CLIENTS, QUERIES, SHOTS, PER_CLIENT = 10, 500, 8, 32
EPSILONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
EXAMPLES = (100, 500, 2000, 5000, 20000)
_ROOM = 2 * 2**30
# Examples that a private step samples on average, whatever the number of examples.
_SAMPLED = 100


def configuration(task: str, seed: int, examples: int, method: Mapping[str, Any], **more: Any) -> RunConfig:
    """A run of ten clients who hold ``examples`` in all."""
    named = task if task not in KEPT_APART else "mood"
    config: dict[str, Any] = {
        "name": "one-shot",
        "threads": 1,
        "seed": seed,
        "data": {"source": "embedded", "name": named, "train": examples + 40, "test": QUERIES, "seed": seed},
        "partition": {
            "kind": "iid",
            "clients": CLIENTS,
            "examples_per_client": math.ceil(examples / CLIENTS),
        },
        "method": {"kind": "ifed_icl", "aggregation": "count", "guard": False, **method},
        "evaluation": {"every_round": False, "validation_fraction": 0.0},
        **more,
    }
    return parse_config(config, "one-shot")


def data_of(task: str, config: RunConfig) -> TaskData | None:
    """Texts of a task that no name of a configuration stands for."""
    if task not in KEPT_APART:
        return None
    assert isinstance(config.data, EmbeddedData)
    sizes = (config.data.train, 8, config.data.test)
    return shipped.make_task_data(f"kept-{task}", (kept_apart(task),), seed=config.seed, sizes=sizes)


class Bench:
    """Runs that differ in noise or coefficients alone share their texts and activations."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._kept: tuple[str, Material] | None = None

    def setup(self, task: str, config: RunConfig) -> Setup:
        """The parts of a run."""
        wanted = f"{task} {ground(config)}"
        if self._kept is None or self._kept[0] != wanted:
            self._kept = None
            material = gather(config, backbone=self._backbone, data=data_of(task, config), room=_ROOM)
            self._kept = (wanted, material)
        return protect(config, self._kept[1])

    def accuracy(self, task: str, config: RunConfig) -> tuple[float, Setup, NDArray[np.float32]]:
        """Last round's accuracy, with what it was made of and the injected vector."""
        setup = self.setup(task, config)
        state, _ = play(setup)
        found = baselines.global_injection(setup, setup.method.artifact(state))
        return right(setup, found), setup, state.arrays["vector"]


def right(setup: Setup, answers: Answers) -> float:
    """The task's primary metric."""
    return score(setup.data.task.kind, answers)


def prompted(setup: Setup) -> float:
    """Eight demonstrations of all clients in the prompt, which no federation may do."""
    task = setup.data.task
    shown = setup.data.train[:SHOTS]
    context = "".join(task.demonstration(example) for example in shown)
    return right(setup, answer(setup.backbone, task, setup.all_queries, context=context))


def gain_cell(task: str) -> Cell:
    """Zero-shot, 8-shot, and public coefficients with vectors of so many examples in all, with the controls."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        bench = Bench(backbone)
        found: dict[str, float] = {}
        for examples in (64, 256):
            config = configuration(task, seed, examples, {"coefficients": "public"})
            found[f"{examples} examples"], setup, vector = bench.accuracy(task, config)
        found |= {"zero-shot": right(setup, baselines.zero_shot(setup)), "8-shot prompt": prompted(setup)}
        return found | controls(setup, vector)

    return cell


def unfitted_cell(task: str) -> Cell:
    """Vectors of 64 examples with public coefficients as they are in the file, only chosen."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        method = {"coefficients": "public", "public_steps": 0}
        found, *_ = Bench(backbone).accuracy(task, configuration(task, seed, 64, method))
        return {"64 examples, not fitted": found}

    return cell


def controls(setup: Setup, released: NDArray[np.float32]) -> dict[str, float]:
    """The same coefficients with other vectors; which set of them is chosen anew for each, by the same rule.

    Args:
        setup: of the run.
        released: its vector, as injected.
    """
    public = setup.public
    assert public is not None
    seed, task, backbone = setup.config.seed, setup.data.task, setup.backbone
    rng = np.random.default_rng([seed, 77])
    noise = rng.standard_normal(released.shape)
    noise *= np.linalg.norm(released, axis=-1, keepdims=True) / np.linalg.norm(noise, axis=-1, keepdims=True)
    blank = public_examples(task, PublicSpec(seed=seed), None, embedded=True)
    other = "topic" if setup.config.data.name != "topic" else "mood"
    foreign = shipped.load(other, seed=seed, train=256, validation=1, test=1)
    vectors = {
        "mean of public tasks": np.zeros_like(released),
        "random vector": noise.astype(np.float32),
        "public texts, random labels": public.centred(extract(backbone, task, blank).values),
        "another task's vector": public.centred(extract(backbone, foreign.task, foreign.train).values),
    }
    found = {}
    for name, vector in vectors.items():
        injection = Injection(ContextVector(vector, 0), public.choice(vector, 0.0).coefficients)
        found[name] = right(setup, baselines.global_injection(setup, injection))
    return found


HALVES = "federated (even shares)"
"""As federated, with as much of the budget for coefficients as for the vector, and not a fifth."""


def method_of(mode: str) -> dict[str, Any]:
    """A mode's method section."""
    if mode == "public":
        return {"coefficients": "public"}
    kind = "federated" if mode == HALVES else mode
    rate, count = (0.1, 60) if kind == "federated" else (0.05, 20)
    return {"coefficients": kind, "calibration": {"rounds": count, "steps": 1, "rate": rate}}


def shares_of(mode: str, examples: int) -> dict[str, Any]:
    """How a mode splits its budget, if not as runs do by themselves, with the share of examples that a step samples."""
    if mode != HALVES:
        return {}
    sampled = min(1.0, _SAMPLED / examples)
    return {"vector": {"share": 0.45}, "coefficients": {"share": 0.45, "rate": sampled}}


def privacy_of(epsilon: float, examples: int, **more: Any) -> dict[str, Any]:
    """A defense section; none without a bound."""
    if math.isinf(epsilon):
        return {"kind": "none"}
    sampled = min(1.0, _SAMPLED / examples)
    privacy = {
        "unit": "example",
        "epsilon": epsilon,
        "delta": 1e-5,
        "max_examples": math.ceil(1.3 * examples / CLIENTS),
        "coefficients": {"rate": sampled},
        **more,
    }
    return {"kind": "none", "privacy": privacy}


def curve(name: str, backbone: Backbone, options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy at every budget; what costs most, the activations of many examples, serves all modes and budgets."""
    kept, bench = Kept(name, backbone), Bench(backbone)
    for task, examples, seed, mode, epsilon in product(
        options.tasks or ("mood",), options.examples, range(options.seeds), options.modes, options.epsilons
    ):
        cell, key = f"{task}, {mode}, {examples} examples", f"{epsilon:g}"
        if kept.has(cell, seed, key):
            continue
        started = time.perf_counter()
        defense = privacy_of(epsilon, examples, **shares_of(mode, examples))
        found, *_ = bench.accuracy(
            task, configuration(task, seed, examples, method_of(mode), defense=defense)
        )
        kept.put(cell, seed, {key: found}, time.perf_counter() - started)
    return kept.results


def clients_cell(task: str, count: int, epsilons: Sequence[float]) -> Cell:
    """Whole clients of 32 examples each are hidden."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        bench, found = Bench(backbone), {}
        for epsilon in epsilons:
            more = {"partition": {"kind": "iid", "clients": count, "examples_per_client": PER_CLIENT}}
            if math.isfinite(epsilon):
                privacy = {"unit": "client", "epsilon": epsilon, "delta": 1e-5}
                more["defense"] = {"kind": "none", "privacy": privacy}
            method = {"coefficients": "public", "aggregation": "uniform"}
            config = configuration(task, seed, count * PER_CLIENT, method, **more)
            found[f"{epsilon:g}"], *_ = bench.accuracy(task, config)
        return found

    return cell


OPTIONS: dict[str, dict[str, Any]] = {
    "as it is by default": {},
    "without centre": {"centre": False},
    "without block scales": {"scale": False},
    "clip block by block": {"by_block": True},
    "without shrinkage": {"shrink": False},
    "clip at half a typical norm": {"clip": 0.5},
    "clip at twice a typical norm": {"clip": 2.0},
    "64 directions of public texts": {"rank": 64},
    "256 directions of public texts": {"rank": 256},
}


UNAWARE = "coefficients calibrated without noise"


def option_cell(task: str, vector: dict[str, Any], method: Mapping[str, Any] | None = None) -> Cell:
    """One way of spending less on noise, at 500 examples and two budgets."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        bench, found = Bench(backbone), {}
        for epsilon in (0.25, 1.0):
            config = configuration(
                task,
                seed,
                500,
                {"coefficients": "public", **(method or {})},
                defense=privacy_of(epsilon, 500, vector=vector),
            )
            found[f"{epsilon:g}"], *_ = bench.accuracy(task, config)
        return found

    return cell


def unaware(folder: Path) -> dict[str, Any]:
    """The shipped coefficients without the sets that have seen noise, in a file of their own."""
    whole = PublicCoefficients.load(COEFFICIENTS_PATH)
    path = folder / "unaware.safetensors"
    replace(whole, members=tuple(member for member in whole.members if member.noise == 0)).save(path)
    return {"coefficients_file": str(path)}


def cells_of(options: argparse.Namespace) -> dict[str, Cell]:
    """The cells of a part that has some."""
    tasks: Sequence[str] = options.tasks
    if options.part == "gain":
        return {task: gain_cell(task) for task in tasks or (*AGREEING, *KEPT_APART)}
    if options.part == "unfitted":
        return {task: unfitted_cell(task) for task in tasks or (*AGREEING, *KEPT_APART)}
    if options.part == "clients":
        return {
            f"{task}, {count} clients": clients_cell(task, count, (1.0, 2.0, 4.0, 8.0, math.inf))
            for task in tasks or ("mood",)
            for count in options.clients
        }
    tasks = tasks or ("mood", "topic")
    cells = {
        f"{task}, {name}": option_cell(task, vector) for task in tasks for name, vector in OPTIONS.items()
    }
    # The file has to be there until the last cell is measured.
    method = unaware(Path(tempfile.mkdtemp()))
    return cells | {f"{task}, {UNAWARE}": option_cell(task, {}, method) for task in tasks}


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("gain", "unfitted", "curve", "clients", "options"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="*", default=())
    parser.add_argument("--modes", nargs="*", default=("public", "federated", "public+rounds"))
    parser.add_argument("--examples", nargs="*", type=int, default=EXAMPLES)
    parser.add_argument("--epsilons", nargs="*", type=float, default=EPSILONS)
    parser.add_argument("--clients", nargs="*", type=int, default=(50, 100, 200, 500, 1000))
    parser.add_argument("--name", help="name of the result, where parts are measured side by side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = Backbone.load(str(MODEL_PATH))
    name = options.name or f"one_shot_{options.part}"
    if options.part == "curve":
        print(table(curve(name, backbone, options)))
    else:
        print(table(sweep(name, backbone, cells_of(options), options.seeds)))


if __name__ == "__main__":
    main()
