"""One loop of rounds: what clients compute reaches the server as frames, and only as frames."""

import dataclasses
import time

import numpy as np
import pytest
from rounds import EXACT, STEPS, Failing, clients, federation, play, recording
from tiny import examples, task, tiny_backbone

from defenses.frame import SERVER, peek
from defenses.specs import ClearSpec
from defenses.upload import UploadKind
from defenses.view import Direction, ServerView
from ifedpriv.errors import UserError
from ifedpriv.federation.cohort import CohortSpec
from ifedpriv.federation.offering import step_rng
from ifedpriv.icl.calibrate import Calibrator
from ifedpriv.icl.extract import extract
from ifedpriv.icl.vectors import Coefficients
from ifedpriv.methods.ifed_icl import calibration_plan
from ifedpriv.methods.method import Client


def test_one_client_alone_is_the_local_computation():
    """At float32 on the wire, to the bit: extract, then calibrate in the federation's rounds."""
    (only,) = who = clients(9)
    fed = federation(who, seed=3)
    state, records = play(fed)
    backbone = tiny_backbone()
    vector = extract(backbone, task(), only.train)
    assert np.array_equal(state.arrays["vector"], vector.values)
    coefficients = Coefficients(fed.method.initial_state().arrays["coefficients"])
    calibrator = Calibrator(backbone, task(), only.train)
    for number in (1, 2):
        rng = step_rng(3, number, 0)
        plan = calibration_plan(fed.method.spec, backbone.n_layers, number)
        found = calibrator.run(vector, coefficients, plan, rng)
        coefficients = found.coefficients
        assert records[number].loss == found.loss
    assert np.array_equal(state.arrays["coefficients"], coefficients.values)


def test_the_server_means_what_the_clients_sent():
    who = clients(4, 7, 5)
    fed = federation(who)
    state, _ = play(fed, 2)
    vectors = [extract(tiny_backbone(), task(), client.train).values for client in who]
    np.testing.assert_allclose(state.arrays["vector"], np.mean(vectors, axis=0), atol=1e-6)
    plan = calibration_plan(fed.method.spec, tiny_backbone().n_layers, 1)
    start = Coefficients(fed.method.initial_state().arrays["coefficients"])
    vector = fed.method.vector(state)
    found = [
        Calibrator(tiny_backbone(), task(), client.train)
        .run(vector, start, plan, step_rng(0, 1, client.number))
        .coefficients.values
        for client in who
    ]
    np.testing.assert_allclose(state.arrays["coefficients"], np.mean(found, axis=0), atol=1e-6)


def test_a_failing_client_is_not_in_the_aggregate_and_takes_up_no_uplink():
    who = clients(4, 7, 5)
    fed = federation(who, cohort=Failing({0: {1}, 1: {0, 2}}))
    state, (first, second) = play(fed, 2)
    both = [extract(tiny_backbone(), task(), who[i].train).values for i in (0, 2)]
    np.testing.assert_allclose(state.arrays["vector"], np.mean(both, axis=0), atol=1e-6)
    assert (first.took_part, first.failed) == ((0, 2), (1,))
    assert (second.took_part, second.failed) == ((1,), (0, 2))
    assert set(first.up.wire) == {0, 2}
    assert set(second.up.wire) == {1}
    assert set(second.down.wire) == {0, 1, 2}
    assert [event.by for event in fed.ledger.events] == [(0, 2), (1,)]


def test_a_failing_clients_data_is_not_touched():
    fed = federation(clients(4, 7, 5), cohort=Failing({0: {1}}))
    play(fed, 1)
    assert sorted(fed.clients.asked) == [0, 2]


def test_only_those_drawn_are_touched_and_hear_anything():
    """A client that is not in a round may be on another disk, or asleep."""
    fed = federation(clients(*[4] * 8), cohort=CohortSpec(participation=0.25))
    state, _ = fed.play_round(fed.method.initial_state())
    assert sorted(fed.clients.asked) == list(range(8))
    for number in (1, 2):
        fed.clients.asked.clear()
        state, record = fed.play_round(state)
        invited = fed.cohort.invited(number, tuple(range(8)))
        assert len(invited) == 2
        assert tuple(sorted(fed.clients.asked)) == record.took_part == invited
        assert set(record.up.wire) == set(record.down.wire) == set(invited)


def test_nobody_in_round_0_is_refused():
    fed = federation(clients(4, 5), cohort=Failing({0: {0, 1}}))
    with pytest.raises(UserError, match=r"no client answered in round 0 \(2 failed\); lower cohort"):
        play(fed, 1)


def test_nobody_in_a_later_round_leaves_the_state(tmp_path):
    who = clients(4, 5)
    with recording(tmp_path) as view:
        fed = federation(who, cohort=Failing({1: {0, 1}}), view=view)
        before, _ = play(fed, 1)
        after, record = fed.play_round(before)
        assert after.round == 2
        assert record.failed == (0, 1)
        assert record.took_part == ()
        assert record.seconds > 0
        for name in before.arrays:
            assert np.array_equal(after.arrays[name], before.arrays[name])
        assert len(fed.ledger.events) == 1
        # What was broadcast in vain crossed the wire, so a crash now must not lose it.
        written = [r for r in ServerView.open(tmp_path).frames() if r.round == 1]
        assert sum(len(r.frame) for r in written) == record.down.totals()[1] > 0
        last, record = fed.play_round(after)
    assert record.took_part == (0, 1)
    assert not np.array_equal(last.arrays["coefficients"], before.arrays["coefficients"])


