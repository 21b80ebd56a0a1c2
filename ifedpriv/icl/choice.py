"""Which set of public coefficients serves a private task: the one whose answers to public texts tell most about them.

A private task's answers are not known, and looking at them would be a release. But a set that fits a vector makes the
model sure of its answers, and of different ones for different texts; one that does not fit leaves it unsure, or sure of
one label always. The mutual information between a text and its answer measures both at once.

The sets that tell most are then fitted to the vector on public texts (`ifedpriv.icl.sharpen`), and compared again on
other public texts.

The invariant: nothing is read here but the vector as it was released, and public texts without labels; so the choice
is post-processing and costs no privacy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.public_coefficients import Member, PublicCoefficients
from ifedpriv.icl.sharpen import mutual_information, sharpen
from ifedpriv.icl.vectors import Coefficients, ContextVector

_JUDGES = 4
"""One public text in so many judges what the others have fitted."""
_FITTED = 2
"""Sets that are fitted, the most telling first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen set, and what spoke for it.

    Attributes:
        member: the set.
        coefficients: its coefficients, fitted to the vector on public texts if that was asked for.
        information: kind to mutual information in nats, of every set that was tried; empty if there was one only.
        steps: how many steps the fitting took; 0 if there was none.
        fitted: the same information after it, of the sets that were fitted.
    """

    member: Member
    coefficients: Coefficients
    information: tuple[tuple[str, float], ...] = ()
    steps: int = 0
    fitted: tuple[tuple[str, float], ...] = ()

    def sentence(self) -> str:
        """The choice in words."""
        noise = f"noise {self.member.noise:g}" if self.member.noise else "no noise"
        said = f"public coefficients for tasks of kind {self.member.kind!r}, calibrated with {noise}"
        if self.information:
            said += f", chosen by what answers tell about public texts (nats: {_listed(self.information)})"
        if self.steps:
            told = f": {_listed(self.fitted)}" if self.fitted else ""
            said += f", then fitted to the vector in {self.steps} steps on public texts without labels{told}"
        return said


def _listed(found: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{kind} {value:.2f}" for kind, value in found)


def information(scores: NDArray[np.float32]) -> float:
    """Mutual information between a text and its answer, in nats.

    Args:
        scores: ``[texts, classes]``, logits or log-probabilities.

    Returns:
        Entropy of the mean answer less the mean entropy of the answers; from 0 to the logarithm of the classes.
    """
    return max(float(mutual_information(torch.from_numpy(scores.astype(np.float64)))), 0.0)


def choose(
    public: PublicCoefficients,
    backbone: Backbone,
    task: Task,
    vector: NDArray[np.float32],
    noise: float,
    texts: Sequence[str],
    *,
    steps: int = 0,
    batch_size: int = 64,
) -> Choice:
    """The coefficients for a vector.

    Args:
        public: all sets.
        backbone: the frozen model.
        task: the private task's wording, which is public.
        vector: as released, with the public centre taken off, ``[layers, 2, width]``.
        noise: standard deviation of the noise in it, in units of a block's public size.
        texts: public ones, of the private task's sort; none are needed where there is one set and no fitting.
        steps: how far the best sets are fitted to the vector, on three in four of the texts; the others judge.
        batch_size: prompts per forward pass.

    Raises:
        InputError: there is more than one kind of generation task, between which texts without answers cannot decide.
    """
    some = public.fitting(task.kind, noise)
    if task.kind is TaskKind.GENERATION:
        if len(some) > 1:
            raise InputError(
                f"the public coefficients have {len(some)} kinds of generation tasks",
                "make them with one kind, since nothing public tells which of them fits",
            )
        return Choice(some[0], some[0].coefficients)
    injected = ContextVector(vector, 0)
    judges = texts[::_JUDGES] if steps else texts

    def told(coefficients: Coefficients) -> float:
        injection = Injection(injected, coefficients)
        return information(score_labels(backbone, task, judges, injection=injection, batch_size=batch_size))

    tried = [told(member.coefficients) for member in some] if len(some) > 1 else [0.0]
    order = sorted(range(len(some)), key=lambda index: -tried[index])
    listed = tuple((some[i].kind, tried[i]) for i in range(len(some))) if len(some) > 1 else ()
    if not steps:
        return Choice(some[order[0]], some[order[0]].coefficients, listed)
    learn = [text for place, text in enumerate(texts) if place % _JUDGES]
    best = order[:_FITTED]
    fitted = {i: sharpen(backbone, task, injected, some[i].coefficients, learn, steps=steps) for i in best}
    after = {i: told(fitted[i]) for i in best}
    chosen = max(best, key=lambda index: after[index])
    return Choice(some[chosen], fitted[chosen], listed, steps, tuple((some[i].kind, after[i]) for i in best))
