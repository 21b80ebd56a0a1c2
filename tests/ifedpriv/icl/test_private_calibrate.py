"""Gradients of single examples, samples, and noised steps."""

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone

from defenses.entropy import InsecureSeeded
from ifedpriv.backbone.each import inject_each, per_example
from ifedpriv.backbone.hooks import inject
from ifedpriv.data.task import Example
from ifedpriv.errors import ModelError
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.private_calibrate import (
    PrivateSteps,
    adam_step,
    calibrate_privately,
    gradient_rows,
    poisson_sample,
)
from ifedpriv.icl.vectors import Coefficients, ContextVector


def parts(seed=0):
    rng = np.random.default_rng(seed)
    vector = ContextVector(rng.normal(size=(LAYERS, 2, WIDTH)).astype(np.float32), 4)
    at = Coefficients((rng.normal(size=(LAYERS, 2, 2)) * 0.2 + [0.1, 1.0]).astype(np.float32))
    return vector, at


def alone(objective, vector, at, index):
    """The gradient of one example by the usual way."""
    scalars = torch.from_numpy(at.values.copy()).requires_grad_()
    with inject(tiny_backbone(), torch.from_numpy(vector.values.copy()), scalars):
        objective.loss_of([index]).backward()
    return scalars.grad.numpy()


@pytest.mark.parametrize("words", ["labels", "answers"])
def test_each_row_is_the_gradient_of_that_example_alone(words):
    wording = task() if words == "labels" else generation_task()
    some = examples(7) if words == "labels" else [Example(e.text, answer=e.text[:9]) for e in examples(7)]
    objective = Objective(tiny_backbone(), wording, some)
    vector, at = parts()
    (found,) = gradient_rows(tiny_backbone(), objective, vector, at, range(7))
    for index in range(7):
        np.testing.assert_allclose(found[index], alone(objective, vector, at, index), rtol=2e-3, atol=2e-5)


def test_rows_come_for_the_chosen_and_not_where_nothing_moves():
    objective = Objective(tiny_backbone(), task(), examples(130))
    vector, at = parts()
    free = np.zeros((LAYERS, 2, 2), dtype=bool)
    free[0] = True
    found = list(gradient_rows(tiny_backbone(), objective, vector, at, range(1, 130), free))
    assert [len(batch) for batch in found] == [64, 64, 1]
    assert not np.concatenate(found)[:, 1].any()
    assert np.concatenate(found)[:, 0].any()
    assert not list(gradient_rows(tiny_backbone(), objective, vector, at, []))


def test_coefficients_of_each_example_must_fit_the_model_and_leave_no_trace():
    vector = torch.zeros(LAYERS, 2, WIDTH)
    with pytest.raises(ModelError, match="the coefficients of each example have shape"):
        inject_each(tiny_backbone(), vector, torch.zeros(3, 1, 2, 2)).__enter__()
    with inject_each(tiny_backbone(), vector, torch.ones(3, LAYERS, 2, 2)):
        with pytest.raises(ModelError, match="carries an injection already"):
            inject(tiny_backbone(), vector, torch.ones(LAYERS, 2, 2)).__enter__()
    with pytest.raises(RuntimeError, match="gone wrong"):
        per_example(tiny_backbone(), vector, torch.ones(LAYERS, 2, 2), _wrong, 3)
    with inject(tiny_backbone(), vector, torch.ones(LAYERS, 2, 2)):
        pass


def _wrong():
    raise RuntimeError("gone wrong")


