"""Whose texts an artifact was trained on, as far as its losses tell: a measurement that only a simulation can make.

The one invariant: members and others are drawn as equals. For each group and class there are as many test examples as
training examples, no text twice, so that nothing but having been trained on tells them apart; and the half that the
threshold is chosen on shares no example with the half that it is judged on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.data.task import Example
from ifedpriv.experiment.prepare import Setup
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.predict import Adaptation
from ifedpriv.icl.prompts import bucketed
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.measure.intervals import Interval
from ifedpriv.measure.membership import yeom
from ifedpriv.report.measure_records import Estimate, MembershipRecord

FEWEST = 10
"""Members below which nothing is measured: with fewer, an interval would span nearly everything."""
_DRAW = 23

Losses = dict[str, list[float]]


@dataclass(frozen=True, slots=True, repr=False)
class Balanced:
    """Examples of both kinds, as many of each, in two halves.

    Attributes:
        shadow_members, shadow_others: what a threshold may be chosen on.
        members, others: what it is judged on.
    """

    shadow_members: tuple[Example, ...]
    shadow_others: tuple[Example, ...]
    members: tuple[Example, ...]
    others: tuple[Example, ...]


def wanted(setup: Setup) -> bool:
    """Whether it is measured: as configured, and left out, in a simulation alone."""
    asked = setup.config.evaluation.membership
    return setup.config.simulation if asked is None else asked


def balanced(setup: Setup) -> Balanced:
    """Training examples of clients, and as many test examples of the same groups and classes; the run's seed draws."""
    rng = np.random.default_rng([setup.config.seed, _DRAW])
    halves: tuple[list[Example], ...] = ([], [], [], [])
    used: set[str] = set()
    for group in setup.groups:
        trained = [e for number in range(len(setup.clients)) for e in _own(setup, number, group)]
        asked = setup.queries(group)
        for label in sorted({example.label for example in trained}):
            inside = [e for e in trained if e.label == label]
            outside = [e for e in asked if e.label == label and e.text not in used]
            # Even, so that each half has as many of the one kind as of the other.
            count = min(len(inside), len(outside)) // 2 * 2
            chosen = [inside[i] for i in rng.permutation(len(inside))[:count]]
            others = [outside[i] for i in rng.permutation(len(outside))[:count]]
            used.update(example.text for example in others)
            for place, drawn in enumerate((chosen, others)):
                halves[place].extend(drawn[: count // 2])
                halves[place + 2].extend(drawn[count // 2 :])
    return Balanced(*map(tuple, halves))


def _own(setup: Setup, number: int, group: str) -> Sequence[Example]:
    return setup.clients[number].train if setup.partition.groups[number] == group else ()


def losses(setup: Setup, artifact: Adaptation) -> dict[str, Any]:
    """Each drawn example's loss with the final artifact on, as JSON can hold it; empty lists where there are few."""
    found = balanced(setup)
    if len(found.members) < FEWEST:
        return {name: [] for name in Balanced.__slots__}
    return {name: example_losses(setup, artifact, getattr(found, name)) for name in Balanced.__slots__}


def example_losses(setup: Setup, artifact: Adaptation | None, examples: Sequence[Example]) -> list[float]:
    """Mean cross-entropy of each example's answer, in nats a token, with an artifact on.

    Of a library of prompts, or of clusters' injections, everybody holds all, so an example has the loss of the one that
    fits it best.
    """
    several: list[Adaptation] = []
    if isinstance(artifact, PromptLibrary):
        several = [artifact.prompt(index) for index in range(len(artifact.prototypes) + 1)]
    if isinstance(artifact, PrototypeBank):
        several = [artifact.injection(index) for index in range(len(artifact))]
    if several:
        every = np.stack([_losses(setup, one, examples) for one in several])
        return [float(loss) for loss in every.min(axis=0)]
    return [float(loss) for loss in _losses(setup, artifact, examples)]


def _losses(setup: Setup, artifact: Adaptation | None, examples: Sequence[Example]) -> NDArray[np.float64]:
    objective = Objective(setup.backbone, setup.data.task, examples)
    result = np.zeros(len(examples))
    size = setup.config.evaluation.batch_size
    with torch.inference_mode(), artifact.on(setup.backbone) if artifact else nullcontext():
        for chosen in bucketed([len(d.ids) for d in objective.demonstrations], size):
            result[chosen] = objective.losses_of(chosen).double().cpu().numpy()
    return result


def record(found: Mapping[str, Sequence[float]] | None) -> MembershipRecord:
    """The attack on what `losses` gave; None where it was not asked for."""
    if found is None:
        return MembershipRecord(
            measured=False, why="evaluation.membership is off, or left out with simulation off"
        )
    if not found["members"]:
        return MembershipRecord(
            measured=False, why=f"fewer than {2 * FEWEST} training examples have test examples of their kind"
        )
    shadow, others = (np.asarray(found[name]) for name in ("shadow_members", "shadow_others"))
    result = yeom(shadow, others, np.asarray(found["members"]), np.asarray(found["others"]))
    return MembershipRecord(
        measured=True,
        why="",
        members=result.members,
        others=result.others,
        shadow=len(shadow) + len(others),
        threshold=result.threshold,
        advantage=_estimate(result.advantage, result.advantage_interval),
        true_rate=_estimate(result.true_rate, result.true_interval),
        false_rate=_estimate(result.false_rate, result.false_interval),
        auc=_estimate(result.auc, result.auc_interval),
        true_rate_at_1_percent=_estimate(result.low_rate, result.low_rate_interval),
    )


def _estimate(value: float, interval: Interval) -> Estimate:
    return Estimate(value, interval.low, interval.high, interval.level, interval.method)
