"""A noised sum as an attacker knows it: what is left of an example, and how much noise, are as the defense has them."""

from functools import cache

import numpy as np
import pytest

from attacks._base.noised_sum import NoisedSum
from attacks._readings.read_back import vector_of
from defenses.dp.release import ARRAY, Bounded
from defenses.dp.transform import Transform
from defenses.entropy import InsecureSeeded
from defenses.records import Records
from defenses.units import Trust, Unit
from defenses.upload import Layout, UploadKind

SHAPE = (2, 2, 6)
SIZE = 24
ROSTER = 3
WAYS = ({}, {"by_block": True}, {"rank": 5}, {"unit": Unit.CLIENT}, {"unit": Unit.CLIENT, "rank": 5})


@cache
def release(
    by_block=False, rank=0, unit=Unit.EXAMPLE, clip=2.0, multiplier=0.5, trust=Trust.LOCAL
) -> Bounded:
    rng = np.random.default_rng(7)
    basis = np.linalg.qr(rng.normal(size=(SIZE, rank)))[0].T if rank else None
    transform = Transform(
        rng.normal(size=SIZE).astype(np.float32),
        np.repeat(np.geomspace(0.1, 3, 4), 6).astype(np.float32),
        basis,
        np.repeat(np.arange(4), 6),
    )
    return Bounded(
        UploadKind.VECTOR, unit, trust, transform, clip, multiplier, by_block=by_block, shrink=False
    )


def known(of: Bounded) -> NoisedSum:
    return NoisedSum.of(of, SHAPE, of.lattice(ROSTER).share, ROSTER)


def examples(of: Bounded, count: int, seed: int, size: float = 2.0):
    """About the centre, most of them longer than the clip."""
    rng = np.random.default_rng(seed)
    rows = of.transform.centre + size * of.transform.scale * rng.normal(size=(count, SIZE))
    return rows.reshape(count, *SHAPE).astype(np.float32)


def records(of: Bounded, values) -> Records:
    layout = Layout.of({"vector": SHAPE})
    return Records(layout, iter([values.reshape(len(values), -1)]), 0, UploadKind.VECTOR)


@pytest.mark.parametrize("how", [{}, {"by_block": True}, {"rank": 5}, {"by_block": True, "clip": 40.0}])
def test_what_is_left_of_an_example_is_what_the_defense_adds_to_the_sum(how):
    """Row by row, to the error of making it whole."""
    of = release(**how)
    values = examples(of, 40, 0)
    terms = of.lattice(ROSTER)
    whole = of.alone(records(of, values), ROSTER, InsecureSeeded(0, "test"))
    added = of.transform.back(whole[:, : of.rank] * (terms.clip / terms.steps))
    found = known(of).left_of(values).reshape(len(values), -1)
    half_a_step = known(of).grain.reshape(-1) * np.sqrt(3)
    assert (
        np.abs(found - added) < half_a_step * (1.01 if of.rank == SIZE else np.sqrt(of.rank)) + 1e-5
    ).all()
    short = np.allclose(found, values.reshape(len(values), -1), atol=1e-4)
    assert short == (how.get("clip") == 40.0)


def test_an_example_is_not_clipped_where_clients_are_the_units():
    """What is clipped there is a client's vector; of an example only its directions are known to be left."""
    plain, projected = release(unit=Unit.CLIENT), release(unit=Unit.CLIENT, rank=5)
    values = examples(plain, 30, 1)
    assert np.array_equal(known(plain).left_of(values), values)
    found = known(projected).left_of(values).reshape(30, -1)
    moved = projected.transform.forward(found)
    assert np.allclose(moved, projected.transform.forward(values.reshape(30, -1)), atol=1e-4)
    assert np.linalg.matrix_rank(found - projected.transform.centre, tol=1e-3) == 5
    assert not known(plain).counts_examples
    assert known(release()).counts_examples


@pytest.mark.parametrize("how", WAYS)
def test_the_noise_that_is_told_is_the_noise_that_is_there_in_each_number(how):
    """600 releases of the same clients; both of what is read back, and of what a control draws.

    A deviation over 600 draws has a relative standard error of 0.029 (the noise is Gaussian but for its grain). Of 24
    numbers and 10 cases all lie within 6 of these but for a chance of 1e-6.
    """
    of = release(**how)
    told = known(of)
    values = examples(of, 1 if of.unit is Unit.CLIENT else 20, 2)
    sent = of.several(records(of, values), None, ROSTER, InsecureSeeded(3, "test"), 600)
    terms = of.lattice(ROSTER)
    if terms.counted:
        # What is tested is the noise of the sum; the count has its own.
        sent[:, -1] = 20 * terms.unit
    read = np.stack([vector_of(row.astype(np.float64), of, ROSTER)[0] for row in sent])
    units = 20.0 if terms.counted else 1.0
    expected = told.in_numbers(units).reshape(-1)
    assert expected.max() > 5 * expected.min()
    assert np.abs(read.std(axis=0) / expected - 1).max() < 6 * 0.029
    rng = np.random.default_rng(4)
    drawn = np.stack([told.drawn(rng, units).reshape(-1) for _ in range(600)])
    assert np.abs(drawn.std(axis=0) / expected - 1).max() < 6 * 0.029
    # In units of the noise along kept directions it is the same in all of these, and nothing elsewhere.
    white = (read - read.mean(axis=0)) / told.noise_over(units).reshape(-1)
    values = np.linalg.eigvalsh(white.T @ white / 600)[::-1]
    assert 0.55 < values[of.rank - 1] <= values[0] < 1.55
    assert values[of.rank :].max(initial=0.0) < 1e-3


def test_a_release_of_the_servers_leaves_no_noise_in_single_uploads():
    of = release(trust=Trust.CENTRAL)
    assert of.lattice(ROSTER).share == 0
    told = known(of)
    assert not told.noisy
    assert told.grain.min() > 0
    assert known(release()).noisy


def test_what_differs_for_an_attacker_has_another_key():
    keys = {known(release(**how)).key for how in (*WAYS, {"clip": 1.0}, {"multiplier": 1.0})}
    assert len(keys) == len(WAYS) + 2
    assert known(release()).key == known(release()).key
    assert ARRAY not in repr(known(release()))


@pytest.mark.parametrize("how", WAYS)
def test_of_no_examples_nothing_is_left(how):
    """Behind a vector of one example stand no others that somebody could know."""
    assert known(release(**how)).left_of(np.zeros((0, *SHAPE), dtype=np.float32)).shape == (0, *SHAPE)
