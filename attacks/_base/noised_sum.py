"""What everybody knows of a noised sum: how each example is bounded before it is added, and how much noise comes to it.

The invariant: nothing here is private. The bounding is the defense's own code, called on texts that the attacker has.

A vector that is read back of such a sum is ``c + (Σ (x̄ᵢ - c) + z) / w``, with c the public centre, x̄ᵢ what clip and
kept directions leave of the i-th example, z the noise, and w what the recording says that the sum is over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defenses.dp.release import Bounded
from defenses.noise.rounding import How
from defenses.units import Unit

_ROWS = 256
"""Rows that are bounded at once: all of them in float64 would not fit for a large model."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NoisedSum:
    """A private release of vectors as its public facts describe it.

    Attributes:
        release: the defense's, without compression.
        noise: standard deviation of the noise in each number of the sum, along the directions that the release keeps,
            float64 ``[layers, 2, width]``. In units of it noise is 1 in every kept direction, so whoever measures in
            these units needs to know nothing else of the directions; 0 where none is added to what is read.
        grain: standard deviation of the error by which one unit's row is made whole, likewise.
    """

    release: Bounded
    noise: NDArray[np.float64]
    grain: NDArray[np.float64]

    @classmethod
    def of(cls, release: Bounded, shape: tuple[int, ...], steps: float, roster: int) -> NoisedSum:
        """A release of vectors of this shape, in a round that asks so many clients.

        Args:
            release: the defense's.
            shape: of a vector.
            steps: standard deviation of the noise in each coordinate of what is summed, in whole steps.
            roster: how many clients the round asks.
        """
        terms = release.lattice(roster)
        step = release.transform.scale.astype(np.float64).reshape(shape) * (terms.clip / terms.steps)
        # A number at a share f of its step is off by f or 1 - f of it at random: f(1 - f) is a sixth on average.
        return cls(release, steps * step, step * np.sqrt(1 / 12 if terms.how is How.NEAREST else 1 / 6))

    def __repr__(self) -> str:
        return f"NoisedSum({self.key[:12]})"

    @property
    def key(self) -> str:
        """Hexadecimal digest of all that makes a difference to an attacker."""
        found = hashlib.sha256(self.release.transform.digest.encode())
        found.update(f"{self.release.clip!r} {self.release.by_block} {self.release.unit}".encode())
        for array in (self.noise, self.grain):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    @property
    def noisy(self) -> bool:
        """Whether there is any noise in what is read."""
        return bool(self.noise.any())

    @property
    def counts_examples(self) -> bool:
        """Whether the sum is of examples, each counted as 1; else it is of clients' vectors."""
        return self.release.unit is Unit.EXAMPLE

    @property
    def centre(self) -> NDArray[np.float64]:
        """From which units are measured, ``[layers, 2, width]``."""
        return self.release.transform.centre.astype(np.float64).reshape(self.noise.shape)

    def left_of(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """What is in the sum of each example's activations ``[n, layers, 2, width]``, float32 of the same shape.

        Where the units are clients, a clip falls on their vectors and not on examples: then what directions are kept is
        all that an example shows of it.
        """
        transform = self.release.transform
        if not self.counts_examples and transform.basis is None:
            return np.asarray(values, dtype=np.float32)
        rows = values.reshape(len(values), self.noise.size)
        found = np.empty(rows.shape, dtype=np.float32)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            found[start : start + _ROWS] = (
                self.release.left_of(part)
                if self.counts_examples
                else transform.back(transform.forward(part))
            )
        return found.reshape(values.shape)

    def noise_over(self, weight: float, sums: int = 1) -> NDArray[np.float64]:
        """Standard deviation of the noise in so many sums together, over a weight; along kept directions."""
        return np.asarray(self.noise * (np.sqrt(sums) / weight), dtype=np.float64)

    def in_numbers(self, weight: float, sums: int = 1) -> NDArray[np.float64]:
        """The same in each number by itself, where only a part of it lies in kept directions."""
        basis = self.release.transform.basis
        noise = self.noise_over(weight, sums)
        if basis is None:
            return noise
        kept = np.square(basis.astype(np.float64)).sum(axis=0)
        return np.asarray(noise * np.sqrt(kept).reshape(noise.shape), dtype=np.float64)

    def drawn(self, rng: np.random.Generator, weight: float, sums: int = 1) -> NDArray[np.float64]:
        """A draw of that noise, ``[layers, 2, width]``."""
        basis, noise = self.release.transform.basis, self.noise_over(weight, sums)
        if basis is None:
            return np.asarray(noise * rng.standard_normal(noise.shape), dtype=np.float64)
        within = rng.standard_normal(len(basis)) @ basis.astype(np.float64)
        return np.asarray(noise * within.reshape(noise.shape), dtype=np.float64)
