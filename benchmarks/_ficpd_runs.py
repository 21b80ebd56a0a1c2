"""Runs of FICPD for `ficpd.py`: one configuration, its run, and the figures of the report that every method has.

The one invariant: figures are read off the common report of a whole run, so that nothing is measured here otherwise
than `ifedpriv run` would measure it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig, parse_config
from ifedpriv.data.shipped import load
from ifedpriv.data.task import Example, TaskData
from ifedpriv.experiment.play import play
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.experiment.reporting import build_report
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.evaluate import answer
from ifedpriv.icl.predict import Adaptation
from ifedpriv.icl.soft_prompt.client_model import WhiteBox
from ifedpriv.icl.soft_prompt.library import PromptLibrary, adapt
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt, embedding_scale, start_from_task
from ifedpriv.icl.soft_prompt.tune import TunePlan, tune
from ifedpriv.report.schema import LOCAL_PROMPT, META_PROMPT, PROTOTYPE_PROMPT, ZERO_SHOT, Report

Settings = dict[str, Any]
TRIAL = 5
"""Steps by which a newcomer who may also start from scratch tries every start."""
VOICES = {"domains": "domain", "dialects": "language"}
"""Tasks whose clients differ, and the attribute by which they do; other tasks are skewed by label."""


@dataclass(frozen=True)
class Scale:
    """How large runs are; the small one only shows that they work.

    Attributes:
        clients: of a run whose part does not vary them.
        private_clients: of a run with a budget, where the noise is shared by all of them.
        examples: of each client.
        queries: test texts.
        rounds: in which clusters' prompts are tuned.
        steps: of a client in one tuning.
        asked: most clients that a round after the first asks.
        distil: outer steps of the distillation, where the library is what is looked at.
        distil_aside: the same where it is not.
        private_rounds: in place of ``rounds`` where every one of them costs budget.
    """

    clients: int = 24
    private_clients: int = 200
    examples: int = 16
    queries: int = 400
    rounds: int = 6
    steps: int = 10
    asked: int = 40
    distil: int = 60
    distil_aside: int = 15
    private_rounds: int = 3


SMALL = Scale(4, 4, 8, 80, 1, 1, 4, 1, 1, 1)


def settings(
    scale: Scale,
    task: str,
    method: Mapping[str, Any] | None = None,
    clients: int = 0,
    *,
    aside: bool = False,
    **more: Any,
) -> Settings:
    """A run's configuration without its seed.

    Args:
        scale: how large.
        task: a shipped task.
        method: fields of `FicpdSpec` that differ from those of every run here.
        clients: how many; those of the scale where left out.
        aside: the library is not what is looked at, and a short distillation will do.
        more: further sections.
    """
    clients = clients or scale.clients
    kind = (
        {"kind": "attribute", "name": VOICES[task]} if task in VOICES else {"kind": "dirichlet", "alpha": 0.5}
    )
    given = {**(method or {})}
    tuning, meta = given.pop("tuning", {}), given.pop("meta", {})
    return {
        "name": "ficpd",
        "threads": 1,
        "record_view": False,
        "data": {
            "source": "embedded",
            "name": task,
            "train": 2 * clients * scale.examples,
            "validation": 8,
            "test": scale.queries,
        },
        "partition": {**kind, "clients": clients, "examples_per_client": scale.examples, "min_examples": 4},
        "method": {
            "kind": "ficpd",
            "rounds": scale.rounds,
            "tuning": {"steps": scale.steps, **tuning},
            "meta": {"steps": scale.distil_aside if aside else scale.distil, **meta},
            **given,
        },
        "cohort": {"participation": min(1.0, scale.asked / clients)},
        "evaluation": {
            "every_round": False,
            "local_icl": False,
            "local_injection": False,
            "validation_fraction": 0.0,
            "membership": False,
        },
        "controls": {"enabled": False},
        **more,
    }


def private(scale: Scale, epsilon: float) -> Settings:
    """What a run with a budget for whole clients has; an infinite one has no noise, and all else alike."""
    found: Settings = {"kind": "none", "compression": {"kind": "rows", "keep": 5}}
    if math.isfinite(epsilon):
        found["privacy"] = {"unit": "client", "epsilon": epsilon, "delta": 1e-5}
    # Everybody is asked: the more clients a sum has, the less its noise weighs.
    return {
        "method": {"rounds": scale.private_rounds},
        "defense": found,
        "clients": scale.private_clients,
        "cohort": {"participation": 1.0},
        "aside": True,
    }


def configured(given: Settings, seed: int) -> RunConfig:
    """The configuration of one seed, which fixes texts, clients and draws."""
    return parse_config({**given, "seed": seed, "data": {**given["data"], "seed": seed}}, "ficpd")


def measured(given: Settings, backbone: Backbone, seed: int) -> dict[str, float]:
    """The figures of one run's report."""
    config = configured(given, seed)
    with tempfile.TemporaryDirectory() as folder:
        outcome = execute(
            prepare(config, backbone=backbone), RunDirectory.create(Path(folder) / "run", config)
        )
    found = figures_of(build_report(outcome))
    if isinstance(outcome.injection, PromptLibrary):
        found["clusters found"] = float(len(outcome.injection.prototypes))
    return found


