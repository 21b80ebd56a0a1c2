"""Masked sums in groups: who is with whom, exact group sums, and a result that one cheating client does not decide."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from defenses import (
    Defense,
    FrameError,
    InsecureSeeded,
    Layout,
    Ledger,
    ProtocolError,
    RoundInfo,
    Upload,
)
from defenses.secagg.grouped import GroupedServer, medians
from defenses.secagg.masked.graph import choose
from defenses.secagg.masked.groups import group_of, partition
from defenses.specs import MaskedSpec

LAYOUT = Layout.of({"a": (3, 2), "b": ()})
ROSTER = tuple(range(20, 32))
SPEC = MaskedSpec(groups=3, collusion=0.1, min_clients=3)
FINE = {"bits": 24, "max_weight": 8, "clip": {"coefficients": 64.0}}


def info(number=1, roster=ROSTER, kind="coefficients"):
    return RoundInfo(number, kind, roster, LAYOUT, "ab" * 32)


def upload(client, number=1, factor=1.0):
    rng = np.random.default_rng(client)
    arrays = {"a": factor * (1 + 0.1 * rng.standard_normal((3, 2))), "b": factor * 0.5}
    return Upload(arrays, 1 + client % 3, number, "coefficients")


def defense(**changes):
    spec = MaskedSpec.model_validate({**SPEC.model_dump(mode="json"), "grid": FINE, **changes})
    return Defense.from_spec(spec).enrolled(ROSTER, InsecureSeeded(3))


def play(defense, round_info, uploads, gone=(), server=None):
    """A whole round; ``gone`` are lost before their input."""
    server = server or defense.server(round_info)
    sessions, inbox = {}, {}
    for client in round_info.roster:
        sessions[client] = defense.client(client, round_info, InsecureSeeded(1, str(client)))
        for frame in sessions[client].protect(uploads[client]):
            inbox.update(server.receive(client, frame))
    while inbox or server.waiting_for:
        if not inbox:
            inbox = server.lost(server.waiting_for)
            continue
        arrived, inbox = inbox, {}
        for client, frames in arrived.items():
            for frame in frames:
                for answer in [] if client in gone else sessions[client].receive(frame):
                    inbox.update(server.receive(client, answer))
    return server


def test_groups_partition_the_roster_and_differ_by_one_at_most():
    for n in range(9, 30):
        whole = info(roster=tuple(range(n)))
        found = partition(b"s" * 32, whole, 3, 3)
        assert sorted(client for group in found for client in group.roster) == list(range(n))
        sizes = [len(group.roster) for group in found]
        assert max(sizes) - min(sizes) <= 1
        for client in range(n):
            assert group_of(client, b"s" * 32, whole, 3, 3) in found
    assert group_of(99, b"s" * 32, info(), 3, 3) == info() and partition(b"", info(), 1, 99) == (info(),)


def test_the_order_is_the_directorys_and_not_the_servers():
    """The same in every round, and whoever is left out changes nobody's place before another."""
    one = partition(b"s" * 32, info(1), 3, 3)
    assert [g.roster for g in one] == [g.roster for g in partition(b"s" * 32, info(7, kind="scores"), 3, 3)]
    assert [g.roster for g in one] != [g.roster for g in partition(b"t" * 32, info(1), 3, 3)]
    firsts = [partition(bytes([i]) * 32, info(), 3, 3)[0].roster for i in range(200)]
    counts = np.array([sum(client in roster for roster in firsts) for client in ROSTER])
    # Each client is in the first group in a third of the directories: 5 standard deviations, 7e-6 for all twelve.
    assert (np.abs(counts - 200 / 3) < 5 * np.sqrt(200 * 2 / 9)).all()


def test_a_group_that_would_be_too_small_is_refused():
    small = info(roster=ROSTER[:8])
    for ask in (lambda d: d.server(small), lambda d: d.client(20, small, InsecureSeeded(1))):
        with pytest.raises(
            ProtocolError, match=r"8 clients, so defense.groups 3 leaves 2 in a group, fewer than"
        ):
            ask(defense())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": 2}, "of two groups neither outvotes the other"),
        ({"groups": 3, "collusion": 0.2}, "groups 3 times collusion 0.2 is 0.6, and all who collude"),
        ({"groups": 0}, "greater than or equal to 1"),
    ],
)
def test_specs_that_cannot_hold_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        MaskedSpec(**changes)


@pytest.mark.parametrize("ratchet", [False, True])
def test_the_result_is_the_median_of_exact_group_means(ratchet):
    d = defense(ratchet=ratchet)
    uploads = {client: upload(client) for client in ROSTER}
    server = play(d, info(), uploads)
    aggregate = server.aggregate()
    assert isinstance(server, GroupedServer) and len(aggregate.released) == 3
    assert aggregate.contributors == ROSTER and not aggregate.lacking
    expected = []
    for part, group in zip(
        aggregate.parts, partition(d.enrolment.directory.session, info(), 3, 3), strict=True
    ):
        assert part.contributors == group.roster
        weights = [uploads[c].weight for c in group.roster]
        expected.append(np.average([uploads[c].arrays["a"] for c in group.roster], axis=0, weights=weights))
        np.testing.assert_allclose(part.means["a"], expected[-1], atol=1e-5)
    np.testing.assert_allclose(aggregate.means["a"], np.median(expected, axis=0), atol=1e-5)
    assert aggregate.total_weight == sum(u.weight for u in uploads.values())
    assert len(defense(groups=1).server(info()).terms.round.roster) == 12


