"""Runs queries through a model and returns answers beside the truth, ready for any metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.icl.predict import Adaptation, generate_answers, predict_labels


@dataclass(frozen=True, slots=True, repr=False)
class Answers:
    """Answers and truth for a list of queries.

    Attributes:
        truth: class indices, or answer texts.
        predicted: likewise.
    """

    truth: tuple[int, ...] | tuple[str, ...]
    predicted: tuple[int, ...] | tuple[str, ...]

    def __len__(self) -> int:
        return len(self.truth)

    def __repr__(self) -> str:
        """Show size only: answers may quote private texts."""
        return f"Answers({len(self)} queries)"

    @property
    def right(self) -> NDArray[np.float64]:
        """1 for every answer that equals the truth, 0 for the others."""
        return np.asarray([t == p for t, p in zip(self.truth, self.predicted, strict=True)], dtype=np.float64)

    @property
    def share_correct(self) -> float:
        """Share of answers that equal the truth: accuracy, or exact match."""
        return float(self.right.sum()) / max(len(self), 1)


def answer(
    backbone: Backbone,
    task: Task,
    examples: Sequence[Example],
    *,
    context: str = "",
    injection: Adaptation | None = None,
    batch_size: int = 64,
) -> Answers:
    """Answer every example's text by label scoring or generation, whichever the task asks for."""
    texts = [example.text for example in examples]
    if task.kind is TaskKind.GENERATION:
        generated = generate_answers(
            backbone, task, texts, context=context, injection=injection, batch_size=batch_size
        )
        return Answers(tuple(e.answer for e in examples), tuple(generated))
    predicted = predict_labels(
        backbone, task, texts, context=context, injection=injection, batch_size=batch_size
    )
    return Answers(tuple(e.label for e in examples), tuple(int(p) for p in predicted))