def figures_of(report: Report) -> dict[str, float]:
    """What the parts compare, by name."""
    found: dict[str, float] = {}
    named = {
        PROTOTYPE_PROMPT: "own cluster's prompt",
        META_PROMPT: "distilled prompt",
        LOCAL_PROMPT: "alone",
        ZERO_SHOT: "zero-shot",
    }
    for key, name in named.items():
        row = report.row(key)
        if row is not None:
            found[name] = row.figures[report.primary_metric].value
    own = report.row(PROTOTYPE_PROMPT)
    if own is not None and own.fairness is not None:
        found["worst client"] = own.fairness.worst
        found["spread of clients"] = own.fairness.std
    if report.per_round is not None:
        found["MB up a client and round"] = report.per_round.up_mb
        found["MB down a client and round"] = report.per_round.down_mb
    asked = [record.queries for record in report.rounds if record.queries is not None]
    found["queries of a client"] = sum(asked) / report.totals.clients
    told = report.membership
    if told is not None and told.advantage is not None and told.auc is not None:
        found["advantage"], found["AUC"] = told.advantage.value, told.auc.value
        if told.true_rate_at_1_percent is not None:
            found["found at 1% false alarms"] = told.true_rate_at_1_percent.value
    if report.privacy.epsilon is not None:
        found["epsilon"] = report.privacy.epsilon
    return found


# ---- tasks that no training client had


def unseen_data(task: str, voice: str, queries: int, seed: int) -> TaskData:
    """The texts of a task's voice (a domain, a language) alone, or of the whole task where it has none."""
    data = load(task, seed=seed + 1000, train=400, validation=1, test=4 * queries)
    if not voice:
        return TaskData(data.task, data.train, data.validation, data.test[:queries])
    attribute = VOICES[task]

    def own(split: tuple[Example, ...]) -> tuple[Example, ...]:
        return tuple(example for example in split if example.attributes[attribute] == voice)

    return TaskData(data.task, own(tuple(data.train)), data.validation, own(tuple(data.test))[:queries])


Federations = Callable[[int], PromptLibrary]
"""The library that a federation made with a seed."""


def federation(given: Settings, backbone: Backbone) -> Federations:
    """A federation by its configuration, which runs once for each seed however often it is asked."""

    @cache
    def of(seed: int) -> PromptLibrary:
        return _library(prepare(configured(given, seed), backbone=backbone))

    return of


def adapted(
    library_of: Federations,
    other: tuple[str, str],
    queries: int,
    shots: int,
    steps: int,
    backbone: Backbone,
    seed: int,
) -> dict[str, float]:
    """What a library does for a task that nobody of its federation had, given so many examples of it.

    Args:
        library_of: the federation.
        other: the unseen task, and the voice of it; an empty voice is all of it.
        queries: texts that the newcomer answers.
        shots: labelled examples that the newcomer has.
        steps: of tuning on them, from the library and from scratch alike.
        backbone: the model.
        seed: of the federation, the texts and the draws.
    """
    library = library_of(seed)
    data = unseen_data(*other, queries, seed)
    rng = np.random.default_rng([seed, 91])
    few = [data.train[i] for i in rng.choice(len(data.train), size=shots, replace=False)]
    unit, length = embedding_scale(backbone), library.meta.shape[0]
    plan = TunePlan(steps=steps, batch_size=16, rate=0.05, unit=unit)
    chosen = adapt(library, WhiteBox(backbone, data.task, few), TunePlan(0, 16, 0.05, unit=unit), rng)
    warm = adapt(library, WhiteBox(backbone, data.task, few), plan, np.random.default_rng([seed, 92]))
    wording = start_from_task(backbone, data.task, length)
    free = adapt(
        library,
        WhiteBox(backbone, data.task, few),
        plan,
        np.random.default_rng([seed, 92]),
        own=[wording],
        trial_steps=TRIAL,
    )
    cold = tune(
        WhiteBox(backbone, data.task, few),
        wording,
        plan,
        np.random.default_rng([seed, 92]),
    )
    shown = "".join(data.task.demonstration(example) for example in few[:8])

    def right(artifact: Adaptation | None = None, context: str = "") -> float:
        return answer(backbone, data.task, data.test, injection=artifact, context=context).share_correct

    return {
        "library, tuned": right(warm.prompt),
        "library or scratch, tuned": right(free.prompt),
        "from scratch, tuned": right(SoftPrompt(cold.prompt, backbone.fingerprint)),
        "library, only chosen": right(chosen.prompt),
        "distilled prompt as it is": right(library),
        "prompt of up to 8 examples": right(context=shown),
        "zero-shot": right(),
        "queries": float(warm.queries),
    }


def _library(setup: Setup) -> PromptLibrary:
    state, _ = play(setup)
    made = setup.method.artifact(state)
    if not isinstance(made, PromptLibrary):
        raise TypeError(f"method {setup.config.method.kind} makes no library")
    return made
