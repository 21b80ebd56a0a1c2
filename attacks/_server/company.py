"""A server that chooses the victim's company: made-up peers, keys of its own, a roster of one, its own policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from attacks._server import weakened as weak
from attacks._server.build import Build
from attacks._server.case import Case, Found, Lane, learned
from attacks._server.lists import NOTHING, WHOLE, compared
from attacks._server.unmasking import open_alone, put_together
from attacks._server.world import VICTIM, World, drive, masked_input, opened
from defenses.secagg.masked import channel, derived
from defenses.secagg.masked.directory import Diary, Directory, Member
from defenses.secagg.masked.keys import AgreementKey, IdentityKey
from defenses.secagg.masked.messages import SEALED_BYTES, Inbox, Roster, Signatures, Survivors
from defenses.secagg.masked.ratchet import Ratchet
from defenses.secagg.masked.shamir import SHARE_BYTES
from defenses.session import RoundInfo

SYBILS = (77, 78, 79)


def impersonate(build: Build) -> Found:
    """The server sits between the victim and all others: keys of its own in their names, and it answers for them."""
    world = World(4, build=build)
    session: Any = world.client(VICTIM)
    others = world.everybody[1:]
    fakes = {p: (AgreementKey.fresh(world.entropy), AgreementKey.fresh(world.entropy)) for p in others}
    mine, terms = IdentityKey.fresh(world.entropy), world.terms()
    adverts = tuple(
        c.public + m.public + derived.sign_advert(terms, mine, world.numbers[p], c.public, m.public)
        for p, (c, m) in fakes.items()
    )
    deals = world.read(session.receive(world.down(Roster(world.everybody, adverts)))[0]).deals
    session.receive(world.down(Inbox(world.everybody, tuple(bytes(len(deal)) for deal in deals))))
    session.receive(world.down(Survivors(world.everybody)))
    signatures = tuple(bytes(64) for _ in others)
    answer = session.receive(world.down(Signatures(world.everybody, signatures)))[0]
    victims = world.read(session.resend()[0])
    shares, pairs = opened(world, {VICTIM: answer}, 0), {}
    for place, deal in zip(others, deals, strict=True):
        number = world.numbers[place]
        plain = channel.unseal(
            fakes[place][0], victims.channel_key, terms.binding, VICTIM, number, deal[:SEALED_BYTES]
        )
        shares[place] = plain[:SHARE_BYTES]
        pairs[place] = derived.pair_mask_key(terms, VICTIM, number, fakes[place][1], victims.mask_key)
    seed = put_together(terms, 0, shares)
    return compared(world, open_alone(terms, 0, masked_input(world, session), seed, pairs))


def _enlarged(world: World) -> tuple[bytes, bytes, dict[int, IdentityKey], dict[int, AgreementKey]]:
    """A directory's file with the server's own clients in it: added to the real one, and under the server's own name.

    Returns:
        Both files, and the sybils' keys.
    """
    identities = {c: IdentityKey.fresh(world.entropy) for c in SYBILS}
    agreements = {c: AgreementKey.fresh(world.entropy) for c in SYBILS}
    real = world.directory
    keys = {VICTIM: real.keys[VICTIM], **{c: key.public for c, key in identities.items()}}
    agreed = {VICTIM: real.agreements[VICTIM], **{c: key.public for c, key in agreements.items()}}
    added = weak.UNSIGNED_DIRECTORY.directory(real.nonce, keys, agreed, real.signature, real.authority)
    forged = Directory.sign(keys, agreed, servers_authority(), world.entropy)
    return added.save(), forged.save(), identities, agreements


def servers_authority() -> IdentityKey:
    """A key by which the server would like its own directory to be believed."""
    return IdentityKey.of(bytes(range(32)))


def _alone_among_sybils(
    build: Build, world: World, directory: Directory, sybils: dict[int, IdentityKey]
) -> Found:
    """A whole round of the victim with clients that the server plays; it takes their inputs out of the sum."""
    public = {c: bytes(key) for c, key in directory.agreements.items()}
    members = {
        c: Member(
            c,
            key,
            directory,
            Diary(),
            Ratchet.begin(directory.session, c, AgreementKey.fresh(world.entropy), public),
        )
        for c, key in sybils.items()
    }
    members[VICTIM] = replace(world.members[VICTIM], directory=directory, diary=build.diary())
    among = World(build=build, members=dict(sorted(members.items())))
    server, clients = among.server(), among.clients()
    drive(server, clients)
    return compared(among, among.terms().grid.ring.wrap(server.sum() - among.exact(SYBILS)))


def sybils_in_the_directory(build: Build) -> Found:
    """The server adds clients of its own to the directory that it passes on."""
    world = World(4, build=build)
    added, _, identities, _ = _enlarged(world)
    directory = build.directory.load(added, world.directory.authority)
    return _alone_among_sybils(build, world, directory, identities)


def own_directory(build: Build) -> Found:
    """The server hands out a directory that an authority of its own has signed."""
    world = World(4, build=build)
    _, forged, identities, _ = _enlarged(world)
    authority = world.directory.authority if build.pinned else servers_authority().public
    directory = build.directory.load(forged, authority)
    return _alone_among_sybils(build, world, directory, identities)


def sybils_in_the_roster(build: Build) -> Found:
    """The server asks the victim together with clients that no directory knows."""
    world = World(4, build=build)
    _, forged, identities, _ = _enlarged(world)
    if not build.pinned:
        directory = build.directory.load(forged, servers_authority().public)
        return _alone_among_sybils(build, world, directory, identities)
    world.client(VICTIM, RoundInfo(1, world.info.kind, (VICTIM, *SYBILS), world.layout, world.info.context))
    return learned(True, "an upload among clients that the server has made up", NOTHING)


def roster_of_one(build: Build) -> Found:
    """A round with the victim alone, at a threshold of one."""
    world = World(4, build=build)
    world.info = RoundInfo(1, world.info.kind, (VICTIM,), world.layout, world.info.context)
    session: Any = world.client(VICTIM)
    server = world.server()
    drive(server, {VICTIM: session})
    return compared(world, server.sum())


def own_parameters(build: Build) -> Found:
    """The server runs a policy of its own: one share puts a secret together, and one client is a sum.

    No message carries a parameter, so all that it can do is to speak in the binding of another policy.
    """
    world = World(4, build=build)
    ours = World(4, build=weak.NO_FLOOR, members=world.members)
    session: Any = world.client(VICTIM)
    for message in (Roster((0,), ()), Inbox((0,), ()), Survivors((0,)), Signatures((0,), ())):
        answer = session.receive(ours.down(message))[0]
    terms = ours.terms()
    seed = put_together(terms, 0, opened(world, {VICTIM: answer}, 0))
    return compared(world, open_alone(terms, 0, masked_input(world, session), seed, {}))


def _enrolled_sybils(build: Build) -> Found:
    """The authority has enrolled clients that are the server's, enough of them to fill a sum but for one place."""
    world = World(4, build=build)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    own = world.exact([c for c in world.numbers if c != VICTIM])
    left = world.terms().grid.ring.wrap(server.sum() - own)
    return learned(np.array_equal(left, world.inputs[VICTIM]), WHOLE, NOTHING)


