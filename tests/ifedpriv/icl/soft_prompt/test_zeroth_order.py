"""A client that can only ask for losses finds its way: the estimate is unbiased, and no model is imported."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ifedpriv.errors import InputError
from ifedpriv.icl.soft_prompt import descent, oracle, tune, zeroth_order
from ifedpriv.icl.soft_prompt.oracle import GradientOracle, LossOracle
from ifedpriv.icl.soft_prompt.tune import TunePlan
from ifedpriv.icl.soft_prompt.tune import tune as take_steps
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder, estimate, subspace

L, WIDTH = 2, 4
ALARM = 1e-6
"""How often each statistical test below fails by chance."""


class Quadratic:
    """A loss with no model behind it: half the squared distance from an aim, axes of unequal weight."""

    examples = 6

    def __init__(self, seed=0, length=L, width=WIDTH):
        rng = np.random.default_rng(seed)
        self.aim = rng.normal(size=(length, width))
        self.weights = np.linspace(0.5, 2.0, length * width).reshape(length, width)
        self.queries = 0
        self.asked = []

    def losses(self, prompts, chosen):
        assert prompts.dtype == np.float32
        self.queries += len(prompts) * len(chosen)
        self.asked.append((len(prompts), list(chosen)))
        return (self.weights * (prompts.astype(np.float64) - self.aim) ** 2).sum(axis=(1, 2)) / 2

    def slope(self, prompt):
        return self.weights * (prompt - self.aim)


def estimates(plan, count, basis=None, change=lambda g: g):
    problem, rng = Quadratic(), np.random.default_rng(11)
    point = np.zeros((L, WIDTH), dtype=np.float32)
    found = [change(estimate(problem, point, [0], plan, rng, basis).gradient) for _ in range(count)]
    expected = problem.slope(point)
    return np.array(found), expected if basis is None else basis @ expected.ravel()


def looks_unbiased(found, expected):
    """Hotelling's test of the mean; fails by chance in one of 1 / ALARM."""
    found, expected = found.reshape(len(found), -1), expected.reshape(-1)
    count, size = found.shape
    error = found.mean(axis=0) - expected
    square = count * error @ np.linalg.solve(np.cov(found.T), error)
    return square * (count - size) / (size * (count - 1)) < stats.f.isf(ALARM, size, count - size)


@pytest.mark.parametrize("shape", ["gaussian", "sphere"])
@pytest.mark.parametrize("directions", [1, 4])
@pytest.mark.parametrize("intrinsic", [0, 3])
def test_the_estimate_is_unbiased_on_a_quadratic(shape, directions, intrinsic):
    """Up to float32's rounding of the prompts, which is small against the spread of 4,000 estimates' mean."""
    plan = ZerothOrder(directions, 0.05, shape, intrinsic)
    basis = subspace(intrinsic, L, WIDTH, 5) if intrinsic else None
    assert looks_unbiased(*estimates(plan, 4000, basis))
    for wrong in (lambda g: 1.25 * g, lambda g: g + 0.5):
        assert not looks_unbiased(*estimates(plan, 4000, basis, wrong)), "the test must be able to fail"


def test_the_estimate_by_hand():
    """One direction, written out; the mean over directions, not the sum."""
    problem, point = Quadratic(), np.full((L, WIDTH), 0.3, dtype=np.float32)
    for shape in ("gaussian", "sphere"):
        plan = ZerothOrder(3, 0.1, shape)
        drawn = np.random.default_rng(2).standard_normal((3, L * WIDTH))
        if shape == "sphere":
            drawn *= np.sqrt(L * WIDTH) / np.linalg.norm(drawn, axis=1)[:, None]
        total, seen = np.zeros((L, WIDTH)), []
        for way in drawn.reshape(3, L, WIDTH):
            above = problem.losses((point + 0.1 * way)[None].astype(np.float32), [1, 2])[0]
            below = problem.losses((point - 0.1 * way)[None].astype(np.float32), [1, 2])[0]
            total += (above - below) / 0.2 * way / 3
            seen += [above, below]
        got = estimate(problem, point, [1, 2], plan, np.random.default_rng(2))
        np.testing.assert_allclose(got.gradient, total, rtol=1e-9)
        assert got.loss == pytest.approx(np.mean(seen))


