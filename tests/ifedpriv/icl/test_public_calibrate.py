"""A public task's vector is what a release of it would be, and coefficients learn from many tasks at once."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import LAYERS, WIDTH, examples, task, tiny_backbone

from defenses.dp.release import ARRAY, Bounded
from defenses.dp.transform import Transform
from defenses.entropy import InsecureSeeded
from defenses.session import Aggregate
from defenses.units import Trust, Unit
from defenses.upload import Layout, UploadKind
from ifedpriv.backbone.each import inject_each
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public_calibrate import (
    PublicPlan,
    PublicTask,
    calibrate_publicly,
    public_centre,
    public_sizes,
    vector_of,
)
from ifedpriv.icl.queries import losses_of, queries_of
from ifedpriv.icl.vectors import Coefficients

SHAPE = (LAYERS, 2, WIDTH)


def made(rows, blank, kind="a"):
    return PublicTask(kind, task(), np.asarray(rows, np.float32), np.asarray(blank, np.float32), ())


def random_task(seed=0, count=30):
    rng = np.random.default_rng(seed)
    return made(rng.normal(size=(count, *SHAPE)) * 2 + 1, rng.normal(size=SHAPE))


# ---- centre and sizes


def test_centre_and_sizes_by_hand():
    """Two tasks, one layer, width 2; in the attention block only the first task's texts differ from its blank."""
    one = made([[[[3, 4], [0, 0]]], [[[0, 0], [6, 8]]], [[[0, 1], [0, 1]]]], [[[0, 0], [0, 0]]])
    two = made([[[[1, 1], [1, 1]]], [[[1, 1], [2, 1]]]], [[[1, 1], [1, 1]]])
    # Means of one: (1, 5/3), (2, 3); of two: (1, 1), (1.5, 1).
    np.testing.assert_allclose(public_centre([one, two]), [[[1, 4 / 3], [1.75, 2]]], rtol=1e-6)
    # Norms: attention 5, 0, 1, 0, 0; MLP 0, 10, 1, 0, 1.
    assert public_sizes([one, two]).tolist() == [[[1.0], [1.0]]]
    assert public_sizes([one]).tolist() == [[[1.0], [1.0]]]
    # The median of 5 and 0 is 2.5.
    half = made(one.rows[:2], one.blank)
    assert public_sizes([half]).tolist() == [[[2.5], [5.0]]]


def test_every_task_weighs_the_same_in_the_centre():
    few, many = made(np.ones((2, *SHAPE)), np.zeros(SHAPE)), made(np.zeros((50, *SHAPE)), np.zeros(SHAPE))
    assert (public_centre([few, many]) == 0.5).all()


def test_a_block_that_texts_leave_alone_is_measured_by_one():
    still = made(np.ones((3, *SHAPE)), np.ones(SHAPE))
    assert (public_sizes([still]) == 1).all()
    assert np.isfinite(vector_of(still, np.arange(3), public_sizes([still]), 0.1, rng())).all()


# ---- vectors


def rng(seed=0):
    return np.random.default_rng(seed)


def test_without_noise_a_vector_is_the_mean_in_any_order():
    some = random_task()
    chosen = np.array([7, 2, 19])
    found = vector_of(some, chosen, public_sizes([some]), 0.0, rng())
    np.testing.assert_allclose(found, some.rows[chosen].mean(axis=0), rtol=1e-5)
    assert found.dtype == np.float32
    again = vector_of(some, chosen[::-1].copy(), public_sizes([some]), 0.0, rng(9))
    assert np.array_equal(found, again)


def test_the_noise_has_the_stated_deviation_before_shrinkage(monkeypatch):
    """Chi-square over 60 vectors of 64 numbers; fails by chance once in 10^6."""
    seen = []
    monkeypatch.setattr("ifedpriv.icl.public_calibrate.shrunk", lambda v, s, b: seen.append((v, s, b)) or v)
    some = random_task()
    sizes = rng(3).uniform(0.5, 3, size=(LAYERS, 2, 1))
    mean = some.rows[:8].mean(axis=0, dtype=np.float64)
    draws = rng(1)
    released = [vector_of(some, np.arange(8), sizes, 0.3, draws) for _ in range(60)]
    noise = np.stack([(v.reshape(SHAPE) - (mean - some.blank) / sizes) for v, _, _ in seen]) / 0.3
    score = float(np.square(noise).sum())
    assert stats.chi2.ppf(5e-7, noise.size) < score < stats.chi2.ppf(1 - 5e-7, noise.size)
    # In the vector's own units it is that times the block's size.
    own = (np.stack(released) - mean) / sizes / 0.3
    assert np.allclose(own, noise, atol=1e-4)
    assert {s for _, s, _ in seen} == {0.3}
    assert all(np.bincount(b).tolist() == [WIDTH] * (2 * LAYERS) for _, _, b in seen)


