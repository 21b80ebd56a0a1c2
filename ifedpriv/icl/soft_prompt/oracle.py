"""What a client may ask of a model: losses, and of an open model gradients too. Nothing else passes this door.

The invariant: a query is one example's forward pass with one prompt, and every one is counted, whoever asks. A gradient
counts as the queries of its forward pass; its backward pass is extra work and no query. This file, like all that works
on losses alone, imports no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class LossOracle(Protocol):
    """A client's examples behind a model that answers with losses."""

    @property
    def examples(self) -> int:
        """How many examples there are; they are numbered from 0."""
        ...

    @property
    def queries(self) -> int:
        """How many forward passes of one example have been made so far."""
        ...

    def losses(self, prompts: NDArray[np.float32], chosen: Sequence[int]) -> NDArray[np.float64]:
        """The mean loss over chosen examples, for each of several prompts.

        Args:
            prompts: ``[m, L, width]``.
            chosen: numbers of examples; m times as many queries are made.

        Returns:
            float64 ``[m]``; what is not finite is handed on as it is.
        """
        ...


@runtime_checkable
class GradientOracle(LossOracle, Protocol):
    """The same behind a model that is open."""

    def gradient(
        self, prompt: NDArray[np.float32], chosen: Sequence[int]
    ) -> tuple[float, NDArray[np.float64]]:
        """The mean loss over chosen examples, and its gradient.

        Args:
            prompt: ``[L, width]``.
            chosen: numbers of examples.

        Returns:
            The loss, and float64 ``[L, width]``.
        """
        ...
