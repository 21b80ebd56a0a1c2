"""One kind of upload in several layouts, each bounded in its own way.

Invariant: a layout that nothing was said about is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from defenses.dp.release import Release
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
