"""Clusters of clients found from sums alone, on sketches whose groups are known."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from defenses.prototypes.spherical import spherical_kmeans, unit
from defenses.session import Aggregate
from ifedpriv.measure.agreement import adjusted_rand
from ifedpriv.methods.clustering import ALIVE, CENTRES, COUNTS, Clustering, Phase, phases
from ifedpriv.methods.method import State
from ifedpriv.methods.specs import ClustersSpec

Sketches = NDArray[np.float32]


def planted(
    groups: Sequence[int], size: int = 24, spread: float = 0.35, seed: int = 0
) -> tuple[Sketches, list[int]]:
    """Sketches around one direction for each group, and which group each is of."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(len(groups), size)))
    truth = [group for group, members in enumerate(groups) for _ in range(members)]
    noisy = centres[truth] + rng.normal(size=(len(truth), size)) * spread / np.sqrt(size)
    return unit(noisy).astype(np.float32), truth


def played(
    spec: ClustersSpec, sketches: Sketches, lost: Sequence[tuple[int, int]] = ()
) -> tuple[Clustering, State]:
    """All rounds; ``lost`` names clients that are missing from a round."""
    clustering = Clustering(spec, sketches.shape[1], seed=0)
    state = State(0, clustering.initial())
    for number, phase in enumerate(clustering.phases):
        who = [client for client in range(len(sketches)) if (number, client) not in lost]
        uploads = [clustering.gives(state, phase, sketches[client]) for client in who]
        kind, layout = clustering.asks(phase)
        assert all(upload.layout == layout and upload.kind is kind for upload in uploads)
        for upload in clustering.broadcasts(state, phase):
            state = state.with_arrays(upload.arrays)
        means = {name: np.mean([u.arrays[name] for u in uploads], axis=0) for name in layout.names}
        state = clustering.took(state, phase, Aggregate(means, len(who), tuple(who), kind, number))
    return clustering, state


def slots(clustering: Clustering, state: State, sketches: Sketches) -> list[int]:
    return [clustering.slot(state, sketch) for sketch in sketches]


@pytest.mark.parametrize("groups", [(4, 4), (3, 9), (4, 4, 4), (3, 5, 4, 6)])
@pytest.mark.parametrize("number", ["known", "auto"])
def test_planted_groups_are_found(groups: tuple[int, ...], number: str) -> None:
    sketches, truth = planted(groups)
    spec = ClustersSpec(number="auto" if number == "auto" else len(groups), min_members=3)
    clustering, state = played(spec, sketches)
    assert adjusted_rand(slots(clustering, state, sketches), truth) == 1
    assert int(state.arrays[ALIVE].sum()) == len(groups)
    assert sorted(c for c in np.rint(state.arrays[COUNTS]) if c) == sorted(groups)


def test_sums_find_what_k_means_finds_that_sees_every_sketch() -> None:
    """Groups that overlap: the federation's clusters agree with the truth no worse than the best of 20 restarts."""
    ours, theirs = [], []
    for seed in range(10):
        sketches, truth = planted((6, 6, 6), spread=1.6, seed=seed)
        clustering, state = played(ClustersSpec(number=3, steps=2), sketches)
        ours.append(adjusted_rand(slots(clustering, state, sketches), truth))
        theirs.append(
            adjusted_rand(list(spherical_kmeans(sketches, 3, np.random.default_rng(seed)).labels), truth)
        )
    assert np.mean(ours) > 0.5 and np.mean(ours) >= np.mean(theirs) - 0.05


def test_one_group_is_one_prototype() -> None:
    sketches = planted((12,), spread=0.5)[0]
    clustering, state = played(ClustersSpec(number="auto", gap=2.0), sketches)
    assert state.arrays[ALIVE].sum() == 1 and set(slots(clustering, state, sketches)) == {0}


def test_a_cluster_below_the_agreed_size_is_not_released_and_its_clients_join_another() -> None:
    sketches, truth = planted((6, 6, 2))
    clustering, state = played(ClustersSpec(number=3, min_members=3), sketches)
    found = slots(clustering, state, sketches)
    assert state.arrays[ALIVE].sum() == 2
    assert adjusted_rand(found[:12], truth[:12]) == 1
    assert set(found[12:]) <= set(found[:12])


