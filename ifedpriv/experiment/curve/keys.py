"""What names a point of a curve: what it measures, with which seed, for whom, trusting whom, at which budget.

The invariant: a key is the same whatever process measures it and in whatever order, so that points can be kept, found
again and put in order by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PRIVATE = "private"
NO_PRIVACY = "no privacy"
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True, slots=True)
class Key:
    """One point.

    Attributes:
        kind: a private run, the same run without privacy, or the bare model.
        seed: of its texts, clients, batches, failures and noise.
        unit: whose presence is hidden; without privacy, the unit whose run this would be; None for the bare model.
        trust: who adds the noise; None without privacy.
        epsilon: the budget; None without privacy.
        control: whose vector takes the place of the run's own (a row's key, such as ``public_mean``); None for the run
            itself.
    """

    kind: str
    seed: int
    unit: str | None = None
    trust: str | None = None
    epsilon: float | None = None
    control: str | None = None

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Key:
        """The key in a point's line."""
        return cls(**{name: line[name] for name in cls.__slots__})

    def to_json(self) -> dict[str, Any]:
        """The key's part of a point's line."""
        return asdict(self)
