"""A saved session, key file or diary whose checksum is right and whose content is wrong is one typed error."""

import json
from functools import cache

import pytest

from defenses import Defense, FrameError, InsecureSeeded, Layout, RoundInfo, Upload
from defenses.clear import ClearClient, ClearServer
from defenses.errors import IfedprivError
from defenses.secagg.homomorphic.keys import ClientKeys, HolderKeys, ServerKeys
from defenses.secagg.masked.directory import Diary
from defenses.secagg.masked.ratchet import Ratchet
from defenses.session import pack_state, saved_role, unpack_state
from defenses.specs import ClearSpec, MaskedSpec

JUNK = [None, True, -1, 2**70, 1.5, "", "zz", [], [[]], [-1], ["x"], [[1, 2]], {}, {"v": [10**12]}]
LAYOUT = Layout.of({"v": (3,)})


def states(spec):
    """What both ends save in every phase of one round."""
    info = RoundInfo(1, "coefficients", (0, 1, 2, 3), LAYOUT)
    defense = Defense(spec).enrolled(info.roster, InsecureSeeded(1))
    clients = {c: defense.client(c, info, InsecureSeeded(2, str(c))) for c in info.roster}
    server = defense.server(info)
    upload = Upload({"v": [0.5, 0.25, 0.0]}, 1, 1, "coefficients")
    found = [(defense.load_client, clients[0].save()), (defense.load_server, server.save())]
    frames = {c: session.protect(upload) for c, session in clients.items()}
    while frames:
        found.append((defense.load_client, clients[0].save()))
        down = {}
        for c, sent in frames.items():
            for frame in sent:
                down.update(server.receive(c, frame))
            found.append((defense.load_server, server.save()))
        frames = {c: clients[c].receive(sent[0]) for c, sent in down.items()}
    return [*found, (defense.load_client, clients[0].save()), (defense.load_server, server.save())]


@cache
def masked():
    return states(MaskedSpec()) + states(MaskedSpec(ratchet=True)) + states(ClearSpec())


def keys():
    loaders = (ServerKeys, ClientKeys, HolderKeys)
    made = [
        pack_state({"role": kind._ROLE, "scheme": "bfv", "client": 1}, parts)
        for kind, parts in zip(
            loaders,
            ([bytes(8)], [bytes(8), bytes(32), bytes(32), b"k"], [bytes(8), bytes(32), b"k", b"k"]),
            strict=True,
        )
    ]
    return [(kind.load, data) for kind, data in zip(loaders, made, strict=True)]


def altered(data):
    """The same state with each fact in turn gone, and in turn replaced by each piece of junk."""
    facts, frames = unpack_state(data, saved_role(data))
    for name in facts:
        kept = {key: value for key, value in facts.items() if key != name}
        yield pack_state(kept, frames)
        for junk in JUNK:
            yield pack_state({**facts, name: junk}, frames)
    yield pack_state(facts, frames[:-1])
    yield pack_state(facts, [*frames, b"more"])
    yield pack_state(facts, [frame[:-1] for frame in frames])


def opens_or_is_refused(load, data):
    try:
        load(data)
    except IfedprivError:
        return True
    return False


def test_every_state_opens_as_it_was_saved():
    for load, data in [*masked(), *keys()]:
        load(data)


def test_a_state_with_wrong_facts_is_refused_and_never_crashes():
    refused = sum(
        opens_or_is_refused(load, bad) for load, data in [*masked(), *keys()] for bad in altered(data)
    )
    assert refused > 1000


@pytest.mark.parametrize(
    "text", [b"[]", b"1", b"{", b"\xff", b'{"role": 1}', b'{"frame_sizes": 3}', b"[" * 9999]
)
def test_a_state_whose_facts_are_no_facts_is_refused(text):
    import struct
    import zlib

    bad = struct.pack("<4sII", b"IFS1", zlib.crc32(text), len(text)) + text
    for load in (ClearClient.load, ClearServer.load, ServerKeys.load, saved_role):
        with pytest.raises(FrameError):
            load(bad) if load is not saved_role else unpack_state(bad, saved_role(bad))


@pytest.mark.parametrize("load", [Diary.load, Ratchet.load])
@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{}", '{"highest": "x", "given": []}', '{"highest": 1, "given": ["x"]}',
     '{"session": 1, "chains": {}, "position": 0}', '{"session": "00", "chains": {"a": "00"}, "position": 0}',
     json.dumps({"session": "00" * 32, "chains": {"1": "zz"}, "position": 0}),
     json.dumps({"session": "00" * 32, "chains": {"1": "00"}, "position": 0}),
     json.dumps({"session": "00" * 32, "chains": {}, "position": -5})],
)  # fmt: skip
def test_a_diary_or_chains_that_are_none_are_refused(load, text):
    with pytest.raises(FrameError):
        load(text)
