"""Which layers and branches of a vector an attack reads.

The invariant: a part is chosen by the auditor and never by an attack, so what is left out is as if it had not been
sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ifedpriv.errors import InputError


@dataclass(frozen=True, slots=True)
class Sites:
    """Which numbers of a vector an attack reads, as if nothing else had been uploaded.

    Attributes:
        layers: their numbers, from 0; None for all.
        branches: ``attention``, ``mlp`` or ``both``.
    """

    layers: tuple[int, ...] | None = None
    branches: str = "both"

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        return self.layers is None and self.branches == "both"

    def mask(self, n_layers: int) -> NDArray[np.bool_]:
        """What is read, bool ``[layers, 2, 1]``; of the second axis, 0 is attention and 1 the MLP."""
        found = np.zeros((n_layers, 2, 1), dtype=np.bool_)
        found[list(range(n_layers) if self.layers is None else self.layers)] = True
        if self.branches != "both":
            found[:, 1 if self.branches == "attention" else 0] = False
        return found

    def __str__(self) -> str:
        """In words, such as ``attention of layers 0, 1``."""
        which = "both branches" if self.branches == "both" else self.branches
        return which if self.layers is None else f"{which} of layers {', '.join(map(str, self.layers))}"


def sites(layers: str | None, branch: str, n_layers: int) -> Sites:
    """What is to be read, from ``--layers`` such as ``0,2-4`` and ``--branch``."""
    if layers is None:
        return Sites(None, branch)
    found: set[int] = set()
    for part in layers.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise InputError(f"--layers is {layers!r}", "write numbers and ranges with commas, such as 0,2-4")
        found |= set(range(int(low), int(high if dash else low) + 1))
    if not found or max(found) >= n_layers:
        raise InputError(
            f"--layers is {layers!r}, and the model has {n_layers} layers",
            f"use numbers from 0 to {n_layers - 1}",
        )
    return Sites(tuple(sorted(found)), branch)
