"""Uploads that a client's own computation has made private already.

Invariant: nothing is noised twice, and what was noised elsewhere is charged all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from defenses.dp.charge import charge
from defenses.dp.release import Contributed, Told
from defenses.entropy import Entropy
from defenses.errors import UserError
from defenses.ledger import Event
from defenses.records import Records
from defenses.session import Aggregate
from defenses.units import Unit
from defenses.upload import Float32Array, Layout, Upload, UploadKind

if TYPE_CHECKING:
    from defenses.accounting.mechanism import Mechanism


@dataclass(frozen=True, slots=True)
class Beforehand:
    """Private already when it is offered, since the client's own computation noised it; sent as it is.

    Attributes:
        kind: what the numbers are.
        unit: whose presence that computation hides.
        mechanism: of one round.
    """

    kind: UploadKind
    unit: Unit
    mechanism: Mechanism

    def travels(self, layout: Layout) -> Layout:
        """The same."""
        return layout

    def give(
        self,
        contributed: Contributed,
        centre: Float32Array | None,
        roster: int,
        entropy: Entropy,
        told: Told | None = None,
    ) -> Upload:
        """The upload."""
        if isinstance(contributed, Records):
            raise UserError(
                f"uploads of kind {self.kind} come row by row, so nothing hides a row", "bound them"
            )
        return contributed

    def take(
        self, aggregate: Aggregate, layout: Layout, centre: Float32Array | None, roster: int, entropy: Entropy
    ) -> Aggregate:
        """The same."""
        return aggregate

    def events(
        self, released: str, number: int, contributors: tuple[int, ...], sent: tuple[int, ...], roster: int
    ) -> list[Event]:
        """One release by each client that sent something."""
        return [charge(released, number, (client,), self.kind, self.unit, self.mechanism) for client in sent]
