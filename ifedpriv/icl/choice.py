"""Which set of public coefficients serves a private task: the one whose answers to public texts tell most about them.

A private task's answers are not known, and looking at them would be a release. But a set that fits a vector makes the
model sure of its answers, and of different ones for different texts; one that does not fit leaves it unsure, or sure of
one label always. The mutual information between a text and its answer measures both at once.

The invariant: nothing is read here but the vector as it was released, and public texts without labels; so the choice
is post-processing and costs no privacy.

Reference: Bridle, Heading and MacKay, *Unsupervised classifiers, mutual information and phantom targets*, NIPS 1991,
who train a classifier by it; here it only chooses between sets that others have trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.public_coefficients import Member, PublicCoefficients
from ifedpriv.icl.vectors import ContextVector


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen set, and what spoke for it.

    Attributes:
        member: the set.
        information: kind to mutual information in nats, of every set that was tried; empty if there was one only.
    """

    member: Member
    information: tuple[tuple[str, float], ...]

    def sentence(self) -> str:
        """The choice in words."""
        noise = f"noise {self.member.noise:g}" if self.member.noise else "no noise"
        said = f"public coefficients for tasks of kind {self.member.kind!r}, calibrated with {noise}"
        if not self.information:
            return said
        tried = ", ".join(f"{kind} {value:.2f}" for kind, value in self.information)
        return f"{said}, chosen by what their answers tell about public texts (nats: {tried})"


def information(scores: NDArray[np.float32]) -> float:
    """Mutual information between a text and its answer, in nats.

    Args:
        scores: ``[texts, classes]``, logits or log-probabilities.

    Returns:
        Entropy of the mean answer less the mean entropy of the answers; from 0 to the logarithm of the classes.
    """
    wide = scores.astype(np.float64)
    logs = wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
    answers = np.exp(logs)
    mean = answers.mean(axis=0)
    spread = -float(np.sum(mean * np.log(np.maximum(mean, 1e-300))))
    doubt = -float(np.sum(answers * logs, axis=1).mean())
    return max(spread - doubt, 0.0)


def choose(
    public: PublicCoefficients,
    backbone: Backbone,
    task: Task,
    vector: NDArray[np.float32],
    noise: float,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
) -> Choice:
    """The set of coefficients for a vector.

    Args:
        public: all sets.
        backbone: the frozen model.
        task: the private task's wording, which is public.
        vector: as released, with the public centre taken off, ``[layers, 2, width]``.
        noise: standard deviation of the noise in it, in units of a block's public size.
        texts: public ones, of the private task's sort.
        batch_size: prompts per forward pass.

    Raises:
        InputError: there is more than one kind of generation task, between which texts without answers cannot decide.
    """
    some = public.fitting(task.kind, noise)
    if len(some) == 1:
        return Choice(some[0], ())
    if task.kind is TaskKind.GENERATION:
        raise InputError(
            f"the public coefficients have {len(some)} kinds of generation tasks",
            "make them with one kind, since nothing public tells which of them fits",
        )
    tried = []
    for member in some:
        injection = Injection(ContextVector(vector, 0), member.coefficients)
        scores = score_labels(backbone, task, texts, injection=injection, batch_size=batch_size)
        tried.append((member.kind, information(scores)))
    best = max(range(len(some)), key=lambda index: tried[index][1])
    return Choice(some[best], tuple(tried))