def test_too_many_clusters_leave_the_surplus_empty_or_split_a_group() -> None:
    sketches, truth = planted((6, 6))
    clustering, state = played(ClustersSpec(number=5, min_members=1), sketches)
    found = slots(clustering, state, sketches)
    # Nobody of one group shares a cluster with the other.
    assert len({(f, t) for f, t in zip(found, truth, strict=True)}) == len(set(found))
    assert all(state.arrays[ALIVE][slot] > 0 for slot in found)


def test_too_few_clusters_still_serve_everybody() -> None:
    sketches, truth = planted((5, 5, 5, 5))
    clustering, state = played(ClustersSpec(number=2, min_members=3), sketches)
    found = slots(clustering, state, sketches)
    assert set(found) == {0, 1} and adjusted_rand(found, truth) > 0.2


@settings(max_examples=30, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 11)), max_size=12))
def test_clients_that_are_missing_from_rounds_stop_nothing(lost: set[tuple[int, int]]) -> None:
    sketches, _ = planted((6, 6))
    clustering, state = played(ClustersSpec(number=2, min_members=2), sketches, sorted(lost))
    assert np.isfinite(state.arrays[CENTRES]).all() and state.arrays[ALIVE].any()
    assert all(state.arrays[ALIVE][slot] > 0 for slot in slots(clustering, state, sketches))


def test_clients_whose_examples_say_nothing_are_served_too() -> None:
    sketches, _ = planted((5, 5))
    sketches[3] = 0
    clustering, state = played(ClustersSpec(number=2), sketches)
    assert state.arrays[ALIVE][clustering.slot(state, sketches[3])] > 0
    nothing = np.zeros_like(sketches)
    clustering, state = played(ClustersSpec(number=2), nothing)
    assert np.isfinite(state.arrays[CENTRES]).all() and set(slots(clustering, state, nothing)) == {0}


@given(st.integers(0, 2**32 - 1))
def test_what_a_client_sends_is_no_longer_than_its_bound(seed: int) -> None:
    sketches, _ = planted((3, 3), seed=seed)
    clustering = Clustering(ClustersSpec(number=3), sketches.shape[1], seed=0)
    state = State(0, clustering.initial())
    second = clustering.gives(state, Phase.SECOND, sketches[0])
    assert np.linalg.norm(second.layout.flatten(second.arrays)) <= np.sqrt(2) + 1e-5
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(sketches.shape[1], 2)))[0].T
    # A server may broadcast what it likes: a mean far from every sketch makes nobody's moments longer.
    far = state.with_arrays(
        {
            "mean": (rng.normal(size=sketches.shape[1]) * 100).astype(np.float32),
            "directions": directions.astype(np.float32),
        }
    )
    third = clustering.gives(far, Phase.THIRD, sketches[0])
    assert np.linalg.norm(third.layout.flatten(third.arrays)) <= np.sqrt(3) + 1e-5


def test_rounds_follow_from_the_configuration() -> None:
    assert phases(ClustersSpec(number=1)) == ()
    assert phases(ClustersSpec(number=2, found_by="oracle")) == ()
    steps = phases(ClustersSpec(number=2, steps=2))
    assert [phase.name for phase in steps] == ["SECOND", "THIRD", "COUNT", "SUM", "COUNT", "SUM", "COUNT"]


def test_a_mix_is_of_all_and_the_nearest_is_of_one() -> None:
    centres = np.eye(3, 4, dtype=np.float32)
    sketch = np.asarray([0.8, 0.6, 0.0, 0.0], np.float32)
    one = Clustering(ClustersSpec(number=3), 4, 0).weights(centres, sketch)
    np.testing.assert_array_equal(one, [1, 0, 0])
    mix = Clustering(ClustersSpec(number=3, use="mix", temperature=0.5), 4, 0).weights(centres, sketch)
    assert mix.sum() == pytest.approx(1) and mix[0] > mix[1] > mix[2] > 0
