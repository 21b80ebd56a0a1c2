"""Sums less what colluding clients say that they have added to them.

The invariant: a sum's error stays what it was, since what is taken off was rounded and noised with all the rest; but
for the share of the noise that a client tells with its upload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from attacks._base.targets import OwnUpload
from attacks._differences.sums import Sum


def others_in(sums: Sequence[Sum], told: Mapping[int, OwnUpload]) -> list[Sum]:
    """Each sum over those alone who have not told what they added; sums of nobody else are left out.

    Args:
        sums: of one recording.
        told: uploads of colluding clients, by number.
    """
    found = []
    for one in sums:
        gone = tuple(client for client in one.clients if client in told)
        left = tuple(client for client in one.clients if client not in told)
        if not left:
            continue
        total, weight = one.total, one.weight
        for client in gone:
            total = total - told[client].total
            weight -= told[client].weight
        # Clients add equal shares.
        noised = one.noised * (sum(not told[client].noise for client in gone) + len(left)) / len(one.clients)
        found.append(
            replace(
                one,
                clients=left,
                total=total,
                weight=weight,
                variance=one.variance - one.noised + noised,
                noised=noised,
                colluding=gone,
            )
        )
    return found
