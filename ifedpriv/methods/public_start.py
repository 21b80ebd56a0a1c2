"""What public coefficients do in a run: take the public centre off the vector, and choose the set that fits it.

The invariant: it sees the vector as the server has it, after noise and shrinkage, and public texts; nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.icl.choice import Choice, choose
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.public_coefficients import PublicCoefficients


@dataclass(frozen=True, slots=True, eq=False)
class PublicStart:
    """Public coefficients for one backbone and one task.

    Attributes:
        public: all sets.
        backbone: the frozen model.
        task: the private task's wording.
        texts: public texts of its sort, without labels.
        steps: how far coefficients are fitted to the vector on these texts.
    """

    public: PublicCoefficients
    backbone: Backbone
    task: Task
    texts: Sequence[str]
    steps: int = 0
    _kept: dict[tuple[bytes, float], Choice] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"PublicStart({self.public!r}, {len(self.texts)} texts)"

    def centred(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """A vector without what the vectors of all public tasks have in common."""
        return (vector - self.public.centre).astype(np.float32)

    def choice(self, vector: NDArray[np.float32], noise: float) -> Choice:
        """The set for a centred vector with this noise in it, in units of a block's public size."""
        key = (hashlib.sha256(vector.tobytes()).digest(), noise)
        if key not in self._kept:
            self._kept[key] = choose(
                self.public, self.backbone, self.task, vector, noise, self.texts, steps=self.steps
            )
        return self._kept[key]

    def verdict(self, noise: float) -> GuardVerdict | None:
        """What such coefficients did on public tasks that were kept apart; None where none were."""
        trial = self.public.trial(self.task.kind, noise)
        if trial is None:
            return None
        return GuardVerdict(trial.injected, trial.plain, trial.queries, public_tasks=trial.tasks)
