"""A sum of blocks is the means of clusters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses.errors import UserError
from defenses.prototypes.slots import MEMBERS, living, per_slot, slot_layout, slotted


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_each_cluster_gets_the_mean_of_its_members(slots: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(slots), 2, 3)).astype(np.float32)
    kept = rng.normal(size=(4, 2, 3)).astype(np.float32)
    uploads = [slotted({"x": v}, s, 4) for v, s in zip(vectors, slots, strict=True)]
    means = {name: np.mean([u[name] for u in uploads], axis=0) for name in ("x", MEMBERS)}
    found = per_slot(means, len(slots), {"x": kept})["x"]
    for slot in range(4):
        members = vectors[np.asarray(slots) == slot]
        expected = members.mean(axis=0) if len(members) else kept[slot]
        np.testing.assert_allclose(found[slot], expected, atol=1e-5)


def test_layout_is_that_of_what_is_slotted() -> None:
    filled = slotted({"x": np.ones((2, 3), np.float32)}, 1, 4)
    layout = slot_layout({"x": (2, 3)}, 4)
    assert layout.to_dict() == {name: list(array.shape) for name, array in sorted(filled.items())}
    assert filled["x"].sum() == 6 and filled["x"][1].sum() == 6


def test_a_count_that_noise_has_made_of_nobody_is_nobody() -> None:
    means = {MEMBERS: np.asarray([0.04, -0.03, 1.0], np.float32), "x": np.ones((3, 1), np.float32)}
    kept = {"x": np.full((3, 1), 7.0, np.float32)}
    np.testing.assert_array_equal(per_slot(means, 10, kept)["x"][:, 0], [7, 7, 1])


def test_small_clusters_are_not_released() -> None:
    shares = np.asarray([0.5, 0.2, 0.3])
    np.testing.assert_array_equal(living(shares, 10, 3), [True, False, True])
    # Nobody is left out: where all are too small, one takes everybody.
    np.testing.assert_array_equal(living(shares, 10, 6), [True, False, False])


@pytest.mark.parametrize("slot", [-1, 3])
def test_a_cluster_that_does_not_exist_is_refused(slot: int) -> None:
    with pytest.raises(UserError, match=f"cluster is {slot}"):
        slotted({"x": np.ones(2, np.float32)}, slot, 3)


def test_layouts_refuse_no_clusters_and_a_taken_name() -> None:
    with pytest.raises(UserError, match="number of clusters is 0"):
        slot_layout({"x": (2,)}, 0)
    with pytest.raises(UserError, match="'members'"):
        slot_layout({MEMBERS: (2,)}, 2)
