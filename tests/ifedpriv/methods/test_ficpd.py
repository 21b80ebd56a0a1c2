"""FICPD's rounds: who is asked for what, that only sums count, and what comes of missing clients and clusters."""

import numpy as np
import pytest
from rounds import Failing, Spying, clients, play
from tiny import examples, generation_task, task, tiny_backbone

from defenses.defense import Defense
from defenses.entropy import InsecureSeeded
from defenses.ledger import Ledger
from defenses.prototypes.slots import MEMBERS
from defenses.specs import BfvSpec, ClearSpec, GridSpec, MaskedSpec, WireSpec
from defenses.upload import UploadKind
from ifedpriv.errors import InputError
from ifedpriv.federation.cohort import Cohort, CohortSpec
from ifedpriv.federation.federation import Federation
from ifedpriv.icl.soft_prompt.client_model import BlackBox, WhiteBox
from ifedpriv.methods import ficpd_slots as slots
from ifedpriv.methods.ficpd import META, Ficpd, turns
from ifedpriv.methods.ficpd_specs import FicpdSpec, MetaSpec, TuningSpec
from ifedpriv.methods.method import Client

EXACT = ClearSpec(wire=WireSpec(prompts="fp32"))
TUNING = TuningSpec(steps=2, batch_size=3, rate=0.3)
LENGTH, WIDTH = 3, 16


def spec(**changes):
    facts = {"length": LENGTH, "clusters": 2, "min_members": 1, "warmup": 1, "splits": 1, "rounds": 1}
    return FicpdSpec(**{**facts, "tuning": TUNING, "meta": MetaSpec(when="never"), **changes})


def people():
    """Two clients with one label and two with the other: contrary groups."""
    return tuple(Client(n, examples(5, 10 + n, only=n % 2)) for n in range(4))


def federation(method, who=None, *, defense=EXACT, cohort=None, seed=0):
    return Federation(
        method,
        Defense.from_spec(defense),
        Spying(people() if who is None else who, method.takes_part),
        Cohort(CohortSpec(), seed) if cohort is None else cohort,
        entropy=InsecureSeeded(seed, "test"),
        ledger=Ledger(simulation=True),
        seed=seed,
    )


def made(**changes):
    return Ficpd(spec(**changes), tiny_backbone(), task(), seed=3)


def same(a, b, atol=0.0):
    assert set(a.arrays) == set(b.arrays)
    for name in a.arrays:
        np.testing.assert_allclose(a.arrays[name], b.arrays[name], atol=atol, err_msg=name)


def test_the_order_of_rounds():
    found = turns(spec(warmup=2, splits=1, rounds=2))
    assert [str(turn.phase) for turn in found] == ["common"] * 2 + ["count", "prompt"] * 3
    assert [turn.tuning for turn in found] == [0, 1, 1, 1, 2, 2, 3, 3]
    # Splits are of prompts that are there already, and a step's prompts are tuned for its counts.
    assert [turn.fresh for turn in found] == [True, True, False, False, True, False, True, False]
    assert [str(turn.phase) for turn in turns(spec(clusters=1, warmup=2, rounds=3))] == ["common"] * 5


def test_one_cluster_is_the_plain_mean_of_prompts():
    method = made(clusters=1, rounds=1)
    fed = federation(method)
    state = method.initial_state()
    for _ in range(2):
        tuned = [method.tuned(state, client).prompt for client in people()]
        state, record = fed.play_round(state)
        assert record.kind is UploadKind.PROMPTS
        np.testing.assert_allclose(state.arrays["origin"], np.mean(tuned, axis=0), atol=1e-6)
    np.testing.assert_array_equal(method.artifact(state).prototypes, state.arrays["origin"][None])


def test_contrary_groups_get_prompts_of_their_own():
    method = made(rounds=2)
    state, records = play(federation(method))
    assert state.arrays["taken"].tolist() == [1, 1]
    chosen = [
        int(
            WhiteBox(tiny_backbone(), task(), client.train)
            .losses(state.arrays["prototypes"], range(5))
            .argmin()
        )
        for client in people()
    ]
    assert chosen[0] == chosen[2] != chosen[1] == chosen[3]
    assert [str(record.kind) for record in records] == ["prompts"] + ["counts", "prompts"] * 3


