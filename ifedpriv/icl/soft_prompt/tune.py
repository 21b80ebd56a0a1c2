"""A client's steps on a prompt: by gradients where the model gives them, by losses alone where it does not.

The invariant: this file sees an oracle and numbers, and imports no model; the same seed gives the same prompt to the
digit, and every step that was not taken is counted.

References: the objective is FICPD's, task loss + λ‖p‖₂ (the norm itself, not its square) + μ‖p − p_ref‖² after FedProx
(arXiv 1812.06127); Adam is that of arXiv 1412.6980.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ifedpriv.errors import InputError
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
    optimiser: Literal["adam", "sgd"] = "adam"
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
    if plan.zeroth is None and not isinstance(oracle, GradientOracle):
        raise InputError(
            "tuning asks for gradients, and the model gives losses only",
            "set how slopes are estimated from losses",
        )
    begin = np.asarray(start, dtype=np.float64)
    pulled_to = begin if reference is None else np.asarray(reference, dtype=np.float64)
    basis = None
    if plan.zeroth is not None and plan.zeroth.intrinsic:
        basis = subspace(plan.zeroth.intrinsic, *start.shape, plan.subspace_seed)
    before = oracle.queries
    point = _Descent(np.zeros(begin.size if basis is None else len(basis)), plan)
    prompt, losses, skipped = begin, [], 0
    for chosen in _batches(oracle.examples, plan.steps, plan.batch_size, rng):
        loss, slope = _slope(oracle, prompt, chosen, plan, rng, basis)
        slope += _inward(plan.norm * _direction(prompt) + 2 * plan.proximal * (prompt - pulled_to), basis)
        moved = point.stepped(plan.unit * slope)
        way = moved.place if basis is None else moved.place @ basis
        there = begin + plan.unit * way.reshape(begin.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = (loss, there.astype(np.float32), moved.second)
        if not all(bool(np.isfinite(each).all()) for each in numbers):
            skipped += 1
            continue
        point, prompt = moved, there
        losses.append(loss)
    found = prompt.astype(np.float32)
    found.flags.writeable = False
    return Tuned(found, float(np.mean(losses)) if losses else float("nan"), oracle.queries - before, skipped)


def _slope(
    oracle: LossOracle,
    prompt: NDArray[np.float64],
    chosen: list[int],
    plan: TunePlan,
    rng: np.random.Generator,
    basis: NDArray[np.float64] | None,
) -> tuple[float, NDArray[np.float64]]:
    """The task loss, and its slope in the numbers that move."""
    single = prompt.astype(np.float32)
    if plan.zeroth is None:
        assert isinstance(oracle, GradientOracle)
        loss, gradient = oracle.gradient(single, chosen)
        return loss, np.array(gradient, dtype=np.float64).reshape(-1)
    zeroth = ZerothOrder(
        plan.zeroth.directions, plan.zeroth.mu * plan.unit, plan.zeroth.shape, plan.zeroth.intrinsic
    )
    found = estimate(oracle, single, chosen, zeroth, rng, basis)
    return found.loss, found.gradient.reshape(-1)


def _inward(slope: NDArray[np.float64], basis: NDArray[np.float64] | None) -> NDArray[np.float64]:
    flat = slope.reshape(-1)
    return flat if basis is None else basis @ flat


def _direction(prompt: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slope of the Euclidean norm; at zero, where it has none, the least of its subgradients."""
    length = np.linalg.norm(prompt)
    return prompt / length if length > 0 else np.zeros_like(prompt)


@dataclass(frozen=True, slots=True, eq=False)
class _Descent:
    """Where an optimiser stands; a step makes the next one, so that a bad step can be left untaken."""

    place: NDArray[np.float64]
    plan: TunePlan
    steps: int = 0
    first: NDArray[np.float64] | float = 0.0
    second: NDArray[np.float64] | float = 0.0

    def stepped(self, slope: NDArray[np.float64]) -> _Descent:
        if self.plan.optimiser == "sgd":
            return _Descent(self.place - self.plan.rate * slope, self.plan, self.steps + 1)
        steps = self.steps + 1
        first = 0.9 * self.first + 0.1 * slope
        # What is no number in the end is seen by the caller.
        with np.errstate(over="ignore", invalid="ignore"):
            second = 0.999 * self.second + 0.001 * slope**2
            size = np.sqrt(second / (1 - 0.999**steps)) + 1e-8
            place = self.place - self.plan.rate * (first / (1 - 0.9**steps)) / size
        return _Descent(place, self.plan, steps, first, second)


def _batches(examples: int, steps: int, size: int, rng: np.random.Generator) -> list[list[int]]:
    """Batches without replacement while examples last; then a fresh shuffle."""
    size = min(size, examples)
    drawn: list[int] = []
    while len(drawn) < steps * size:
        drawn.extend(rng.permutation(examples).tolist())
    return [drawn[start : start + size] for start in range(0, steps * size, size)]
