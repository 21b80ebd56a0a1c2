"""One kind of upload in several layouts, each bounded in its own way.

Invariant: a layout that nothing was said about is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defenses.dp.release import Bounded, Release
from defenses.errors import UserError
from defenses.upload import Layout


@dataclass(frozen=True, slots=True)
class ByLayout:
    """One kind of upload that comes in several layouts, each with its own clip and noise.

    Attributes:
        releases: the way of each layout.
    """

    releases: Mapping[Layout, Release]

    def only(self, layout: Layout) -> Release:
        """The way of one layout."""
        if layout not in self.releases:
            raise UserError(
                f"nothing says how an upload of the arrays {layout.to_dict()} is bounded",
                "give a `Bounded` release for each layout",
            )
        return self.releases[layout]


def ring_of(releases: Release | ByLayout | None, sent: Layout, roster: int) -> int | None:
    """Bits of a round's ring, where it was chosen for a chance of a wrap; None where it has to hold every sum.

    Args:
        releases: what becomes of the round's kind of upload.
        sent: the layout in which uploads travel. Several releases may share one, and no frame says which it is of: the
            widest of their rings serves all.
        roster: how many clients the round asks.
    """
    if isinstance(releases, ByLayout):
        those = [each for layout, each in releases.releases.items() if each.travels(layout) == sent]
    else:
        those = [] if releases is None else [releases]
    rings = [each.ring(roster) for each in those if isinstance(each, Bounded)]
    return max((bits for bits in rings if bits is not None), default=None)