def test_more_directions_spread_less():
    spread = [estimates(ZerothOrder(k, 0.05), 600)[0].var(axis=0).sum() for k in (1, 16)]
    assert spread[1] == pytest.approx(spread[0] / 16, rel=0.3)


def test_the_subspace_is_public_orthogonal_and_scaled():
    basis = subspace(3, L, WIDTH, 5)
    np.testing.assert_allclose(basis @ basis.T, np.eye(3) * L * WIDTH / 3, atol=1e-12)
    again = np.array(basis)
    subspace.cache_clear()
    assert np.array_equal(subspace(3, L, WIDTH, 5), again)
    assert not np.allclose(subspace(3, L, WIDTH, 6), again)
    with pytest.raises(ValueError, match="read-only"):
        basis[0] = 0
    for wrong in (0, L * WIDTH + 1):
        with pytest.raises(InputError, match="a prompt has 8 numbers"):
            subspace(wrong, L, WIDTH, 5)


def zeroth_plan(**changes):
    return replace(TunePlan(400, 3, 0.05, zeroth=ZerothOrder(4, 0.05)), **changes)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_descent_on_losses_alone_reaches_the_aim(optimiser):
    problem = Quadratic()
    assert isinstance(problem, LossOracle)
    assert not isinstance(problem, GradientOracle)
    start = np.zeros((L, WIDTH), dtype=np.float32)
    found = take_steps(problem, start, zeroth_plan(optimiser=optimiser), np.random.default_rng(3))
    before, after = problem.losses(np.stack([start, found.prompt]), [0])
    assert after < before / 500
    assert found.queries == 400 * 2 * 4 * 3


def test_in_a_subspace_the_prompt_stays_in_it_and_reaches_its_best():
    problem, intrinsic = Quadratic(), 3
    plan = zeroth_plan(zeroth=ZerothOrder(4, 0.05, intrinsic=intrinsic), subspace_seed=9)
    start = np.random.default_rng(0).normal(size=(L, WIDTH)).astype(np.float32)
    found = take_steps(problem, start, plan, np.random.default_rng(3))
    basis = subspace(intrinsic, L, WIDTH, 9)
    moved = (found.prompt - start).ravel().astype(np.float64)
    coordinates = np.linalg.lstsq(basis.T, moved, rcond=None)[0]
    np.testing.assert_allclose(basis.T @ coordinates, moved, atol=1e-6)
    scale = np.sqrt(problem.weights.ravel())
    target = scale * (problem.aim - start).ravel()
    best = np.linalg.lstsq(scale[:, None] * basis.T, target, rcond=None)[0]
    np.testing.assert_allclose(coordinates, best, atol=0.02)


def test_all_losses_of_a_step_are_asked_for_at_once():
    problem = Quadratic()
    take_steps(problem, np.zeros((L, WIDTH)), zeroth_plan(steps=5), np.random.default_rng(0))
    assert [count for count, _ in problem.asked] == [8] * 5


@pytest.mark.parametrize(
    "wrong",
    [{"directions": 0}, {"mu": 0.0}, {"mu": float("nan")}, {"shape": "cube"}, {"intrinsic": -1}],
)
def test_wrong_plans_are_refused(wrong):
    with pytest.raises(InputError, match=f"zeroth-order {next(iter(wrong))} is"):
        ZerothOrder(**wrong)


@pytest.mark.parametrize(
    "module", [oracle, zeroth_order, descent, tune], ids=lambda m: m.__name__.rpartition(".")[2]
)
def test_what_works_on_losses_imports_no_model(module):
    """Neither by name nor through what it imports: a process that loads it has no torch."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    named = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    named += [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    allowed = {"__future__", "collections", "dataclasses", "functools", "typing", "numpy"}
    ours = {"ifedpriv.errors", oracle.__name__, zeroth_order.__name__, descent.__name__}
    assert not [name for name in named if name.partition(".")[0] not in allowed and name not in ours]
    code = f"import sys, {module.__name__}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
