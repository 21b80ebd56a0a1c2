"""From examples to a context vector: each demonstration alone through the frozen model, then the mean.

The mean is taken in float64, so that neither the batch size nor the order of examples shows in the result
beyond what the model's own arithmetic gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import capture
from ifedpriv.data.task import Example, Task
from ifedpriv.errors import InputError
from ifedpriv.icl.prompts import Demonstration, Position, bucketed, tokenize_all
from ifedpriv.icl.vectors import ContextVector


def activations(
    backbone: Backbone,
    task: Task,
    examples: Sequence[Example],
    *,
    position: Position = Position.LABEL,
    batch_size: int = 32,
    demonstrations: Sequence[Demonstration] | None = None,
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """What each demonstration adds to the residual stream, batch by batch.

    Args:
        backbone: the frozen model.
        task: template, label words and separator.
        examples: the labelled examples.
        position: the token that stands for a demonstration.
        batch_size: demonstrations per forward pass.
        demonstrations: the same examples as `tokenize_all` gives them, if somebody has them already.

    Yields:
        Indices into ``examples`` and their activations, float32 ``[batch, layers, 2, width]``.
    """
    if demonstrations is None:
        demonstrations = tokenize_all(backbone, task, examples)
    for chosen in bucketed([len(d.ids) for d in demonstrations], batch_size):
        batch = backbone.make_batch([demonstrations[i].ids for i in chosen])
        columns = [demonstrations[i].index(position) for i in chosen]
        # In this order: what is captured is then laid out as the whole batch again.
        with torch.inference_mode(), backbone.reading_at(range(len(chosen)), columns, len(chosen)) as (_, at):
            with capture(backbone, at) as captured:
                backbone.hidden(batch)
        yield chosen, captured.contributions().float().cpu().numpy()


def activation_rows(
    backbone: Backbone, task: Task, examples: Sequence[Example], position: Position
) -> NDArray[np.float32]:
    """What each demonstration adds to the residual stream, in the order of the examples.

    Returns:
        float32 ``[examples, layers, 2, width]``.
    """
    rows = np.empty((len(examples), backbone.n_layers, 2, backbone.width), dtype=np.float32)
    for chosen, values in activations(backbone, task, examples, position=position):
        rows[chosen] = values
    return rows


def extract(
    backbone: Backbone,
    task: Task,
    examples: Sequence[Example],
    *,
    position: Position = Position.LABEL,
    batch_size: int = 32,
    demonstrations: Sequence[Demonstration] | None = None,
) -> ContextVector:
    """Mean activations of a client's demonstrations.

    Args:
        backbone: the frozen model.
        task: template, label words and separator.
        examples: the client's labelled examples; at least one.
        position: the token that stands for a demonstration.
        batch_size: demonstrations per forward pass.
        demonstrations: the same examples, tokenised, if somebody has them already.

    Returns:
        The context vector with the number of examples.

    Reference: IFed-ICL, Eq. 1 and 2.
    """
    _need_one(examples)
    total = np.zeros((backbone.n_layers, 2, backbone.width), dtype=np.float64)
    for _, values in activations(
        backbone, task, examples, position=position, batch_size=batch_size, demonstrations=demonstrations
    ):
        total += values.sum(axis=0, dtype=np.float64)
    return ContextVector((total / len(examples)).astype(np.float32), len(examples))


def extract_by_class(
    backbone: Backbone,
    task: Task,
    examples: Sequence[Example],
    *,
    position: Position = Position.LABEL,
    batch_size: int = 32,
    demonstrations: Sequence[Demonstration] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean activations of each class, for a class-balanced merge.

    Returns:
        Means, float32 ``[classes, layers, 2, width]``, zero for classes without an example, and the number of
        examples of each class, float32 ``[classes]``.
    """
    _need_one(examples)
    total = np.zeros((task.n_classes, backbone.n_layers, 2, backbone.width), dtype=np.float64)
    labels = np.asarray([example.label for example in examples])
    for chosen, values in activations(
        backbone, task, examples, position=position, batch_size=batch_size, demonstrations=demonstrations
    ):
        np.add.at(total, labels[chosen], values.astype(np.float64))
    counts = np.bincount(labels, minlength=task.n_classes).astype(np.float64)
    means = total / np.maximum(counts, 1)[:, None, None, None]
    return means.astype(np.float32), counts.astype(np.float32)


def _need_one(examples: Sequence[Example]) -> None:
    if not examples:
        raise InputError("a context vector was asked of 0 examples", "give the client at least one example")
