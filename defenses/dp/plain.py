"""Uploads that nothing is done to.

Invariant: the ledger says of each of them that nothing protects it.
"""

from __future__ import annotations

from dataclasses import dataclass

from defenses.dp.release import Contributed, Told
from defenses.entropy import Entropy
from defenses.ledger import Event
from defenses.records import Records
from defenses.session import Aggregate
from defenses.upload import Float32Array, Layout, Upload, UploadKind


@dataclass(frozen=True, slots=True)
class Plain:
    """Sent as it is; rows are averaged."""

    kind: UploadKind

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
        """The upload, or the mean of the rows."""
        return contributed.mean() if isinstance(contributed, Records) else contributed

    def take(
        self, aggregate: Aggregate, layout: Layout, centre: Float32Array | None, roster: int, entropy: Entropy
    ) -> Aggregate:
        """The same."""
        return aggregate

    def events(
        self, released: str, number: int, contributors: tuple[int, ...], sent: tuple[int, ...], roster: int
    ) -> list[Event]:
        """One release that nothing protects, if there was a sum."""
        return [Event(released, number, contributors, self.kind)] if contributors else []
