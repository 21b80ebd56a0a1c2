"""The shipped tasks: conventions of the embedded world, with splits that share no text.

Texts are written on demand from a seed, so nothing but the generator is shipped. Each task's classes are
balanced in every split; skew comes from the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from ifedpriv.data.task import Example, Task, TaskData, TaskKind
from ifedpriv.embedded.conventions import Convention, all_conventions, contradicting, prefixed, restricted
from ifedpriv.embedded.texts import SEPARATOR, TEMPLATE, Text, write_text
from ifedpriv.errors import InputError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a shipped task is made.

    Attributes:
        summary: one line for the list of tasks.
        conventions: one, or one for each group of clients where groups contradict each other.
    """

    summary: str
    conventions: tuple[Convention, ...]


@cache
def recipes() -> Mapping[str, Recipe]:
    """The shipped tasks by name."""

    def labelled(attribute: str, nth: int) -> Convention:
        plain = [c for c in all_conventions() if c.attribute == attribute and " " not in c.labels[0][1]]
        return plain[nth]

    request, desks = labelled("request", 4), labelled("topic", 13)
    number_and_name = next(c for c in all_conventions() if c.fields == ("number", "last"))
    return {
        "tone": Recipe("angry or pleased, 2 classes", (restricted(labelled("mood", 5), ("angry", "pleased")),)),
        "urgency": Recipe("when an answer is due, 3 classes", (labelled("urgency", 1),)),
        "mood": Recipe("how the writer feels, 4 classes", (labelled("mood", 10),)),
        "channel": Recipe("by which way it came, 4 classes", (labelled("channel", 9),)),
        "topic": Recipe("what it is about, 6 classes", (labelled("topic", 10),)),
        "intake": Recipe("which desk takes it, 6 classes, labels of two words", (prefixed(desks, "desk"),)),
        "remedy": Recipe(
            "what is asked for, 4 classes, labelled in opposite ways by two groups of clients",
            (request, contradicting(request)[0]),
        ),
        "contact": Recipe("give number and last name, a short generation task", (number_and_name,)),
    }  # fmt: skip


def task_names() -> tuple[str, ...]:
    """Names of the shipped tasks."""
    return tuple(recipes())


def classification_names() -> tuple[str, ...]:
    """Names of the shipped classification tasks."""
    return tuple(name for name, recipe in recipes().items() if not recipe.conventions[0].fields)


def load(name: str, *, seed: int = 0, train: int = 2000, validation: int = 500, test: int = 1000) -> TaskData:
    """Write a shipped task.

    Args:
        name: one of `task_names`.
        seed: fixes every text.
        train: number of training texts.
        validation: number of validation texts.
        test: number of test texts.

    Returns:
        The task and three splits without a common text. Examples carry their ``domain`` and, where groups
        contradict each other, their ``group``.
    """
    if name not in recipes():
        raise InputError(
            f"data.name is {name!r}, which is not shipped", f"choose one of {', '.join(task_names())}"
        )
    conventions = recipes()[name].conventions
    return make_task_data(name, conventions, seed=seed, sizes=(train, validation, test))


def make_task_data(
    name: str, conventions: tuple[Convention, ...], *, seed: int, sizes: tuple[int, int, int]
) -> TaskData:
    """Write texts for any convention, or for several that hold in turn for one group of clients each."""
    first = conventions[0]
    task = (
        Task(name, TEMPLATE, kind=TaskKind.GENERATION, separator=SEPARATOR, max_new_tokens=8)
        if first.fields
        else Task(name, TEMPLATE, tuple(sorted(label for _, label in first.labels)), separator=SEPARATOR)
    )
    seen: set[str] = set()
    splits = [
        _write_split(task, conventions, np.random.default_rng([seed, part, *name.encode()]), size, seen)
        for part, size in enumerate(sizes)
    ]
    return TaskData(task, *splits)


def _write_split(
    task: Task, conventions: tuple[Convention, ...], rng: np.random.Generator, size: int, seen: set[str]
) -> tuple[Example, ...]:
    examples: list[Example] = []
    wanted = _cycle(conventions[0], rng)
    while len(examples) < size:
        convention = conventions[len(examples) % len(conventions)]
        text = write_text(rng, wanted(len(examples) // len(conventions)))
        if text.text in seen:
            continue
        seen.add(text.text)
        attributes = {"domain": text.domain}
        if len(conventions) > 1:
            attributes["group"] = f"group {len(examples) % len(conventions)}"
        examples.append(_example(task, convention, text, attributes))
    return tuple(examples[i] for i in rng.permutation(size))


def _example(task: Task, convention: Convention, text: Text, attributes: Mapping[str, str]) -> Example:
    answer = convention.answer(text)
    if task.kind is TaskKind.GENERATION:
        return Example(text.text, answer=answer, attributes=attributes)
    return Example(text.text, label=task.label_words.index(answer), attributes=attributes)


def _cycle(convention: Convention, rng: np.random.Generator) -> Callable[[int], dict[str, str]]:
    values = [value for value, _ in convention.labels]
    return lambda position: {convention.attribute: values[position % len(values)]} if values else {}
