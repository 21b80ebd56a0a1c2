"""Who takes part in a round, and who fails in it; a function of seed and round, so that a resumed run agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

_DRAW, _FAIL, _POINT = 11, 12, 14


class CohortSpec(BaseModel):
    """Partial participation and simulated failures.

    The vector round asks everybody: a client that never gives a vector is never represented. Later rounds draw
    a share of the clients. A failing client computes nothing and sends nothing in that round, unless
    `failure_point` lets it go further.

    Attributes:
        participation: share of the clients that each round after the first asks; at least one.
        failure_rate: chance that an asked client fails in a round, drawn for each client and round.
        failure_point: how many of its frames of the round a failing client sends before it fails; ``any`` draws it. An
            unprotected round has one frame a client; a masked one five: keys, shares, input, signature, unmasking; a
            ratcheted one three: input, confirmation, opening.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    participation: float = Field(1.0, gt=0, le=1)
    failure_rate: float = Field(0.0, ge=0, lt=1)
    failure_point: Annotated[int, Field(ge=0)] | Literal["any"] = 0

    def size(self, clients: int) -> int:
        """How many of some clients a later round asks."""
        return max(1, round(self.participation * clients))


@dataclass(frozen=True, slots=True)
class Cohort:
    """Draws participants and failures.

    Attributes:
        spec: how many take part and fail.
        seed: fixes every draw.
    """

    spec: CohortSpec
    seed: int

    def invited(self, round_number: int, eligible: tuple[int, ...]) -> tuple[int, ...]:
        """The clients asked in a round, ascending; at least one if any is eligible."""
        if round_number == 0 or self.spec.participation == 1.0 or not eligible:
            return eligible
        rng = np.random.default_rng([self.seed, _DRAW, round_number])
        size = self.spec.size(len(eligible))
        return tuple(sorted(int(c) for c in rng.choice(eligible, size=size, replace=False)))

    def fails(self, round_number: int, client: int) -> bool:
        """Whether a client fails in a round."""
        if self.spec.failure_rate == 0.0:
            return False
        rng = np.random.default_rng([self.seed, _FAIL, round_number, client])
        return bool(rng.random() < self.spec.failure_rate)

    def frames_before_failing(self, round_number: int, client: int, exchanges: int) -> int:
        """How many frames of a round a client that `fails` sends before.

        Args:
            round_number: the round.
            client: the client.
            exchanges: frames of a client in a whole round.
        """
        if self.spec.failure_point == "any":
            rng = np.random.default_rng([self.seed, _POINT, round_number, client])
            return int(rng.integers(exchanges))
        return self.spec.failure_point
