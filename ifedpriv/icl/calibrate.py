"""Local calibration: a few steps of Adam on the 4L scalars, with everything else frozen.

Only the scalars get a gradient, so none is computed for a weight, nor for anything in front of the first site.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.hooks import inject
from ifedpriv.icl.objective import Loss, Objective
from ifedpriv.icl.vectors import Coefficients, ContextVector


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


class Calibrator(Objective):
    """Calibrates one client's coefficients; tokenises its examples once for all rounds."""

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
                loss = self.loss_of(chosen, plan.loss)
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

    def _draw(self, plan: CalibrationPlan, rng: np.random.Generator) -> list[list[int]]:
        return self.batches(plan.steps, plan.batch_size, rng)
