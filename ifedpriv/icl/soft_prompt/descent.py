"""Where an optimiser stands, and the space that it moves in; arithmetic on numbers, with no model in it.

The invariant: a step makes a new state and changes none, so that a step into numbers that are none can be left untaken.

Reference: Kingma and Ba, *Adam*, arXiv 1412.6980.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Optimiser = Literal["adam", "sgd"]


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Prompts around a start: in all their numbers, or in the coordinates of a public subspace.

    Attributes:
        start: ``[L, width]``, float64.
        basis: ``[coordinates, L * width]``, or None for all numbers.
        unit: one step of a coordinate moves the prompt's numbers by this much in root mean square.
    """

    start: NDArray[np.float64]
    basis: NDArray[np.float64] | None
    unit: float

    @property
    def origin(self) -> NDArray[np.float64]:
        """The coordinates of the start."""
        return np.zeros(self.start.size if self.basis is None else len(self.basis))

    def prompt(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """The prompt ``[L, width]`` at some coordinates."""
        way = place if self.basis is None else place @ self.basis
        return self.start + self.unit * way.reshape(self.start.shape)

    def inward(self, slope: NDArray[np.float64]) -> NDArray[np.float64]:
        """The slope in the coordinates, of a slope ``[L, width]`` in the prompt's numbers."""
        flat = self.unit * slope.reshape(-1)
        return flat if self.basis is None else self.basis @ flat


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """Where an optimiser stands.

    Attributes:
        place: coordinates.
        optimiser: Adam, or plain gradient descent.
        rate: its rate.
        steps: taken so far.
        first: Adam's running mean of the slope.
        second: and of its square.
    """

    place: NDArray[np.float64]
    optimiser: Optimiser
    rate: float
    steps: int = 0
    first: NDArray[np.float64] | float = 0.0
    second: NDArray[np.float64] | float = 0.0

    def stepped(self, slope: NDArray[np.float64]) -> Descent:
        """Where the optimiser stands after a step; look at `sound` before going on from there."""
        steps = self.steps + 1
        # What is no number in the end is seen by `sound`.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.optimiser == "sgd":
                return Descent(self.place - self.rate * slope, self.optimiser, self.rate, steps)
            first = 0.9 * self.first + 0.1 * slope
            second = 0.999 * self.second + 0.001 * slope**2
            size = np.sqrt(second / (1 - 0.999**steps)) + 1e-8
            place = self.place - self.rate * (first / (1 - 0.9**steps)) / size
        return Descent(place, self.optimiser, self.rate, steps, first, second)

    def sound(self, space: Space) -> bool:
        """Whether all its numbers are finite, and its prompt in float32 too."""
        with np.errstate(over="ignore", invalid="ignore"):
            prompt = space.prompt(self.place).astype(np.float32)
        return bool(np.isfinite(prompt).all()) and bool(np.isfinite(self.second).all())
