"""That the attacks find what is there on the shipped model, and nothing where nothing is."""

from functools import cache

import numpy as np
import pytest

from attacks._base.attack import Bag, Histogram, Knowledge, Members, Who
from attacks._base.space import read
from attacks._base.targets import Target, rounding_variance
from attacks._mixes.labels import label_mixes
from attacks._texts import corpus
from attacks._texts.corpus import identify
from attacks._texts.unmix import words
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

CANDIDATES, PUBLIC = 120, 100


@cache
def scene():
    """The shipped model, an attacker's knowledge, and the candidates' activations."""
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=CANDIDATES, validation=1, test=1)
    public = shipped.load("topic", seed=5, train=PUBLIC, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public), pool=tuple(data.train))
    return backbone, knowledge, read(backbone, knowledge, knowledge.pool, "")


def target(indices, precision=Precision.FP16, examples=None):
    vector = scene()[2][list(indices)].astype(np.float64).mean(axis=0)
    if precision is Precision.FP16:
        vector = vector.astype(np.float16).astype(np.float64)
    else:
        step = np.abs(vector).max(axis=-1, keepdims=True) / 127
        vector = np.rint(vector / step) * step
    return Target(Who(0), vector, rounding_variance(vector, precision), examples)


@pytest.mark.parametrize("examples", [1, 4, 16])
@pytest.mark.parametrize("told", [True, False])
def test_members_are_found_and_the_attack_knows_it(examples, told):
    backbone, knowledge, _ = scene()
    members = np.random.default_rng(examples).choice(CANDIDATES, examples, replace=False)
    answer = identify(backbone, knowledge, [target(members, examples=examples if told else None)])[0].content
    assert isinstance(answer, Members)
    assert answer.certain
    assert set(answer.ranked[: answer.chosen]) == set(members)


@pytest.mark.parametrize("told", [True, False])
def test_a_short_list_of_a_large_pool_holds_the_members(told, monkeypatch):
    """A sixth of the pool, chosen by products with the vector; members that it lacks enter from what is left."""
    for name, value in {"SHORT": 100, "_FIRST": 8, "_MORE": 3, "_TIMES": 4}.items():
        monkeypatch.setattr(corpus, name, value)
    backbone, knowledge, _ = scene()
    members = np.random.default_rng(6).choice(CANDIDATES, 6, replace=False)
    weighed, sizes = corpus.Candidates.weighed, []
    monkeypatch.setattr(
        corpus.Candidates, "weighed", lambda *a: sizes.append(len(a[1])) or weighed(*a), raising=True
    )
    answer = identify(backbone, knowledge, [target(members, examples=6 if told else None)])[0].content
    assert answer.certain
    assert set(answer.ranked[: answer.chosen]) == set(members)
    assert max(sizes) == 20


def test_members_are_found_through_eight_bits():
    backbone, knowledge, _ = scene()
    found = identify(backbone, knowledge, [target([3, 14, 15, 92], Precision.INT8, 4)])[0].content
    assert set(found.ranked[: found.chosen]) == {3, 14, 15, 92}


def test_a_stranger_is_never_certainly_a_member():
    backbone, knowledge, _ = scene()
    strangers = shipped.load("topic", seed=9, train=10, validation=1, test=1).train
    vectors = read(backbone, knowledge, strangers, "").astype(np.float64)
    targets = [Target(Who(i), v, rounding_variance(v, Precision.FP16), 1) for i, v in enumerate(vectors)]
    assert not any(answer.content.certain for answer in identify(backbone, knowledge, targets))


def test_label_mixes_are_read_off():
    backbone, knowledge, _ = scene()
    labels = np.array([example.label for example in knowledge.pool])
    rng = np.random.default_rng(1)
    distances, uniform = [], []
    for _ in range(8):
        members = rng.choice(CANDIDATES, 8, replace=False)
        shares = np.bincount(labels[members], minlength=6) / 8
        content = label_mixes(backbone, knowledge, [target(members, examples=8)])[0].content
        assert isinstance(content, Histogram)
        distances.append(np.abs(np.array(content.shares) - shares).sum() / 2)
        uniform.append(np.abs(1 / 6 - shares).sum() / 2)
    assert np.mean(distances) < 0.3 * np.mean(uniform)


def test_words_are_ranked_above_their_prior():
    backbone, knowledge, _ = scene()
    start = knowledge.pool[7].text.split()
    found = words(backbone, knowledge, [target([7], examples=1)])
    assert set(found) == {"unmix", "probe"}
    for answers in found.values():
        bag = answers[0].content
        assert isinstance(bag, Bag)
        said = {backbone.tokenizer.decode([token]).strip() for token in bag.ranked[:60]}
        held = {word.strip(".,:;()") for word in start}
        by_chance = 60 / backbone.head.weight.shape[0]
        assert len(said & held) / len(held) > 10 * by_chance
