"""What public texts tell about activations: where they lie, how large each block is, and which directions they use.

Invariant: made from public texts alone, before any private one is read, and so part of what everybody knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from defenses.dp.transform import Transform
from defenses.privacy_specs import VectorPrivacy
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import activation_rows
from ifedpriv.icl.prompts import Position


def public_transform(
    backbone: Backbone, task: Task, examples: Sequence[Example], position: Position, spec: VectorPrivacy
) -> tuple[Transform, float]:
    """Coordinates for the clip of activations, and the clip.

    Args:
        backbone: the frozen model.
        task: the private task's wording.
        examples: public ones.
        position: the token that stands for a demonstration.
        spec: what is done.

    Returns:
        The transform of ``[layers * 2 * width]`` numbers, and ``spec.clip`` times a public row's median norm in it. Its
        noise is told in units of a block's public size, the median norm of public rows around their mean.
    """
    shape = (backbone.n_layers, 2, backbone.width)
    rows = activation_rows(backbone, task, examples, position).astype(np.float64)
    mean = rows.mean(axis=0)
    sizes = _sizes(rows - mean)
    centre = mean if spec.centre else np.zeros(shape)
    rows -= centre
    by_block = _sizes(rows) if spec.scale else np.ones(shape[:2])
    scale = np.broadcast_to(by_block[..., None], shape)
    flat = (rows / scale).reshape(len(examples), -1)
    basis = None
    if spec.rank:
        most = min(flat.shape[1], len(examples) - 1)
        if spec.rank > most:
            raise InputError(
                f"defense.privacy.vector.rank is {spec.rank}, and {len(examples)} public texts span {most} directions",
                "lower it or raise defense.privacy.public.texts",
            )
        basis = np.linalg.svd(flat, full_matrices=False)[2][: spec.rank]
        flat = flat @ basis.T
    blocks = np.repeat(np.arange(shape[0] * 2), shape[2])
    # How much of a coordinate's noise arrives in each number, in all.
    arrives = np.ones(shape) if basis is None else (basis**2).sum(axis=0).reshape(shape)
    transform = Transform(
        centre.reshape(-1).astype(np.float32),
        scale.reshape(-1).astype(np.float32),
        None if basis is None else basis.astype(np.float32),
        blocks,
        noise_unit=float(np.sqrt((arrives * (scale / sizes[..., None]) ** 2).mean())),
    )
    return transform, spec.clip * float(np.median(np.linalg.norm(flat, axis=1)))


def _sizes(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median norm of each block, ``[layers, 2]``, of rows ``[n, layers, 2, width]``."""
    found: NDArray[np.float64] = np.median(np.linalg.norm(rows, axis=-1), axis=0)
    # A block that public texts leave alone has no size to be measured by.
    return np.where(found > 0, found, 1.0)
