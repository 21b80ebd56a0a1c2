"""The same loop under masked sums: the clear run's numbers up to the grid, and failures at every point."""

import numpy as np
import pytest
from rounds import EXACT, STEPS, Failing, clients, federation, play, recording

from defenses.defense import Defense
from defenses.ledger import Ledger
from defenses.payload import payload_bytes
from defenses.secagg.masked.messages import MAGIC, MaskedInput, peek
from defenses.secagg.masked.server import MaskedServer
from defenses.session import RoundInfo
from defenses.specs import MaskedSpec
from defenses.upload import Layout, UploadKind
from defenses.view import Direction, ServerView
from defenses.view_facts import Computes
from ifedpriv.errors import UserError
from ifedpriv.federation.cohort import Cohort, CohortSpec
from ifedpriv.federation.federation import context

MASKED = MaskedSpec(wire=EXACT.wire)


class FailingLate:
    """Named clients fail after so many frames of a round; everybody is asked."""

    def __init__(self, failures):
        self.failures = failures

    def invited(self, _number, eligible):
        return eligible

    def fails(self, number, client):
        return client in self.failures.get(number, {})

    def frames_before_failing(self, number, client, _exchanges):
        return self.failures[number][client]


def step(kind, total_weight):
    """How far a mean over whole weights may lie from the true one, with five clients at most."""
    return 5 * MASKED.grid.clip.for_kind(kind) / (2 ** (MASKED.grid.bits - 1) - 1) / total_weight


def test_a_run_gives_the_clear_runs_numbers_up_to_the_grid():
    who = clients(6, 8, 5, 7, held_out=3)
    clear, _ = play(federation(who, guard=True))
    state, records = play(federation(who, guard=True, defense=MASKED))
    assert [r.took_part for r in records] == [(0, 1, 2, 3)] * 4
    assert all(not r.refusals and not r.failed for r in records)
    np.testing.assert_allclose(
        state.arrays["vector"], clear.arrays["vector"], atol=step(UploadKind.VECTOR, 4)
    )
    # Two rounds of training on slightly different numbers.
    np.testing.assert_allclose(state.arrays["coefficients"], clear.arrays["coefficients"], atol=5e-3)
    np.testing.assert_allclose(state.arrays["guard"], clear.arrays["guard"], atol=0.34)


@pytest.mark.parametrize("frames", range(6))
def test_a_client_that_fails_after_so_many_frames(frames):
    """Before its input (frame 3) it is not in the sum; after it, it is, whatever it does then."""
    who = clients(4, 7, 5, 6)
    fed = federation(who, defense=MASKED, cohort=FailingLate({0: {2: frames}}))
    state, (record,) = play(fed, 1)
    expected = (0, 1, 2, 3) if frames >= 3 else (0, 1, 3)
    assert record.took_part == expected
    assert record.failed == ((2,) if frames < 5 else ())
    clear, _ = play(federation(who, cohort=Failing({0: set(range(4)) - set(expected)})), 1)
    np.testing.assert_allclose(
        state.arrays["vector"], clear.arrays["vector"], atol=step(UploadKind.VECTOR, 3)
    )
    assert [event.by for event in fed.ledger.events] == [expected]
    assert (2 in record.up.wire) == (frames > 0)


def test_a_client_that_never_began_is_not_touched():
    fed = federation(clients(4, 7, 5, 6), defense=MASKED, cohort=FailingLate({0: {2: 0}}))
    play(fed, 1)
    assert sorted(fed.clients.asked) == [0, 1, 3]


def test_too_many_failures_give_no_sum_and_leave_the_state(tmp_path):
    who = clients(4, 7, 5, 6)
    with recording(tmp_path, MASKED) as view:
        fed = federation(who, defense=MASKED, cohort=FailingLate({1: {0: 2, 1: 2}}), view=view)
        before, _ = play(fed, 1)
        after, record = fed.play_round(before)
    assert record.took_part == ()
    assert record.failed == (0, 1)
    assert "2 clients are left of 4 after masking, and a sum takes 3" in record.refusals[-1]
    for name in before.arrays:
        assert np.array_equal(after.arrays[name], before.arrays[name])
    assert len(fed.ledger.events) == 1