def test_every_example_is_sampled_with_the_stated_chance_and_by_itself():
    """Chi-square over 200 examples and 500 samples, and of pairs; each fails by chance once in 10^6."""
    entropy = InsecureSeeded(1, "sample")
    taken = np.zeros((500, 200))
    for row in taken:
        row[poisson_sample(200, 0.15, entropy)] = 1
    counts = taken.sum(axis=0)
    score = np.square(counts - 75).sum() / (500 * 0.15 * 0.85)
    assert stats.chi2.ppf(5e-7, 200) < score < stats.chi2.ppf(1 - 5e-7, 200)
    sizes = taken.sum(axis=1)
    # Samples of a fixed size would not vary: Poisson's do, by n q (1 - q).
    spread = np.square(sizes - 30).sum() / (200 * 0.15 * 0.85)
    assert stats.chi2.ppf(5e-7, 500) < spread < stats.chi2.ppf(1 - 5e-7, 500)
    assert poisson_sample(5, 1.0, entropy) == [0, 1, 2, 3, 4]
    assert poisson_sample(0, 0.5, entropy) == []


def run(multiplier, steps=6, rate=1.0, seed=0, **more):
    objective = Objective(tiny_backbone(), task(), examples(12))
    vector, at = parts()
    terms = PrivateSteps(rate, 1.0, multiplier)
    found = calibrate_privately(
        tiny_backbone(),
        objective,
        vector,
        at,
        steps=steps,
        learning_rate=0.05,
        terms=terms,
        entropy=InsecureSeeded(seed, "steps"),
        **more,
    )
    return objective, vector, at, found


def mean_loss(objective, vector, coefficients):
    tensors = (torch.from_numpy(a.values.copy()) for a in (vector, coefficients))
    with torch.no_grad(), inject(tiny_backbone(), *tensors):
        return float(objective.loss_of(range(12)))


def test_with_hardly_any_noise_the_loss_falls_and_with_much_it_is_a_random_walk():
    objective, vector, at, found = run(1e-3)
    assert mean_loss(objective, vector, found) < mean_loss(objective, vector, at) - 0.01
    # Adam's steps have the size of its rate whatever the gradient, so noise moves just as far, elsewhere.
    one, other = (run(1e3, seed=seed)[3].values - at.values for seed in (1, 2))
    assert np.abs(one - other).max() > 0.05


def test_the_same_entropy_gives_the_same_steps_and_an_empty_sample_is_one_too():
    assert (run(1.0, rate=0.5)[3].values == run(1.0, rate=0.5)[3].values).all()
    assert (run(1.0, rate=0.5)[3].values != run(1.0, rate=0.5, seed=1)[3].values).any()
    assert np.isfinite(run(1.0, rate=1e-9)[3].values).all()


def test_what_may_not_move_stays():
    free = np.zeros((LAYERS, 2, 2), dtype=bool)
    free[0, 0] = True
    _, _, at, found = run(1.0, free=free)
    assert (found.values[~free] == at.values[~free]).all()
    assert (found.values[free] != at.values[free]).all()


def test_the_noise_on_a_step_is_the_promised_one(monkeypatch):
    """The gradient that Adam gets, less the clipped sum: chi-square over 600 numbers, 1e-6."""
    seen = []
    step = torch.optim.Adam.step

    def spying(self, *args, **kwargs):
        seen.append(self.param_groups[0]["params"][0].grad.clone().numpy())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spying)
    run(50.0, steps=75, rate=1e-9)
    noise = np.concatenate([gradient.ravel() for gradient in seen])
    assert len(noise) == 75 * LAYERS * 4
    score = float(np.square(noise / 50.0).sum())
    assert stats.chi2.ppf(5e-7, len(noise)) < score < stats.chi2.ppf(1 - 5e-7, len(noise))
    assert not stats.chi2.ppf(5e-7, len(noise)) < score / 4 < stats.chi2.ppf(1 - 5e-7, len(noise))


def test_a_step_of_everybody_is_torchs_adam():
    rng = np.random.default_rng(3)
    scalars = rng.normal(size=(2, 2)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(scalars.copy()))
    optimizer = torch.optim.Adam([parameter], lr=0.07)
    mean = square = np.zeros((2, 2), dtype=np.float32)
    for number in range(1, 6):
        gradient = rng.normal(size=(2, 2)).astype(np.float32)
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        scalars, mean, square = adam_step(scalars, gradient, mean, square, step=number, rate=0.07)
    np.testing.assert_allclose(scalars, parameter.detach().numpy(), rtol=1e-5)
