"""Is every release that the recording shows in the ledger? What is not there was not accounted for.

The invariant: the ledger may hold more than the recording shows, such as rounds that gave no sum or were played again
after an interruption, and never less.
"""

from __future__ import annotations

from collections import Counter

from defenses.errors import FrameError
from defenses.frame import peek
from defenses.ledger import NO_MECHANISM, Ledger
from defenses.session import RoundInfo
from defenses.view import Direction, ServerView


def left_out(view: ServerView, ledger: Ledger) -> dict[int, str]:
    """Rounds of a private run that were released and are not in its ledger, each with a half-sentence that names it.

    Whoever has sent anything in a round is charged for it, once for each sum that came of it and once where none did.
    A round in which nobody has sent anything has released nothing.

    Args:
        view: the recording of a run in which uploads of every kind are noised.
        ledger: of the same run.
    """
    sent: dict[int, set[int]] = {}
    sums: Counter[tuple[int, int]] = Counter()
    for record in view.frames():
        if record.direction is Direction.UP:
            sent.setdefault(record.round, set()).add(record.sender)
        if record.direction is Direction.COMPUTED:
            try:
                sums[record.round, peek(record.frame).layout_digest] += 1
            except FrameError:
                continue
    charged = Counter(
        (event.round, event.kind, client)
        for event in ledger.events
        if event.mechanism != NO_MECHANISM
        for client in event.by
    )
    found = {}
    for entry in view.facts.rounds:
        # Holders of keys send, too, and have no data.
        clients = sorted(sent.get(entry.number, set()) & set(entry.roster))
        # What the server makes of a sum is computed as well, in the method's own arrays.
        times = max(1, sums[entry.number, entry.layout.digest])
        counts = {client: charged[entry.number, entry.kind, client] for client in clients}
        short = {client: count for client, count in counts.items() if count < times}
        if short:
            found[entry.number] = _said(entry, times, len(clients), short)
    return found


def _said(entry: RoundInfo, times: int, clients: int, short: dict[int, int]) -> str:
    name = f"round {entry.number} ({entry.kind})"
    if len(short) == clients and not any(short.values()):
        many = f"{clients} client{'s' * (clients > 1)}"
        return f"{name} is in the recording, with what {many} sent, and not in the ledger"
    client, count = next(iter(short.items()))
    return (
        f"{name} is in the recording as released {times} time{'s' * (times > 1)}, and the ledger charges client "
        f"{client} {count} time{'s' * (count != 1)}"
    )
