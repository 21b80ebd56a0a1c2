"""Which clients of a round sum among themselves, where one cheating client shall not move the sum of all.

The order in which clients are dealt out to groups is drawn from the key directory's nonce, so the server, which did not
draw it, cannot choose a client's company; and it is the same in every round, so that rounds with everybody present give
sums over the same clients, which show nothing when they are subtracted. Invariant: groups differ by one client at most,
and each is large enough for a sum of its own, or there is no round.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from defenses.errors import ProtocolError
from defenses.secagg.masked.keys import DOMAIN
from defenses.session import RoundInfo


def partition(session: bytes, round_info: RoundInfo, groups: int, minimum: int) -> tuple[RoundInfo, ...]:
    """The round of each group: as the whole round, but for the roster.

    Args:
        session: 32 bytes that name the key directory.
        round_info: the round, with everybody in its roster.
        groups: how many groups; 1 gives the round as it is.
        minimum: the fewest clients in a group.

    Raises:
        ProtocolError: a group would be too small.
    """
    if groups == 1:
        return (round_info,)
    smallest = len(round_info.roster) // groups
    if smallest < minimum:
        raise ProtocolError(
            f"the roster of round {round_info.number} has {len(round_info.roster)} clients, so defense.groups "
            f"{groups} leaves {smallest} in a group, fewer than defense.min_clients {minimum}",
            "ask more clients, or lower defense.groups",
        )
    order = sorted(round_info.roster, key=lambda client: _place(session, client))
    return tuple(replace(round_info, roster=tuple(order[group::groups])) for group in range(groups))


def group_of(client: int, session: bytes, round_info: RoundInfo, groups: int, minimum: int) -> RoundInfo:
    """The round of a client's own group; a client that is not in the roster gets the round as it is.

    Raises:
        ProtocolError: a group would be too small.
    """
    for mine in partition(session, round_info, groups, minimum):
        if client in mine.roster:
            return mine
    return round_info


def _place(session: bytes, client: int) -> bytes:
    return hashlib.sha256(DOMAIN + b"groups|" + session + client.to_bytes(4, "little")).digest()
