"""What a recording lacks: a crash cuts its end off, and whoever reads what is left has to know.

Invariant: what is said here follows from the two files of the recording alone; a client that failed and an upload that
was cut off look alike, and are not told apart.
"""

from __future__ import annotations

from collections import Counter

from defenses.view import Direction, ServerView
from defenses.view_facts import Computes

_SHOWN = 3


def lacks(view: ServerView) -> str:
    """What is missing from a recording, as half a sentence; empty for nothing.

    Compared are the clients that a round asked with those that sent something in it, where the server reads single
    uploads, and the sums that are told of with those that are there.
    """
    sent: dict[int, set[int]] = {}
    computed: Counter[int] = Counter()
    for record in view.frames():
        if record.direction is Direction.UP:
            sent.setdefault(record.round, set()).add(record.sender)
        computed[record.round] += record.direction is Direction.COMPUTED
    told = Counter(entry.round for entry in view.facts.sums)
    singles = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    found: list[str] = []
    for entry in view.facts.rounds:
        name = f"of round {entry.number} ({entry.kind})"
        missing = len(set(entry.roster) - sent.get(entry.number, set()))
        if singles and missing:
            found.append(f"{missing} of {len(entry.roster)} uploads {name}")
        # Where single uploads are hidden every round is to give a sum.
        sums = max(told[entry.number], 0 if singles else 1)
        if computed[entry.number] < sums:
            found.append(f"{sums - computed[entry.number]} of {sums} sums {name}")
    listed = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    if view.is_torn:
        return "the recording ends early, within a record" + (f", and lacks {listed}" if listed else "")
    return f"the recording lacks {listed}: somebody failed, or it ends early" if listed else ""
