"""Calibrates coefficients once on public tasks, so that they need no private data afterwards.

In each step a batch mixes many tasks: each query is injected with a vector of its own task, made of a few examples
drawn anew, with the noise that a private release will have. What comes out holds for small and large clients, and knows
its noise.

The invariant: a vector is noised, shrunk and centred here exactly as a release of it would be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from defenses.dp.shrink import shrunk
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.each import inject_each
from ifedpriv.data.task import Task
from ifedpriv.icl.queries import Query, losses_of
from ifedpriv.icl.vectors import Coefficients


@dataclass(frozen=True, slots=True, eq=False)
class PublicTask:
    """One public task, ready to be calibrated on.

    Attributes:
        kind: what it has in common with others.
        task: its wording.
        rows: activations of its demonstrations, float32 ``[examples, layers, 2, width]``; may lie on disk.
        blank: mean activations of its texts with labels drawn at random, ``[layers, 2, width]``: what is public about
            any task, and what a private release is centred on.
        queries: held-out queries, tokenised.
    """

    kind: str
    task: Task
    rows: NDArray[np.float32]
    blank: NDArray[np.float32]
    queries: Sequence[Query]

    def __repr__(self) -> str:
        return f"PublicTask({self.task.name!r}, {len(self.rows)} examples)"


@dataclass(frozen=True, slots=True)
class PublicPlan:
    """How a set of coefficients is calibrated.

    Attributes:
        steps: of Adam.
        batch_size: queries a step, each of a task drawn at random.
        rate: Adam's learning rate at the first step; it falls linearly to a fiftieth.
        fewest: examples behind a vector, at least.
        most: and at most; between them the number is drawn evenly on a logarithmic scale.
        noise: standard deviation of the noise on a vector, in units of a block's public size; drawn within a factor of
            1.6 around it.
    """

    steps: int = 300
    batch_size: int = 16
    rate: float = 0.05
    fewest: int = 8
    most: int = 192
    noise: float = 0.0


def public_centre(tasks: Sequence[PublicTask]) -> NDArray[np.float32]:
    """What the vectors of all public tasks have in common: their mean, ``[layers, 2, width]``."""
    means = [task.rows.mean(axis=0, dtype=np.float64) for task in tasks]
    centre: NDArray[np.float32] = np.mean(means, axis=0).astype(np.float32)
    return centre


def public_sizes(tasks: Sequence[PublicTask]) -> NDArray[np.float64]:
    """Median norm of a demonstration's activations around its task's blank, block by block; ``[layers, 2, 1]``."""
    norms = np.concatenate([np.linalg.norm(task.rows - task.blank, axis=-1) for task in tasks])
    sizes: NDArray[np.float64] = np.asarray(np.median(norms, axis=0), dtype=np.float64)[..., None]
    # A block that public texts leave alone has no size to be measured by.
    sizes[sizes <= 0] = 1.0
    return sizes


def vector_of(
    task: PublicTask,
    chosen: NDArray[np.int64],
    sizes: NDArray[np.float64],
    noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A task's vector as a release of these examples would give it.

    Args:
        task: whose.
        chosen: indices of its examples.
        sizes: of the blocks, as `public_sizes` gives them.
        noise: standard deviation in each number, in units of its block's size.
        rng: draws the noise.
    """
    mean: NDArray[np.float64] = task.rows[np.sort(chosen)].mean(axis=0, dtype=np.float64)
    if noise == 0:
        return np.asarray(mean, dtype=np.float32)
    moved = (mean - task.blank) / sizes
    noised = (moved + noise * rng.standard_normal(moved.shape)).reshape(-1)
    blocks = np.repeat(np.arange(moved.shape[0] * 2), moved.shape[2])
    kept = shrunk(noised, noise, blocks).reshape(moved.shape)
    return (kept * sizes + task.blank).astype(np.float32)


def calibrate_publicly(
    backbone: Backbone,
    tasks: Sequence[PublicTask],
    *,
    centre: NDArray[np.float32],
    sizes: NDArray[np.float64],
    plan: PublicPlan,
    rng: np.random.Generator,
    start: Coefficients | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> Coefficients:
    """One set of coefficients for many tasks.

    Args:
        backbone: the frozen model.
        tasks: public ones.
        centre: taken off every vector.
        sizes: of the blocks.
        plan: steps, batches and noise.
        rng: draws tasks, examples, queries and noise.
        start: where to begin; left out, λ = 1/2 and β = 1 everywhere.
        report: told of every step that is done.
    """
    begin = Coefficients.uniform(backbone.n_layers, 0.5, 1.0) if start is None else start
    scalars = torch.from_numpy(begin.values.copy()).to(backbone.device).requires_grad_()
    optimizer = torch.optim.Adam([scalars], lr=plan.rate)
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * (1 - 0.98 * step / plan.steps)
        drawn = [tasks[i] for i in rng.choice(len(tasks), plan.batch_size, len(tasks) < plan.batch_size)]
        vectors = np.stack([_some_vector(task, sizes, plan, rng) - centre for task in drawn])
        queries = [task.queries[int(rng.integers(len(task.queries)))] for task in drawn]
        own = scalars.expand(len(drawn), *scalars.shape)
        with inject_each(backbone, torch.from_numpy(vectors).to(backbone.device), own):
            loss = losses_of(backbone, queries).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report(step + 1)
    found = scalars.detach().cpu().numpy()
    return Coefficients(found)


def _some_vector(
    task: PublicTask, sizes: NDArray[np.float64], plan: PublicPlan, rng: np.random.Generator
) -> NDArray[np.float32]:
    low, high = np.log(min(plan.fewest, len(task.rows))), np.log(min(plan.most, len(task.rows)))
    count = int(np.rint(np.exp(rng.uniform(low, high))))
    chosen = rng.choice(len(task.rows), size=count, replace=False)
    noise = plan.noise * float(np.exp(rng.uniform(-0.5, 0.5))) if plan.noise else 0.0
    return vector_of(task, chosen, sizes, noise, rng)
