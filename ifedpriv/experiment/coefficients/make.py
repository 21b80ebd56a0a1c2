"""From public tasks to a file of coefficients: extract, calibrate kind by kind, try on tasks that were kept apart.

The invariant: every number is a function of the configuration and of the model; a piece of work that is found in the
folder is the one that would be done again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.public_conventions import public_tasks
from ifedpriv.data.task import Example, Task, TaskData, TaskKind, key_of
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.errors import UserError
from ifedpriv.experiment.coefficients.config import CoefficientsConfig, PublicTaskSpec
from ifedpriv.experiment.coefficients.workplace import Workplace
from ifedpriv.experiment.reporting import versions
from ifedpriv.icl.choice import choose
from ifedpriv.icl.evaluate import answer
from ifedpriv.icl.extract import activation_rows
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.prompts import Position, tokenize_all
from ifedpriv.icl.public_calibrate import (
    PublicPlan,
    PublicTask,
    calibrate_publicly,
    public_centre,
    public_sizes,
    vector_of,
)
from ifedpriv.icl.public_coefficients import Member, PublicCoefficients, Trial
from ifedpriv.icl.queries import Query, queries_of
from ifedpriv.icl.vectors import ContextVector

Report = Callable[[str, int, int], None]

_BLANK, _MEMBER, _TRIAL = 31, 32, 33


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A public task with the texts of its queries, which the trial needs."""

    public: PublicTask
    data: TaskData
    apart: bool


def make_coefficients(
    config: CoefficientsConfig, out: Path, report: Report = lambda *_: None
) -> PublicCoefficients:
    """Make a file of public coefficients, or go on where an earlier attempt was cut off.

    Args:
        config: tasks, model and steps.
        out: the file; work lies in a folder beside it until the file is written.
        report: told of progress.

    Raises:
        UserError: the file exists, or the tasks are not usable.
    """
    if out.exists():
        raise UserError(f"{out} exists already", "give --out another file, or remove it")
    torch.set_num_threads(config.threads)
    tasks = list(_loaded(config))
    _check_kinds(tasks)
    named = config.backbone
    path = str(MODEL_PATH) if named.path == "embedded" else named.path
    backbone = Backbone.load(path, dtype=named.dtype, device=named.device)
    # Whatever the model cannot take is refused before a folder is made.
    queries = [queries_of(backbone, data.task, data.test) for _, data in tasks]
    for _, data in tasks:
        tokenize_all(backbone, data.task, data.train)
    work = Workplace(out, config, backbone.fingerprint, _digest(tasks))
    ready = _ready(config, backbone, tasks, queries, work, report)
    used = [each.public for each in ready if not each.apart]
    centre, sizes = public_centre(used), public_sizes(used)
    members = _members(config, backbone, work, used, centre, sizes, report)
    made = PublicCoefficients(
        tuple(members),
        centre,
        backbone.fingerprint,
        Position(config.position),
        tuple(dict.fromkeys(each.data.task.wording for each in ready)),
        tuple(_said(each.public) for each in ready if not each.apart),
        config.seed,
        facts={
            "settings": config.model_dump_json(exclude={"threads"}),
            "kept_apart": "; ".join(_said(each.public) for each in ready if each.apart),
            "platform": platform.machine(),
            **{f"version of {name}": version for name, version in versions().items()},
        },
    )
    apart = [each for each in ready if each.apart]
    made = replace(made, trials=tuple(_trials(config, backbone, made, apart, sizes, report)))
    made.save(out)
    work.clear()
    return made


def _said(public: PublicTask) -> str:
    words = ", ".join(public.task.label_words) or "an answer in words"
    return f"{public.kind}: {public.task.name} ({words})"


def _loaded(config: CoefficientsConfig) -> Iterable[tuple[str, TaskData]]:
    if isinstance(config.tasks, str):
        yield from public_tasks(seed=config.seed, examples=config.examples, queries=config.queries)
        return
    root = Path(config.data_root) if config.data_root else None
    for spec in config.tasks:
        yield spec.kind, _cut(spec, load_task_data(spec.data, root), config)


def _cut(spec: PublicTaskSpec, data: TaskData, config: CoefficientsConfig) -> TaskData:
    if not data.test:
        raise UserError(
            f"public task {data.task.name} has no test texts", "give it some: they are the queries"
        )
    if len(data.train) < config.fewest:
        raise UserError(
            f"public task {data.task.name} of kind {spec.kind} has {len(data.train)} train texts, and a vector takes "
            f"{config.fewest} at least",
            "give it more, or lower fewest",
        )
    return TaskData(data.task, data.train[: config.examples], (), data.test[: config.queries])


def _digest(tasks: Sequence[tuple[str, TaskData]]) -> str:
    """Names the wording and the texts of all tasks."""
    text = [[kind, repr(data.task), *map(key_of, (*data.train, *data.test))] for kind, data in tasks]
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()


