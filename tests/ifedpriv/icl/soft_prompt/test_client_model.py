"""Losses of many prompts at once are those of each alone; every query is counted; a black box is black."""

import numpy as np
import pytest
import torch
from tiny import WIDTH, examples, generation_task, task, tiny_backbone

from ifedpriv.data.task import Example
from ifedpriv.errors import InputError, ModelError
from ifedpriv.icl.objective import Loss, Objective
from ifedpriv.icl.soft_prompt.client_model import BlackBox, WhiteBox
from ifedpriv.icl.soft_prompt.oracle import GradientOracle, LossOracle
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt

CASES = {
    "labels": (task(), examples(9), Loss.LABELS),
    "vocabulary": (task(), examples(9), Loss.VOCABULARY),
    "several tokens": (task(("positive", "bad"), gap=" "), examples(9), Loss.LABELS),
    "generation": (
        generation_task(),
        [Example(f"day {i}", answer="cat" * (1 + i % 3)) for i in range(9)],
        Loss.LABELS,
    ),
}


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


def prompts(count=3, length=4, seed=0):
    return np.random.default_rng(seed).normal(size=(count, length, WIDTH)).astype(np.float32) * 0.4


def alone(values, some, chosen, kind, which):
    with SoftPrompt(values).on(tiny_backbone()), torch.no_grad():
        return float(Objective(tiny_backbone(), some, chosen).loss_of(which, kind))


def box(case, cls=WhiteBox, **changes):
    some, chosen, kind = case
    return cls(tiny_backbone(), some, chosen, loss=kind, **changes)


@pytest.mark.parametrize("rows_per_pass", [1, 5, 64])
def test_losses_are_the_objectives_for_each_prompt_alone(case, rows_per_pass):
    some, chosen, kind = case
    which, bank = [7, 0, 3, 4, 8], prompts()
    for cls in (WhiteBox, BlackBox):
        oracle = box(case, cls, rows_per_pass=rows_per_pass)
        got = oracle.losses(bank, which)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, [alone(p, some, chosen, kind, which) for p in bank], atol=1e-5)
        assert oracle.queries == 3 * 5
        oracle.losses(bank[:1], [2])
        assert oracle.queries == 3 * 5 + 1
        assert oracle.examples == 9
    assert np.ptp(got) > 1e-3


@pytest.mark.parametrize("rows_per_pass", [2, 64])
def test_the_gradient_is_that_of_the_loss(case, rows_per_pass):
    oracle, which = box(case, rows_per_pass=rows_per_pass), [7, 0, 3, 4, 8]
    point = prompts(1)[0]
    loss, slope = oracle.gradient(point, which)
    assert oracle.queries == 5
    assert loss == pytest.approx(float(oracle.losses(point[None], which)[0]), abs=1e-5)
    assert slope.dtype == np.float64
    assert slope.shape == point.shape
    step, rng = 3e-3, np.random.default_rng(1)
    for _ in range(3):
        way = rng.normal(size=point.shape)
        around = np.stack([point + step * way, point - step * way]).astype(np.float32)
        above, below = oracle.losses(around, which)
        expected = (above - below) / (2 * step)
        assert float((slope * way).sum()) == pytest.approx(expected, abs=0.02 * np.linalg.norm(slope))
    assert all(p.grad is None for p in tiny_backbone().model.parameters())


def test_the_same_question_has_the_same_answer_to_the_digit(case):
    one, other = box(case), box(case)
    assert np.array_equal(one.losses(prompts(), [1, 2]), other.losses(prompts(), [1, 2]))
    assert one.gradient(prompts()[0], [1, 2])[0] == other.gradient(prompts()[0], [1, 2])[0]
    assert np.array_equal(one.gradient(prompts()[0], [1, 2])[1], other.gradient(prompts()[0], [1, 2])[1])


def test_a_black_box_has_nothing_public_but_losses():
    black = box(CASES["labels"], BlackBox)
    assert {name for name in dir(black) if not name.startswith("_")} == {"examples", "losses", "queries"}
    assert isinstance(black, LossOracle)
    assert not isinstance(black, GradientOracle)
    assert isinstance(box(CASES["labels"]), GradientOracle)
    with pytest.raises(AttributeError):
        black.gradient  # noqa: B018


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(InputError, match="no examples"):
        WhiteBox(tiny_backbone(), task(), [])
    with pytest.raises(InputError, match="rows_per_pass is 0"):
        box(CASES["labels"], rows_per_pass=0)
    oracle = box(CASES["labels"])
    with pytest.raises(ModelError, match=f"takes \\(tokens, {WIDTH}\\)"):
        oracle.losses(np.zeros((1, 2, WIDTH + 1), dtype=np.float32), [0])
    with pytest.raises(InputError, match="of a soft prompt stand in front"):
        oracle.losses(np.zeros((1, 250, WIDTH), dtype=np.float32), [0])
