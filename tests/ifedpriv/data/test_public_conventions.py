"""The tasks that results are shown on are never among those that coefficients are calibrated on."""

import itertools

import pytest

from ifedpriv.data.public_conventions import (
    KEPT_APART,
    kept_apart,
    public_conventions,
    public_kind,
    public_tasks,
)
from ifedpriv.data.shipped import load, recipes, task_names
from ifedpriv.data.task import TaskKind
from ifedpriv.embedded import COEFFICIENTS_PATH, MODEL_PATH
from ifedpriv.embedded.conventions import ROTATED, all_conventions
from ifedpriv.embedded.words import LABEL_PREFIXES

SHOWN = {
    **{f"{name} {i}": c for name, r in recipes().items() for i, c in enumerate(r.conventions)},
    **{f"kept apart {attribute}": kept_apart(attribute) for attribute in KEPT_APART},
}
LABELLED = [name for name, convention in SHOWN.items() if not convention.fields]


def bare(convention):
    """Value to label without its prefix; worked out here, not by what is tested."""
    words = dict(convention.labels)
    return {
        value: next((label.removeprefix(f"{p} ") for p in LABEL_PREFIXES if label.startswith(f"{p} ")), label)
        for value, label in words.items()
    }


def rivals(convention):
    """Public conventions that sort by the same attribute."""
    return [c for c in public_conventions() if c.attribute == convention.attribute and c.labels]


def test_shown_are_all_shipped_tasks_and_those_kept_apart():
    assert {name.rpartition(" ")[0] for name in SHOWN} == {*task_names(), "kept apart"}
    # Contradictions can only be had where words come in rotations, and one of each sort is kept apart for results.
    assert set(KEPT_APART) == set(ROTATED)
    for attribute in KEPT_APART:
        assert kept_apart(attribute).attribute == attribute
        assert not any(label.count(" ") for _, label in kept_apart(attribute).labels)


@pytest.mark.parametrize("name", SHOWN)
def test_no_shown_convention_is_public(name):
    shown = SHOWN[name]
    assert shown.index not in {c.index for c in public_conventions()}
    assert shown.fields == () or shown.fields not in {c.fields for c in public_conventions()}


@pytest.mark.parametrize("name", LABELLED)
def test_none_agrees_with_it_on_the_shown_classes_under_any_prefix(name):
    shown = bare(SHOWN[name])
    for other in rivals(SHOWN[name]):
        map_of = bare(other)
        assert any(map_of[value] != word for value, word in shown.items()), other


@pytest.mark.parametrize("name", LABELLED)
def test_none_gives_its_classes_the_same_words_in_another_order(name):
    shown = bare(SHOWN[name])
    for other in rivals(SHOWN[name]):
        assert {bare(other)[value] for value in shown} != set(shown.values()), other


def test_what_is_kept_out_is_what_must_be():
    """Not one public task more than need be is given away: each of the others is shown, agrees or contradicts."""
    left_out = set(all_conventions()) - set(public_conventions())
    for one in left_out:
        close = []
        for shown in SHOWN.values():
            if shown.fields or one.fields:
                close.append(shown.fields == one.fields)
            elif shown.attribute == one.attribute:
                map_of, wanted = bare(one), bare(shown)
                close.append({map_of[value] for value in wanted} == set(wanted.values()))
        assert any(close), one
    assert len(public_conventions()) + len(left_out) == len(all_conventions()) == 120
    assert len(left_out) < 25


def test_a_swap_on_the_shown_classes_alone_is_kept_out_too(monkeypatch):
    """The shipped tables have none, so one is made up: another map of mood that swaps the two words of `tone`."""
    from ifedpriv.data import public_conventions as tested

    tone = dict(SHOWN["tone 0"].labels)
    victim = next(c for c in rivals(SHOWN["tone 0"]) if " " not in c.labels[0][1])
    swapped = dict(victim.labels) | dict(zip(tone, reversed(tone.values()), strict=True))
    made_up = type(victim)(victim.index, victim.key, victim.attribute, tuple(swapped.items()), ())
    world = tuple(made_up if c.index == victim.index else c for c in all_conventions())
    monkeypatch.setattr(tested, "all_conventions", lambda: world)
    assert victim.index not in {c.index for c in tested.public_conventions()}


def test_kinds_are_attributes_and_one_for_all_copies():
    kinds = {public_kind(c) for c in public_conventions()}
    assert kinds == {"topic", "urgency", "mood", "channel", "request", "verdict", "copy"}
    assert all(public_kind(c) == "copy" for c in public_conventions() if c.fields)
    # So that nothing has to choose between kinds of generation.
    assert sum(1 for kind in kinds if kind == "copy") == 1


# ---- texts


@pytest.mark.parametrize("seed", [0, 7])
def test_public_tasks_share_no_text_with_each_other_or_with_shipped_ones(seed):
    drawn = list(public_tasks(seed=seed, examples=6, queries=4))
    assert len(drawn) == len(public_conventions())
    texts = [example.text for _, data in drawn for example in (*data.train, *data.test)]
    assert len(set(texts)) == len(texts) == 10 * len(drawn)
    for name, shipped_seed in itertools.product(task_names(), (0, 1, seed)):
        data = load(name, seed=shipped_seed, train=60, validation=20, test=60)
        shown = {example.text for split in (data.train, data.validation, data.test) for example in split}
        assert not shown & set(texts)
    for kind, data in drawn:
        assert len(data.train) == 6
        assert len(data.test) == 4
        assert (data.task.kind is TaskKind.GENERATION) == (kind == "copy")
        assert data.task.name.rpartition("-")[0] == kind


def test_texts_are_a_function_of_the_seed():
    def of(seed):
        return [data.train for _, data in itertools.islice(public_tasks(seed=seed, examples=4, queries=1), 3)]

    assert of(1) == of(1)
    assert of(1) != of(2)
    assert len(set(map(str, of(1)))) == 3


# ---- files that were made


def listed(words):
    """What a made file lists as ``kind: kind-index (label words)``, as conventions by their index."""
    found = []
    for said in words:
        index = int(said.partition(" (")[0].rpartition("-")[2])
        found.append(all_conventions()[index])
        kind, _, name = said.partition(": ")
        assert public_kind(found[-1]) == kind
        assert name.startswith(f"{kind}-{index} (")
    return found


def test_no_shown_task_stands_in_the_file_that_ships():
    """The file's own lists are held to it, both of what was calibrated on and of what the trial was made with."""
    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.icl.public_coefficients import PublicCoefficients

    made = PublicCoefficients.load(COEFFICIENTS_PATH)
    assert made.backbone == Backbone.load(MODEL_PATH).fingerprint
    apart = [said for said in made.facts["kept_apart"].split("; ") if said]
    used, tried = listed(made.tasks), listed(apart)
    assert len(used) > 80
    assert len(tried) > 8
    assert not set(used) & set(tried)
    assert set(used) | set(tried) <= set(public_conventions())
    for one in (*used, *tried):
        for name in LABELLED:
            if one.attribute == SHOWN[name].attribute:
                shown = bare(SHOWN[name])
                assert {bare(one)[value] for value in shown} != set(shown.values())


def test_the_lists_of_a_made_file_can_be_read_back():
    """Otherwise the test above could not fail: what `make` writes for public tasks is what it reads."""
    from ifedpriv.experiment.coefficients.make import _said
    from ifedpriv.icl.public_calibrate import PublicTask

    for convention, (kind, data) in zip(
        public_conventions(), public_tasks(seed=0, examples=1, queries=1), strict=True
    ):
        said = _said(PublicTask(kind, data.task, None, None, ()))
        assert listed([said]) == [convention]