def test_failures_that_differ_make_no_difference_to_the_others_draws():
    """Client 1 calibrates alike whether client 0 is there or not: its draws are its own."""
    who = clients(6, 6)
    whole, _ = play(federation(who, cohort=Failing({1: {0}})), 2)
    only, _ = play(federation(who, cohort=Failing({1: {0}, 0: set()})), 2)
    assert np.array_equal(whole.arrays["coefficients"], only.arrays["coefficients"])


@pytest.mark.parametrize("spec", [ClearSpec(), EXACT])
def test_traffic_and_recording_are_the_frames(tmp_path, spec):
    who = clients(4, 7, 5, held_out=3)
    with recording(tmp_path, spec) as view:
        fed = federation(who, defense=spec, cohort=Failing({2: {1}}), view=view, guard=True)
        _, records = play(fed)
    seen = ServerView.open(tmp_path)
    frames = list(seen.frames())
    assert [info.number for info in seen.facts.rounds] == [0, 1, 2, 3]
    for record in records:
        for direction, traffic in ((Direction.UP, record.up), (Direction.DOWN, record.down)):
            own = [f for f in frames if f.round == record.round and f.direction is direction]
            other_end = [f.sender if direction is Direction.UP else f.recipient for f in own]
            for client in set(other_end) | set(traffic.wire):
                size = sum(len(f.frame) for f, c in zip(own, other_end, strict=True) if c == client)
                assert traffic.wire[client] == size
        ups = [f for f in frames if f.round == record.round and f.direction is Direction.UP]
        assert tuple(f.sender for f in ups) == record.took_part
        assert all(peek(f.frame).kind is record.kind and f.recipient == SERVER for f in ups)
    kinds = [record.kind for record in records]
    assert kinds == [UploadKind.VECTOR, UploadKind.COEFFICIENTS, UploadKind.COEFFICIENTS, UploadKind.SCORES]


def test_the_recording_holds_the_very_bytes_that_the_server_got(tmp_path, monkeypatch):
    from defenses.clear import ClearServer

    received: list[tuple[int, bytes]] = []
    take = ClearServer.receive

    def spy(self, sender, frame):
        received.append((sender, frame))
        return take(self, sender, frame)

    monkeypatch.setattr(ClearServer, "receive", spy)
    with recording(tmp_path) as view:
        play(federation(clients(4, 5), view=view))
    up = [f for f in ServerView.open(tmp_path).frames() if f.direction is Direction.UP]
    assert [(f.sender, f.frame) for f in up] == received


def test_a_coarse_wire_shows_in_the_state_for_everybody():
    """Clients calibrate on the vector that they heard, and the server goes on from the same one."""
    state, _ = play(federation(clients(6, 6), defense=ClearSpec()), 2)
    rounded = state.arrays["vector"].astype(np.float16).astype(np.float32)
    assert np.array_equal(state.arrays["vector"], rounded)
    exact, _ = play(federation(clients(6, 6)), 2)
    assert not np.array_equal(exact.arrays["vector"], state.arrays["vector"])


def test_a_run_can_be_repeated_to_the_bit_and_its_seed_matters():
    who = clients(9, 12)
    one, same, other = (play(federation(who, seed=seed))[0] for seed in (0, 0, 1))
    assert np.array_equal(one.arrays["coefficients"], same.arrays["coefficients"])
    assert not np.array_equal(one.arrays["coefficients"], other.arrays["coefficients"])
    assert np.array_equal(one.arrays["vector"], other.arrays["vector"])


def test_rounds_can_be_played_by_different_federations():
    """As after a crash: nothing but the state goes from one round to the next."""
    who = clients(9, 12)
    whole, _ = play(federation(who))
    state = federation(who).method.initial_state()
    for _ in range(1 + STEPS.rounds):
        state, _ = federation(who).play_round(state)
    for name in whole.arrays:
        assert np.array_equal(state.arrays[name], whole.arrays[name])


def test_the_guard_pools_held_out_answers_over_clients_that_have_any():
    who = (*clients(4, 6, held_out=3), Client(2, examples(5)))
    fed = federation(who, guard=True)
    state, records = play(fed)
    assert records[-1].took_part == (0, 1)
    verdict = fed.method.verdict(state)
    assert verdict.examples == 6
    for share in (verdict.injected, verdict.plain):
        assert share * 6 == pytest.approx(round(share * 6), abs=1e-5)


def test_without_held_out_examples_there_is_no_verdict():
    fed = federation(clients(4, 6), guard=True)
    state, records = play(fed)
    assert state.round == fed.method.rounds
    assert records[-1].took_part == ()
    assert fed.method.verdict(state) is None


def test_rows_that_a_client_computes_while_they_are_taken_count_as_its_time():
    """Rows of examples are computed one by one, when the door takes them, and not in the method's step."""
    work = 0.05
    fed = federation(clients(4, 5), aggregation="count")
    asked = fed.method.client_step

    def slow(state, client, rng):
        step = asked(state, client, rng)

        def rows():
            until = time.process_time() + work
            while time.process_time() < until:
                pass
            yield from step.upload.batches

        offered = dataclasses.replace(step.upload, batches=rows())
        return dataclasses.replace(step, upload=offered)

    fed.method.client_step = slow
    _, (record,) = play(fed, 1)
    assert record.client_seconds >= 2 * work
