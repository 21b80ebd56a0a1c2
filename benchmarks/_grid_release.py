"""A private vector as long as the shipped model's, as a run would plan it, and the masks that it would travel under."""

from __future__ import annotations

import math
from collections import Counter

from defenses.accounting.mechanism import Mechanism
from defenses.defense import Defense
from defenses.dp.release import Bounded
from defenses.dp.transform import Transform
from defenses.privacy_specs import PrivacySpec
from defenses.specs import MaskedSpec
from defenses.units import Trust, Unit
from defenses.upload import Layout, UploadKind
from ifedpriv.experiment.privacy import Asked, calibrated

SHAPE = (5, 2, 128)
SIZE = math.prod(SHAPE)
LAYOUT = Layout.of({"vector": SHAPE})
CLIP, COUNT_WEIGHT = 1.0, 0.25


def planned(spec: PrivacySpec, clients: int, units: int) -> Bounded:
    """The release that a run with this section would make, were the vector all that it releases.

    Args:
        spec: the privacy section, of distributed trust.
        clients: how many the round asks.
        units: how many examples or clients there are in all.

    Raises:
        UserError: the bits do not suffice.
    """

    def release(multiplier: float) -> Bounded:
        return Bounded(
            UploadKind.VECTOR,
            Unit(spec.unit),
            Trust.DISTRIBUTED,
            Transform.identity(SIZE),
            CLIP,
            multiplier,
            bits=spec.bits,
            count_weight=COUNT_WEIGHT,
            most_units=spec.max_examples,
            honest=spec.honest,
            shrink=False,
            grid=spec.grid,
            wrap=spec.grid.wrap,
        )

    def mechanism(_: Asked, multiplier: float) -> Mechanism:
        return release(multiplier).mechanism(clients)

    asked: Asked = (UploadKind.VECTOR, LAYOUT)
    multipliers, _ = calibrated(spec, Counter({asked: 1}), mechanism, units)
    return release(multipliers[asked])


def masked(release: Bounded, spec: PrivacySpec, **changes: float) -> Defense:
    """The defense under which such a release travels.

    Args:
        release: the vector's.
        spec: the privacy section that it was planned by.
        changes: fields of the masked defense.
    """
    return Defense(MaskedSpec(privacy=spec, **changes), releases={release.kind: release})
