"""A short fingerprint of what a client means by its labels, in public coordinates, by which clients are clustered.

A client's context vector says as much about which texts and labels it happens to hold as about what it means by them.
So each class is measured from the public mean of its own label word, directions that public texts use are kept and
weighed alike, and classes stay apart: what is left is which texts go with which word.

The invariant: everything but a client's own examples is made from public texts, before any private one is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defenses.dp.release import Told
from defenses.prototypes.spherical import unit
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import activation_rows
from ifedpriv.icl.prompts import Position

MOST = 512
"""Coordinates of a sketch; its second moments are half the square of that."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PublicSketch:
    """The coordinates of sketches.

    Attributes:
        centres: public mean activation of each class, float32 ``[classes, layers * 2 * width]``; one row where there
            are no classes.
        basis: directions over how much public activations vary along them, float32 ``[rank, layers * 2 * width]``.
    """

    centres: NDArray[np.float32]
    basis: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("centres", "basis"):
            array = np.array(getattr(self, name), dtype=np.float32)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def size(self) -> int:
        """Coordinates of a sketch: classes times rank."""
        return len(self.centres) * len(self.basis)

    def of(
        self,
        rows: Iterable[tuple[Sequence[int], NDArray[np.float32]]],
        classes: Sequence[int],
        told: Told | None = None,
    ) -> NDArray[np.float32]:
        """A client's sketch.

        Args:
            rows: indices into its examples and their activations ``[batch, layers, 2, width]``; one that is not finite
                counts as the centre.
            classes: class of each example; 0 for all where there are no classes.
            told: told how many are not finite, if any is.

        Returns:
            float32 ``[size]`` of length 1; zero if the examples say nothing.
        """
        total, broken = np.zeros((len(self.centres), len(self.basis))), 0
        for chosen, values in rows:
            mine = np.asarray([classes[index] for index in chosen])
            with np.errstate(invalid="ignore", over="ignore"):
                moved = (values.reshape(len(mine), -1) - self.centres[mine]) @ self.basis.T
            finite = np.isfinite(moved).all(axis=1)
            np.add.at(total, mine, np.where(finite[:, None], moved, 0.0))
            broken += int((~finite).sum())
        if broken and told is not None:
            told(broken)
        return unit(total.reshape(-1)).astype(np.float32)

    def __repr__(self) -> str:
        return f"PublicSketch({len(self.centres)} classes, {len(self.basis)} directions)"


def classes_of(task: Task, examples: Sequence[Example]) -> list[int]:
    """Class of each example; 0 for all where there are no classes."""
    return [0 if task.kind is TaskKind.GENERATION else example.label for example in examples]


def public_sketch(
    backbone: Backbone, task: Task, examples: Sequence[Example], position: Position, rank: int
) -> PublicSketch:
    """Coordinates from public examples.

    Args:
        backbone: the frozen model.
        task: the private task's wording.
        examples: public ones, with labels drawn at random where the public does not know them.
        position: the token that stands for a demonstration.
        rank: directions for each class; 0 for as many as keep a sketch at 512 coordinates, but at most 64.
    """
    classes = 1 if task.kind is TaskKind.GENERATION else task.n_classes
    labels = np.asarray(classes_of(task, examples))
    counts = np.bincount(labels, minlength=classes)
    if counts.min() == 0:
        raise InputError(
            f"defense.privacy.public has no text of class {int(counts.argmin())} among {len(examples)}",
            "raise method.clusters.texts",
        )
    most = min(len(examples) - classes, backbone.n_layers * 2 * backbone.width)
    wanted = rank or max(1, min(64, MOST // classes, most))
    if wanted > most:
        raise InputError(
            f"method.clusters.rank is {rank}, and {len(examples)} public texts span {most} directions",
            "lower it or raise method.clusters.texts",
        )
    rows = activation_rows(backbone, task, examples, position)
    # No layer is to count for more because its numbers are larger.
    blocks = rows - np.stack([rows[labels == label].mean(axis=0) for label in range(classes)])[labels]
    sizes = np.median(np.linalg.norm(blocks, axis=-1), axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)[..., None]
    centres = np.stack([rows[labels == label].mean(axis=0).reshape(-1) for label in range(classes)])
    flat = (blocks / sizes).reshape(len(rows), -1).astype(np.float64)
    scale = np.broadcast_to(sizes, rows.shape[1:]).reshape(-1)
    return PublicSketch(centres, _whitening(flat, wanted) / scale)


def _whitening(rows: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """The ``rank`` directions in which rows vary most, each divided by how much; through the small Gram matrix."""
    values, columns = np.linalg.eigh(rows @ rows.T)
    values, columns = values[::-1][:rank], columns[:, ::-1][:, :rank]
    usable = values > values[0] * 1e-9
    inverse = np.where(usable, 1 / np.where(usable, values, 1.0), 0.0)
    # Rows of V^T over the singular values are U^T X over their squares.
    return np.asarray((columns * inverse * np.sqrt(len(rows))).T @ rows, dtype=np.float64)
