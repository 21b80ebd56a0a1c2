"""The shadow statistic finds what is there, and nothing where nothing is; shadow runs are the runs they stand for."""

import numpy as np
import pytest
from benchmarked import benchmark
from scipy.special import ndtr

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.embedded import MODEL_PATH

shadows = benchmark("_shadows")


def gaussians(apart, n, p, seed):
    """Two clouds whose best test has separation ``apart``, in correlated coordinates of unequal scale."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(p, p)) / np.sqrt(p) + np.eye(p)
    direction = rng.normal(size=p)
    shift = mix @ (apart * direction / np.linalg.norm(direction))
    scale = np.geomspace(1, 1e-3, p)
    members = (rng.normal(size=(n, p)) @ mix.T + shift) * scale
    return members, (rng.normal(size=(n, p)) @ mix.T) * scale


def test_the_statistic_reaches_the_best_power_on_known_gaussians():
    members, others = gaussians(1.5, 4000, 8, 0)
    auc, rate = shadows.power(members, others)
    # The best AUC is Φ(1.5/√2) = 0.856, its standard error here below 0.006: six of them, once in 10^8 runs.
    assert auc == pytest.approx(ndtr(1.5 / np.sqrt(2)), abs=0.036)
    assert 0.45 < rate < 0.70


def test_more_coordinates_than_runs_do_not_break_it():
    members, others = gaussians(6.0, 30, 100, 1)
    assert shadows.power(members, others)[0] > 0.7


def test_permuted_labels_leave_chance():
    members, others = gaussians(3.0, 500, 20, 2)
    rng = np.random.default_rng(3)
    found = np.mean([shadows.power(*shadows.permuted(members, others, rng))[0] for _ in range(20)])
    # An AUC of 250 against 250 has a standard error of 0.026; the mean of 40 stays within 0.03 but for 10^-10.
    assert found == pytest.approx(0.5, abs=0.03)


def test_coordinates_that_never_vary_count_for_nothing():
    members, others = gaussians(1.5, 400, 4, 4)
    still = np.full((400, 1), 7.0)
    wider = np.hstack([members, still]), np.hstack([others, still])
    assert shadows.power(*wider) == pytest.approx(shadows.power(members, others))


def test_the_shrunk_covariance_is_ledoit_and_wolfs_written_out():
    rows = np.random.default_rng(5).normal(size=(12, 5)) * [1, 2, 3, 4, 5]
    sample = rows.T @ rows / 12
    target = np.trace(sample) / 5 * np.eye(5)
    noise = sum(np.square(np.outer(x, x) - sample).sum() for x in rows) / 12**2
    weight = min(1, noise / np.square(sample - target).sum())
    assert shadows.shrunk_covariance(rows) == pytest.approx(weight * target + (1 - weight) * sample)


def test_shadow_runs_side_by_side_are_the_federations_own():
    leak = benchmark("coefficient_leak")
    backbone = Backbone.load(str(MODEL_PATH))
    config = leak.configuration(3, leak.federated(2, 0.1))
    setup = leak.protect(config, leak.gather(config, backbone=backbone))
    real = leak.rounds_of(setup, 11, until=3)
    found = leak.shadow_runs(setup, real[0], [10, 11])
    for number in (1, 2):
        assert found[1, number - 1] == pytest.approx(real[number].arrays["coefficients"], abs=2e-4)
    assert not np.allclose(found[0], found[1], atol=1e-2)
