"""An upload that travels through a public projection, where nothing else happens to it.

Where uploads are clipped and noised the projection is part of `Bounded`, since the clip comes after it. Invariant: what
is projected is the change to what the server has broadcast, where it has, so that a projection takes nothing from what
everybody knows already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from defenses.compression import projection
from defenses.compression_specs import CompressionSpec
from defenses.dp.release import Contributed, Release, Told
from defenses.entropy import Entropy
from defenses.ledger import Event
from defenses.session import Aggregate
from defenses.upload import Float32Array, Layout, Upload


@dataclass(frozen=True, slots=True)
class Compressed:
    """Projected by the client, turned back by the server.

    Attributes:
        spec: the projection.
        inner: what becomes of the upload otherwise; it sends what it is given.
    """

    spec: CompressionSpec
    inner: Release

    def travels(self, layout: Layout) -> Layout:
        """Fewer numbers, whichever the round."""
        return projection(self.spec, layout, 0).kept

    def give(
        self,
        contributed: Contributed,
        centre: Float32Array | None,
        roster: int,
        entropy: Entropy,
        told: Told | None = None,
    ) -> Upload:
        """The change to the broadcast, projected; or the upload, where there was no broadcast."""
        upload = self.inner.give(contributed, centre, roster, entropy, told)
        found = projection(self.spec, upload.layout, upload.round)
        flat = upload.layout.flatten(upload.arrays).astype(np.float64) - _floats(centre)
        arrays = found.kept.unflatten(found.apply(flat[None])[0].astype(np.float32))
        return replace(upload, arrays=arrays)

    def take(
        self, aggregate: Aggregate, layout: Layout, centre: Float32Array | None, roster: int, entropy: Entropy
    ) -> Aggregate:
        """The mean, turned back by the transpose."""
        found = projection(self.spec, layout, aggregate.round)
        flat = found.undo(found.kept.flatten(aggregate.means)[None])[0] + _floats(centre)
        means = layout.unflatten(flat.astype(np.float32))
        turned = replace(aggregate, means=means, parts=(), lacking=(), sums=None)
        return self.inner.take(turned, layout, centre, roster, entropy)

    def events(
        self, released: str, number: int, contributors: tuple[int, ...], sent: tuple[int, ...], roster: int
    ) -> list[Event]:
        """The same as without: a public map of a release is no other release."""
        return self.inner.events(released, number, contributors, sent, roster)


def _floats(centre: Float32Array | None) -> npt.NDArray[np.float64]:
    return np.zeros(1) if centre is None else centre.astype(np.float64)