def test_no_sum_in_round_0_is_an_error_with_the_reason():
    fed = federation(clients(4, 5, 6), defense=MASKED, cohort=FailingLate({0: {0: 1, 1: 3}}))
    with pytest.raises(UserError, match=r"round 0 gave no sum: .*2 clients are left of 3"):
        play(fed, 1)
    with pytest.raises(UserError, match="round 0 gave no sum: the roster of round 0 has 2 clients, fewer"):
        play(federation(clients(4, 5), defense=MASKED), 1)


def test_the_recording_shows_frames_and_sums_and_no_upload(tmp_path):
    who = clients(4, 7, 5, held_out=2)
    with recording(tmp_path, MASKED) as view:
        fed = federation(who, defense=MASKED, view=view, guard=True)
        state, records = play(fed)
    seen = ServerView.open(tmp_path)
    assert seen.facts.server_computes == (Computes.MEANS, Computes.TOTAL_WEIGHTS)
    with pytest.raises(UserError, match="shows no individual uploads"):
        seen.uploads()
    computed = list(seen.computed())
    assert [frame.upload.round for frame in computed] == [0, 1, 2, 3]
    assert np.array_equal(computed[0].upload.arrays["vector"], state.arrays["vector"])
    assert [f.upload.weight for f in seen.computed(UploadKind.SCORES)] == [6.0]
    frames = list(seen.frames())
    for record in records:
        for direction, traffic in ((Direction.UP, record.up), (Direction.DOWN, record.down)):
            own = [f for f in frames if f.round == record.round and f.direction is direction]
            end = [f.sender if direction is Direction.UP else f.recipient for f in own]
            for client in traffic.wire:
                mine = [f.frame for f, c in zip(own, end, strict=True) if c == client]
                assert traffic.wire[client] == sum(map(len, mine))
                assert traffic.payload[client] == sum(map(payload_bytes, mine))
    ups = [f for f in frames if f.direction is Direction.UP]
    assert len(ups) == 4 * 3 * 5 and all(f.frame.startswith(MAGIC) for f in ups)
    inputs = [f for f in ups if peek(f.frame).kind is MaskedInput]
    assert records[1].up.payload[0] == len(next(f.frame for f in inputs if f.round == 1)) - 28


def test_no_frame_of_a_run_holds_an_upload(tmp_path, monkeypatch):
    """Every client's float upload and its grid form against every byte that went up."""
    from defenses.secagg.masked.client import MaskedClient

    plain = []
    protect = MaskedClient.protect

    def spy(self, upload):
        frames = protect(self, upload)
        plain.append(self.round.layout.flatten(upload.arrays)[:8].tobytes())
        plain.append(self._secrets.slots[:8].tobytes())
        return frames

    monkeypatch.setattr(MaskedClient, "protect", spy)
    with recording(tmp_path, MASKED) as view:
        play(federation(clients(4, 7, 5), defense=MASKED, view=view))
    wire = b"".join(f.frame for f in ServerView.open(tmp_path).frames() if f.direction is Direction.UP)
    assert len(plain) == 2 * 3 * 3
    assert not any(text in wire for text in plain)


def test_rounds_can_be_played_by_different_federations():
    who = clients(9, 12, 7)
    whole, _ = play(federation(who, defense=MASKED))
    state = federation(who, defense=MASKED).method.initial_state()
    for _ in range(1 + STEPS.rounds):
        state, _ = federation(who, defense=MASKED).play_round(state)
    for name in whole.arrays:
        assert np.array_equal(state.arrays[name], whole.arrays[name])


def test_the_server_cannot_refuse_the_loop_to_death(monkeypatch):
    """A server that refuses a client loses that client, and the round goes on."""
    take = MaskedServer.receive

    def refuse_one(self, sender, frame):
        if sender == 1 and peek(frame).kind is MaskedInput:
            raise self._refusal("MaskedInput", sender, "of a test")
        return take(self, sender, frame)

    monkeypatch.setattr(MaskedServer, "receive", refuse_one)
    _, (record,) = play(federation(clients(4, 5, 6, 7), defense=MASKED), 1)
    assert record.took_part == (0, 2, 3)
    assert record.failed == (1,)
    assert record.refusals == ("server in phase masking refuses MaskedInput from client 1: of a test",)


