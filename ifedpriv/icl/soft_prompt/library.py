"""The prompt library: a universal prompt beside the prototypes, as one file, and a client that starts from it.

The invariant: a library is one shape of prompt for one backbone, and a client's choice among its prompts is made on
the client's side, from losses on its own examples; nothing of it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.front import check_prompt
from ifedpriv.errors import InputError, ModelError
from ifedpriv.icl.soft_prompt.oracle import LossOracle
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt, check_fingerprint, owned
from ifedpriv.icl.soft_prompt.tune import Tuned, TunePlan, check_door, tune
from ifedpriv.icl.tensor_file import reading, write_tensors

FORMAT = "ifedpriv-prompt-library-1"


@dataclass(frozen=True, slots=True, eq=False)
class PromptLibrary:
    """A universal prompt and K prototypes of the same shape; put on a backbone, it is its universal prompt.

    Attributes:
        meta: the universal prompt, float32 ``[L, width]``, read-only.
        prototypes: float32 ``[K, L, width]``, read-only; K may be 0.
        backbone: fingerprint of the model they were made for; empty if not yet known.
        facts: strings that travel with it: task, privacy statement, versions.
    """

    meta: NDArray[np.float32]
    prototypes: NDArray[np.float32]
    backbone: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meta", owned(self.meta, 2, "the library's universal prompt"))
        object.__setattr__(self, "prototypes", owned(self.prototypes, 3, "the library's prototypes"))
        if self.prototypes.shape[1:] != self.meta.shape:
            raise ModelError(
                f"the library's universal prompt has shape {self.meta.shape} and its prototypes "
                f"{self.prototypes.shape[1:]}",
                "all must be of one shape",
            )

    def __repr__(self) -> str:
        """Show shape, never content."""
        length, width = self.meta.shape
        return f"PromptLibrary({len(self)} prompts of {length} tokens of width {width})"

    def __len__(self) -> int:
        return 1 + len(self.prototypes)

    def prompts(self) -> NDArray[np.float32]:
        """All of them, ``[K + 1, L, width]``: the universal one, then the prototypes."""
        return np.concatenate((self.meta[None], self.prototypes))

    def prompt(self, index: int) -> SoftPrompt:
        """One of them: 0 is the universal one, k + 1 is prototype k."""
        if not 0 <= index < len(self):
            raise InputError(
                f"prompt {index} is asked of a library of {len(self)}", f"give 0 to {len(self) - 1}"
            )
        return SoftPrompt(self.prompts()[index], self.backbone, self.facts)

    @contextmanager
    def on(self, backbone: Backbone) -> Iterator[None]:
        """Put the universal prompt in front of every text of this backbone until the block ends."""
        with self.prompt(0).on(backbone):
            yield

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone that this library was not made for."""
        check_fingerprint("prompt library", self.backbone, backbone)
        check_prompt(backbone, torch.from_numpy(self.prompts()))

    def save(self, path: Path) -> None:
        """Write a safetensors file; an interrupted write leaves nothing under the final name."""
        tensors = {"meta": self.meta, "prototypes": self.prototypes}
        write_tensors(path, tensors, {"format": FORMAT, "backbone": self.backbone}, self.facts)

    @classmethod
    def load(cls, path: Path) -> PromptLibrary:
        """Read a file that `save` wrote."""
        with reading(path, "library", FORMAT) as (tensors, metadata, facts):
            return cls(tensors["meta"], tensors["prototypes"], metadata["backbone"], facts)


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """What a client made of a library.

    Attributes:
        prompt: tuned on the client's examples.
        start: where it began: 0 is the universal prompt, k + 1 prototype k, and K + 1 + i the i-th start of its own.
        losses: of each of these on the client's examples (after its trial steps), float64.
        tuned: the tuning's own figures.
        queries: forward passes of one example, the choice included.
    """

    prompt: SoftPrompt
    start: int
    losses: NDArray[np.float64]
    tuned: Tuned
    queries: int

    def __repr__(self) -> str:
        """Show sizes, never content: it was fitted to private text."""
        return f"Adapted({self.prompt!r}, {self.queries} queries)"


def adapt(
    library: PromptLibrary,
    oracle: LossOracle,
    plan: TunePlan,
    rng: np.random.Generator,
    own: Sequence[NDArray[np.float32]] = (),
    trial_steps: int = 0,
) -> Adapted:
    """Start from the prompt with the least loss on a client's examples, as it is or after a few steps, and tune it.

    A loss that is no number counts as the greatest; among equals the universal prompt, then the first, is taken.

    Args:
        library: of prompts.
        oracle: the client's few examples behind a model.
        plan: the client's steps; none leaves the prompt as it was chosen.
        rng: draws batches and directions.
        own: further starts, ``[L, width]`` each, such as the wording of the client's task: on a task unlike those that
            the library was made on, prototypes can be worse than that.
        trial_steps: steps that each is tuned by before their losses are compared; what first-order MAML has trained is
            good after some steps and not before.
    """
    check_door(oracle, plan.zeroth)
    for index, start in enumerate(own):
        if np.shape(start) != library.meta.shape:
            raise InputError(
                f"start {index} of the client's own has shape {np.shape(start)}, and the library's prompts "
                f"{library.meta.shape}",
                "give prompts of one shape",
            )
    before = oracle.queries
    starts = np.concatenate((library.prompts(), *(np.asarray(each, dtype=np.float32)[None] for each in own)))
    tried = starts
    if trial_steps:
        draws = int(rng.integers(2**32))
        trial = replace(plan, steps=trial_steps)
        tried = np.stack([tune(oracle, each, trial, np.random.default_rng(draws)).prompt for each in starts])
    losses = oracle.losses(tried, range(oracle.examples))
    best = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
    tuned = tune(oracle, starts[best], plan, rng)
    # Without the library's facts: its privacy statement says nothing of what was fitted to these examples.
    prompt = SoftPrompt(tuned.prompt, library.backbone)
    return Adapted(prompt, best, losses, tuned, oracle.queries - before)
