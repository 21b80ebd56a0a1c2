"""Partitions hand every example to one client at most, as skewed as asked, and the same from the same seed."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from examples import examples, partition_spec
from hypothesis import assume, given
from hypothesis import strategies as st

from ifedpriv.data.apportion import apportion
from ifedpriv.data.partition import Partition, holdings, partition, test_for_group
from ifedpriv.data.task import Example
from ifedpriv.errors import InputError

COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=6)
SEEDS = st.integers(0, 2**32 - 1)
KNOWN = [["text 4", "text 5", "text 6", "text 7"], ["text 3", "text 2", "text 0", "text 1"]]


def split(counts_or_examples, run_seed=0, n_classes=None, **fields):
    held = counts_or_examples
    if n_classes is None:
        n_classes = len(held)
        held = examples(held)
    return partition(held, n_classes, partition_spec(fields), run_seed)


def texts(part):
    return [[example.text for example in client] for client in part.clients]


def check_sound(part, held, clients, cap=None, min_examples=1):
    """Disjoint, complete or capped, and no client too poor."""
    sizes = [len(client) for client in part.clients]
    assert len(sizes) == len(part.groups) == clients
    assert min(sizes) >= min_examples
    everything = Counter(text for client in texts(part) for text in client)
    assert everything <= Counter(example.text for example in held)
    if cap is None:
        assert sum(sizes) == len(held)
    else:
        assert max(sizes) <= cap


def mean_distance(part, n_classes):
    """Mean total variation between a client's class mix and that of all clients together, between 0 and 1."""
    counts = holdings(part.clients, n_classes)
    mixes = counts / counts.sum(axis=1, keepdims=True)
    return float(np.abs(mixes - counts.sum(axis=0) / counts.sum()).sum(axis=1).mean() / 2)


# ---- properties of every kind


@given(COUNTS, st.integers(1, 12), st.integers(1, 3), st.none() | st.integers(3, 8), SEEDS, st.data())
def test_every_kind_is_disjoint_complete_or_capped_and_repeatable(counts, clients, least, cap, seed, data):
    held = examples(counts, lang=["de", "fr"])
    kind = data.draw(
        st.sampled_from(
            [
                {"kind": "iid"},
                {"kind": "dirichlet", "alpha": data.draw(st.sampled_from([1e-4, 0.05, 0.5, 5.0, 1e6]))},
                {"kind": "dirichlet", "by": "lang"},
                {"kind": "pathological", "classes_per_client": data.draw(st.integers(1, len(counts)))},
                {"kind": "attribute", "name": "lang"},
                {"kind": "contradictory", "mode": "permute", "groups": 2},
            ]
        )
    )
    assume(kind["kind"] != "contradictory" or clients >= 2)
    spec = {"clients": clients, "min_examples": least, "examples_per_client": cap, **kind}
    try:
        part = split(held, seed, len(counts), **spec)
    except InputError as error:
        # Kinds that need labels or values may be unable; those that only count examples may not.
        assert len(held) < clients * least or kind["kind"] in ("pathological", "attribute")
        assert "\n" not in str(error)
        assert error.hint
        return
    check_sound(part, held, clients, cap, least)
    assert texts(split(held, seed, len(counts), **spec)) == texts(part)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "iid"},
        {"kind": "dirichlet"},
        {"kind": "pathological"},
        {"kind": "attribute", "name": "lang"},
        {"kind": "contradictory"},
    ],
)
def test_seeds(fields):
    held = examples([30, 30, 30], lang=["de", "fr"])
    same, other, fixed, fixed_too = (
        texts(split(held, seed, 3, clients=4, **fields, **own))
        for seed, own in ((0, {}), (1, {}), (0, {"seed": 5}), (1, {"seed": 5}))
    )
    assert same != other
    assert fixed == fixed_too != same


def test_a_known_partition_stays_as_it_is():
    # A change of this list would silently change every published run.
    part = split([4, 4], clients=2, kind="dirichlet", alpha=0.5)
    assert texts(part) == KNOWN


# ---- iid


@given(COUNTS, st.integers(1, 10), SEEDS)
def test_iid_sizes_differ_by_at_most_one(counts, clients, seed):
    assume(sum(counts) >= clients)
    sizes = [len(client) for client in split(counts, seed, kind="iid", clients=clients).clients]
    assert max(sizes) - min(sizes) <= 1


