"""The clear sessions: the mean of what arrived, to the digit, or a ProtocolError; never anything else."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import (
    SERVER,
    BfvSpec,
    CkksSpec,
    ClearSpec,
    Defense,
    FrameError,
    InsecureSeeded,
    Layout,
    ProtocolError,
    RoundInfo,
    SecureEntropy,
    Upload,
    UploadKind,
    UserError,
    WireSpec,
    defense_spec,
    encode,
)
from defenses.frame import Precision, decode

LAYOUT = Layout.of({"v": (1, 2, 3)})
ROSTER = (2, 3, 5, 8)
ROUND = RoundInfo(4, UploadKind.VECTOR, ROSTER, LAYOUT)
FP32 = Defense.from_spec(ClearSpec(wire=WireSpec(vector="fp32", coefficients="fp32")))


def upload(client, **changes):
    rng = np.random.default_rng(client)
    fields = {"weight": 10.0 + client, "round": 4, "kind": UploadKind.VECTOR, **changes}
    return Upload({"v": rng.standard_normal((1, 2, 3)) * 10.0 ** (client % 4)}, **fields)


def frame_of(client, **changes):
    return encode(upload(client, **changes), client, Precision.FP32)


def exact_mean(clients):
    """The weighted mean by Python's correctly rounded sums."""
    arrays = [(upload(c).weight, upload(c).arrays["v"].astype(float).reshape(-1)) for c in clients]
    total = math.fsum(weight for weight, _ in arrays)
    return [math.fsum(weight * array[i] for weight, array in arrays) / total for i in range(LAYOUT.size)]


def served(clients, order=None):
    server = FP32.server(ROUND)
    for client in order or clients:
        assert server.receive(client, frame_of(client)) == {}
    server.lost(set(ROSTER) - set(clients))
    return server.aggregate()


def test_a_round_from_end_to_end():
    server = FP32.server(ROUND)
    for client in ROSTER:
        session = FP32.client(client, ROUND, SecureEntropy())
        for frame in session.protect(upload(client)):
            assert server.receive(client, frame) == {}
    result = server.aggregate()
    assert result.contributors == ROSTER
    assert result.total_weight == sum(10 + c for c in ROSTER)
    assert (result.kind, result.round) == (UploadKind.VECTOR, 4)
    mean = result.means["v"]
    assert mean.shape == (1, 2, 3) and mean.dtype == np.float32 and not mean.flags.writeable
    np.testing.assert_allclose(mean.reshape(-1), exact_mean(ROSTER), rtol=2**-23, atol=0)


def test_arrival_order_does_not_change_a_digit():
    first = served(ROSTER).means["v"].tobytes()
    for order in itertools.permutations(ROSTER):
        assert served(ROSTER, order).means["v"].tobytes() == first


def test_order_would_matter_without_the_sorting():
    """The data of the test above are such that plain float64 sums differ by order."""
    wide = dict.fromkeys(itertools.permutations((1e16, 1.0, -1e16, 3.0)), 0.0)
    assert len({sum(order) for order in wide}) > 1
    layout = Layout.of({"v": (1,)})
    numbers = dict(zip(ROSTER, (1e16, 1.0, -1e16, 3.0), strict=True))
    means = set()
    for order in itertools.permutations(ROSTER):
        server = FP32.server(RoundInfo(0, UploadKind.VECTOR, ROSTER, layout))
        for c in order:
            server.receive(
                c, encode(Upload({"v": np.array([numbers[c]])}, 1, 0, "vector"), c, Precision.FP32)
            )
        means.add(float(server.aggregate().means["v"][0]))
    assert len(means) == 1


def test_the_mean_of_the_largest_numbers_is_finite():
    top = float(np.finfo(np.float32).max)
    layout = Layout.of({"v": (1,)})
    server = FP32.server(RoundInfo(0, UploadKind.VECTOR, (1, 2), layout))
    for client in (1, 2):
        server.receive(
            client, encode(Upload({"v": np.array([top])}, top, 0, "vector"), client, Precision.FP32)
        )
    assert float(server.aggregate().means["v"][0]) == top


