"""A universal prompt that answers as all prototypes do, each on its own synthetic examples: the server's meta-learning.

The loss is FICPD's squared one, ‖y_k(x) − F(p; x)‖² with F the probabilities of the label words; means are taken over
prototypes and their examples where the paper writes sums, so that a rate does not depend on their numbers.

The invariant: nothing is read but synthetic examples and the frozen model; the same seed gives the same prompt to the
digit.

References: first-order MAML, Finn et al., arXiv 1703.03400, section 5.2; Reptile, Nichol et al., arXiv 1803.02999.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import InputError
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.sharpen import answer_scores
from ifedpriv.icl.soft_prompt.client_model import Ask
from ifedpriv.icl.soft_prompt.descent import Descent, Space
from ifedpriv.icl.soft_prompt.synthesis import Labelled, Synthetic
from ifedpriv.icl.soft_prompt.tune import TunePlan, batches, slope_at, space_around, tune
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder


class MetaMethod(StrEnum):
    """How a step is made of the prototypes: after inner steps, toward where they lead, or without any."""

    FOMAML = "fomaml"
    REPTILE = "reptile"
    JOINT = "joint"


@dataclass(frozen=True, slots=True)
class MetaPlan:
    """How the universal prompt is trained.

    Attributes:
        method: first-order MAML, Reptile or plain joint descent.
        steps: of Adam on the universal prompt.
        rate: its rate, for numbers of the size of ``unit``.
        inner_steps: that each prototype's examples are adapted to within a step; none in joint descent.
        inner_rate: Adam's rate there.
        batch_size: synthetic examples a step, inner or outer, of each prototype.
        prototypes_per_step: drawn anew for each step; all if there are fewer.
        zeroth: how slopes are estimated from losses; None to take gradients.
        subspace_seed: public; fixes the subspace where ``zeroth.intrinsic`` asks for one.
        unit: what rates are measured in; see `TunePlan`.
    """

    method: MetaMethod = MetaMethod.FOMAML
    steps: int = 60
    rate: float = 0.03
    inner_steps: int = 3
    inner_rate: float = 0.03
    batch_size: int = 16
    prototypes_per_step: int = 4
    zeroth: ZerothOrder | None = None
    subspace_seed: int = 0
    unit: float = 1.0

    def __post_init__(self) -> None:
        if self.prototypes_per_step < 1:
            raise InputError(f"prototypes_per_step is {self.prototypes_per_step}", "give at least 1")
        if self.method is not MetaMethod.JOINT and self.inner_steps < 1:
            raise InputError(
                f"inner_steps is {self.inner_steps}, and {self.method} adapts", "give at least 1"
            )
        # The rest is what a client's plan refuses as well.
        replace(self.inner, steps=self.steps, rate=self.rate)

    @property
    def inner(self) -> TunePlan:
        """An adaptation within a step."""
        return TunePlan(
            self.inner_steps,
            self.batch_size,
            self.inner_rate,
            zeroth=self.zeroth,
            subspace_seed=self.subspace_seed,
            unit=self.unit,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """A universal prompt.

    Attributes:
        prompt: float32 ``[L, width]``, read-only.
        losses: of each step that was taken, over the batches it saw.
        before: meta-loss of the start, over all synthetic examples.
        after: and of the prompt; first-order MAML may raise it, since that asks for what comes after the inner steps.
        adapted_before: mean loss over prototypes after the inner steps of each from the start, on its other half.
        adapted_after: and from the prompt, with the same draws.
        skipped: steps not taken, since a number was not finite.
        queries: forward passes of one example that it took, both meta-losses included.
    """

    prompt: NDArray[np.float32]
    losses: tuple[float, ...]
    before: float
    after: float
    adapted_before: float
    adapted_after: float
    skipped: int
    queries: int

    def __repr__(self) -> str:
        """Show figures only."""
        adapted = f"adapted {self.adapted_before:.4g} to {self.adapted_after:.4g}"
        return f"Distilled({self.before:.4g} to {self.after:.4g}, {adapted}, in {len(self.losses)} steps)"


def distil(
    backbone: Backbone,
    synthetic: Sequence[Synthetic],
    start: NDArray[np.float32],
    plan: MetaPlan,
    rng: np.random.Generator,
) -> Distilled:
    """Train a universal prompt on the synthetic examples of prototypes.

    A prototype's examples are halved: inner steps adapt to the one half, and the slope is taken on the other.

    Args:
        backbone: the frozen model.
        synthetic: examples of each prototype.
        start: ``[L, width]``; the universal prompt of the round before, or their mean.
        plan: method, steps and rates.
        rng: draws prototypes and batches.
    """
    if not synthetic:
        raise InputError("there are no prototypes to distil", "give the synthetic examples of at least one")
    tasks = [_Halves.of(backbone, each) for each in synthetic]
    space = space_around(start, plan.zeroth, plan.subspace_seed, plan.unit)
    descent, losses, skipped = Descent(space.origin, "adam", plan.rate), [], 0
    draws = int(rng.integers(2**32))
    before, adapted_before = _meta_loss(tasks, start), _adapted_loss(tasks, start, plan, draws)
    for _ in range(plan.steps):
        drawn = rng.permutation(len(tasks))[: plan.prototypes_per_step]
        ways = [_way(tasks[i], space, descent, plan, rng) for i in drawn]
        loss = float(np.mean([each for each, _ in ways]))
        moved = descent.stepped(np.mean([slope for _, slope in ways], axis=0))
        if not (np.isfinite(loss) and moved.sound(space)):
            skipped += 1
            continue
        descent = moved
        losses.append(loss)
    prompt = space.prompt(descent.place).astype(np.float32)
    prompt.flags.writeable = False
    after, adapted_after = _meta_loss(tasks, prompt), _adapted_loss(tasks, prompt, plan, draws)
    queries = sum(half.queries for task in tasks for half in task.distinct)
    return Distilled(prompt, tuple(losses), before, after, adapted_before, adapted_after, skipped, queries)


class SquaredError(Ask):
    """The squared distance between soft labels and the answers behind a prompt, as an oracle.

    Args:
        backbone: the frozen model.
        parts: texts with soft labels, of one task or more.
        rows_per_pass: sequences in one forward pass, at most.
    """

    def __init__(self, backbone: Backbone, parts: Sequence[Labelled], rows_per_pass: int = 64) -> None:
        super().__init__(_Distances(backbone, parts), rows_per_pass)


class _Distances:
    def __init__(self, backbone: Backbone, parts: Sequence[Labelled]) -> None:
        self.backbone = backbone
        self._labels = [label_tokens(backbone, part.task) for part in parts]
        self._ids: list[list[int]] = []
        self._aims: list[Tensor] = []
        self._parts: list[int] = []
        for number, part in enumerate(parts):
            self._ids += backbone.encode_prompts([part.task.prompt(text) for text in part.texts])
            self._aims += list(torch.from_numpy(part.probabilities.copy()).to(backbone.device))
            self._parts += [number] * len(part.texts)

    @property
    def examples(self) -> int:
        return len(self._ids)

    def length(self, example: int) -> int:
        return len(self._ids[example])

    def count(self, example: int) -> int:
        return 1

    def sequences(self, example: int) -> int:
        # `answer_scores` takes one for each place where label tokens are scored.
        return len(self._labels[self._parts[example]].probes)

    def kind(self, example: int) -> int:
        return self._parts[example]

    def each(self, chosen: Sequence[int]) -> tuple[Tensor, list[int]]:
        labels = self._labels[self._parts[chosen[0]]]
        answers = answer_scores(self.backbone, labels, [self._ids[i] for i in chosen]).softmax(dim=1)
        aims = torch.stack([self._aims[i] for i in chosen])
        return (answers - aims).square().sum(dim=1), list(range(len(chosen)))


@dataclass(frozen=True, slots=True, eq=False)
class _Halves:
    """A prototype's examples: to adapt to, and to take the slope on; a single one serves for both."""

    adapt: SquaredError
    ask: SquaredError

    @property
    def distinct(self) -> tuple[SquaredError, ...]:
        """Both, or the one that is both."""
        return (self.adapt,) if self.ask is self.adapt else (self.adapt, self.ask)

    @classmethod
    def of(cls, backbone: Backbone, synthetic: Synthetic) -> _Halves:
        halves = [[_every_other(part, side) for part in synthetic.parts] for side in (0, 1)]
        kept = [[part for part in half if part.texts] for half in halves]
        adapt = SquaredError(backbone, kept[0])
        return cls(adapt, SquaredError(backbone, kept[1]) if kept[1] else adapt)


