"""IFed-ICL's steps against answers computed by hand."""

import numpy as np
import pytest
from rounds import clients, federation, play
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone

from defenses.session import Aggregate
from defenses.upload import UploadKind
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import extract
from ifedpriv.methods.ifed_icl import IfedIcl, calibration_plan, free_coefficients, starting_coefficients
from ifedpriv.methods.method import Client, State
from ifedpriv.methods.specs import CalibrationSpec, IfedIclSpec


def method(chosen=None, **spec):
    return IfedIcl(IfedIclSpec(**spec), tiny_backbone(), chosen or task())


def rng():
    return np.random.default_rng(0)


def mean(who):
    return extract(tiny_backbone(), task(), who).values.astype(np.float64)


# ---- aggregation: clients of 2 and 6 examples, of which the second holds class 1 only

FEW, MANY = examples(2, 1), examples(6, 2, only=1)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("uniform", lambda: (mean(FEW) + mean(MANY)) / 2),
        ("count", lambda: (2 * mean(FEW) + 6 * mean(MANY)) / 8),
        # Class 0 is in one client, class 1 in both: ((a0) + (b1 + b1') / 2) / 2.
        ("class_balanced", lambda: (mean(FEW[:1]) + (mean(FEW[1:]) + mean(MANY)) / 2) / 2),
    ],
)
def test_each_aggregation_gives_the_mean_it_names(aggregation, expected):
    who = (Client(0, FEW), Client(1, MANY))
    state, _ = play(federation(who, aggregation=aggregation), 1)
    np.testing.assert_allclose(state.arrays["vector"], expected(), atol=2e-6)


def test_the_three_aggregations_differ_here():
    who = (Client(0, FEW), Client(1, MANY))
    found = [
        play(federation(who, aggregation=a), 1)[0].arrays["vector"]
        for a in ("uniform", "count", "class_balanced")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[one] - found[other]).max() > 1e-3


def test_a_class_that_nobody_holds_is_left_out_of_the_balance():
    who = (Client(0, examples(4, 2, only=1)),)
    state, _ = play(federation(who, aggregation="class_balanced"), 1)
    np.testing.assert_allclose(state.arrays["vector"], mean(who[0].train), atol=2e-6)


def test_coefficients_are_weighted_as_vectors_are():
    fed = federation((Client(0, FEW), Client(1, MANY)), aggregation="count")
    state, _ = play(fed, 1)
    steps = [fed.method.client_step(state, client, rng()).upload for client in fed.clients._clients]
    assert [upload.weight for upload in steps] == [2, 6]


def test_generation_has_no_classes_to_balance():
    with pytest.raises(InputError, match=r"method.aggregation is 'class_balanced', and a generation task"):
        method(generation_task(), aggregation="class_balanced")


# ---- phases


def test_rounds_are_one_for_the_vector_n_for_the_coefficients_and_one_for_the_guard():
    guarded = method(calibration=CalibrationSpec(rounds=3))
    assert (guarded.rounds, guarded.guard_round) == (5, 4)
    kinds = [guarded.asks(number)[0] for number in range(5)]
    assert kinds == [UploadKind.VECTOR, *[UploadKind.COEFFICIENTS] * 3, UploadKind.SCORES]
    bare = method(calibration=CalibrationSpec(rounds=0), guard=False)
    assert (bare.rounds, bare.guard_round) == (1, None)


@pytest.mark.parametrize("aggregation", ["uniform", "class_balanced"])
def test_every_upload_has_the_layout_that_was_asked_for(aggregation):
    fed = federation(clients(5, held_out=2), aggregation=aggregation, guard=True)
    state = fed.method.initial_state()
    for number in range(fed.method.rounds):
        kind, layout = fed.method.asks(number)
        upload = fed.method.client_step(state, fed.clients[0], rng()).upload
        assert (upload.kind, upload.layout, upload.round) == (kind, layout, number)
        state, _ = fed.play_round(state)


def test_the_vector_is_broadcast_once_and_the_coefficients_before_every_later_round():
    fed = federation(clients(5), guard=False)
    state, sent = fed.method.initial_state(), []
    for _ in range(fed.method.rounds):
        sent.append([upload.kind for upload in fed.method.broadcasts(state)])
        state, _ = fed.play_round(state)
    both = [UploadKind.VECTOR, UploadKind.COEFFICIENTS]
    assert sent == [[], both, [UploadKind.COEFFICIENTS]]


def test_the_guards_scores_are_the_share_of_right_answers():
    fed = federation(clients(6, held_out=5), guard=True)
    state, _ = play(fed, 3)
    upload = fed.method.client_step(state, fed.clients[0], rng()).upload.mean()
    from ifedpriv.icl.evaluate import answer

    held = fed.clients[0].validation
    injected = answer(tiny_backbone(), task(), held, injection=fed.method.artifact(state)).share_correct
    plain = answer(tiny_backbone(), task(), held).share_correct
    np.testing.assert_allclose(upload.arrays["right"], [injected, plain])
    assert upload.weight == 5