def test_the_context_follows_the_state_and_the_agreement():
    fed = federation(clients(4, 5))
    state = fed.method.initial_state()
    other = state.with_arrays({"coefficients": state.arrays["coefficients"] + np.float32(1e-6)})
    found = {
        context(state, b""),
        context(other, b""),
        context(state, b"x"),
        context(state.next(), b""),
        context(state.next(more=np.zeros(1)), b""),
    }
    assert len(found) == 5
    assert context(state, b"x") == context(state.with_arrays({}), b"x")


def test_where_failures_happen():
    cohort = Cohort(CohortSpec(failure_rate=0.5, failure_point="any"), seed=3)
    points = [cohort.frames_before_failing(number, client, 5) for number in range(20) for client in range(20)]
    assert set(points) == set(range(5))
    assert points == [cohort.frames_before_failing(n, c, 5) for n in range(20) for c in range(20)]
    assert Cohort(CohortSpec(failure_point=3), 0).frames_before_failing(1, 2, 5) == 3
    assert all(cohort.frames_before_failing(n, 0, 1) == 0 for n in range(20))


def test_random_failures_at_any_point_never_break_a_run():
    """Twelve rounds of six clients of which a third fails somewhere: a sum or none, and the loop goes on."""
    cohort = CohortSpec(failure_rate=0.3, failure_point="any")
    fed = federation(clients(*[4] * 6), defense=MASKED, cohort=cohort, seed=4)
    _, records = play(fed)
    assert all(r.took_part or r.refusals for r in records)


def test_the_statement_names_who_is_trusted_and_claims_no_bound():
    text = Defense.from_spec(MASKED).statement(Ledger()).text()
    assert text.startswith("There is no privacy bound. Secure aggregation hides each upload")
    assert "It is not differential privacy" in text
    assert not Defense.from_spec(MASKED).reveals_individuals


def test_a_defense_without_enrolment_says_what_is_missing():
    with pytest.raises(UserError, match="was not given the key directory; give it first"):
        Defense.from_spec(MASKED).server(RoundInfo(0, "vector", (1, 2, 3), Layout.of({"v": (1,)})))


def test_a_client_that_refuses_to_begin_is_lost_and_no_more():
    """Its diary says that it has joined the round; the others go on, and the sentence says why."""
    fed = federation(clients(4, 5, 6, 7), defense=MASKED)
    fed.defense.enrolment.members[2].diary.highest = 9
    _, (record,) = play(fed, 1)
    assert (record.took_part, record.failed) == ((0, 1, 3), (2,))
    assert "round 0 is not above round 9, which this client has joined" in record.refusals[0]


def test_the_protocols_time_counts_as_the_clients():
    _, (masked,) = play(federation(clients(4, 5, 6, 7), defense=MASKED, cohort=FailingLate({})), 1)
    assert 0 < masked.client_seconds < masked.seconds + 1


def test_ratcheted_rounds_give_the_same_numbers_for_fewer_bytes():
    who = clients(6, 8, 5, 7)
    full, long = play(federation(who, defense=MASKED))
    state, short = play(federation(who, defense=MASKED.model_copy(update={"ratchet": True})))
    assert np.array_equal(state.arrays["vector"], full.arrays["vector"])
    np.testing.assert_allclose(state.arrays["coefficients"], full.arrays["coefficients"], atol=5e-3)
    assert short[0].up.totals()[1] == long[0].up.totals()[1]
    for one, other in zip(short[1:], long[1:], strict=True):
        assert one.took_part == other.took_part == (0, 1, 2, 3)
        assert one.up.totals()[0] == other.up.totals()[0]
        assert one.up.totals()[1] < other.up.totals()[1] / 4


@pytest.mark.parametrize(("frames", "took_part"), [(0, (0, 1, 3)), (1, ()), (2, ()), (3, (0, 1, 2, 3))])
def test_failures_in_a_ratcheted_round(frames, took_part):
    spec = MASKED.model_copy(update={"ratchet": True})
    fed = federation(clients(4, 7, 5, 6), defense=spec, cohort=FailingLate({1: {2: frames}}))
    state, records = play(fed)
    assert records[1].took_part == took_part
    assert bool(records[1].refusals) == (not took_part)
    assert records[2].took_part == (0, 1, 2, 3)
    assert state.round == 3
