"""Encrypted rounds: the exact sum of those who sent, or a refusal; never one client's upload, never a crash."""

import dataclasses
import itertools

import numpy as np
import pytest
from homomorphic import (
    FOREIGN,
    FRAMES,
    KEY_HOLDER,
    NAMES,
    ROSTER,
    ROUND,
    SPECS,
    exact,
    finish,
    request_of,
    same,
    simulation,
    upload,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import (
    BfvSpec,
    CkksSpec,
    FrameError,
    InsecureSeeded,
    Layout,
    ProtocolError,
    RoundInfo,
    SecureEntropy,
)

every_spec = pytest.mark.parametrize("spec", SPECS, ids=NAMES)


@pytest.mark.parametrize("encryption", ["public", "symmetric"])
@pytest.mark.parametrize("kind", [BfvSpec, CkksSpec])
@pytest.mark.parametrize("clients", [ROSTER, (2, 5, 8), (3, 5, 8)])
def test_the_mean_is_that_of_whole_numbers_added_in_the_clear(kind, encryption, clients):
    spec = kind(encryption=encryption)
    defense = simulation(spec)
    server, request = request_of(defense, clients)
    aggregate = finish(defense, server, request)
    assert aggregate.contributors == clients
    assert same(aggregate, *exact(spec, clients))
    assert same(server.aggregate(), *exact(spec, clients))
    truth = np.average([upload(c).arrays["a"] for c in clients], axis=0, weights=[10 + c for c in clients])
    assert np.abs(aggregate.means["a"] - truth).max() < len(clients) * 64 / 32767 / (40 + sum(clients))


@every_spec
def test_order_makes_no_difference_and_sums_repeat_though_ciphertexts_do_not(spec):
    seen = set()
    for order in itertools.islice(itertools.permutations(ROSTER), 0, 24, 6):
        defense = simulation(spec)
        server, request = request_of(defense, order)
        assert same(finish(defense, server, request), *exact(spec, ROSTER))
        seen.add(request)
    assert len(seen) == 4


def test_more_numbers_than_slots():
    layout = Layout.of({"w": (3, 2000)})
    info = RoundInfo(0, "weights", (0, 1, 2), layout)
    for spec in SPECS:
        defense = simulation(spec)
        server, request = request_of(defense, (0, 1, 2), info)
        assert same(finish(defense, server, request, info), *exact(spec, (0, 1, 2), info))


def test_ckks_error_of_64_clients_is_within_a_ten_millionth_of_the_clip():
    """At 24 bits and weight 1; the bound holds but with chance 2e-35 a number, by Hoeffding's inequality."""
    spec = CkksSpec(grid={"bits": 24, "max_weight": 2, "clip": {"vector": 4}})
    info = RoundInfo(0, "vector", tuple(range(64)), Layout.of({"v": (2000,)}))
    defense = simulation(spec)
    server, truth = defense.server(info), np.zeros(2000)
    for client in info.roster:
        mine = upload(client, info, weight=1.0)
        assert np.abs(mine.arrays["v"]).max() < 6
        truth += np.clip(mine.arrays["v"].astype(np.float64), -4, 4) / 64
        (frame,) = defense.client(client, info, InsecureSeeded(1, str(client))).protect(mine)
        out = server.receive(client, frame)
    aggregate = finish(defense, server, out[KEY_HOLDER][0], info)
    float32 = np.spacing(np.float32(4))
    assert np.abs(aggregate.means["v"] - truth).max() < 1e-7 * 4 + float32 / 2


@every_spec
def test_numbers_at_the_clip_with_the_largest_weights_do_not_wrap(spec):
    info = dataclasses.replace(ROUND, roster=tuple(range(8)))
    defense = simulation(spec)
    server = defense.server(info)
    ends = {"a": np.array([[64, -64, 1e30], [-1e30, 64, 0]], dtype=np.float32), "b": np.float32(-64)}
    for client in info.roster:
        session = defense.client(client, info, SecureEntropy())
        (frame,) = session.protect(upload(client, arrays=ends, weight=256.0))
        assert session.clipped == 2
        out = server.receive(client, frame)
    aggregate = finish(defense, server, out[KEY_HOLDER][0], info)
    assert aggregate.total_weight == 8 * 256
    assert aggregate.means["a"].tolist() == [[64, -64, 64], [-64, 64, 0]]


@every_spec
@given(data=st.data())
@settings(max_examples=40)
def test_the_exact_sum_or_a_refusal(spec, data):
    defense, server, sent = simulation(spec), None, set()
    server = defense.server(ROUND)
    holder = defense.helpers(ROUND)[KEY_HOLDER]
    frames, foreign = FRAMES[spec.kind], FOREIGN[spec.kind]
    lost, out, answered = set(), {}, False
    for _ in range(data.draw(st.integers(0, 14))):
        what = data.draw(
            st.sampled_from(
                ["send", "send", "send", "send", "lose", "damage", "foreign", "as another", "save", "ask"]
            )
        )
        client = data.draw(st.sampled_from(ROSTER))
        before = server.save()
        try:
            match what:
                case "send":
                    out = server.receive(client, frames[client]) or out
                    sent.add(client)
                case "lose":
                    out = server.lost([client]) or out
                    lost |= {client} - sent
                case "damage":
                    server.receive(client, damaged(frames[client], data))
                    raise AssertionError("a damaged frame was taken")
                case "foreign":
                    server.receive(client, data.draw(st.sampled_from(foreign)))
                    raise AssertionError("a foreign frame was taken")
                case "as another":
                    server.receive(
                        client, frames[data.draw(st.sampled_from([c for c in ROSTER if c != client]))]
                    )
                    raise AssertionError("another client's frame was taken")
                case "save":
                    server = defense.load_server(server.save())
                case "ask":
                    for request in out.get(KEY_HOLDER, []):
                        (opening,) = holder.receive(request)
                        answered = True
                        server.receive(KEY_HOLDER, opening)
        except (ProtocolError, FrameError):
            assert server.save() == before
    try:
        aggregate = server.aggregate()
    except ProtocolError:
        assert not answered
        return
    assert answered and len(sent) >= 3 and sent | lost == set(ROSTER)
    assert aggregate.contributors == tuple(sorted(sent))
    assert same(aggregate, *exact(spec, sorted(sent)))


def damaged(frame, data):
    frame = bytearray(frame)
    if data.draw(st.booleans()):
        return bytes(frame[: data.draw(st.integers(0, len(frame) - 1))])
    at = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[at // 8] ^= 1 << at % 8
    return bytes(frame)