def test_the_guards_round_leaves_the_injection_alone():
    fed = federation(clients(6, held_out=5), guard=True)
    before, _ = play(fed, 3)
    after, _ = fed.play_round(before)
    for name in before.arrays:
        assert np.array_equal(after.arrays[name], before.arrays[name])
    assert "guard" in after.arrays


def test_the_artifact_carries_state_fingerprint_and_facts():
    fed = federation(clients(6))
    state, _ = play(fed)
    made = fed.method.artifact(state, {"note": "x"})
    assert np.array_equal(made.vector.values, state.arrays["vector"])
    assert np.array_equal(made.coefficients.values, state.arrays["coefficients"])
    assert made.backbone == tiny_backbone().fingerprint
    assert made.facts == {"note": "x"}
    made.check(tiny_backbone())


def test_the_servers_step_reads_means_only():
    chosen = method(guard=False)
    means = {"vector": np.full((LAYERS, 2, WIDTH), 0.5, dtype=np.float32)}
    aggregate = Aggregate(means, 3.0, (0, 1, 2), UploadKind.VECTOR, 0)
    state = chosen.server_step(chosen.initial_state(), aggregate)
    assert state.round == 1
    assert (state.arrays["vector"] == 0.5).all()


def test_tokenised_clients_are_forgotten_in_time(monkeypatch):
    monkeypatch.setattr("ifedpriv.methods.recent.CACHED_CLIENTS", 2)
    fed = federation(clients(3, 3, 3, 3))
    play(fed)
    assert list(fed.method.work._kept) == [2, 3]


# ---- schedule, start, ablations


def test_the_cosine_schedule_goes_from_the_rate_to_a_twentieth():
    spec = IfedIclSpec(calibration=CalibrationSpec(rounds=5, rate=0.4))
    rates = [calibration_plan(spec, LAYERS, number).rate for number in range(1, 6)]
    assert rates[0] == pytest.approx(0.4)
    assert rates[2] == pytest.approx(0.4 * (0.05 + 0.95 / 2))
    assert rates[-1] == pytest.approx(0.02)
    assert rates == sorted(rates, reverse=True)
    constant = IfedIclSpec(calibration=CalibrationSpec(rounds=5, rate=0.4, schedule="constant"))
    assert [calibration_plan(constant, LAYERS, n).rate for n in (1, 5)] == [0.4, 0.4]
    single = IfedIclSpec(calibration=CalibrationSpec(rounds=1, rate=0.4))
    assert calibration_plan(single, LAYERS, 1).rate == 0.4


def test_the_start_is_the_stated_one():
    start = method(calibration=CalibrationSpec(start_lambda=0.3, start_beta=0.7)).initial_state()
    assert start.arrays["coefficients"][..., 0] == pytest.approx(0.3)
    assert start.arrays["coefficients"][..., 1] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({}, [(layer, branch, c) for layer in range(3) for branch in (0, 1) for c in (0, 1)]),
        ({"branches": "attention"}, [(layer, 0, c) for layer in range(3) for c in (0, 1)]),
        ({"branches": "mlp"}, [(layer, 1, c) for layer in range(3) for c in (0, 1)]),
        ({"form": "add"}, [(layer, branch, 0) for layer in range(3) for branch in (0, 1)]),
        ({"layers": "early"}, [(0, branch, c) for branch in (0, 1) for c in (0, 1)]),
        ({"layers": "late", "form": "add", "branches": "mlp"}, [(2, 1, 0)]),
    ],
)
def test_ablations_free_the_coefficients_they_name(spec, places):
    chosen = IfedIclSpec(**spec)
    free = free_coefficients(chosen, 3)
    assert [tuple(int(i) for i in place) for place in np.argwhere(free)] == places
    start = starting_coefficients(chosen, 3).values
    assert (start[~free].reshape(-1) == np.broadcast_to([0, 1], (3, 2, 2))[~free]).all()


def test_an_ablated_run_keeps_the_rest_at_the_identity():
    state, _ = play(federation(clients(8), form="add", branches="attention"))
    values = state.arrays["coefficients"]
    assert (values[..., 1] == 1).all()
    assert (values[:, 1, 0] == 0).all()
    assert (values[:, 0, 0] != 0.1).all()


# ---- the state


def test_a_state_owns_its_arrays():
    given = np.zeros(3, dtype=np.float32)
    state = State(0, {"a": given})
    given[:] = 1
    assert not state.arrays["a"].any()
    with pytest.raises(ValueError, match="read-only"):
        state.arrays["a"][0] = 1
    with pytest.raises(TypeError):
        state.arrays["b"] = given
    later = state.next(b=given)
    assert (later.round, sorted(later.arrays)) == (1, ["a", "b"])
    assert sorted(state.arrays) == ["a"]


def test_a_client_prints_its_number_only():
    assert repr(Client(4, examples(9))) == "Client(4)"