@pytest.mark.parametrize("noise", [0.02, 0.3, 5.0])
def test_it_is_what_a_release_makes_of_the_same_noised_mean(noise):
    """The sum that `Bounded.take` is given is that of one client, whose noise is drawn already."""
    some = random_task(4, count=12)
    sizes = public_sizes([some])
    scale = np.broadcast_to(sizes, SHAPE).reshape(-1).astype(np.float32)
    blocks = np.repeat(np.arange(2 * LAYERS), WIDTH)
    transform = Transform(some.blank.reshape(-1), scale, None, blocks)
    bounded = Bounded(
        UploadKind.VECTOR, Unit.CLIENT, Trust.LOCAL, transform, clip=100.0, multiplier=noise / 100, bits=24
    )
    terms, draw = bounded.lattice(1), rng(11)
    moved = (some.rows.mean(axis=0, dtype=np.float64) - some.blank) / sizes
    noised = moved + noise * draw.standard_normal(moved.shape)
    total = np.rint(noised.reshape(-1) * terms.steps / terms.clip)
    summed = Aggregate({ARRAY: total.astype(np.float32)}, 1.0, (0,), UploadKind.VECTOR, 0, sums=total)
    layout = Layout.of({"vector": SHAPE})
    released = bounded.take(summed, layout, None, 1, InsecureSeeded(0, "none"))
    assert released.noise == pytest.approx(noise, rel=1e-3)
    found = vector_of(some, np.arange(12), sizes, noise, rng(11))
    np.testing.assert_allclose(found, released.means["vector"], rtol=1e-3, atol=1e-3)
    # Much noise leaves next to nothing but the blank, and little leaves the mean.
    kept = np.linalg.norm(found - some.blank) / np.linalg.norm(some.rows.mean(axis=0) - some.blank)
    assert kept > 0.9 if noise == 0.02 else kept < {0.3: 0.9, 5.0: 3.0}[noise]


# ---- calibration


def ready(turned=False, seed=0):
    """The tiny task, labelled one way or the other, with its texts' activations."""
    backbone, some = tiny_backbone(), examples(24, 30 + seed)
    if turned:
        some = tuple(type(e)(e.text, 1 - e.label) for e in some)
    rows = np.empty((16, *SHAPE), np.float32)
    for chosen, values in activations(backbone, task(), some[:16], position=Position.LABEL):
        rows[chosen] = values
    return PublicTask("a", task(), rows, rows.mean(axis=0), queries_of(backbone, task(), some[16:]))


TASKS = [ready(), ready(seed=1)]


def calibrated(seed=0, tasks=TASKS, start=None, report=lambda _: None, **plan):
    return calibrate_publicly(
        tiny_backbone(),
        tasks,
        centre=public_centre(TASKS),
        sizes=public_sizes(TASKS),
        plan=PublicPlan(**{"steps": 25, "batch_size": 8, "fewest": 4, "most": 12, **plan}),
        rng=rng(seed),
        start=start,
        report=report,
    )


def loss(coefficients):
    """Over all queries of both tasks, with the vectors of all their texts."""
    queries = [query for each in TASKS for query in each.queries]
    centre = public_centre(TASKS)
    vectors = np.stack([each.rows.mean(axis=0) - centre for each in TASKS for _ in each.queries])
    own = torch.from_numpy(coefficients.values.copy()).expand(len(queries), LAYERS, 2, 2)
    with torch.no_grad(), inject_each(tiny_backbone(), torch.from_numpy(vectors), own):
        return float(losses_of(tiny_backbone(), queries).mean())


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_calibration_lowers_the_loss(noise):
    start = Coefficients.uniform(LAYERS, 0.5, 1.0)
    assert loss(calibrated(noise=noise)) < loss(start) - 0.05


def test_it_is_a_function_of_its_seed():
    first = calibrated(steps=4, noise=0.1).values
    assert np.array_equal(first, calibrated(steps=4, noise=0.1).values)
    assert not np.array_equal(first, calibrated(1, steps=4, noise=0.1).values)
    assert not np.array_equal(first, calibrated(steps=4, noise=0.2).values)


def test_it_goes_on_from_where_it_is_told_and_says_how_far_it_is():
    start, told = Coefficients.uniform(LAYERS, 0.2, 0.9), []
    found = calibrated(steps=1, rate=1e-6, start=start, report=told.append)
    np.testing.assert_allclose(found.values, start.values, atol=1e-5)
    assert not np.array_equal(found.values, start.values)
    calibrated(steps=3, report=told.append)
    assert told == [1, 1, 2, 3]


def test_the_rate_falls_to_a_fiftieth(monkeypatch):
    rates, step = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))[1]
    )
    calibrated(steps=50, batch_size=1, rate=0.1)
    np.testing.assert_allclose(rates, 0.1 * (1 - 0.98 * np.arange(50) / 50))


def test_vectors_are_of_as_many_examples_and_as_much_noise_as_planned(monkeypatch):
    seen = []
    real = vector_of

    def spying(one, chosen, sizes, noise, draws):
        seen.append((len(chosen), len(set(chosen.tolist())), noise))
        return real(one, chosen, sizes, noise, draws)

    monkeypatch.setattr("ifedpriv.icl.public_calibrate.vector_of", spying)
    calibrated(steps=60, noise=0.1)
    counts = [count for count, _, _ in seen]
    assert all(count == distinct for count, distinct, _ in seen)
    assert (min(counts), max(counts)) == (4, 12)
    noises = np.array([noise for _, _, noise in seen])
    assert 0.1 / 1.65 < noises.min() < 0.07 < 0.14 < noises.max() < 0.165
    # On a logarithmic scale: as many below the geometric mean as above. 480 draws; 10^-6 two-sided.
    below = int((np.array(counts) < math.sqrt(4 * 12)).sum())
    # Counts up to 6 lie below: ln(6.5 / 4) / ln 3 = 0.442 of the draws.
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], len(counts), math.log(6.5 / 4) / math.log(3))
    assert low <= below <= high
    # A plan that asks for more than there is takes what there is.
    seen.clear()
    calibrated(steps=2, fewest=40, most=90)
    assert {count for count, _, _ in seen} == {16}


def test_a_task_prints_its_name_and_size_only():
    assert repr(TASKS[0]) == "PublicTask('tiny', 16 examples)"