def test_a_client_gives_one_block_and_the_step_is_the_mean_of_its_cluster():
    method, fed = made(), federation(made())
    state = method.initial_state()
    state, _ = fed.play_round(state)
    before = state
    state, _ = fed.play_round(state)
    blocks = [method.client_step(state, client, np.random.default_rng(0)) for client in people()]
    for step in blocks:
        arrays = step.upload.arrays
        slot = int(arrays[MEMBERS].argmax())
        assert arrays[MEMBERS].sum() == 1 and step.upload.weight == 1
        assert not arrays[slots.slot_name(1 - slot)].any()
    where = [int(step.upload.arrays[MEMBERS].argmax()) for step in blocks]
    after, _ = fed.play_round(state)
    for slot in set(where):
        tuned = [method.tuned(before, c).prompt for c, k in zip(people(), where, strict=True) if k == slot]
        np.testing.assert_allclose(after.arrays["prototypes"][slot], np.mean(tuned, axis=0), atol=1e-6)


@pytest.mark.parametrize("defense", [MaskedSpec(grid=GridSpec(bits=22)), BfvSpec(grid=GridSpec(bits=22))])
def test_sums_that_hide_single_uploads_give_the_same_to_their_grid(defense):
    if defense.kind == "bfv":
        pytest.importorskip("tenseal")
    wire = WireSpec(prompts="fp32")
    state, _ = play(federation(made()))
    hidden, _ = play(federation(made(), defense=defense.model_copy(update={"wire": wire})))
    same(state, hidden, atol=1e-3)
    np.testing.assert_array_equal(state.arrays["taken"], hidden.arrays["taken"])


def test_it_does_not_matter_what_else_a_process_has_tuned():
    """What a client remembers between the two rounds of a step is a function of the state: a resumed run repeats it."""
    state, _ = play(federation(made()))
    method = made()
    again = method.initial_state()
    while again.round < method.rounds:
        again, _ = federation(made()).play_round(again)
    same(state, again)


def test_both_rounds_of_a_step_ask_the_same_clients():
    method = made(rounds=6)
    cohort = Cohort(CohortSpec(participation=0.5), 1)
    _, records = play(federation(method, cohort=cohort))
    pairs = [(records[i].took_part, records[i + 1].took_part) for i in range(3, len(records), 2)]
    assert all(first == second and len(first) == 2 for first, second in pairs)
    assert len({first for first, _ in pairs}) > 1
    # The common round and the splits ask everybody.
    assert all(record.took_part == (0, 1, 2, 3) for record in records[:3])


def test_lost_counts_leave_the_clusters_as_they_were():
    method = made(rounds=2)
    whole = federation(method, cohort=Failing({5: {0, 1, 2, 3}}))
    state, records = play(whole, 5)
    assert records[-1].took_part
    lost, record = whole.play_round(state)
    assert record.took_part == ()
    after, record = whole.play_round(lost)
    assert record.took_part == (0, 1, 2, 3)
    for name in ("prototypes", "taken", "origin"):
        np.testing.assert_array_equal(after.arrays[name], state.arrays[name])


def test_a_cluster_that_empties_keeps_its_prompt():
    """Both clients of one group fail in a step's prompts, after they were counted."""
    method = made()
    state, _ = play(federation(method), 4)
    fed = federation(method, cohort=Failing({4: {0, 2}}))
    after, record = fed.play_round(state)
    assert record.took_part == (1, 3)
    changed = [
        not np.array_equal(after.arrays["prototypes"][k], state.arrays["prototypes"][k]) for k in range(2)
    ]
    assert sorted(changed) == [False, True]
    assert after.arrays["taken"].tolist() == [1, 1]


def test_too_few_clients_change_nothing():
    method = made(clusters=1, min_members=4, rounds=1)
    state, _ = play(federation(method), 1)
    after, record = federation(method, cohort=Failing({1: {2}})).play_round(state)
    assert record.took_part == (0, 1, 3)
    np.testing.assert_array_equal(after.arrays["origin"], state.arrays["origin"])


def test_clusters_that_are_too_small_join_the_nearest_that_is_not():
    method = made(min_members=3)
    state, records = play(federation(method))
    assert records[-1].took_part == (0, 1, 2, 3)
    assert state.arrays["taken"].sum() == 1
    assert len(method.artifact(state).prototypes) == 1


