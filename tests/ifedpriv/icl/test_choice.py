"""The set whose answers tell most is chosen, by the released vector and public texts alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone
from tiny_public import all_members, member, public

from ifedpriv.data.task import TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.choice import Choice, choose, information
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.vectors import ContextVector

TEXTS = [example.text for example in examples(20, 8)]
VECTOR = np.random.default_rng(2).normal(size=(LAYERS, 2, WIDTH)).astype(np.float32)


def one_hot(answers, classes):
    """Logits that leave no doubt."""
    scores = np.full((len(answers), classes), -400.0, dtype=np.float32)
    scores[np.arange(len(answers)), answers] = 0.0
    return scores


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_information_by_hand(classes):
    assert information(np.zeros((5, classes), dtype=np.float32)) == 0
    balanced = one_hot([i % classes for i in range(4 * classes)], classes)
    assert information(balanced) == pytest.approx(math.log(classes))
    assert information(one_hot([1] * 9, classes)) == pytest.approx(0, abs=1e-12)
    # Sure of one class in three quarters of the texts, and of another in the rest.
    lopsided = one_hot([0, 0, 0, 1] * 3, classes)
    assert information(lopsided) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    # The same doubt about every text tells nothing about it.
    doubt = np.tile(np.arange(classes, dtype=np.float32), (6, 1))
    assert information(doubt) == pytest.approx(0, abs=1e-12)


def test_information_of_half_doubt_by_hand():
    """Answers 0.9 to 0.1 and 0.1 to 0.9: log 2 less the entropy of 0.1."""
    scores = np.log(np.array([[0.9, 0.1], [0.1, 0.9]], dtype=np.float32))
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert information(scores) == pytest.approx(math.log(2) - entropy, rel=1e-5)


@given(
    arrays(np.float32, (6, 4), elements=st.floats(-50, 50, width=32)),
    arrays(np.float32, (6, 1), elements=st.integers(-20, 20)),
)
def test_information_is_between_none_and_all_and_takes_any_logits(scores, shift):
    found = information(scores)
    assert 0 <= found <= math.log(4) + 1e-9
    assert information(scores + shift) == pytest.approx(found, abs=1e-3)
    assert information(scores[:, ::-1]) == pytest.approx(found, abs=1e-9)


def test_information_survives_extreme_logits():
    for size in (1e3, 1e30, 3e38):
        scores = np.array([[size, -size], [-size, size]], dtype=np.float32)
        assert information(scores) == pytest.approx(math.log(2))


def told(one, vector=VECTOR):
    injection = Injection(ContextVector(vector, 0), one.coefficients)
    return information(score_labels(tiny_backbone(), task(), TEXTS, injection=injection))


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_most_informative_set_of_the_level_is_chosen(noise):
    kinds = ("a", "b", "c", "d")
    some = public(members=all_members(kinds))
    found = choose(some, tiny_backbone(), task(), VECTOR, noise, TEXTS)
    level = [each for each in some.members if each.noise == noise]
    values = [told(each) for each in level]
    assert found.member is level[int(np.argmax(values))]
    assert dict(found.information) == pytest.approx(dict(zip(kinds, values, strict=True)))
    assert len({round(value, 6) for value in values}) == 4
    # It goes by the vector.
    picked = {
        choose(some, tiny_backbone(), task(), VECTOR * size, noise, TEXTS).member.kind
        for size in (-3, -1, 0.1, 1, 3, 9)
    }
    assert len(picked) > 1


def test_batches_do_not_change_the_choice():
    one, other = (
        choose(public(), tiny_backbone(), task(), VECTOR, 0.0, TEXTS, batch_size=size) for size in (3, 64)
    )
    assert one.member is not None
    assert dict(one.information) == pytest.approx(dict(other.information), rel=1e-3)
    assert one.member.kind == other.member.kind


def test_one_kind_needs_no_texts():
    found = choose(public(members=all_members(("only",))), tiny_backbone(), task(), VECTOR, 0.04, ())
    assert (found.member.kind, found.member.noise, found.information) == ("only", 0.05, ())


def test_one_kind_of_generation_serves_and_of_two_none_can_be_told_apart():
    writes = member("copy", 0.0, 9, TaskKind.GENERATION)
    both = public(members=(*all_members(), writes))
    found = choose(both, tiny_backbone(), generation_task(), VECTOR, 0.0, TEXTS)
    assert (found.member, found.information) == (writes, ())
    two = public(members=(writes, member("echo", 0.0, 8, TaskKind.GENERATION)))
    with pytest.raises(InputError, match="2 kinds of generation tasks") as caught:
        choose(two, tiny_backbone(), generation_task(), VECTOR, 0.0, TEXTS)
    assert caught.value.hint


def test_the_choice_in_words():
    none, some = member("mood", 0.0), member("mood", 0.03)
    alone = Choice(none, none.coefficients)
    assert alone.sentence() == "public coefficients for tasks of kind 'mood', calibrated with no noise"
    among = Choice(some, some.coefficients, (("mood", 1.234), ("topic", 0.5)))
    assert among.sentence() == (
        "public coefficients for tasks of kind 'mood', calibrated with noise 0.03, chosen by what answers tell "
        "about public texts (nats: mood 1.23, topic 0.50)"
    )