def _every_other(part: Labelled, side: int) -> Labelled:
    return Labelled(part.task, part.texts[side::2], part.probabilities[side::2])


def _way(
    task: _Halves, space: Space, descent: Descent, plan: MetaPlan, rng: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """A prototype's part in a step: its loss, and which way to descend, in the space's coordinates."""
    here = space.prompt(descent.place)
    there = here
    if plan.method is not MetaMethod.JOINT:
        adapted = tune(task.adapt, here.astype(np.float32), plan.inner, rng)
        there = np.asarray(adapted.prompt, dtype=np.float64)
        if plan.method is MetaMethod.REPTILE:
            # In units of an inner step, so that the slope's size says how far the inner steps agree.
            return adapted.loss, space.inward(here - there) / (plan.inner_rate * plan.unit**2)
    chosen = batches(task.ask.examples, 1, plan.batch_size, rng)[0]
    return slope_at(task.ask, there, chosen, plan.zeroth, space, rng)


def _meta_loss(tasks: Sequence[_Halves], prompt: NDArray[np.float32]) -> float:
    """Mean over prototypes of the mean over all their examples."""
    means = []
    for task in tasks:
        sums = [
            float(half.losses(prompt[None], range(half.examples))[0]) * half.examples
            for half in task.distinct
        ]
        means.append(sum(sums) / sum(half.examples for half in task.distinct))
    return float(np.mean(means))


def _adapted_loss(tasks: Sequence[_Halves], prompt: NDArray[np.float32], plan: MetaPlan, draws: int) -> float:
    """Mean over prototypes of the loss on the one half after inner steps on the other."""
    losses = []
    for number, task in enumerate(tasks):
        there = tune(task.adapt, prompt, plan.inner, np.random.default_rng([draws, number])).prompt
        losses.append(float(task.ask.losses(there[None], range(task.ask.examples))[0]))
    return float(np.mean(losses))