def test_prompts_that_do_not_differ_have_no_cosine_and_share_the_first_cluster():
    """All clients hold the same texts, so that every prompt is the mean and every direction zero."""
    method = Ficpd(spec(tuning=TUNING.model_copy(update={"batch_size": 5})), tiny_backbone(), task(), seed=3)
    one = clients(5)[0].train
    alike = tuple(Client(n, one) for n in range(4))
    state = method.initial_state()
    fed = federation(method, alike)
    state, _ = fed.play_round(state)
    at_the_mean = state.with_arrays({"origin": method.tuned(state, alike[0]).prompt})
    for client in alike[:1]:
        step = method.client_step(at_the_mean, client, np.random.default_rng(0))
        assert step.upload.arrays[MEMBERS].tolist() == [1, 0]
    state, records = play(federation(method, alike))
    assert np.isfinite(state.arrays["prototypes"]).all()
    assert not any(record.refusals for record in records)


def test_a_prompt_of_another_shape_is_refused_and_its_client_lost():
    class Longer(Ficpd):
        def client_step(self, state, client, rng):
            if client.number == 1:
                other = Ficpd(spec(length=LENGTH + 1), tiny_backbone(), task(), seed=3)
                return other.client_step(other.initial_state(), client, rng)
            return super().client_step(state, client, rng)

    method = Longer(spec(), tiny_backbone(), task(), seed=3)
    _, record = federation(method).play_round(method.initial_state())
    assert record.took_part == (0, 2, 3) and record.failed == (1,)
    assert "its arrays" in record.refusals[0] and "as agreed on" in record.refusals[0]


def test_queries_are_counted_exactly():
    """A step on a batch of 3 is 3 passes by gradient, and 2 x directions x 3 by losses; a choice asks all 5 examples of
    each prototype."""
    _, records = play(federation(made()))
    assert [record.queries for record in records] == [4 * 6, 0, 0, 4 * (6 + 2 * 5), 0]
    blind = TUNING.model_copy(update={"estimator": "zeroth_order", "directions": 4})
    _, records = play(federation(made(access="black_box", tuning=blind)))
    assert [record.queries for record in records] == [4 * 48, 0, 0, 4 * (48 + 2 * 5), 0]


def test_a_black_box_is_asked_for_losses_alone():
    blind = TUNING.model_copy(update={"estimator": "zeroth_order"})
    assert isinstance(made(access="black_box", tuning=blind).model(people()[0]), BlackBox)
    with pytest.raises(ValueError, match=r"access is 'black_box' and tuning\.estimator is 'gradient'"):
        spec(access="black_box")
    with pytest.raises(ValueError, match="intrinsic is 4 and estimator is 'gradient'"):
        TuningSpec(intrinsic=4)


def test_what_the_model_or_the_task_cannot_have_is_refused():
    wide = TuningSpec(estimator="zeroth_order", intrinsic=LENGTH * WIDTH + 1)
    with pytest.raises(InputError, match=r"method\.tuning\.intrinsic is 49, and a prompt has 48 numbers"):
        made(tuning=wide)
    Ficpd(spec(), tiny_backbone(), generation_task(), seed=3)
    with pytest.raises(InputError, match="a generation task has no label words to distil on"):
        Ficpd(spec(meta=MetaSpec()), tiny_backbone(), generation_task(), seed=3)


def test_distillation_happens_when_it_is_due():
    texts = ("a fine day", "a dull day of rain", "the best of them all", "no good at all")
    for when, rounds in (("end", [False, False]), ("every_round", [True, True])):
        meta = MetaSpec(when=when, steps=2, inner_steps=1, new_tokens=0)
        method = Ficpd(spec(rounds=2, meta=meta), tiny_backbone(), task(), 3, texts)
        assert [method.distils(number) for number in (4, 6)] == [rounds[0], True]
        assert not any(method.distils(number) for number in (0, 1, 2, 3, 5))
        state, _ = play(federation(method), 5)
        assert (META in state.arrays) is rounds[0]
        kinds = [set(upload.arrays) for upload in method.broadcasts(state)]
        assert kinds == [{"origin", "prototypes", "taken"} | ({META} if rounds[0] else set())]
    state, _ = play(federation(method))
    library = method.artifact(state, {"x": "y"})
    np.testing.assert_array_equal(library.meta, state.arrays[META])
    assert not np.array_equal(library.meta, state.arrays["origin"])
    assert len(library.prototypes) == 2 and library.backbone == tiny_backbone().fingerprint
