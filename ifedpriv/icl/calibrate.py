"""Local calibration: a few steps of Adam on the 4L scalars, with everything else frozen.

Only the scalars get a gradient, logits are computed at answer positions alone, and batches are made of
examples of like length, since each of these saves most of the time that fine-tuning spends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import inject
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.icl.labels import LabelTokens, label_tokens
from ifedpriv.icl.prompts import Demonstration, tokenize
from ifedpriv.icl.vectors import Coefficients, ContextVector


class Loss(StrEnum):
    """What an answer token competes with: the whole vocabulary, or the label words alone."""

    VOCABULARY = "vocabulary"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationPlan:
    """How a client calibrates in one round.

    Attributes:
        steps: optimiser steps.
        batch_size: examples a step.
        rate: Adam's learning rate.
        decay: pull toward the identity (λ = 0, β = 1), as decoupled weight decay.
        proximal: FedProx's μ: pull toward the broadcast coefficients.
        loss: what the answer competes with.
        free: bool ``[layers, 2, 2]``, which coefficients may move; None for all.
    """

    steps: int
    batch_size: int
    rate: float
    decay: float = 0.0
    proximal: float = 0.0
    loss: Loss = Loss.VOCABULARY
    free: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What one client found: new coefficients, and the mean loss over its steps."""

    coefficients: Coefficients
    loss: float


class Calibrator:
    """Calibrates one client's coefficients; tokenises its examples once for all rounds."""

    def __init__(self, backbone: Backbone, task: Task, examples: Sequence[Example]) -> None:
        self._backbone = backbone
        self._demonstrations = [tokenize(backbone, task, example) for example in examples]
        self._classes = [example.label for example in examples]
        self._task = task
        self._labels: LabelTokens | None = None

    def run(
        self, vector: ContextVector, start: Coefficients, plan: CalibrationPlan, rng: np.random.Generator
    ) -> Calibration:
        """Minimise cross-entropy of the answers over the scalars.

        Args:
            vector: the injected vector, fixed.
            start: the broadcast coefficients.
            plan: steps, rate and pulls.
            rng: draws the batches.

        Reference: IFed-ICL, Eq. 6; the optimiser is I2CL's (arXiv 2405.14660, section 3.3), but it decays toward
        the identity, since decay toward zero switches the model's own branches off. FedProx: arXiv 1812.06127, Eq. 2.
        """
        backbone = self._backbone
        injected = torch.from_numpy(vector.values.copy()).to(backbone.device)
        scalars = torch.from_numpy(start.values.copy()).to(backbone.device).requires_grad_()
        broadcast = scalars.detach().clone()
        identity = torch.from_numpy(Coefficients.identity(backbone.n_layers).values.copy()).to(
            backbone.device
        )
        free = None if plan.free is None else torch.from_numpy(plan.free).to(backbone.device)
        optimizer = torch.optim.Adam([scalars], lr=plan.rate)
        losses = []
        with inject(backbone, injected, scalars):
            for chosen in self._draw(plan, rng):
                loss = self.loss(
                    [self._demonstrations[i] for i in chosen], [self._classes[i] for i in chosen], plan.loss
                )
                objective = loss
                if plan.proximal:
                    objective = objective + plan.proximal / 2 * (scalars - broadcast).square().sum()
                optimizer.zero_grad()
                objective.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                with torch.no_grad():
                    scalars -= plan.rate * plan.decay * (scalars - identity)
                    if free is not None:
                        scalars.copy_(torch.where(free, scalars, broadcast))
                losses.append(float(loss.detach()))
        return Calibration(Coefficients(scalars.detach().cpu().numpy()), float(np.mean(losses)))

    def loss(
        self, demonstrations: Sequence[Demonstration], classes: Sequence[int], kind: Loss
    ) -> torch.Tensor:
        """Mean cross-entropy over answer tokens, with whatever is injected; a scalar tensor."""
        labels = self._label_tokens() if kind is Loss.LABELS else None
        if labels is not None and labels.single:
            return self._label_loss(demonstrations, classes, labels)
        # The separator is part of what a generated answer must get right: it is where generation stops.
        ends = self._task.kind is TaskKind.GENERATION
        batch = self._backbone.make_batch([d.ids[:-1] for d in demonstrations])
        hidden = self._backbone.hidden(batch)
        rows, columns, targets = [], [], []
        for row, d in enumerate(demonstrations):
            last = len(d.ids) if ends else d.prompt_length + d.answer_length
            for index in range(d.prompt_length, last):
                rows.append(row)
                columns.append(index - 1)
                targets.append(d.ids[index])
        logits = self._backbone.logits(hidden[rows, columns]).float()
        return functional.cross_entropy(logits, torch.tensor(targets, device=logits.device))

    def _label_loss(
        self, demonstrations: Sequence[Demonstration], classes: Sequence[int], labels: LabelTokens
    ) -> torch.Tensor:
        prompts = [d.ids[: d.prompt_length] for d in demonstrations]
        hidden = self._backbone.hidden(self._backbone.make_batch(prompts))
        at = hidden[torch.arange(len(prompts)), torch.tensor([len(p) - 1 for p in prompts])]
        words = torch.tensor([label[0] for label in labels.tokens], device=at.device)
        return functional.cross_entropy(
            self._backbone.logits(at, words).float(), torch.tensor(list(classes), device=at.device)
        )

    def _label_tokens(self) -> LabelTokens | None:
        if self._task.kind is TaskKind.GENERATION:
            return None
        if self._labels is None:
            self._labels = label_tokens(self._backbone, self._task)
        return self._labels

    def _draw(self, plan: CalibrationPlan, rng: np.random.Generator) -> list[list[int]]:
        """Batches without replacement while examples last; then a fresh shuffle.

        What all steps need is drawn first and then cut into batches by length, which wastes little on padding
        and still shows every example equally often.
        """
        size = min(plan.batch_size, len(self._demonstrations))
        drawn: list[int] = []
        while len(drawn) < plan.steps * size:
            drawn.extend(rng.permutation(len(self._demonstrations)).tolist())
        drawn = drawn[: plan.steps * size]
        drawn.sort(key=lambda i: (len(self._demonstrations[i].ids), i))
        batches = [drawn[i * size : (i + 1) * size] for i in range(plan.steps)]
        return [batches[i] for i in rng.permutation(plan.steps)]