def test_a_cap_keeps_a_fair_sample():
    """The class mix after a cap: 4.9 standard deviations, which 1 seed in 10^6 exceeds."""
    part = split([3000, 3000], kind="iid", clients=1, examples_per_client=1000)
    held = holdings(part.clients, 2)[0]
    # Hypergeometric: standard deviation sqrt(1000 / 4 * 5000 / 5999) = 14.4.
    assert abs(held[0] - 500) < 4.9 * 14.4


# ---- Dirichlet


def test_skew_grows_as_alpha_falls():
    """Mean over 20 seeds of the distance from the common mix.

    Neighbouring alphas' means lie 0.1 or more apart, with standard errors below 0.01, so a step below 0.05 is
    beyond 4 standard errors of a difference (false alarm below 10^-4).
    """
    held = examples([50] * 4)
    distances = [
        np.mean([mean_distance(split(held, s, 4, kind="dirichlet", alpha=alpha), 4) for s in range(20)])
        for alpha in (0.05, 0.3, 1.5, 10.0, 1000.0)
    ]
    steps = -np.diff(distances)
    assert (steps > 0.05).all(), distances
    assert distances[-1] < 0.03


def test_dirichlet_proportions_have_the_variance_of_a_dirichlet():
    """Share of a class with the first of 4 clients, 8 classes and 150 seeds, against Beta(alpha, 3 alpha).

    For alpha 1 the variance estimate's relative standard error is sqrt(2.1 / 1200) = 4.2 %; 21 % off is 5 of
    them (false alarm 10^-6). Dividing alpha by the number of clients, a common slip, would give 2.5 times the
    variance.
    """
    alpha, held = 1.0, examples([100] * 8)
    shares = np.concatenate(
        [
            holdings(split(held, seed, 8, kind="dirichlet", alpha=alpha, clients=4).clients[:1], 8)[0] / 100
            for seed in range(150)
        ]
    )
    assert np.mean(shares) == pytest.approx(0.25, abs=0.028)
    assert np.var(shares) == pytest.approx(0.25 * 0.75 / (4 * alpha + 1), rel=0.21)


def test_dirichlet_fills_poor_clients_without_redrawing():
    part = split([50, 50], kind="dirichlet", alpha=1e-4, clients=20, min_examples=5)
    assert [len(client) for client in part.clients] == [5] * 20


def test_dirichlet_leaves_a_draw_alone_that_is_rich_enough():
    free, held = (
        holdings(split([200, 200], 3, kind="dirichlet", alpha=5.0, clients=4, min_examples=m).clients, 2)
        for m in (1, 10)
    )
    assert free.sum(axis=1).min() >= 10
    assert (free == held).all()


def test_dirichlet_over_an_attribute_needs_no_labels():
    stories = [Example(f"story {i}", -1, "end", {"lang": "de" if i < 50 else "fr"}) for i in range(100)]
    part = split(stories, n_classes=0, kind="dirichlet", alpha=0.05, clients=5, by="lang")
    check_sound(part, stories, 5)
    majority = [
        max(Counter(example.attributes["lang"] for example in client).values()) / len(client)
        for client in part.clients
    ]
    assert np.mean(majority) > 0.8


# ---- shards


@given(COUNTS, st.integers(1, 12), st.integers(1, 6), SEEDS)
def test_shards_give_each_client_exactly_its_number_of_classes(counts, clients, own, seed):
    try:
        part = split(counts, seed, kind="pathological", clients=clients, classes_per_client=own)
    except InputError:
        needed = clients * own
        capacity = sum(min(count, clients) for count in counts)
        assert own > len(counts) or not len(counts) <= needed <= capacity
        return
    held = holdings(part.clients, len(counts))
    assert ((held > 0).sum(axis=1) == own).all()
    assert held.sum(axis=0).tolist() == counts
    for column in held.T:
        shares = column[column > 0]
        assert shares.max() - shares.min() <= 1


# ---- by attribute


def test_each_client_holds_one_value_and_large_values_get_more_clients():
    held = examples([60, 40], lang=["de", "de", "de", "fr"])
    part = split(held, n_classes=2, kind="attribute", name="lang", clients=4)
    assert part.groups == ("de", "de", "de", "fr")
    assert part.attribute == "lang"
    check_sound(part, held, 4)
    for client, group in zip(part.clients, part.groups, strict=True):
        assert {example.attributes["lang"] for example in client} == {group}
    test = examples([4, 4], lang=["de", "fr"])
    assert [example.attributes["lang"] for example in test_for_group(test, "fr", part)] == ["fr"] * 4


