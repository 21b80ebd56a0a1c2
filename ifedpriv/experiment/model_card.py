"""Does the embedded model learn in context? Zero-shot, instructed, few-shot and IFed-ICL over all shipped tasks.

The same protocol for every task and seed: fresh texts for each seed, 500 test queries, eight clients of 32
examples, the last round. Where clients contradict each other, a query is judged by its own group's labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig, parse_config
from ifedpriv.data.shipped import classification_names, make_task_data, recipes
from ifedpriv.data.task import Example, Task
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.embedded.conventions import ROTATED, Convention, all_conventions, unseen_convention
from ifedpriv.embedded.words import ATTRIBUTES
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.experiment.run import train
from ifedpriv.icl.evaluate import answer
from ifedpriv.measure.intervals import t_interval

METHODS = ("chance", "zero_shot", "instructed", "few_shot", "ifed_icl")
SHOTS = 8
COPY_QUERIES = 100
_QUERIES_PER_PROMPT = 50


@dataclass(frozen=True, slots=True)
class Score:
    """Mean accuracy over seeds, with Student's interval over them (each seed has texts of its own)."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        """The score of one value a seed."""
        mean = float(np.mean(values))
        if len(values) < 2:
            return cls(mean, math.nan, math.nan)
        interval = t_interval(values)
        # An accuracy cannot leave 0 to 1, so cutting the interval there loses no coverage.
        return cls(mean, max(interval.low, 0.0), min(interval.high, 1.0))

    def text(self) -> str:
        """As it stands in a table."""
        return (
            f"{self.mean:.3f}"
            if math.isnan(self.low)
            else f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"
        )