@pytest.mark.parametrize("cheat", ROSTER)
def test_one_cheating_client_decides_nothing(cheat):
    """With groups each number of the result stays among the honest groups' means; without, it goes anywhere."""
    uploads = {client: upload(client, factor=-1000.0 if client == cheat else 1.0) for client in ROSTER}
    kept = play(defense(), info(), uploads).aggregate().means["a"]
    lost = play(defense(groups=1), info(), uploads).aggregate().means["a"]
    assert np.abs(kept - 1).max() < 0.2
    assert np.abs(lost - 1).min() > 2


def test_a_group_without_a_sum_is_left_out_and_most_of_them_must_have_one():
    d = defense()
    groups = partition(d.enrolment.directory.session, info(), 3, 3)
    uploads = {client: upload(client) for client in ROSTER}
    aggregate = play(d, info(), uploads, gone=groups[0].roster[:2]).aggregate()
    assert aggregate.contributors == tuple(sorted((*groups[1].roster, *groups[2].roster)))
    assert len(aggregate.parts) == 2 and "2 clients are left of 4" in aggregate.lacking[0]
    d = defense()
    server = play(d, info(), uploads, gone=(*groups[0].roster[:2], *groups[2].roster[:2]))
    with pytest.raises(ProtocolError, match=r"refuses to aggregate: the group of clients .* has no sum"):
        server.aggregate()


def test_frames_of_another_group_and_of_strangers_are_refused():
    d = defense()
    one, other = partition(d.enrolment.directory.session, info(), 3, 3)[:2]
    server = d.server(info())
    (frame,) = d.client(one.roster[0], info(), InsecureSeeded(1)).protect(upload(one.roster[0]))
    before = server.save()
    with pytest.raises(ProtocolError, match="names"):
        server.receive(other.roster[0], frame)
    with pytest.raises(ProtocolError, match="the sender is in no group"):
        server.receive(99, frame)
    with pytest.raises(ProtocolError, match=r"\[99\] are in no group"):
        server.lost([99])
    with pytest.raises(ProtocolError, match="have neither sent nor been declared lost"):
        server.aggregate()
    assert server.save() == before and server.waiting_for == ROSTER
    # Another number of groups is another roster, so its frames fit nowhere.
    five = defense(groups=4, collusion=0.1)
    with pytest.raises(ProtocolError, match="another round, roster"):
        server.receive(
            one.roster[0],
            five.client(one.roster[0], info(), InsecureSeeded(1)).protect(upload(one.roster[0]))[0],
        )


@pytest.mark.parametrize("ratchet", [False, True])
def test_server_and_clients_come_back_after_a_crash(ratchet):
    d = defense(ratchet=ratchet)
    uploads = {client: upload(client) for client in ROSTER}
    server, inbox, sessions = d.server(info()), {}, {}
    for client in ROSTER:
        session = d.client(client, info(), InsecureSeeded(1, str(client)))
        session.protect(uploads[client])
        sessions[client] = d.load_client(session.save())
        inbox.update(server.receive(client, sessions[client].resend()[0]))
        server = d.load_server(server.save())
    while inbox:
        arrived, inbox = inbox, {}
        for client, frames in arrived.items():
            sessions[client] = d.load_client(sessions[client].save())
            (answer,) = sessions[client].receive(frames[0])
            inbox.update(server.receive(client, answer))
            server = d.load_server(server.save())
    fresh = play(defense(ratchet=ratchet), info(), uploads).aggregate()
    assert np.array_equal(server.aggregate().means["a"], fresh.means["a"])
    with pytest.raises(FrameError, match="damaged"):
        d.load_server(server.save()[:-1] + b"x")


def test_every_group_bears_all_who_collude():
    """With 12 clients in 3 groups and a tenth colluding, one of 4 may: the threshold of a group is that of 1 in 4."""
    d = defense()
    for server in d.server(info()).servers:
        n = len(server.terms.round.roster)
        assert server.terms.graph.shape == choose(n, 0.1 * 3, 0.1)
        assert server.terms.graph.shape.threshold == (n + 1) // 2 + 1
        assert server.terms.colluders >= int(0.1 * len(ROSTER))


def test_the_statement_says_how_many_sums_are_seen():
    text = defense().statement(Ledger()).text()
    assert "the server reads one sum a group, so 3 sums of fewer clients each in place of one" in text
    assert "once they are in half of the 3 groups or more" in text and "in the group up to 99" in text
    alone = defense(groups=1).statement(Ledger()).text()
    assert "group" not in alone


def test_medians_are_of_each_number():
    means = [{"x": np.float32([1, 9, 3])}, {"x": np.float32([2, 8, -7])}, {"x": np.float32([99, 0, 4])}]
    assert medians(means)["x"].tolist() == [2, 8, 3] and medians(means)["x"].dtype == np.float32
    assert medians(means[:2])["x"].tolist() == [1.5, 8.5, -2]


def test_the_spec_travels():
    assert json.loads(SPEC.model_dump_json())["groups"] == 3
