"""Labelling conventions form Latin rectangles, and the whole table is the one that the shipped model was trained on."""

import hashlib
import json

import pytest

from ifedpriv.embedded.conventions import (
    COPIES,
    ROTATED,
    all_conventions,
    contradicting,
    restricted,
    unseen_convention,
)
from ifedpriv.embedded.words import ATTRIBUTES, LABEL_POOL, LABEL_PREFIXES

DIGEST = "c49fb1eef8d1ed659f1fe9f5f1c1b69261bbb84a18c7f02607f5e5fbfe0075ac"


def maps(attribute, prefix=""):
    """Unprefixed maps of an attribute, or those with a prefix."""
    return [
        dict(c.labels)
        for c in all_conventions()
        if c.attribute == attribute
        and all(word.startswith(prefix) and (" " in word) == bool(prefix) for _, word in c.labels)
    ]


def test_the_table_is_the_one_that_the_shipped_model_knows():
    """If this fails, the shipped model must be trained again: to it, the labels would mean other things."""
    table = [[c.index, c.key, c.attribute, c.labels, c.fields] for c in all_conventions()]
    assert hashlib.sha256(json.dumps(table).encode()).hexdigest() == DIGEST


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_value_meets_every_word_once(attribute):
    """So neither a text nor a label word alone says anything about the convention."""
    rows = maps(attribute)
    assert len(rows) == len(LABEL_POOL)
    for value in ATTRIBUTES[attribute]:
        assert sorted(row[value] for row in rows) == sorted(LABEL_POOL)
    for row in rows:
        assert list(row) == list(ATTRIBUTES[attribute])
        assert len(set(row.values())) == len(row)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_one_labelled_text_fits_one_convention_of_each_attribute(attribute):
    for value in ATTRIBUTES[attribute]:
        for word in LABEL_POOL:
            assert sum(row[value] == word for row in maps(attribute)) == 1


@pytest.mark.parametrize("prefix", LABEL_PREFIXES)
def test_labels_of_two_words_are_a_map_with_a_prefix(prefix):
    for attribute in ATTRIBUTES:
        (row,) = maps(attribute, prefix + " ")
        assert {v: w.removeprefix(prefix + " ") for v, w in row.items()} in maps(attribute)


def test_every_convention_has_its_place_and_a_name_of_its_own():
    every = all_conventions()
    assert [c.index for c in every] == list(range(len(every)))
    labelling = [c for c in every if not c.fields]
    assert [c.fields for c in every[len(labelling) :]] == list(COPIES)
    assert len({c.key for c in labelling}) == len(labelling)
    assert len({c.instruction() for c in every}) == len(every)
    assert all(c.instruction().endswith("\n") for c in every)


@pytest.mark.parametrize("attribute", ROTATED)
def test_rotated_maps_contradict_each_other_on_the_same_words(attribute):
    for convention in all_conventions():
        if convention.attribute != attribute or " " in convention.labels[0][1]:
            continue
        others = contradicting(convention)
        assert len(others) == len(ATTRIBUTES[attribute]) - 1
        for other in others:
            assert convention in contradicting(other)
            ours, theirs = dict(convention.labels), dict(other.labels)
            assert set(ours.values()) == set(theirs.values())
            assert all(ours[value] != theirs[value] for value in ours)


def test_a_restricted_convention_is_contradicted_under_the_same_restriction():
    found = 0
    for convention in all_conventions():
        if convention.attribute != "topic":
            continue
        some = restricted(convention, ("payment", "device", "records"))
        assert [value for value, _ in some.labels] == ["payment", "device", "records"]
        assert dict(some.labels).items() <= dict(convention.labels).items()
        for other in contradicting(some):
            found += 1
            ours, theirs = dict(some.labels), dict(other.labels)
            assert list(ours) == list(theirs)
            assert set(ours.values()) == set(theirs.values())
            assert all(ours[value] != theirs[value] for value in ours)
    assert found


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_unseen_maps_are_no_map_of_the_table_and_differ(attribute):
    table = {c.labels for c in all_conventions()}
    unseen = [unseen_convention(attribute, number) for number in range(6)]
    assert len({c.labels for c in unseen}) == 6
    for convention in unseen:
        assert convention.labels not in table
        assert [value for value, _ in convention.labels] == list(ATTRIBUTES[attribute])
        words = [word for _, word in convention.labels]
        assert len(set(words)) == len(words)
        assert set(words) <= set(LABEL_POOL)
    assert unseen[0] == unseen_convention(attribute, 0)
