"""Local calibration under example-level privacy: DP-SGD on the 4L scalars, with Opacus's optimiser.

Each step takes every example with the same chance, clips its gradient, and adds Gaussian noise to the sum; whoever
reads the result learns no more about one example than the accounting says. Sampling and noise are drawn from the
defense's entropy and not from torch's generator, which anybody can repeat who sees enough of it.

Invariant: nothing that depends on an example leaves but through a clipped and noised sum; losses do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from defenses.dp.release import Told
from defenses.entropy import Entropy
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.each import per_example
from ifedpriv.errors import InputError
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.vectors import Coefficients, ContextVector

_BATCH = 64
_GRID_BITS = 20


@dataclass(frozen=True, slots=True)
class PrivateSteps:
    """How much of one example a step may show.

    Attributes:
        rate: the chance with which an example takes part in a step.
        clip: norm to which one example's gradient is clipped, where the client takes the step.
        multiplier: standard deviation of the noise over the clip, where the client adds it; None where clients offer
            each example's gradient, and the step is taken on what comes of all of them.
    """

    rate: float
    clip: float = math.inf
    multiplier: float | None = None


def gradient_rows(
    backbone: Backbone,
    objective: Objective,
    vector: ContextVector,
    at: Coefficients,
    chosen: Sequence[int],
    free: NDArray[np.bool_] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Each example's gradient of its own loss, batch by batch.

    Args:
        backbone: the frozen model.
        objective: of one client's examples.
        vector: the injected vector, fixed.
        at: the coefficients.
        chosen: which examples.
        free: bool ``[layers, 2, 2]``, which coefficients may move; None for all.

    Yields:
        float32 ``[batch, layers, 2, 2]``; zero where a coefficient may not move.
    """
    injected = torch.from_numpy(vector.values.copy()).to(backbone.device)
    scalars = torch.from_numpy(at.values.copy()).to(backbone.device)
    mask = np.ones(at.values.shape, dtype=np.bool_) if free is None else free
    for start in range(0, len(chosen), _BATCH):
        some = chosen[start : start + _BATCH]
        found = per_example(backbone, injected, scalars, partial(objective.losses_of, some), len(some))
        yield np.where(mask, found.cpu().numpy(), np.float32(0))


def calibrate_privately(
    backbone: Backbone,
    objective: Objective,
    vector: ContextVector,
    start: Coefficients,
    *,
    steps: int,
    learning_rate: float,
    terms: PrivateSteps,
    entropy: Entropy,
    free: NDArray[np.bool_] | None = None,
    told: Told | None = None,
) -> Coefficients:
    """Minimise cross-entropy of the answers over the scalars by DP-SGD.

    Args:
        backbone: the frozen model.
        objective: of one client's examples.
        vector: the injected vector, fixed.
        start: the broadcast coefficients.
        steps: optimiser steps.
        learning_rate: Adam's.
        terms: sampling, clip and noise.
        entropy: draws the samples and the noise.
        free: bool ``[layers, 2, 2]``, which coefficients may move; None for all.
        told: told of gradients that are not finite and count as zero; how many in all steps, once.

    Reference: Abadi et al. 2016, Algorithm 1, with Adam on the noised gradient, which is post-processing.
    """
    begin = torch.from_numpy(start.values.copy()).to(backbone.device)
    mask = (
        torch.ones_like(begin, dtype=torch.bool) if free is None else torch.from_numpy(free).to(begin.device)
    )
    # float64, so that clipping is exact to far below one step of the noise's grid.
    scalars: Any = torch.nn.Parameter(begin.double())
    optimizer = _optimizer(scalars, learning_rate, terms, entropy)
    broken: list[int] = []

    def gradients(chosen: list[int]) -> torch.Tensor:
        """Each chosen example's gradient, float64 ``[chosen, L, 2, 2]``; zero where one is not finite."""
        here = Coefficients(scalars.detach().float().cpu().numpy())
        rows = [np.zeros((0, *begin.shape)), *gradient_rows(backbone, objective, vector, here, chosen, free)]
        found = torch.from_numpy(np.concatenate(rows)).to(begin.device)
        finite = torch.isfinite(found).flatten(1).all(dim=1)
        broken.append(int((~finite).sum()))
        return torch.where(finite[:, None, None, None], found, 0.0)

    for _ in range(steps):
        scalars.grad_sample = gradients(poisson_sample(len(objective.demonstrations), terms.rate, entropy))
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            # Adam moves a coefficient that has noise for a gradient, so those that may not move are put back.
            scalars.copy_(torch.where(mask, scalars, begin))
    if any(broken) and told is not None:
        told(sum(broken))
    return Coefficients(scalars.detach().float().cpu().numpy())


def adam_step(
    scalars: NDArray[np.float32],
    gradient: NDArray[np.float32],
    mean: NDArray[np.float32],
    square: NDArray[np.float32],
    *,
    step: int,
    rate: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """One step of Adam with its usual constants, on arrays; all of one shape.

    Args:
        scalars: what moves.
        gradient: the noised mean gradient.
        mean: running mean of gradients.
        square: running mean of their squares.
        step: number of the step, from 1.
        rate: learning rate.

    Returns:
        The scalars and both means after the step.

    Reference: Kingma and Ba 2015, Algorithm 1.
    """
    mean = (0.9 * mean + 0.1 * gradient).astype(np.float32)
    square = (0.999 * square + 0.001 * np.square(gradient)).astype(np.float32)
    move = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return (scalars - rate * move).astype(np.float32), mean, square


def poisson_sample(count: int, rate: float, entropy: Entropy) -> list[int]:
    """Every one of ``count`` examples with chance ``rate``, rounded down to a multiple of 2^-64, each by itself."""
    draws = np.frombuffer(entropy.bytes(8 * count), dtype="<u8")
    if rate >= 1:
        return list(range(count))
    return [int(i) for i in np.flatnonzero(draws < np.uint64(int(rate * 2**64)))]


def _optimizer(scalars: Any, rate: float, terms: PrivateSteps, entropy: Entropy) -> Any:
    """Opacus's optimiser, with its noise from the defense's entropy."""
    try:
        from opacus.optimizers import DPOptimizer
    except ImportError as error:
        raise InputError(
            "privacy.unit is 'example' and coefficients are calibrated, which needs Opacus",
            "install ifedpriv[dpsgd]",
        ) from error
    from defenses.noise.discrete_gaussian import discrete_gaussian

    class Secure(DPOptimizer):  # type: ignore[misc]
        """Clips, adds up, scales and steps as Opacus does; noise is discrete and from a source that can be secure."""

        def add_noise(self) -> None:
            """Add discrete Gaussian noise on a grid of ``clip / 2^20``.

            Rounding the sum to the grid can lengthen one example's part by √d steps in all, which the noise makes up.
            """
            for p in self.params:
                step = self.max_grad_norm / 2**_GRID_BITS
                sensitivity = 2**_GRID_BITS + math.sqrt(p.numel()) + 1
                whole = np.rint(p.summed_grad.detach().cpu().numpy() / step)
                noise = discrete_gaussian(self.noise_multiplier * sensitivity, p.numel(), entropy)
                noised = (whole + noise.reshape(whole.shape)) * step
                p.grad = torch.from_numpy(noised).to(p.device, p.dtype).view_as(p)

    return Secure(
        torch.optim.Adam([scalars], lr=rate),
        noise_multiplier=terms.multiplier,
        max_grad_norm=terms.clip,
        expected_batch_size=1,
        loss_reduction="sum",
    )