def _ready(
    config: CoefficientsConfig,
    backbone: Backbone,
    tasks: Sequence[tuple[str, TaskData]],
    queries: Sequence[Sequence[Query]],
    work: Workplace,
    report: Report,
) -> list[_Ready]:
    apart = _apart([kind for kind, _ in tasks], config.kept_apart)
    found = []
    for number, (kind, data) in enumerate(tasks):
        report("activations of public tasks", number, len(tasks))
        rows = work.rows(number)
        if rows is None:
            rng = np.random.default_rng([config.seed, _BLANK, number])
            blanks = [_blank(data.task, example, rng) for example in data.train[: config.blanks]]
            position = Position(config.position)
            blank = activation_rows(backbone, data.task, blanks, position).mean(axis=0, dtype=np.float64)
            rows = activation_rows(backbone, data.task, data.train, position)
            work.keep_rows(number, rows, blank.astype(np.float32))
            rows = work.rows(number)
            assert rows is not None
        public = PublicTask(kind, data.task, rows, work.blank(number), queries[number])
        found.append(_Ready(public, data, number in apart))
    report("activations of public tasks", len(tasks), len(tasks))
    return found


def _check_kinds(tasks: list[tuple[str, TaskData]]) -> None:
    answers: dict[str, set[TaskKind]] = {}
    for kind, data in tasks:
        answers.setdefault(kind, set()).add(data.task.kind)
    for kind, found in answers.items():
        if len(found) > 1:
            raise UserError(
                f"kind {kind} has tasks that classify and tasks that generate", "give them two kinds"
            )
    generating = [kind for kind, found in answers.items() if TaskKind.GENERATION in found]
    if len(generating) > 1:
        raise UserError(
            f"the kinds {', '.join(generating)} all generate, and nothing public tells which fits a private task",
            "put all generation tasks under one kind",
        )


def _apart(kinds: list[str], share: float) -> set[int]:
    """Of each kind ``share`` of the tasks, rounded down and evenly spaced, so that neighbours in a list are parted."""
    found: set[int] = set()
    for kind in dict.fromkeys(kinds):
        numbers = [number for number, other in enumerate(kinds) if other == kind]
        kept = int(share * len(numbers))
        found.update(numbers[(2 * place + 1) * len(numbers) // (2 * kept)] for place in range(kept))
    return found


def _blank(task: Task, example: Example, rng: np.random.Generator) -> Example:
    if task.kind is TaskKind.CLASSIFICATION:
        return replace(example, label=int(rng.integers(task.n_classes)))
    words = example.text.split()
    start = int(rng.integers(max(len(words) - 1, 1)))
    return replace(example, answer=" ".join(words[start : start + 2]))


def _members(
    config: CoefficientsConfig,
    backbone: Backbone,
    work: Workplace,
    used: list[PublicTask],
    centre: NDArray[np.float32],
    sizes: NDArray[np.float64],
    report: Report,
) -> Iterable[Member]:
    for place, kind in enumerate(dict.fromkeys(task.kind for task in used)):
        tasks = [task for task in used if task.kind == kind]
        start = None
        for level, noise in enumerate(config.noise):
            steps = config.steps if start is None else -(-config.steps // 2)
            stage = f"coefficients for {kind}, noise {noise:g}"
            name = f"{kind}-{level}"
            found = work.member(name)
            if found is None:
                plan = PublicPlan(steps, config.batch_size, config.rate, config.fewest, config.most, noise)
                found = calibrate_publicly(
                    backbone,
                    tasks,
                    centre=centre,
                    sizes=sizes,
                    plan=plan,
                    rng=np.random.default_rng([config.seed, _MEMBER, place, level]),
                    start=start,
                    report=lambda step, stage=stage, steps=steps: report(stage, step, steps),  # type: ignore[misc]
                )
                work.keep_member(name, found)
            start = found
            yield Member(kind, tasks[0].task.kind, noise, found)


def _trials(
    config: CoefficientsConfig,
    backbone: Backbone,
    made: PublicCoefficients,
    apart: list[_Ready],
    sizes: NDArray[np.float64],
    report: Report,
) -> Iterable[Trial]:
    for task_kind in dict.fromkeys(each.data.task.kind for each in apart):
        some = [each for each in apart if each.data.task.kind is task_kind]
        plain = sum(answer(backbone, each.data.task, each.data.test).right.sum() for each in some)
        queries = sum(len(each.data.test) for each in some)
        for level, noise in enumerate(config.noise):
            right = 0.0
            for number, each in enumerate(some):
                report(f"trial with noise {noise:g}", number, len(some))
                rng = np.random.default_rng([config.seed, _TRIAL, level, number])
                count = min(config.trial_examples, len(each.public.rows))
                chosen = rng.choice(len(each.public.rows), size=count, replace=False)
                vector = vector_of(each.public, chosen, sizes, noise, rng) - made.centre
                task, test = each.data.task, each.data.test
                texts = [example.text for example in each.data.train]
                chosen_set = choose(made, backbone, task, vector, noise, texts, steps=config.trial_steps)
                injection = Injection(ContextVector(vector, count), chosen_set.coefficients)
                right += answer(backbone, task, test, injection=injection).right.sum()
            yield Trial(
                task_kind,
                noise,
                config.trial_examples,
                len(some),
                queries,
                float(right / queries),
                float(plain / queries),
            )
