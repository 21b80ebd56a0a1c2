"""The first attention's part of a vector, as it would be had no example been bounded before it was added.

The invariant: what bounding does to that part on average is measured on public texts, and nothing else is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attacks._base.attack import Knowledge
from attacks._base.space import read, seen
from attacks._base.targets import Floats, Target
from ifedpriv.backbone.backbone import Backbone


@dataclass(frozen=True, slots=True, eq=False)
class FirstBlock:
    """How far bounding pulls the first attention's part of an example toward the public centre.

    Attributes:
        scale: what is left of the distance to the centre, by least squares over public texts; 1 without bounding.
        centre: ``[width]``.
    """

    scale: float
    centre: Floats

    @classmethod
    def of(cls, backbone: Backbone, knowledge: Knowledge) -> FirstBlock:
        """Measured on the public texts."""
        release = knowledge.declared.mechanism
        centre = np.zeros(backbone.width) if release is None else release.centre[0, 0]
        if knowledge.declared.bounds is None:
            return cls(1.0, centre)
        before, behind = (
            each(backbone, knowledge, knowledge.public, "reading public texts")[:, 0, 0] - centre
            for each in (read, seen)
        )
        scale = float(np.sum(behind * before) / max(float(np.sum(before**2)), 1e-30))
        # Of a part that bounding leaves nothing of, nothing can be made larger again.
        return cls(float(np.clip(scale, 1e-6, 1.0)), centre)

    def shown(self, target: Target) -> Floats:
        """What of a vector in that part is not the centre's, ``[width]``: the scale times what its texts add."""
        return np.asarray(target.vector[0, 0] - (1 - self.scale) * self.centre, dtype=np.float64)