BAD_FRAMES = {
    "foreign sender": lambda: (9, encode(upload(9), 9, Precision.FP32)),
    "borrowed name": lambda: (2, encode(upload(3), 3, Precision.FP32)),
    "server as sender": lambda: (SERVER, encode(upload(2), SERVER, Precision.FP32)),
    "another round": lambda: (2, frame_of(2, round=5)),
    "another kind": lambda: (2, frame_of(2, kind=UploadKind.COEFFICIENTS)),
    "another precision": lambda: (2, encode(upload(2), 2, Precision.FP16)),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_foreign_frames_are_refused_by_name_and_change_nothing(name):
    server = FP32.server(ROUND)
    before = server.save()
    sender, frame = BAD_FRAMES[name]()
    with pytest.raises(
        ProtocolError, match=r"server in phase collecting refuses a frame of kind .* from .*: "
    ) as e:
        server.receive(sender, frame)
    assert ("the server" if sender == SERVER else f"client {sender}") in str(e.value)
    assert server.save() == before


def test_another_layout_and_damaged_bytes_are_frame_errors_and_change_nothing():
    server = FP32.server(ROUND)
    before = server.save()
    other = encode(Upload({"w": np.zeros(6)}, 1, 4, UploadKind.VECTOR), 2, Precision.FP32)
    for wire in (other, frame_of(2)[:-1], b"", frame_of(2) + b"x"):
        with pytest.raises(FrameError):
            server.receive(2, wire)
    assert server.save() == before


STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(ROSTER)),
    st.tuples(st.just("lose"), st.sampled_from((*ROSTER, 9))),
    st.tuples(st.just("bad"), st.sampled_from(sorted(BAD_FRAMES))),
    st.tuples(st.just("damage"), st.sampled_from(ROSTER)),
    st.tuples(st.just("aggregate"), st.none()),
    st.tuples(st.just("crash"), st.none()),
)


@given(st.lists(STEPS, max_size=14))
@settings(max_examples=200)
def test_whatever_arrives_the_mean_is_exact_or_there_is_an_error(steps):
    """A plain model of the server beside the real one, under reordered, repeated, foreign and lost frames."""
    server, arrived, lost, over = FP32.server(ROUND), [], set(), False
    for step, what in [*steps, ("aggregate", None)]:
        if step == "crash":
            server = FP32.load_server(server.save())
        elif step == "send" and not over and what not in arrived and what not in lost:
            server.receive(what, frame_of(what))
            arrived.append(what)
        elif step == "send":
            with pytest.raises(ProtocolError, match=f"client {what}"):
                server.receive(what, frame_of(what))
        elif step == "lose" and not over and what in ROSTER:
            server.lost([what])
            lost |= {what} - set(arrived)
        elif step == "lose":
            with pytest.raises(ProtocolError):
                server.lost([what])
        elif step == "bad":
            with pytest.raises(ProtocolError):
                server.receive(*BAD_FRAMES[what]())
        elif step == "damage":
            with pytest.raises(FrameError):
                server.receive(what, frame_of(what)[:-1])
        elif arrived and set(arrived) | lost == set(ROSTER):
            over = True
            result = server.aggregate()
            assert result.contributors == tuple(sorted(arrived))
            np.testing.assert_allclose(
                result.means["v"].reshape(-1), exact_mean(arrived), rtol=2**-23, atol=0
            )
            assert result.means["v"].tobytes() == served(sorted(arrived)).means["v"].tobytes()
        else:
            with pytest.raises(ProtocolError, match="refuses to aggregate"):
                server.aggregate()


def test_nobody_makes_no_aggregate():
    server = FP32.server(ROUND)
    server.lost(ROSTER)
    with pytest.raises(ProtocolError, match="no client of round 4 of kind vector has sent anything"):
        server.aggregate()


def test_a_client_that_sent_before_it_was_lost_still_counts():
    server = FP32.server(ROUND)
    server.receive(3, frame_of(3))
    server.lost(ROSTER)
    assert server.aggregate().contributors == (3,)


def test_a_client_protects_once_and_resends_the_very_same():
    client = FP32.client(3, ROUND, SecureEntropy())
    assert client.resend() == []
    frames = client.protect(upload(3))
    with pytest.raises(ProtocolError, match="client 3 in phase sent refuses an upload"):
        client.protect(upload(3))
    resumed = FP32.load_client(client.save())
    assert resumed.resend() == client.resend() == frames
    with pytest.raises(ProtocolError, match="client 3 in phase sent refuses an upload"):
        resumed.protect(upload(3))


def test_a_client_resumed_before_it_protected_may_protect():
    client = FP32.load_client(FP32.client(3, ROUND, SecureEntropy()).save())
    assert client.protect(upload(3)) == [frame_of(3)]


@pytest.mark.parametrize(
    "wrong",
    [
        upload(3, round=5),
        upload(3, kind=UploadKind.SCORES),
        Upload({"w": np.zeros((1, 2, 3))}, 1, 4, UploadKind.VECTOR),
    ],
)
def test_a_client_refuses_an_upload_of_another_round(wrong):
    client = FP32.client(3, ROUND, SecureEntropy())
    with pytest.raises(ProtocolError, match="client 3 in phase ready refuses an upload"):
        client.protect(wrong)
    assert client.protect(upload(3)) == [frame_of(3)]


