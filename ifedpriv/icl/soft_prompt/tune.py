"""A client's steps on a prompt: by gradients where the model gives them, by losses alone where it does not.

The invariant: this file sees an oracle and numbers, and imports no model; the same seed gives the same prompt to the
digit, and every step that was not taken is counted.

References: the objective is FICPD's, task loss + λ‖p‖₂ (the norm itself, not its square) + μ‖p − p_ref‖² after FedProx
(arXiv 1812.06127).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ifedpriv.errors import InputError
from ifedpriv.icl.soft_prompt.descent import Descent, Optimiser, Space
from ifedpriv.icl.soft_prompt.oracle import GradientOracle, LossOracle
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder, estimate, subspace


@dataclass(frozen=True, slots=True)
class TunePlan:
    """How a client tunes.

    Attributes:
        steps: of the optimiser.
        batch_size: examples a step, or all of them if there are fewer.
        rate: the optimiser's, for numbers of the size of ``unit``.
        optimiser: Adam, or plain gradient descent.
        norm: λ, weight of the prompt's Euclidean norm.
        proximal: μ, weight of the squared distance from the reference.
        zeroth: how slopes are estimated from losses; None to take gradients.
        subspace_seed: public; fixes the subspace where ``zeroth.intrinsic`` asks for one.
        unit: what ``rate`` and ``zeroth.mu`` are measured in: the optimiser works on the prompt divided by it. With the
            root mean square of the model's embeddings here, one rate suits many models.
    """

    steps: int
    batch_size: int
    rate: float
    optimiser: Optimiser = "adam"
    norm: float = 0.0
    proximal: float = 0.0
    zeroth: ZerothOrder | None = None
    subspace_seed: int = 0
    unit: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch_size < 1:
            raise InputError(
                f"tuning has {self.steps} steps of {self.batch_size} examples",
                "give 0 steps or more, of 1 or more",
            )
        for name, value, least in (("rate", self.rate, 0), ("unit", self.unit, 0)):
            if not (np.isfinite(value) and value > least):
                raise InputError(f"tuning {name} is {value}", "give a positive number")
        if not (np.isfinite(self.norm) and np.isfinite(self.proximal) and min(self.norm, self.proximal) >= 0):
            raise InputError(
                f"tuning has norm {self.norm} and proximal {self.proximal}",
                "give numbers that are not negative",
            )
        if self.optimiser not in ("adam", "sgd"):
            raise InputError(f"tuning optimiser is {self.optimiser!r}", "say adam or sgd")


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What tuning gave.

    Attributes:
        prompt: float32 ``[L, width]``, read-only.
        loss: mean task loss over the steps that were taken (around the prompt, where it is estimated); nan for none.
        queries: forward passes of one example that it took.
        skipped: steps not taken, since a loss or a slope was not finite, or the step would have led to such numbers.
    """

    prompt: NDArray[np.float32]
    loss: float
    queries: int
    skipped: int

    def __repr__(self) -> str:
        """Show figures, never the prompt: it was fitted to private text."""
        return f"Tuned(loss={self.loss:.4g}, queries={self.queries}, skipped={self.skipped})"


def tune(
    oracle: LossOracle,
    start: NDArray[np.float32],
    plan: TunePlan,
    rng: np.random.Generator,
    reference: NDArray[np.float32] | None = None,
) -> Tuned:
    """Take a client's steps.

    Args:
        oracle: the client's examples behind a model; must give gradients unless ``plan.zeroth`` is set.
        start: ``[L, width]``.
        plan: steps, rate and pulls.
        rng: draws batches and directions.
        reference: what the proximal term pulls to; the start if left out.

    Raises:
        InputError: gradients are wanted of a black box.
    """
    check_door(oracle, plan.zeroth)
    space = space_around(start, plan.zeroth, plan.subspace_seed, plan.unit)
    pulled_to = space.start if reference is None else np.asarray(reference, dtype=np.float64)
    before = oracle.queries
    descent, losses, skipped = Descent(space.origin, plan.optimiser, plan.rate), [], 0
    for chosen in batches(oracle.examples, plan.steps, plan.batch_size, rng):
        prompt = space.prompt(descent.place)
        loss, slope = slope_at(oracle, prompt, chosen, plan.zeroth, space, rng)
        pull = plan.norm * _direction(prompt) + 2 * plan.proximal * (prompt - pulled_to)
        moved = descent.stepped(slope + space.inward(pull))
        if not (np.isfinite(loss) and moved.sound(space)):
            skipped += 1
            continue
        descent = moved
        losses.append(loss)
    found = space.prompt(descent.place).astype(np.float32)
    found.flags.writeable = False
    return Tuned(found, float(np.mean(losses)) if losses else float("nan"), oracle.queries - before, skipped)


def check_door(oracle: LossOracle, zeroth: ZerothOrder | None) -> None:
    """Refuse to take gradients of a model that gives losses only.

    Raises:
        InputError: it does.
    """
    if zeroth is None and not isinstance(oracle, GradientOracle):
        raise InputError(
            "tuning asks for gradients, and the model gives losses only",
            "set how slopes are estimated from losses",
        )


def space_around(start: NDArray[np.float32], zeroth: ZerothOrder | None, seed: int, unit: float) -> Space:
    """All prompts, or the public subspace around the start that zeroth-order steps are confined to."""
    basis = (
        subspace(zeroth.intrinsic, *start.shape, seed) if zeroth is not None and zeroth.intrinsic else None
    )
    return Space(np.asarray(start, dtype=np.float64), basis, unit)


def slope_at(
    oracle: LossOracle,
    prompt: NDArray[np.float64],
    chosen: Sequence[int],
    zeroth: ZerothOrder | None,
    space: Space,
    rng: np.random.Generator,
) -> tuple[float, NDArray[np.float64]]:
    """The loss over chosen examples, and its slope in the coordinates of a space."""
    single = prompt.astype(np.float32)
    if zeroth is None:
        assert isinstance(oracle, GradientOracle)
        loss, gradient = oracle.gradient(single, chosen)
        return loss, space.inward(np.asarray(gradient, dtype=np.float64))
    found = estimate(oracle, single, chosen, replace(zeroth, mu=zeroth.mu * space.unit), rng, space.basis)
    return found.loss, space.unit * found.gradient.reshape(-1)


def _direction(prompt: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slope of the Euclidean norm; at zero, where it has none, the least of its subgradients."""
    length = np.linalg.norm(prompt)
    return prompt / length if length > 0 else np.zeros_like(prompt)


def batches(examples: int, steps: int, size: int, rng: np.random.Generator) -> list[list[int]]:
    """Batches without replacement while examples last; then a fresh shuffle."""
    size = min(size, examples)
    drawn: list[int] = []
    while len(drawn) < steps * size:
        drawn.extend(rng.permutation(examples).tolist())
    return [drawn[start : start + size] for start in range(0, steps * size, size)]
