"""Calibration moves 4L scalars and nothing else, downhill, by the batches that its seed gives."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone

from ifedpriv.backbone.hooks import inject
from ifedpriv.data.task import Example
from ifedpriv.errors import ModelError
from ifedpriv.icl.calibrate import CalibrationPlan, Calibrator, Loss
from ifedpriv.icl.extract import extract
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.vectors import Coefficients, ContextVector

PLAN = CalibrationPlan(steps=6, batch_size=8, rate=0.02)
START = Coefficients.uniform(LAYERS, 0.1, 1.0)
IDENTITY = Coefficients.identity(LAYERS)


def rng(seed=0):
    return np.random.default_rng(seed)


def calibrate(plan=PLAN, some=None, start=START, seed=0, chosen=None):
    backbone, chosen = tiny_backbone(), chosen or task()
    some = some or examples(8)
    vector = extract(backbone, chosen, some)
    return Calibrator(backbone, chosen, some).run(vector, start, plan, rng(seed))


def loss_of(coefficients, some, kind=Loss.VOCABULARY, chosen=None):
    backbone, chosen = tiny_backbone(), chosen or task()
    calibrator = Calibrator(backbone, chosen, some)
    vector = torch.from_numpy(extract(backbone, chosen, some).values.copy())
    with torch.no_grad(), inject(backbone, vector, torch.from_numpy(coefficients.values.copy())):
        return float(calibrator.loss(calibrator._demonstrations, [example.label for example in some], kind))


@pytest.mark.parametrize("kind", list(Loss))
def test_the_loss_falls(kind):
    some = examples(8)
    found = calibrate(replace(PLAN, loss=kind, steps=20), some)
    before, after = loss_of(START, some, kind), loss_of(found.coefficients, some, kind)
    assert after < before - 0.01
    assert found.loss < before


def test_only_the_scalars_change():
    backbone = tiny_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    calibrate()
    after = backbone.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and not p.requires_grad for p in backbone.model.parameters())


@pytest.mark.parametrize("kind", list(Loss))
def test_every_scalar_gets_the_gradient_that_differences_give(kind):
    backbone, chosen, some = tiny_backbone(), task(), examples(6)
    vector = torch.from_numpy(extract(backbone, chosen, some).values.copy())
    calibrator = Calibrator(backbone, chosen, some)
    classes = [example.label for example in some]
    scalars = torch.from_numpy(START.values.copy()).requires_grad_()
    with inject(backbone, vector, scalars):
        calibrator.loss(calibrator._demonstrations, classes, kind).backward()
    step = 1e-2
    for place in np.ndindex(LAYERS, 2, 2):
        around = []
        for sign in (1, -1):
            moved = START.values.copy()
            moved[place] += sign * step
            around.append(loss_of(Coefficients(moved), some, kind))
        numeric = (around[0] - around[1]) / (2 * step)
        assert float(scalars.grad[place]) == pytest.approx(numeric, rel=0.05, abs=2e-4), place
        assert scalars.grad[place] != 0


def test_the_loss_is_the_mean_over_answer_tokens_by_hand():
    """Labels of two and three tokens; the separator is asked for in generation and nowhere else."""
    backbone = tiny_backbone()
    for chosen, some in (
        (task(("positive", "bad"), gap=" "), [Example("a day", 0), Example("the dog sat", 1)]),
        (generation_task(), [Example("a day", answer="cat"), Example("the dog sat", answer="the mat")]),
    ):
        calibrator = Calibrator(backbone, chosen, some)
        losses = []
        for example in some:
            prompt = chosen.prompt(example.text)
            start = len(backbone.tokenizer(prompt).input_ids)
            end = "" if chosen.label_words else chosen.separator
            ids = backbone.tokenizer(prompt + chosen.answer(example) + end).input_ids
            with torch.no_grad():
                logp = backbone.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            losses.extend(-float(logp[i - 1, ids[i]]) for i in range(start, len(ids)))
        with torch.no_grad():
            got = calibrator.loss(calibrator._demonstrations, [e.label for e in some], Loss.VOCABULARY)
        assert float(got) == pytest.approx(np.mean(losses), abs=1e-5)


def test_the_loss_over_labels_is_the_cross_entropy_of_the_label_logits():
    some = examples(5)
    backbone, chosen = tiny_backbone(), task()
    scores = torch.from_numpy(score_labels(backbone, chosen, [e.text for e in some]))
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([e.label for e in some]))
    assert loss_of(IDENTITY, some, Loss.LABELS) == pytest.approx(float(expected), abs=1e-5)


def distance(found, to):
    return float(np.linalg.norm(found.coefficients.values - to.values))


def test_decay_pulls_to_the_identity():
    start = Coefficients.uniform(LAYERS, 0.8, 0.4)
    free = calibrate(start=start)
    pulled = calibrate(replace(PLAN, decay=8.0), start=start)
    assert distance(pulled, IDENTITY) < 0.7 * distance(free, IDENTITY)
    still = calibrate(replace(PLAN, rate=1e-9, decay=0.0), start=start)
    np.testing.assert_allclose(still.coefficients.values, start.values, atol=1e-6)


def test_decay_alone_shrinks_by_the_factor_it_states():
    """Beside the very step that Adam takes without it."""
    start = Coefficients.uniform(LAYERS, 0.8, 0.4)
    one = replace(PLAN, steps=1)
    free = calibrate(one, start=start).coefficients.values
    pulled = calibrate(replace(one, decay=5.0), start=start).coefficients.values
    np.testing.assert_allclose(pulled, free - one.rate * 5.0 * (free - IDENTITY.values), atol=1e-6)


def test_the_proximal_term_pulls_to_the_broadcast():
    start = Coefficients.uniform(LAYERS, 0.3, 0.8)
    free = calibrate(replace(PLAN, steps=20), start=start)
    pulled = calibrate(replace(PLAN, steps=20, proximal=50.0), start=start)
    assert distance(pulled, start) < 0.5 * distance(free, start)


def test_what_is_not_free_does_not_move():
    free = np.zeros((LAYERS, 2, 2), dtype=bool)
    free[1, 0, 1] = True
    found = calibrate(replace(PLAN, free=free, decay=1.0)).coefficients.values
    assert (found[~free] == START.values[~free]).all()
    assert found[1, 0, 1] != START.values[1, 0, 1]


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    some = examples(20)
    one, same, other = (calibrate(some=some, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.coefficients.values, same.coefficients.values)
    assert one.loss == same.loss
    assert not np.array_equal(one.coefficients.values, other.coefficients.values)


def test_a_calibrator_keeps_nothing_from_one_round_to_the_next():
    """A resumed run makes a new one, and must find the same."""
    backbone, chosen, some = tiny_backbone(), task(), examples(12)
    vector = extract(backbone, chosen, some)
    used = Calibrator(backbone, chosen, some)
    used.run(vector, START, PLAN, rng(5))
    again = used.run(vector, START, PLAN, rng(6)).coefficients.values
    fresh = Calibrator(backbone, chosen, some).run(vector, START, PLAN, rng(6)).coefficients.values
    assert np.array_equal(again, fresh)


@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 6), st.integers(0, 2**32))
def test_every_example_is_drawn_before_any_is_drawn_again(size, batch_size, steps, seed):
    calibrator = Calibrator.__new__(Calibrator)
    lengths = rng(seed).integers(5, 30, size=size)
    calibrator._demonstrations = [type("D", (), {"ids": range(n)}) for n in lengths]
    plan = CalibrationPlan(steps, batch_size, 0.1)
    batches = calibrator._draw(plan, rng(seed))
    assert batches == calibrator._draw(plan, rng(seed))
    assert [len(batch) for batch in batches] == [min(batch_size, size)] * steps
    times = np.bincount([i for batch in batches for i in batch], minlength=size)
    assert times.max() - times.min() <= 1


def test_batches_are_cut_by_length():
    calibrator = Calibrator(tiny_backbone(), task(), examples(24))
    lengths = [len(d.ids) for d in calibrator._demonstrations]
    batches = calibrator._draw(CalibrationPlan(4, 6, 0.1), rng())
    spans = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in batches)
    assert all(low >= high for (_, high), (low, _) in pairwise(spans))


def test_the_step_is_adams():
    """One step of Adam from rest moves every scalar by the rate, up to Adam's epsilon."""
    found = calibrate(replace(PLAN, steps=1, rate=0.05)).coefficients.values
    np.testing.assert_allclose(np.abs(found - START.values), 0.05, rtol=1e-2)


def test_a_vector_of_another_width_is_refused():
    calibrator = Calibrator(tiny_backbone(), task(), examples(4))
    with pytest.raises(ModelError):
        calibrator.run(ContextVector(np.zeros((LAYERS, 2, WIDTH + 1)), 1), START, PLAN, rng())
