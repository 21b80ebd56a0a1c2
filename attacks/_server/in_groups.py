"""A client that cheats under `defense.groups`: how far it moves what the server goes on with.

The grid takes numbers as far as its clip, so a thousandfold upload is what a cheat can do at most within it.
"""

from __future__ import annotations

import numpy as np

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, Verdict
from attacks._server.cheats import MagnifyingClient
from attacks._server.inputs import LIAR
from attacks._server.world import World, drive
from defenses.secagg.masked.groups import partition

GROUPS = 3


def false_numbers(build: Build) -> Found:
    """One client of twelve sends its upload a thousand times as large, in one of three groups."""
    world = World(12, build=build, collusion=0.1 * GROUPS)
    groups = partition(world.directory.session, world.info, GROUPS, world.policy.minimum)
    servers = [build.server(group, world.policy, world.directory) for group in groups]
    server, clients = build.grouped(world.info, servers), {}
    for group in groups:
        for client in group.roster:
            clients[client] = world.client(client, group)
    cheat = next(group for group in groups if LIAR in group.roster)
    world.forget(LIAR)
    liar = MagnifyingClient(world.members[LIAR], cheat, world.policy, world.entropy)
    liar.protect(world.upload(LIAR))
    drive(server, {**clients, LIAR: liar})
    honest = []
    for group in groups:
        uploads = [world.upload(client) for client in group.roster]
        if group is not cheat:
            weights = [upload.weight for upload in uploads]
            honest.append(np.average([upload.arrays["v"] for upload in uploads], axis=0, weights=weights))
    found, room = server.aggregate().means["v"], world.terms().grid.step
    within = (found >= np.min(honest, axis=0) - room) & (found <= np.max(honest, axis=0) + room)
    if within.all():
        return Found(
            Verdict.HARMLESS, "each number of the result lies between what groups without the cheat say"
        )
    return Found(
        Verdict.SPOILED, f"{np.count_nonzero(~within)} of {len(found)} numbers are where the cheat wants them"
    )


CASES = (
    Case(
        "false numbers, in groups",
        Lane.MASKED,
        "nothing: one client of twelve, in three groups, sends its upload a thousand times as large",
        false_numbers,
        (weak.MEAN_OF_GROUPS,),
    ),
)
