"""The universal prompt descends the paper's squared loss, by each of three ways, on synthetic examples alone."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tiny import WIDTH, task, tiny_backbone

from ifedpriv.errors import InputError
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.soft_prompt.distil import MetaMethod, MetaPlan, SquaredError, distil
from ifedpriv.icl.soft_prompt.oracle import GradientOracle
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt
from ifedpriv.icl.soft_prompt.synthesis import Labelled, SeedTexts, SynthesisPlan, Synthetic, synthesise
from ifedpriv.icl.soft_prompt.tune import TunePlan, tune
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder

TEXTS = tuple(
    f"{word} {i}" for i, word in enumerate(("sunny", "a dull day", "fine", "the worst of them") * 3)
)
PLAN = MetaPlan(steps=12, batch_size=6, rate=0.05, inner_rate=0.05, inner_steps=2)
TASKS = (task(), task(("positive", "bad", "C"), gap=" ", name="three"))


def prompts(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, WIDTH)).astype(np.float32) * 0.6


@cache
def synthetic(count=2):
    seeds = [SeedTexts(each, TEXTS) for each in TASKS]
    return synthesise(tiny_backbone(), prompts(count), seeds, SynthesisPlan(new_tokens=0), 0)


def start():
    return prompts(1, seed=9)[0]


def run(plan=PLAN, seed=0, sets=None):
    return distil(
        tiny_backbone(), synthetic() if sets is None else sets, start(), plan, np.random.default_rng(seed)
    )


def probabilities(some, texts, prompt):
    scores = score_labels(tiny_backbone(), some, texts, injection=SoftPrompt(prompt)).astype(np.float64)
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def distance(part, prompt):
    return ((part.probabilities - probabilities(part.task, part.texts, prompt)) ** 2).sum(axis=1)


@pytest.mark.parametrize("rows_per_pass", [3, 64])
def test_the_squared_loss_by_hand_over_tasks_of_different_labels(rows_per_pass):
    parts = synthetic()[0].parts
    oracle = SquaredError(tiny_backbone(), parts, rows_per_pass)
    assert isinstance(oracle, GradientOracle)
    each = np.concatenate([distance(part, start()) for part in parts])
    chosen = [13, 0, 5, 20]
    got = oracle.losses(np.stack([start(), prompts(1)[0]]), chosen)
    places = len(label_tokens(tiny_backbone(), TASKS[1]).probes)
    assert places > 1, "labels of several tokens take a pass for each place that is scored"
    assert oracle.queries == 2 * (2 + 2 * places)
    assert got[0] == pytest.approx(each[chosen].mean(), rel=1e-4)
    assert got[1] == pytest.approx(0, abs=1e-9), "the prototype itself says what it says"
    loss, slope = oracle.gradient(start(), chosen)
    assert loss == pytest.approx(got[0], rel=1e-4)
    way = np.random.default_rng(1).normal(size=slope.shape)
    around = np.stack([start() + 2e-3 * way, start() - 2e-3 * way]).astype(np.float32)
    above, below = oracle.losses(around, chosen)
    assert float((slope * way).sum()) == pytest.approx(
        (above - below) / 4e-3, abs=0.03 * np.linalg.norm(slope)
    )


@pytest.mark.parametrize("method", list(MetaMethod))
def test_the_meta_loss_falls(method):
    found = run(replace(PLAN, method=method, steps=15))
    by_hand = [np.concatenate([distance(p, found.prompt) for p in each.parts]).mean() for each in synthetic()]
    assert found.after == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert found.after < 0.75 * found.before
    assert len(found.losses) == 15
    assert found.adapted_after < found.adapted_before
    assert found.skipped == 0
    with pytest.raises(ValueError, match="read-only"):
        found.prompt[0] = 0


def test_it_descends_on_losses_alone_too():
    zeroth = ZerothOrder(4, 0.05)
    for plan in (zeroth, replace(zeroth, intrinsic=20)):
        found = run(replace(PLAN, method=MetaMethod.JOINT, steps=30, zeroth=plan))
        assert found.after < 0.9 * found.before


def first_step(method, **changes):
    """Adam's first step moves every number by the rate, against the slope's sign."""
    plan = replace(PLAN, method=method, steps=1, batch_size=24, rate=1e-3, **changes)
    return np.sign(np.round(run(plan, sets=synthetic()[:1]).prompt - start(), 5))


def halves():
    cut = [
        [Labelled(p.task, p.texts[s::2], p.probabilities[s::2]) for p in synthetic()[0].parts] for s in (0, 1)
    ]
    return [SquaredError(tiny_backbone(), parts) for parts in cut]


def clear(way):
    """Where a slope is large enough for its sign to be no matter of rounding."""
    return np.abs(way) > 1e-3 * np.abs(way).max()


def test_what_each_way_descends_by_hand():
    """All examples of a half in every batch, so that nothing hangs on the draws."""
    adapt, ask = halves()
    everything = range(ask.examples)
    inner = TunePlan(2, 24, 0.05)
    there = tune(adapt, start(), inner, np.random.default_rng(0)).prompt
    joint = ask.gradient(start(), everything)[1]
    fomaml = ask.gradient(there, everything)[1]
    reptile = start() - there
    for method, way in (
        (MetaMethod.JOINT, joint),
        (MetaMethod.FOMAML, fomaml),
        (MetaMethod.REPTILE, reptile),
    ):
        step, seen = first_step(method), clear(way)
        assert seen.mean() > 0.9
        assert (step[seen] == -np.sign(way[seen])).all(), method
    assert (np.sign(joint) != np.sign(fomaml)).any()
    assert (np.sign(joint) != np.sign(reptile)).any()


@pytest.mark.parametrize("method", list(MetaMethod))
def test_the_same_seed_gives_the_same_digits(method):
    plan = replace(PLAN, method=method, steps=4, prototypes_per_step=1)
    one, same, other = run(plan), run(plan), run(plan, seed=1)
    assert np.array_equal(one.prompt, same.prompt)
    assert one.losses == same.losses
    assert not np.array_equal(one.prompt, other.prompt)


def test_the_adapted_loss_by_hand():
    """All examples of a half in a batch, so that nothing hangs on the draws."""
    plan = replace(PLAN, steps=0, batch_size=24)
    found = run(plan, sets=synthetic()[:1])
    adapt, ask = halves()
    there = tune(adapt, start(), TunePlan(2, 24, 0.05), np.random.default_rng(0)).prompt
    expected = float(ask.losses(there[None], range(ask.examples))[0])
    assert found.adapted_before == pytest.approx(expected, rel=1e-3)
    assert found.adapted_after == found.adapted_before


def test_queries_are_counted():
    """Each set has 12 examples, 6 in a half; both meta-losses ask for all of them, before and after adapting to 4."""
    whole = 2 * 2 * (12 + 2 * 4 + 6)
    plain = [Synthetic(each.prototype, each.parts[:1], 0, ()) for each in synthetic()]
    plan = replace(PLAN, batch_size=4)
    for changes, steps in (
        ({"steps": 0}, 0),
        ({"method": MetaMethod.JOINT}, 3 * 2 * 4),
        ({}, 3 * 2 * 4 * 3),
        ({"method": MetaMethod.REPTILE}, 3 * 2 * 4 * 2),
        ({"prototypes_per_step": 1}, 3 * 4 * 3),
    ):
        found = run(replace(plan, **{"steps": 3, **changes}), sets=plain)
        assert found.queries == whole + steps, changes


def test_the_unit_scales_all_rates():
    one = run(replace(PLAN, steps=1, method=MetaMethod.JOINT, unit=0.1))
    moved = np.abs(one.prompt - start())
    assert np.median(moved) == pytest.approx(0.1 * PLAN.rate, rel=0.01)


def test_steps_to_what_is_no_number_are_left_out_and_counted():
    found = run(replace(PLAN, steps=3, rate=1e39, method=MetaMethod.JOINT))
    assert found.skipped == 3
    assert found.losses == ()
    np.testing.assert_array_equal(found.prompt, start())
    assert found.after == found.before


def test_a_single_example_serves_for_both_halves():
    part = synthetic()[0].parts[0]
    one = Synthetic(0, (Labelled(part.task, part.texts[:1], part.probabilities[:1]),), 0, ())
    found = run(replace(PLAN, steps=20), sets=[one])
    assert found.before == pytest.approx(distance(one.parts[0], start())[0], rel=1e-4)
    assert found.after < found.before


def test_wrong_plans_and_nothing_to_distil_are_refused():
    with pytest.raises(InputError, match="no prototypes"):
        run(sets=[])
    for wrong, said in (
        ({"prototypes_per_step": 0}, "prototypes_per_step is 0"),
        ({"inner_steps": 0}, "fomaml adapts"),
        ({"inner_rate": 0.0}, "rate is 0.0"),
        ({"rate": -1.0}, "rate is -1.0"),
        ({"steps": -1}, "-1 steps"),
        ({"batch_size": 0}, "of 0 examples"),
        ({"unit": 0.0}, "unit is 0.0"),
    ):
        with pytest.raises(InputError, match=said):
            replace(PLAN, **wrong)
    replace(PLAN, inner_steps=0, method=MetaMethod.JOINT)
