"""A client's steps: downhill on what the paper writes, the same for the same seed, and never to what is no number."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import examples, task, tiny_backbone

from ifedpriv.errors import InputError
from ifedpriv.icl.soft_prompt.client_model import BlackBox, WhiteBox
from ifedpriv.icl.soft_prompt.prompt import embedding_scale, start_from_task
from ifedpriv.icl.soft_prompt.tune import TunePlan, tune
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder

PLAN = TunePlan(steps=30, batch_size=8, rate=0.03)
ZEROTH = replace(PLAN, steps=40, zeroth=ZerothOrder(8, 0.05))
SHAPE = (2, 3)


class Bowl:
    """Half the squared length of a prompt, as far as anybody asks; gradients at a wish."""

    examples = 5

    def __init__(self, spoil=()):
        self.queries = 0
        self.calls = 0
        self.batches = []
        self.spoil = dict(spoil)

    def gradient(self, prompt, chosen):
        self.queries += len(chosen)
        self.batches.append(list(chosen))
        self.calls += 1
        loss, slope = float(np.square(prompt, dtype=np.float64).sum() / 2), np.array(prompt, dtype=np.float64)
        if self.calls - 1 in self.spoil:
            return self.spoil[self.calls - 1](loss, slope)
        return loss, slope

    def losses(self, prompts, chosen):
        self.queries += len(prompts) * len(chosen)
        self.calls += 1
        found = np.square(prompts, dtype=np.float64).sum(axis=(1, 2)) / 2
        return found * np.nan if self.calls - 1 in self.spoil else found


def start(value=1.0):
    return np.full(SHAPE, value, dtype=np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def model_start():
    return start_from_task(tiny_backbone(), task(), 4)


@pytest.mark.parametrize(("plan", "cls"), [(PLAN, WhiteBox), (ZEROTH, BlackBox), (ZEROTH, WhiteBox)])
def test_the_loss_falls_on_a_model(plan, cls):
    some = examples(8)
    oracle = cls(tiny_backbone(), task(), some)
    found = tune(oracle, model_start(), plan, rng())
    before, after = oracle.losses(np.stack([model_start(), found.prompt]), range(8))
    assert after < before - 0.05
    assert found.loss < before
    assert found.skipped == 0
    assert found.queries == plan.steps * 8 * (16 if plan.zeroth else 1)
    assert found.prompt.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        found.prompt[0] = 0


@pytest.mark.parametrize("plan", [PLAN, ZEROTH, replace(ZEROTH, zeroth=ZerothOrder(8, 0.05, intrinsic=10))])
def test_the_same_seed_gives_the_same_digits(plan):
    one, same, other = (
        tune(
            WhiteBox(tiny_backbone(), task(), examples(12)), model_start(), replace(plan, steps=5), rng(seed)
        )
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one.prompt, same.prompt)
    assert one.loss == same.loss
    assert not np.array_equal(one.prompt, other.prompt)


def test_gradients_are_not_asked_of_a_black_box():
    black = BlackBox(tiny_backbone(), task(), examples(4))
    with pytest.raises(InputError, match="gives losses only"):
        tune(black, model_start(), PLAN, rng())


def test_one_step_of_plain_descent_by_hand():
    """Task loss, λ times the norm itself, μ times the squared distance from the reference."""
    plan = TunePlan(1, 5, 0.1, "sgd", norm=0.6, proximal=0.2)
    begin, reference = start(1.5), start(0.25)
    slope = begin + 0.6 * begin / np.linalg.norm(begin) + 2 * 0.2 * (begin - reference)
    found = tune(Bowl(), begin, plan, rng(), reference)
    np.testing.assert_allclose(found.prompt, begin - 0.1 * slope, rtol=1e-6)
    assert found.loss == pytest.approx(float(np.square(begin).sum() / 2))


def test_the_norm_is_not_squared():
    """Its pull does not grow with the prompt, and at zero there is none."""
    plan = TunePlan(1, 5, 1.0, "sgd", norm=0.5)
    for value in (2.0, 20.0):
        flat = tune(Bowl({0: lambda loss, slope: (loss, 0 * slope)}), start(value), plan, rng()).prompt
        assert np.linalg.norm(start(value)) - np.linalg.norm(flat) == pytest.approx(0.5, rel=1e-4)
    assert not tune(Bowl(), start(0.0), plan, rng()).prompt.any()


def test_the_proximal_term_holds_at_the_reference_and_by_default_at_the_start():
    plan = TunePlan(200, 5, 0.02, "sgd", proximal=10.0)
    for reference in (None, start(-1.0)):
        wanted = start() if reference is None else reference
        # The minimum of p²/2 + 10 (p − r)² lies at r 20/21.
        found = tune(Bowl(), start(), plan, rng(), reference).prompt
        np.testing.assert_allclose(found, wanted * 20 / 21, rtol=1e-4)


def test_a_step_of_adam_moves_by_the_rate_in_its_unit():
    for unit in (1.0, 0.02):
        found = tune(Bowl(), start(), TunePlan(1, 5, 0.05, unit=unit), rng())
        np.testing.assert_allclose(start() - found.prompt, 0.05 * unit, rtol=1e-3)


def test_tuning_in_another_unit_is_tuning_another_model():
    """A model whose embeddings are ten times smaller is tuned as before by a unit ten times smaller."""

    class Smaller(Bowl):
        def gradient(self, prompt, chosen):
            loss, slope = super().gradient(10 * prompt, chosen)
            return loss, 10 * slope

        def losses(self, prompts, chosen):
            return super().losses(10 * prompts, chosen)

    for plan in (PLAN, replace(PLAN, optimiser="sgd"), replace(PLAN, zeroth=ZerothOrder(2, 0.05))):
        one = tune(Bowl(), start(), plan, rng())
        other = tune(Smaller(), start(0.1), replace(plan, unit=0.1), rng())
        np.testing.assert_allclose(10 * other.prompt, one.prompt, rtol=1e-4)


def test_every_example_is_drawn_before_any_is_drawn_again():
    bowl = Bowl()
    tune(bowl, start(), replace(PLAN, steps=7, batch_size=3), rng())
    times = np.bincount([i for batch in bowl.batches for i in batch], minlength=5)
    assert times.sum() == 21
    assert np.ptp(times) <= 1
    small = Bowl()
    tune(small, start(), replace(PLAN, steps=2, batch_size=9), rng())
    assert [sorted(batch) for batch in small.batches] == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda loss, slope: (float("nan"), slope),
        lambda loss, slope: (float("inf"), slope),
        lambda loss, slope: (loss, slope * np.nan),
        lambda loss, slope: (loss, slope + np.inf),
        lambda loss, slope: (loss, slope * 1e200),
    ],
    ids=["nan loss", "infinite loss", "nan slope", "infinite slope", "overflow"],
)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_step_that_is_no_number_is_left_out_and_counted(spoil, optimiser):
    """What follows is as if that batch had not been drawn, but for its queries."""
    plan = TunePlan(4, 5, 0.1, optimiser)
    found = tune(Bowl({1: spoil}), start(), plan, rng())
    without = tune(Bowl(), start(), replace(plan, steps=3), rng())
    assert found.skipped == 1
    np.testing.assert_array_equal(found.prompt, without.prompt)
    assert found.loss == without.loss
    assert found.queries == 20


def test_losses_that_are_no_numbers_are_left_out_too():
    plan = TunePlan(6, 5, 0.1, zeroth=ZerothOrder(2, 0.1))
    found = tune(Bowl({0: None, 3: None}), start(), plan, rng())
    assert found.skipped == 2
    assert np.isfinite(found.prompt).all()
    assert np.isfinite(found.loss)
    lost = tune(Bowl(dict.fromkeys(range(6))), start(), plan, rng())
    assert lost.skipped == 6
    assert np.isnan(lost.loss)
    np.testing.assert_array_equal(lost.prompt, start())


def test_no_steps_leave_the_start():
    found = tune(Bowl(), start(), replace(PLAN, steps=0), rng())
    np.testing.assert_array_equal(found.prompt, start())
    assert (found.queries, found.skipped) == (0, 0)
    assert np.isnan(found.loss)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": -1}, "-1 steps"),
        ({"batch_size": 0}, "of 0 examples"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": float("inf")}, "rate is inf"),
        ({"unit": -1.0}, "unit is -1.0"),
        ({"norm": -0.1}, "norm -0.1"),
        ({"proximal": float("nan")}, "proximal nan"),
        ({"optimiser": "lion"}, "'lion'"),
    ],
)
def test_wrong_plans_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        replace(PLAN, **wrong)


def test_the_scale_of_the_embeddings():
    backbone = tiny_backbone()
    table = backbone.model.get_input_embeddings().weight[: len(backbone.tokenizer)].numpy()
    assert embedding_scale(backbone) == pytest.approx(float(np.sqrt((table.astype(np.float64) ** 2).mean())))
