"""What a task is: texts, what is asked about them, and how a demonstration is written.

A demonstration is ``prompt + answer + separator``. The answer begins with the separator between prompt and
label (a space, as a rule), because that is how byte-level tokenizers see a word in the middle of a line:
scoring the bare word would score another token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ifedpriv.errors import InputError


class TaskKind(StrEnum):
    """What is predicted: one of the label words, or a free text."""

    CLASSIFICATION = "classification"
    GENERATION = "generation"


@dataclass(frozen=True, slots=True)
class Example:
    """One private text and its answer.

    Attributes:
        text: the text, without template.
        label: index into the task's label words; -1 for a generation task.
        answer: the answer's text for a generation task; empty for classification.
        attributes: named facts about the text (domain, group, ...) that partitions may split by.
    """

    text: str
    label: int = -1
    answer: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show shape, never content: examples are private and end up in logs."""
        return f"Example(<{len(self.text)} characters>, label={self.label})"


Key = tuple[str, int, str]


def key_of(example: Example) -> Key:
    """What makes two examples the same: text and answer."""
    return example.text, example.label, example.answer


@dataclass(frozen=True, slots=True)
class Task:
    """A task's wording.

    Attributes:
        name: short identifier.
        template: text around the input; must hold ``{text}`` once and end where the answer begins.
        label_words: the words that stand for the classes, in index order; empty for generation.
        kind: classification or generation.
        separator: what ends a demonstration.
        gap: what stands between prompt and answer.
        max_new_tokens: the longest answer that generation may give.
        label_values: where classes stand for numbers, the number of each, in index order; empty where they do not.
        answer_range: where generated answers are numbers, the smallest and the largest there can be; empty otherwise.
    """

    name: str
    template: str
    label_words: tuple[str, ...] = ()
    kind: TaskKind = TaskKind.CLASSIFICATION
    separator: str = "\n"
    gap: str = " "
    max_new_tokens: int = 16
    label_values: tuple[float, ...] = ()
    answer_range: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.template.count("{text}") != 1:
            raise InputError(
                f"task.template is {self.template!r}, which holds {{text}} {self.template.count('{text}')} times",
                "write {text} once, where the input goes",
            )
        if self.kind is TaskKind.CLASSIFICATION and len(self.label_words) < 2:
            raise InputError(
                f"task.label_words has {len(self.label_words)} entries",
                "a classification task needs at least two",
            )
        if len(set(self.label_words)) != len(self.label_words):
            raise InputError(
                f"task.label_words {list(self.label_words)} repeats a word", "give each class its own"
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not all(math.isfinite(value) for value in (*self.label_values, *self.answer_range)):
            raise InputError(
                "task.label_values or task.answer_range holds what is no finite number", "give plain numbers"
            )
        if self.label_values and len(self.label_values) != len(self.label_words):
            raise InputError(
                f"task.label_values has {len(self.label_values)} entries for {len(self.label_words)} classes",
                "give one number for each label word, in the same order",
            )
        if self.answer_range and self.kind is not TaskKind.GENERATION:
            raise InputError(
                "task.answer_range is set for a classification task",
                "give label_values, one number for each class",
            )
        if self.answer_range and not (
            len(self.answer_range) == 2 and self.answer_range[0] < self.answer_range[1]
        ):
            raise InputError(
                f"task.answer_range is {list(self.answer_range)}", "give the smallest and the largest number"
            )

    @property
    def numeric(self) -> bool:
        """Whether answers stand for numbers, so that their errors have a size."""
        return bool(self.label_values or self.answer_range)

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for a generation task."""
        return len(self.label_words)

    @property
    def wording(self) -> str:
        """A demonstration with its text and its answer left open; all that a model sees of one but these two."""
        return f"{self.template}{self.gap}{{answer}}{self.separator}"

    def prompt(self, text: str) -> str:
        """The text inside the template, up to where the answer begins."""
        before, after = self.template.split("{text}")
        return before + text + after

    def answer(self, example: Example) -> str:
        """The answer as it follows the prompt, with its leading gap."""
        word = example.answer if self.kind is TaskKind.GENERATION else self.label_words[example.label]
        return self.gap + word

    def answers(self) -> list[str]:
        """All candidate answers of a classification task, with their leading gap."""
        return [self.gap + word for word in self.label_words]

    def demonstration(self, example: Example) -> str:
        """One solved example as it stands in a few-shot prompt, separator included."""
        return self.prompt(example.text) + self.answer(example) + self.separator


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task with its three splits, which share no text."""

    task: Task
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