def test_values_can_be_chosen():
    held = examples([30], lang=["de", "fr", "it"])
    part = split(held, n_classes=1, kind="attribute", name="lang", clients=2, values=["it", "de"])
    assert part.groups == ("de", "it")
    assert sum(len(client) for client in part.clients) == 20


def test_attributes_spread_generation_tasks():
    stories = [Example(f"story {i}", -1, "end", {"domain": "ab"[i % 2]}) for i in range(10)]
    assert split(stories, n_classes=0, kind="attribute", name="domain", clients=2).groups == ("a", "b")
    assert len(split(stories, n_classes=0, kind="iid", clients=3).clients) == 3


# ---- contradictory groups


@given(COUNTS, st.integers(2, 6), st.integers(0, 4), SEEDS)
def test_any_two_groups_disagree_about_every_class(counts, groups, more, seed):
    assume(groups <= len(counts) and sum(counts) >= groups + more)
    part = split(counts, seed, kind="contradictory", groups=groups, clients=groups + more)
    renamings = np.array(list(part.relabel.values()))
    assert (renamings[0] == np.arange(len(counts))).all()
    for column in renamings.T:
        assert len(set(column)) == groups
    for row in renamings:
        assert sorted(row) == list(range(len(counts)))


def test_clients_and_tests_of_a_group_are_renamed_alike():
    held = examples([20, 20, 20])
    label_of = {example.text: example.label for example in held}
    part = split(held, n_classes=3, kind="contradictory", groups=3, clients=6)
    check_sound(part, held, 6)
    assert Counter(part.groups) == {"group 0": 2, "group 1": 2, "group 2": 2}
    test = examples([2, 2, 2])
    for client, group in zip(part.clients, part.groups, strict=True):
        rename = part.relabel[group]
        assert all(example.label == rename[label_of[example.text]] for example in client)
        assert all(example.attributes["group"] == group for example in client)
        judged = test_for_group(test, group, part)
        assert [example.label for example in judged] == [rename[example.label] for example in test]
        assert [example.text for example in judged] == [example.text for example in test]


def test_given_groups_are_kept():
    held = examples([20, 20], group=["east", "west"])
    part = split(held, n_classes=2, kind="contradictory", clients=4)
    assert part.groups == ("east", "east", "west", "west")
    assert not part.relabel
    check_sound(part, held, 4)
    assert len(test_for_group(examples([4, 4], group=["east", "west"]), "west", part)) == 4
    renamed = split(held, n_classes=2, kind="contradictory", clients=4, mode="permute")
    assert renamed.relabel


def test_without_groups_everybody_gets_the_whole_test():
    part = split([10, 10], kind="iid", clients=2)
    test = examples([3, 3])
    assert test_for_group(test, "all", part) == test


# ---- refusals


