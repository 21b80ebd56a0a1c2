"""Whose uploads are in the sums of a recording, which its frames do not say.

The invariant: it is read off the public facts alone, which list the sums in the order of their frames.
"""

from __future__ import annotations

from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import SumFacts


class SumsInOrder:
    """What a recording says of whose uploads are in each computed frame, asked for in the order of the frames."""

    def __init__(self, view: ServerView) -> None:
        self._left: dict[tuple[int, UploadKind], list[SumFacts]] = {}
        for entry in view.facts.sums:
            self._left.setdefault((entry.round, entry.kind), []).append(entry)

    def next(self, number: int, kind: UploadKind) -> SumFacts | None:
        """Of the frame of this kind that comes next in the round; None where nothing is said of it."""
        left = self._left.get((number, kind))
        return left.pop(0) if left else None
