"""Homomorphic rounds in this process: keys made once, parties driven as a loop would drive them."""

import dataclasses
from functools import cache

import numpy as np

from defenses import BfvSpec, CkksSpec, Defense, InsecureSeeded, Layout, RoundInfo, SecureEntropy, Upload
from defenses.secagg.homomorphic.keys import KEY_HOLDER, HolderKeys
from defenses.secagg.homomorphic.parameters import Scheme
from defenses.secagg.homomorphic.parties import Parties

LAYOUT = Layout.of({"a": (2, 3), "b": ()})
ROSTER = (2, 3, 5, 8)
ROUND = RoundInfo(4, "vector", ROSTER, LAYOUT)
SPECS = [BfvSpec(), CkksSpec()]
NAMES = [spec.kind for spec in SPECS]


def keys(kind, encryption="public", which=0):
    """Keys that a whole test session shares; ``which`` tells sets apart."""
    return _keys(kind, encryption, which)


@cache
def _keys(kind, encryption, which):
    return HolderKeys.generate(Scheme(kind), SecureEntropy(), encryption=encryption)


def simulation(spec, which=0):
    """A defense that plays every party, with shared keys and a fresh list of answered rounds."""
    return Defense(spec, Parties(spec, keys(spec.kind, spec.encryption, which)))


def upload(client, round_info=ROUND, **changes):
    """A client's upload; every client has another."""
    rng = np.random.default_rng([client, round_info.number])
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in zip(round_info.layout.names, round_info.layout.shapes, strict=True)
    }
    fields = {"weight": float(10 + client), "round": round_info.number, "kind": round_info.kind}
    return Upload(**{"arrays": arrays, **fields, **changes})


def exact(spec, clients, round_info=ROUND, seed=0):
    """The means that quantised uploads have when whole numbers are added in the clear."""
    defense = simulation(spec)
    grid = defense.server(round_info).terms.grid
    sums = np.zeros(round_info.layout.size + 1, dtype=np.int64)
    for client in clients:
        mine = upload(client, round_info)
        flat = round_info.layout.flatten(mine.arrays)
        sums += grid.ring.centred(grid.quantise(flat, mine.weight, InsecureSeeded(seed, str(client))).slots)
    means, total = grid.dequantise(grid.ring.wrap(sums))
    return round_info.layout.unflatten(means), total


def frames_of(defense, clients, round_info=ROUND, seed=0):
    """Each client's frame."""
    made = {}
    for client in clients:
        session = defense.client(client, round_info, InsecureSeeded(seed, str(client)))
        (made[client],) = session.protect(upload(client, round_info))
    return made


def request_of(defense, clients, round_info=ROUND, frames=None):
    """The server, and the request that it sends once these clients have sent and the others are lost."""
    server = defense.server(round_info)
    out = {}
    for client, frame in (frames or frames_of(defense, clients, round_info)).items():
        out = server.receive(client, frame)
    lost = set(round_info.roster) - set(clients)
    if lost:
        out = server.lost(lost)
    (request,) = out[KEY_HOLDER]
    return server, request


def finish(defense, server, request, round_info=ROUND):
    """The aggregate, once the key holder has answered."""
    (opening,) = defense.helpers(round_info)[KEY_HOLDER].receive(request)
    assert server.receive(KEY_HOLDER, opening) == {}
    return server.aggregate()


def same(aggregate, means, total):
    """Whether an aggregate is exactly these means."""
    return aggregate.total_weight == total and all(
        np.array_equal(aggregate.means[name], means[name]) for name in means
    )


def other_frames(spec):
    """Frames of other rounds, kinds, layouts, keys and schemes, and of the two other types."""
    defense, frames = simulation(spec), []
    for changes in ({"number": 5}, {"kind": "scores"}, {"layout": Layout.of({"a": (7,)})}):
        info = dataclasses.replace(ROUND, **changes)
        frames += frames_of(defense, (2, 3, 5), info).values()
    frames += frames_of(simulation(spec, which=1), ROSTER).values()
    frames += frames_of(simulation(SPECS[1 - SPECS.index(spec)]), ROSTER).values()
    _, request = request_of(defense, ROSTER)
    return [*frames, request, *defense.helpers(ROUND)[KEY_HOLDER].receive(request)]


FRAMES = {spec.kind: frames_of(simulation(spec), ROSTER) for spec in SPECS}
FOREIGN = {spec.kind: other_frames(spec) for spec in SPECS}