def evaluate_model(
    model: Path = MODEL_PATH,
    *,
    seeds: int = 5,
    queries: int = 500,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Measure a model on every shipped classification task, and on conventions that none of them uses.

    Args:
        model: a checkpoint folder.
        seeds: repetitions, each with texts, clients and draws of its own.
        queries: test queries a task and seed.
        report: told of progress.

    Returns:
        ``accuracies`` (task to method to one number a seed), ``seeds``, ``queries``, and the same for ``others``.
    """
    backbone = Backbone.load(model)
    # Tasks in several voices have the conventions of others.
    names = tuple(name for name in classification_names() if not recipes()[name].voices)
    jobs = [(name, seed) for name in names for seed in range(seeds)]
    accuracies: dict[str, dict[str, list[float]]] = {name: {m: [] for m in METHODS} for name in names}
    for done, (name, seed) in enumerate(jobs):
        report("shipped tasks", done, len(jobs))
        setup = prepare(_config(name, seed, queries), backbone=backbone)
        for method, value in _measure(setup, name, seed).items():
            accuracies[name][method].append(value)
    others = measure_others(backbone, seeds, queries, report)
    return {"seeds": seeds, "queries": queries, "shots": SHOTS, "accuracies": accuracies, "others": others}


def measure_others(
    backbone: Backbone,
    seeds: int,
    queries: int,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, dict[str, list[float]]]:
    """Zero-shot and few-shot accuracy on what no shipped classification task uses: the model's limits.

    Returns:
        Name to ``chance``, ``zero_shot`` and ``few_shot``, one number a seed. Copied fields count whole answers,
        on at most `COPY_QUERIES` queries, since generating takes longer.
    """
    others: dict[str, dict[str, list[float]]] = {}
    extra = _other_conventions()
    for done, (name, conventions) in enumerate(extra.items()):
        report("other conventions", done, len(extra))
        others[name] = {"chance": [], "zero_shot": [], "few_shot": []}
        for seed in range(seeds):
            convention = conventions[seed % len(conventions)]
            asked = min(queries, COPY_QUERIES) if convention.fields else queries
            data = make_task_data(name, (convention,), seed=seed, sizes=(400, 50, asked))
            # Nothing is trained here, and copied answers have no classes to skew clients by.
            setup = prepare(_config("tone", seed, queries, {"kind": "iid"}), backbone=backbone, data=data)
            others[name]["chance"].append(1 / data.task.n_classes if data.task.n_classes else 0.0)
            others[name]["zero_shot"].append(_accuracy(setup, data.test))
            others[name]["few_shot"].append(_few_shot(setup, seed))
    return others


def _other_conventions() -> dict[str, list[Convention]]:
    """Maps that rotate shared words, maps that training never showed, and answers copied from one field."""
    shown = {
        f"rotated {a}": [c for c in all_conventions() if c.attribute == a and " " not in c.labels[0][1]]
        for a in ROTATED
    }
    fresh = {f"unseen {a}": [unseen_convention(a, n) for n in range(16)] for a in ATTRIBUTES}
    copied = {f"copy {c.fields[0]}": [c] for c in all_conventions() if len(c.fields) == 1}
    return {**shown, **fresh, **copied}


def mean_over_tasks(result: dict[str, Any]) -> dict[str, list[float]]:
    """For each method the mean over tasks, one number a seed."""
    return {
        m: [float(x) for x in np.mean([by[m] for by in result["accuracies"].values()], axis=0)]
        for m in METHODS
    }


def table(result: dict[str, Any]) -> str:
    """The result as text: one line a task, and the mean over tasks."""
    methods = METHODS
    lines = [f"{'task':10}" + "".join(f"{m:>24}" for m in methods)]
    for name, by_method in result["accuracies"].items():
        lines.append(f"{name:10}" + "".join(f"{Score.of(by_method[m]).text():>24}" for m in methods))
    means = mean_over_tasks(result)
    lines.append(f"{'mean':10}" + "".join(f"{Score.of(means[m]).text():>24}" for m in methods))
    lines.append("")
    lines.append("what no shipped classification task uses (limits, see the card):")
    for name, by_method in result["others"].items():
        chosen = ("chance", "zero_shot", "few_shot")
        lines.append(f"{name:16}" + "".join(f"  {m} {Score.of(by_method[m]).text()}" for m in chosen))
    lines.append("")
    lines.append(
        f"accuracy, mean of {result['seeds']} seeds with 95% Student intervals over them; {result['queries']} test "
        f"queries a task and seed; instructed: the convention's name in front of the prompt; few_shot: "
        f"{result['shots']} demonstrations in the prompt, drawn from all clients; ifed_icl: 8 clients of 32 "
        "examples, Dirichlet(0.5), last round, nothing in the prompt"
    )
    return "\n".join(lines)


def _config(name: str, seed: int, queries: int, split: dict[str, Any] | None = None) -> RunConfig:
    contradictory = name in recipes() and len(recipes()[name].conventions) > 1
    partition: dict[str, Any] = {"clients": 8, "examples_per_client": 32, "min_examples": 4}
    if split is None:
        contradict = {"kind": "contradictory", "groups": 2}
        split = contradict if contradictory else {"kind": "dirichlet", "alpha": 0.5}
    partition |= split
    data = {"source": "embedded", "name": name, "train": 400, "validation": 50, "test": queries, "seed": seed}
    evaluation = {"every_round": False}
    return parse_config(
        {
            "name": "card",
            "seed": seed,
            "threads": torch.get_num_threads(),
            "data": data,
            "partition": partition,
            "evaluation": evaluation,
        },
        "the card",
    )


def _measure(setup: Setup, name: str, seed: int) -> dict[str, float]:
    _, injection = train(setup)
    conventions = recipes()[name].conventions
    told = 0.0
    groups = [[q for q in setup.data.test if q.attributes.get("group", "") == g] for g in _groups(setup)]
    for convention, queries in zip(conventions, groups, strict=True):
        told += (
            _accuracy(setup, queries, context=convention.instruction()) * len(queries) / len(setup.data.test)
        )
    return {
        "chance": 1 / setup.data.task.n_classes,
        "zero_shot": _accuracy(setup, setup.data.test),
        "instructed": told,
        "few_shot": _few_shot(setup, seed),
        "ifed_icl": answer(
            setup.backbone, setup.data.task, setup.data.test, injection=injection
        ).share_correct,
    }


def _few_shot(setup: Setup, seed: int) -> float:
    """Accuracy with demonstrations drawn anew for every 50 queries from all training texts of the query's group."""
    rng = np.random.default_rng([seed, 31])
    task: Task = setup.data.task
    right = total = 0
    for group in _groups(setup):
        pool = [e for e in setup.data.train if e.attributes.get("group", "") == group]
        queries = [q for q in setup.data.test if q.attributes.get("group", "") == group]
        for start in range(0, len(queries), _QUERIES_PER_PROMPT):
            some = queries[start : start + _QUERIES_PER_PROMPT]
            shown = rng.choice(len(pool), size=SHOTS, replace=False)
            context = "".join(task.demonstration(pool[i]) for i in shown)
            right += round(_accuracy(setup, some, context=context) * len(some))
            total += len(some)
    return right / total


def _groups(setup: Setup) -> list[str]:
    return sorted({q.attributes.get("group", "") for q in setup.data.test})


def _accuracy(setup: Setup, queries: Sequence[Example], *, context: str = "") -> float:
    return answer(setup.backbone, setup.data.task, queries, context=context).share_correct
