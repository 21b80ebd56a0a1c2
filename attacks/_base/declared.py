"""What everybody knows was done to activations before the server reads their mean: clip, noise, or the whole mechanism.

The invariant: nothing here is private; it is what a defense tells everybody who takes part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attacks._base.noised_sum import NoisedSum


@dataclass(frozen=True, slots=True)
class Declared:
    """What everybody knows was done to activations before the server reads their mean.

    Attributes:
        noise: standard deviation of the noise in each number of what the server reads: of a single upload where
            it reads those, else of their mean; 0 for none.
        clip: Euclidean norm over all layers to which one example's activations are scaled down; None for no clip.
        mechanism: a private release, number by number, in place of the other two; None where none is known.
        gradients: the same of sums of examples' gradients, by number of the round; empty where rounds release none.
    """

    noise: float = 0.0
    clip: float | None = None
    mechanism: NoisedSum | None = None
    gradients: Mapping[int, NoisedSum] = field(default_factory=dict)

    @property
    def noisy(self) -> bool:
        """Whether any noise is declared."""
        return self.noise > 0 or (self.mechanism is not None and self.mechanism.noisy)

    @property
    def bounds(self) -> float | str | None:
        """What tells one way of bounding examples from another: the clip, or a digest of the mechanism."""
        return self.clip if self.mechanism is None else self.mechanism.key
