"""Whole rounds under encryption: the results of the clear run to within the grid, and a key holder in the loop."""

import numpy as np
import pytest
from rounds import clients, federation, play, recording

from defenses import BfvSpec, CkksSpec, Ledger, ServerView, UserError, WireSpec
from defenses.secagg.homomorphic.keys import KEY_HOLDER
from defenses.secagg.homomorphic.messages import MAGIC, MessageType, decode
from defenses.view import Direction
from ifedpriv.federation.cohort import CohortSpec

SIZES = (6, 4, 8, 6)


@pytest.mark.parametrize("spec", [BfvSpec(), CkksSpec(), BfvSpec(encryption="symmetric")])
def test_the_method_goes_on_as_in_the_clear(spec):
    plain, _ = play(federation(clients(*SIZES), aggregation="count"), 1)
    state, (record,) = play(federation(clients(*SIZES), aggregation="count", defense=spec), 1)
    assert record.took_part == (0, 1, 2, 3) and record.failed == () and record.refusals == ()
    step = 64 / 32767 * len(SIZES) / sum(SIZES)
    assert np.abs(state.arrays["vector"] - plain.arrays["vector"]).max() <= step
    # The request and the opening are not the clients' bytes.
    assert set(record.up.wire) == {0, 1, 2, 3} and not record.down.wire
    assert set(record.helpers.wire) == {KEY_HOLDER} and record.helpers.totals()[1] > min(
        record.up.wire.values()
    )


def test_bfv_and_ckks_give_the_very_same_numbers_and_repeat_them():
    runs = [play(federation(clients(*SIZES), defense=spec()))[0] for spec in (BfvSpec, CkksSpec, BfvSpec)]
    for state in runs[1:]:
        for name, array in runs[0].arrays.items():
            assert np.array_equal(state.arrays[name], array)


def test_failing_clients_are_left_out_and_too_few_give_no_sum():
    fails = {0: {1}, 1: {0, 2}}

    class Failing:
        def invited(self, number, everybody):
            return tuple(everybody)

        def fails(self, number, client):
            return client in fails.get(number, ())

        def frames_before_failing(self, number, client, exchanges):
            return 0

    wire = WireSpec(vector="fp32", coefficients="fp32")
    fed = federation(clients(*SIZES), defense=BfvSpec(wire=wire), cohort=Failing())
    state, first = fed.play_round(fed.method.initial_state())
    assert first.took_part == (0, 2, 3) and first.failed == (1,)
    before = {name: array.copy() for name, array in state.arrays.items()}
    state, second = fed.play_round(state)
    assert second.took_part == () and second.failed == (0, 2)
    assert (
        "2 of round 1 of kind coefficients have sent, and the key holder opens sums of 3 or more"
        in (second.refusals[-1])
    )
    assert all(np.array_equal(state.arrays[name], array) for name, array in before.items())
    assert [event.by for event in fed.ledger.events] == [(0, 2, 3)]


def test_a_recording_holds_ciphertexts_and_the_sum(tmp_path):
    with recording(tmp_path / "view", BfvSpec()) as view:
        fed = federation(clients(*SIZES), defense=BfvSpec(), view=view)
        state, _ = play(fed, 1)
    view = ServerView.open(tmp_path / "view")
    with pytest.raises(UserError, match="shows no individual uploads"):
        view.uploads()
    (computed,) = view.computed()
    assert np.array_equal(computed.upload.arrays["vector"], state.arrays["vector"])
    kinds = [decode(r.frame).type for r in view.frames() if r.frame.startswith(MAGIC)]
    assert kinds == [MessageType.UPLOAD] * 4 + [MessageType.REQUEST, MessageType.OPENING]
    down = [r.recipient for r in view.frames() if r.direction is Direction.DOWN and r.frame.startswith(MAGIC)]
    assert down == [KEY_HOLDER]
    text = fed.defense.statement(Ledger(simulation=True)).text()
    assert text.startswith("Simulation: ") and str(KEY_HOLDER) in text


def test_a_cohort_below_the_minimum_is_a_round_without_a_sum():
    fed = federation(clients(*SIZES), defense=BfvSpec(), cohort=CohortSpec(participation=0.5))
    _, (first, second) = play(fed, 2)
    assert len(first.took_part) == 4 and second.took_part == ()
    assert "round.roster has 2 clients, fewer than defense.min_clients 3" in second.refusals[0]
    with pytest.raises(UserError, match=r"round 0 gave no sum: round.roster has 4 clients, fewer than .* 5"):
        play(federation(clients(*SIZES), defense=BfvSpec(min_clients=5)), 1)
