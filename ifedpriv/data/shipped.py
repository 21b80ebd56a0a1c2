"""The shipped tasks: conventions of the embedded world, with splits that share no text.

Texts are written on demand from a seed, so nothing but the generator is shipped. Each task's classes are
balanced in every split; skew comes from the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from ifedpriv.data.task import Example, Task, TaskData, TaskKind
from ifedpriv.embedded.conventions import Convention, all_conventions, contradicting, prefixed, restricted
from ifedpriv.embedded.texts import FRAMES, SEPARATOR, TEMPLATE, Text, write_text
from ifedpriv.embedded.voices import LANGUAGES, Voice, domain, language
from ifedpriv.errors import InputError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a shipped task is made.

    Attributes:
        summary: one line for the list of tasks.
        conventions: one, or one for each group of clients where groups contradict each other.
        voices: who writes, where that is not all the same: as many as conventions, or several for one convention.
        numbers: where the classes stand for numbers, value to number.
    """

    summary: str
    conventions: tuple[Convention, ...]
    voices: tuple[Voice, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


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
        "urgency": Recipe(
            "when an answer is due, 3 classes that stand for days", (labelled("urgency", 1),),
            numbers={"now": 0.0, "soon": 1.0, "later": 7.0},
        ),
        "mood": Recipe("how the writer feels, 4 classes", (labelled("mood", 10),)),
        "dialects": Recipe(
            "how the writer feels, 4 classes, texts in two languages", (labelled("mood", 10),),
            voices=tuple(language(name) for name in LANGUAGES),
        ),
        "channel": Recipe("by which way it came, 4 classes", (labelled("channel", 9),)),
        "topic": Recipe("what it is about, 6 classes", (labelled("topic", 10),)),
        "intake": Recipe("which desk takes it, 6 classes, labels of two words", (prefixed(desks, "desk"),)),
        "remedy": Recipe(
            "what is asked for, 4 classes, labelled in opposite ways by two groups of clients",
            (request, contradicting(request)[0]),
        ),
        "domains": Recipe(
            "what is asked for, 4 classes, labelled by each of four domains in its own way",
            (request, *contradicting(request)), voices=tuple(domain(name) for name in FRAMES),
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
        The task and three splits without a common text. Examples carry their ``domain``, their ``language`` where
        there are several and, where groups contradict each other, their ``group``.
    """
    if name not in recipes():
        raise InputError(
            f"data.name is {name!r}, which is not shipped", f"choose one of {', '.join(task_names())}"
        )
    recipe = recipes()[name]
    sizes = (train, validation, test)
    data = make_task_data(name, recipe.conventions, seed=seed, sizes=sizes, voices=recipe.voices)
    if not recipe.numbers:
        return data
    number = {label: recipe.numbers[value] for value, label in recipe.conventions[0].labels}
    values = tuple(number[word] for word in data.task.label_words)
    return replace(data, task=replace(data.task, label_values=values))


def make_task_data(
    name: str,
    conventions: tuple[Convention, ...],
    *,
    seed: int,
    sizes: tuple[int, int, int],
    voices: tuple[Voice, ...] = (),
) -> TaskData:
    """Write texts for any convention, or for several that hold in turn for one group of clients each.

    Args:
        name: of the task; texts of tasks with different names are different.
        conventions: one, or one for each group.
        seed: fixes every text.
        sizes: of train, validation and test.
        voices: who writes in turn; with several conventions, one for each; the same for all where there are none.
    """
    if len(conventions) > 1 and len(voices) not in (0, len(conventions)):
        raise ValueError(f"{len(voices)} voices for {len(conventions)} conventions")
    written = max(len(conventions), len(voices))
    turns = tuple(
        (conventions[i % len(conventions)], voices[i] if voices else Voice()) for i in range(written)
    )
    first = conventions[0]
    task = (
        Task(name, TEMPLATE, kind=TaskKind.GENERATION, separator=SEPARATOR, max_new_tokens=8)
        if first.fields
        else Task(name, TEMPLATE, tuple(sorted(label for _, label in first.labels)), separator=SEPARATOR)
    )
    seen: set[str] = set()
    splits = [
        _write_split(task, turns, np.random.default_rng([seed, part, *name.encode()]), size, seen)
        for part, size in enumerate(sizes)
    ]
    return TaskData(task, *splits)


def _write_split(
    task: Task,
    turns: tuple[tuple[Convention, Voice], ...],
    rng: np.random.Generator,
    size: int,
    seen: set[str],
) -> tuple[Example, ...]:
    examples: list[Example] = []
    wanted = _cycle(turns[0][0], rng)
    contradicting_groups = len({convention for convention, _ in turns}) > 1
    while len(examples) < size:
        turn = len(examples) % len(turns)
        convention, voice = turns[turn]
        # Voices of one convention go on where the one before ends, so that all together are balanced as well.
        begun = 0 if contradicting_groups else turn * (size // len(turns))
        values = wanted(begun + len(examples) // len(turns))
        text = write_text(rng, values, frames=voice.frames, vocabulary=voice.words)
        if text.text in seen:
            continue
        seen.add(text.text)
        attributes = {"domain": text.domain, **voice.attributes}
        if contradicting_groups:
            attributes["group"] = f"group {turn}"
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
