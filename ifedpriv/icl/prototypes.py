"""The artifact of clustered IFed-ICL: several injections for one task, and what all of them come to together.

A client knows which one is its own. Whoever does not may choose by a few labelled examples, which never leave it.
The invariant: prototypes that were too small to be released are not in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.errors import InputError
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.tensor_file import reading, write_tensors
from ifedpriv.icl.vectors import Coefficients, ContextVector

FORMAT = "ifedpriv-prototypes-1"


@dataclass(frozen=True, slots=True, eq=False)
class PrototypeBank:
    """Context vectors with their coefficients, one pair for each cluster of clients.

    Attributes:
        vectors: ``[prototypes, layers, 2, width]``.
        coefficients: ``[prototypes, layers, 2, 2]``.
        slots: number of each prototype's cluster in the run, ascending.
        centres: where each cluster's sketches lie, ``[prototypes, sketch]``; one zero each where no sketch told.
        backbone: fingerprint of the model they were made for; empty if not yet known.
        facts: strings that travel with them.
    """

    vectors: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    slots: tuple[int, ...]
    centres: NDArray[np.float32]
    backbone: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("vectors", "coefficients", "centres"):
            array = np.array(getattr(self, name), dtype=np.float32)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if not len(self.vectors) == len(self.coefficients) == len(self.centres) == len(self.slots) > 0:
            raise InputError(
                f"prototypes are {len(self.vectors)} vectors, {len(self.coefficients)} coefficients and "
                f"{len(self.slots)} clusters",
                "give one of each for at least one prototype",
            )

    def __len__(self) -> int:
        return len(self.slots)

    def __repr__(self) -> str:
        return f"PrototypeBank({len(self)} prototypes)"

    def injection(self, index: int) -> Injection:
        """One prototype, from 0."""
        if not 0 <= index < len(self):
            raise InputError(f"prototype {index} was asked for", f"there are 0 to {len(self) - 1}")
        return self.mixed(np.eye(len(self))[index])

    def mixed(self, weights: Sequence[float] | NDArray[np.float64]) -> Injection:
        """Vectors and coefficients in these shares, ``[prototypes]``."""
        shares = np.asarray(weights, dtype=np.float64)
        vector = np.tensordot(shares, self.vectors.astype(np.float64), axes=1).astype(np.float32)
        coefficients = np.tensordot(shares, self.coefficients.astype(np.float64), axes=1).astype(np.float32)
        return Injection(ContextVector(vector, 0), Coefficients(coefficients), self.backbone, self.facts)

    def nearest(self, backbone: Backbone, task: Task, examples: Sequence[Example]) -> int:
        """The prototype under which somebody's own labelled examples are least surprising."""
        objective = Objective(backbone, task, examples)
        found = []
        for index in range(len(self)):
            with torch.inference_mode(), self.injection(index).on(backbone):
                found.append(float(objective.loss_of(range(len(examples)))))
        return int(np.argmin(found))

    @contextmanager
    def on(self, backbone: Backbone) -> Iterator[None]:
        """All prototypes in equal shares: what is left for whoever cannot tell which is theirs."""
        with self.mixed(np.full(len(self), 1 / len(self))).on(backbone):
            yield

    def check(self, backbone: Backbone) -> None:
        """Refuse a model that they were not made for."""
        self.injection(0).check(backbone)

    def save(self, path: Path) -> None:
        """Write a safetensors file; an interrupted write leaves nothing under the final name."""
        tensors = {
            "vectors": self.vectors,
            "coefficients": self.coefficients,
            "centres": self.centres,
            "slots": np.asarray(self.slots, dtype=np.float32),
        }
        write_tensors(path, tensors, {"format": FORMAT, "backbone": self.backbone}, self.facts)

    @classmethod
    def load(cls, path: Path) -> PrototypeBank:
        """Read a file that `save` wrote."""
        with reading(path, "prototypes", FORMAT) as (tensors, metadata, facts):
            slots = tuple(int(slot) for slot in tensors["slots"])
            arrays = (tensors["vectors"], tensors["coefficients"])
            return cls(*arrays, slots, tensors["centres"], metadata["backbone"], facts)