def test_an_upload_that_the_precision_cannot_carry_leaves_the_client_ready():
    client = Defense.from_spec(ClearSpec()).client(3, ROUND, SecureEntropy())
    with pytest.raises(FrameError, match="fp16"):
        client.protect(Upload({"v": np.full((1, 2, 3), 1e6)}, 1, 4, UploadKind.VECTOR))
    assert client.resend() == []


def test_a_client_takes_no_frames_and_no_foreign_round():
    client = FP32.client(3, ROUND, SecureEntropy())
    with pytest.raises(ProtocolError, match=r"client 3 in phase ready refuses a frame .* from the server"):
        client.receive(FP32.broadcast(upload(2)))
    with pytest.raises(FrameError):
        client.receive(b"nonsense")
    with pytest.raises(ProtocolError, match="client 9 is not in the roster"):
        FP32.client(9, ROUND, SecureEntropy())


@given(st.binary(max_size=60))
def test_saved_sessions_refuse_any_other_bytes(data):
    server = FP32.server(ROUND)
    server.receive(2, frame_of(2))
    saved = server.save()
    with pytest.raises(FrameError):
        FP32.load_server(data)
    with pytest.raises(FrameError):
        FP32.load_client(saved)
    if data:
        with pytest.raises(FrameError):
            FP32.load_server(saved + data)


def test_every_cut_of_a_saved_session_is_refused():
    saved = FP32.client(3, ROUND, SecureEntropy()).save()
    for end in range(len(saved)):
        with pytest.raises(FrameError):
            FP32.load_client(saved[:end])


@pytest.mark.parametrize("roster", [(), (1, 1), (-1,), (SERVER,)])
def test_rosters_that_cannot_be(roster):
    with pytest.raises(UserError, match=r"round\.roster"):
        RoundInfo(0, UploadKind.VECTOR, roster, LAYOUT)


def test_round_info_survives_json():
    assert RoundInfo.from_dict(json.loads(json.dumps(ROUND.to_dict()))) == ROUND
    for broken in ({}, {**ROUND.to_dict(), "kind": "x"}, {**ROUND.to_dict(), "layout": 3}):
        with pytest.raises(UserError):
            RoundInfo.from_dict(broken)


def test_broadcast_and_its_reading():
    state = upload(2, kind=UploadKind.COEFFICIENTS)
    frame = FP32.broadcast(state)
    assert decode(frame, LAYOUT).sender == SERVER
    read = FP32.read_broadcast(frame, LAYOUT, kind=UploadKind.COEFFICIENTS, round_number=4)
    assert read.arrays["v"].tobytes() == state.arrays["v"].tobytes()
    expected = {"kind": UploadKind.COEFFICIENTS, "round_number": 4}
    for wire, changes in (
        (frame, {"round_number": 5}),
        (frame, {"kind": UploadKind.VECTOR}),
        (frame_of(2, kind=UploadKind.COEFFICIENTS), {}),
        (encode(state, SERVER, Precision.INT8), {}),
    ):
        with pytest.raises(ProtocolError, match="client in phase listening refuses"):
            FP32.read_broadcast(wire, LAYOUT, **{**expected, **changes})
    with pytest.raises(FrameError):
        FP32.read_broadcast(frame, Layout.of({"w": (1, 2, 3)}), **expected)


def test_wire_spec_gives_each_kind_its_precision():
    wire = WireSpec(vector="int4", coefficients="int8", weights="fp32", scores="fp16")
    got = [wire.for_kind(kind) for kind in ("vector", "coefficients", "weights", "scores")]
    assert got == ["int4", "int8", "fp32", "fp16"]
    for bad in ({"vector": "fp8"}, {"vectors": "fp16"}):
        with pytest.raises(ValueError):
            WireSpec(**bad)
    with pytest.raises(ValueError):
        ClearSpec(kind="magic")
    with pytest.raises(ValueError):
        defense_spec({"kind": "magic"})
    for spec in (ClearSpec(wire=wire), CkksSpec(), BfvSpec(grid={"bits": 12, "clip": {"vector": 3}})):
        assert defense_spec(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValueError):
        ClearSpec().kind = "none"


def test_the_clear_defense_says_what_it_shows():
    assert FP32.reveals_individuals


def test_seeded_entropy_repeats_and_says_so():
    whole = InsecureSeeded(7, "client 3").bytes(10_000)
    pieces = InsecureSeeded(7, "client 3")
    assert b"".join(pieces.bytes(n) for n in (0, 1, 4095, 4097, 1807)) == whole
    assert InsecureSeeded(7, "client 4").bytes(32) != whole[:32] != InsecureSeeded(8, "client 3").bytes(32)
    assert InsecureSeeded(7).simulation and not SecureEntropy().simulation
    for source in (InsecureSeeded(7), SecureEntropy()):
        with pytest.raises(UserError):
            source.bytes(-1)
        assert len(source.bytes(33)) == 33
    assert SecureEntropy().bytes(32) != SecureEntropy().bytes(32)
