"""Clusters of prompts: public directions, one block in a sum, and Lloyd's step from sums alone."""

import numpy as np
import pytest

from defenses.prototypes.slots import MEMBERS
from defenses.prototypes.spherical import nearest
from ifedpriv.methods import ficpd_slots as slots

K, L, D = 3, 2, 5


def drawn(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, L, D)).astype(np.float32)


def mean_of(blocks):
    return {name: np.mean([block[name] for block in blocks], axis=0) for name in blocks[0]}


@pytest.mark.parametrize("clusters", [1, 2, 3, 4, 7])
def test_directions_to_begin_with_are_opposite_pairs_at_right_angles(clusters):
    found = slots.frame(clusters, L, D, (1, 2)).reshape(clusters, -1)
    products = found @ found.T
    expected = np.eye(clusters)
    for k in range(0, clusters - 1, 2):
        expected[k, k + 1] = expected[k + 1, k] = -1
    np.testing.assert_allclose(products, expected, atol=1e-12)
    assert np.array_equal(found, slots.frame(clusters, L, D, (1, 2)).reshape(clusters, -1))
    if clusters > 1:
        assert not np.allclose(found, slots.frame(clusters, L, D, (1, 3)).reshape(clusters, -1))


def test_two_opposite_groups_are_parted_whatever_the_seed():
    away = drawn(1)[0]
    for seed in range(50):
        centres = slots.frame(2, L, D, (seed,))
        assert {nearest(away, centres), nearest(-away, centres)} == {0, 1}


def test_more_clusters_than_a_prompt_has_numbers_still_have_directions():
    found = slots.frame(9, 1, 2, (0,))
    assert found.shape == (9, 1, 2) and (np.abs(found).sum(axis=(1, 2)) > 0).all()


def test_a_block_holds_one_client_and_nothing_else():
    change = drawn(1)[0]
    block = slots.in_slot(1, change, K)
    layout = slots.prompt_layout(K, L, D)
    assert {name: list(array.shape) for name, array in block.items()} == layout.to_dict()
    np.testing.assert_array_equal(block[slots.slot_name(1)], change)
    assert not block[slots.slot_name(0)].any() and not block[slots.slot_name(2)].any()
    assert block[MEMBERS].tolist() == [0, 1, 0]
    assert not any(array.any() for array in slots.nothing(K, L, D).values())


def test_lloyds_step_is_the_members_mean():
    """From the sum alone: the same as from single prompts, with a cluster that is too small left as it was."""
    points, prototypes, where = drawn(6), drawn(K, 1), [0, 2, 2, 0, 1, 2]
    blocks = [slots.in_slot(k, point - prototypes[k], K) for point, k in zip(points, where, strict=True)]
    found, new, members = slots.lloyd(mean_of(blocks), 6, prototypes, 2)
    assert new.tolist() == [True, False, True] and members.tolist() == [2, 1, 3]
    np.testing.assert_allclose(found[0], points[[0, 3]].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[2], points[[1, 2, 5]].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(found[1], prototypes[1])
    mean = slots.pooled(found, members, new, prototypes[0])
    np.testing.assert_allclose(mean, points[[0, 1, 2, 3, 5]].mean(axis=0), atol=1e-6)


def test_an_empty_cluster_keeps_its_prompt_whatever_noise_is_in_its_sum():
    prototypes = drawn(K, 1)
    means = mean_of([slots.in_slot(0, drawn(1)[0], K)] * 4)
    means[slots.slot_name(1)] += 3.0
    means[MEMBERS] = means[MEMBERS] + np.asarray([0, 0.1, -0.2], dtype=np.float32)
    found, new, _ = slots.lloyd(means, 4, prototypes, 1, noise=1e-9)
    assert new.tolist() == [True, False, False]
    np.testing.assert_array_equal(found[1:], prototypes[1:])
    other = drawn(1, 7)[0]
    assert slots.pooled(found, np.zeros(K), np.zeros(K, dtype=bool), other) is other


def test_changes_that_are_mostly_noise_move_a_prompt_little():
    prototypes, change = drawn(K, 1), drawn(1, 5)[0]
    means = mean_of([slots.in_slot(0, change, K)] * 4)
    moved = {}
    for noise in (0.0, 0.3, 100.0):
        found, _, _ = slots.lloyd(means, 4, prototypes, 1, noise)
        moved[noise] = np.linalg.norm(found[0] - prototypes[0])
    assert moved[100.0] == 0 < moved[0.3] < moved[0.0] == pytest.approx(np.linalg.norm(change), rel=1e-5)


def test_clusters_that_nobody_has_been_in_lie_where_they_began():
    prototypes, origin, begin = drawn(K, 1), drawn(1, 2)[0], slots.frame(K, L, D, (0,))
    found = slots.directions(prototypes, origin, np.asarray([True, False, True]), begin)
    np.testing.assert_array_equal(found[1], begin[1])
    np.testing.assert_allclose(found[0], prototypes[0].astype(np.float64) - origin)