CASES = (
    Case(
        "key substitution",
        Lane.MASKED,
        "sits between the victim and all others, with keys of its own under their names",
        impersonate,
        (weak.NO_KEY_SIGNATURES,),
    ),
    Case(
        "sybils in the roster",
        Lane.MASKED,
        "asks the victim together with clients that are in nobody's directory",
        sybils_in_the_roster,
        (weak.NOT_PINNED,),
    ),
    Case(
        "sybils in the directory",
        Lane.MASKED,
        "adds clients of its own to the directory that it passes on",
        sybils_in_the_directory,
        (weak.UNSIGNED_DIRECTORY,),
    ),
    Case(
        "a directory of the server's own",
        Lane.MASKED,
        "hands out a directory that an authority of its own has signed",
        own_directory,
        (weak.NOT_PINNED,),
    ),
    Case(
        "server-chosen parameters",
        Lane.MASKED,
        "runs a policy of its own, in which one share is enough and one client is a sum",
        own_parameters,
        (weak.NO_FLOOR,),
    ),
    Case(
        "a roster of one",
        Lane.MASKED,
        "asks the victim alone",
        roster_of_one,
        (weak.NO_FLOOR,),
    ),
    Case(
        "sybils under one directory",
        Lane.MASKED,
        "plays all clients of a sum but one, which the authority has enrolled for it",
        _enrolled_sybils,
        limits=(
            "the authority that signs the directory, and a min_clients at least two above the clients that may be the "
            "server's; a sum never hides anybody from all the others in it"
        ),
    ),
)