@pytest.mark.parametrize(
    ("held", "n_classes", "fields", "says"),
    [
        (
            examples([3]),
            1,
            {"kind": "iid", "clients": 4},
            "partition.clients is 4 with at least 1 examples each, but there are 3",
        ),
        (
            examples([3]),
            1,
            {"kind": "dirichlet", "clients": 2, "min_examples": 2},
            "but there are 3 examples",
        ),
        (
            examples([0, 0, 5]),
            2,
            {"kind": "iid", "clients": 1},
            "an example has label 2, but the task has 2 classes",
        ),
        (
            examples([9, 9]),
            2,
            {"kind": "pathological", "classes_per_client": 3},
            "classes_per_client is 3, but the examples have 2",
        ),
        (
            examples([9] * 5),
            5,
            {"kind": "pathological", "clients": 2},
            "2 clients with 2 classes each cannot hold all 5",
        ),
        (
            examples([40, 1]),
            2,
            {"kind": "pathological", "clients": 5},
            "need 10 shards, but the rare classes allow only 6",
        ),
        (
            examples([30, 6]),
            2,
            {"kind": "pathological", "clients": 3, "classes_per_client": 2, "min_examples": 13},
            "36 examples",
        ),
        (
            examples([9]),
            1,
            {"kind": "attribute", "name": "lang", "clients": 1},
            "9 of 9 examples lack the attribute 'lang'",
        ),
        (
            examples([9], a=["x"]),
            1,
            {"kind": "dirichlet", "by": "lang", "clients": 1},
            "use one that is there: a",
        ),
        (
            examples([9], lang=["x", "y"]),
            1,
            {"kind": "attribute", "name": "lang", "clients": 1},
            "has 2 values and a client holds one: x, y",
        ),
        (
            examples([9], lang=["x"]),
            1,
            {"kind": "attribute", "name": "lang", "clients": 1, "values": ["z"]},
            "names 'z', which no example has",
        ),
        (
            examples([8], lang=["x"] * 7 + ["y"]),
            1,
            {"kind": "attribute", "name": "lang", "clients": 2, "min_examples": 2},
            "'y' in attribute 'lang' has only 1",
        ),
        (
            examples([9, 9]),
            2,
            {"kind": "contradictory", "groups": 3, "clients": 3},
            "2 classes allow only 2 groups",
        ),
        (
            examples([9, 9]),
            2,
            {"kind": "contradictory", "mode": "given"},
            "18 of 18 examples lack the attribute 'group'",
        ),
        (
            examples([9, 9], group=["a", "b", "c"]),
            2,
            {"kind": "contradictory"},
            "groups is 2, but attribute 'group' has 3 values",
        ),
        ([Example("x")] * 20, 0, {"kind": "dirichlet"}, "partition.kind is dirichlet, which needs labels"),
        (
            [Example("x")] * 20,
            0,
            {"kind": "pathological"},
            "partition.kind is pathological, which needs labels",
        ),
        (
            [Example("x")] * 20,
            0,
            {"kind": "contradictory"},
            "partition.kind is contradictory, which needs labels",
        ),
    ],
)
def test_an_impossible_request_is_refused_in_one_sentence(held, n_classes, fields, says):
    with pytest.raises(InputError) as caught:
        split(held, n_classes=n_classes, **fields)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_groups_that_are_not_there():
    part = split(examples([9], lang=["x", "y"]), n_classes=1, kind="attribute", name="lang", clients=2)
    with pytest.raises(InputError, match="no client of group 'z'; use one of x, y"):
        test_for_group(examples([2], lang=["x", "y"]), "z", part)
    with pytest.raises(InputError, match="no test example has 'y' in attribute 'lang'"):
        test_for_group(examples([2], lang=["x"]), "y", part)


# ---- the types


def test_a_partition_is_frozen_and_shows_no_text():
    part = split([5, 5], kind="iid", clients=2)
    assert repr(part) == "Partition(2 clients with [5, 5] examples, 1 groups)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.groups = ()
    with pytest.raises(TypeError):
        part.relabel["x"] = (1,)
    with pytest.raises(ValueError, match="2 clients have 1 groups"):
        Partition(part.clients, ("all",))


def test_holdings():
    clients = [examples([2, 0, 1]), examples([0, 3]), [Example("a story")]]
    assert holdings(clients, 3).tolist() == [[2, 0, 1], [0, 3, 0], [0, 0, 0]]


# ---- apportionment


@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 5), st.integers(0, 50)), min_size=1, max_size=10),
)
def test_shares_add_up_and_stay_within_bounds(total, entries):
    weights, lower, extra = (np.array(column) for column in zip(*entries, strict=True))
    upper = lower + extra
    assume(weights.sum() > 0)
    if not lower.sum() <= total <= upper.sum():
        with pytest.raises(ValueError, match="cannot be divided"):
            apportion(total, weights, lower, upper)
        return
    shares = apportion(total, weights, lower, upper)
    assert shares.sum() == total
    assert (lower <= shares).all()
    assert (shares <= upper).all()


@given(st.integers(0, 500), st.lists(st.floats(0.01, 100), min_size=1, max_size=10))
def test_unbounded_shares_are_within_one_of_their_quota(total, weights):
    quota = total * np.array(weights) / np.sum(weights)
    assert (np.abs(apportion(total, weights) - quota) < 1 + 1e-6).all()


@pytest.mark.parametrize("weights", [[0, 0], [-1, 2], [np.nan, 1], [[1, 2]], []])
def test_weights_that_mean_nothing(weights):
    with pytest.raises(ValueError, match="weights must be finite"):
        apportion(3, weights)
