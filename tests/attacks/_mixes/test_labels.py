"""How many examples of each class: planted numbers are read off vectors that tell neither, and noise is not counted."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from attacks._base.attack import Histogram, Knowledge, Who
from attacks._base.declared import Declared
from attacks._base.space import clipped, read
from attacks._base.targets import Target, rounding_variance
from attacks._mixes.labels import behind, label_mixes
from attacks._texts.few import MOST, TooManyError, few_examples
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

CLASSES = 6


@cache
def scene():
    """The shipped model, an attacker's knowledge, and private texts with their activations."""
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=150, validation=1, test=1)
    public = shipped.load("topic", seed=1_000_003, train=400, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public))
    return backbone, knowledge, data.train, read(backbone, knowledge, tuple(data.train), "")


def uploads(examples, vectors, seed=0, noise=0.0, clip=None):
    """Vectors of so many texts in skewed mixes, of which nothing is told, and the true counts."""
    _, _, private, activations = scene()
    rng = np.random.default_rng([seed, examples])
    labels = np.array([example.label for example in private])
    values = clipped(activations, Declared(clip=clip))
    targets, counts = [], []
    for _ in range(vectors):
        drawn = np.minimum(rng.multinomial(examples, rng.dirichlet(np.full(CLASSES, 0.5))), 25)
        members = np.concatenate(
            [rng.choice(np.flatnonzero(labels == c), n, replace=False) for c, n in enumerate(drawn)]
        )
        made = values[members].astype(np.float64).mean(axis=0)
        sent = (made + noise * rng.normal(size=made.shape)).astype(np.float16).astype(np.float64)
        targets.append(Target(Who(0), sent, rounding_variance(sent, Precision.FP16) + noise**2, None))
        counts.append(drawn)
    return targets, counts


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("examples", [1, 3, 7, 12])
def test_the_number_of_examples_is_read_off(examples, labelled):
    """Nine in ten come out within a quarter; six of eight are missed by chance in less than one of 1e5."""
    backbone, knowledge, _, _ = scene()
    targets, _ = uploads(examples, 8)
    found = behind(backbone, replace(knowledge, labelled=labelled), targets, CLASSES)
    assert np.median([each.examples for each in found]) == pytest.approx(examples, rel=0.25)


@pytest.mark.parametrize("labelled", [True, False])
def test_shares_are_exact_whatever_the_number_is_taken_for(labelled):
    """Of 16 vectors none was wrong in hundreds that were tried; two may be."""
    backbone, knowledge, _, _ = scene()
    targets, counts = uploads(7, 16)
    answers = label_mixes(backbone, replace(knowledge, labelled=labelled), targets)
    right = 0
    for answer, true in zip(answers, counts, strict=True):
        assert isinstance(answer.content, Histogram)
        right += np.array_equal(np.rint(np.array(answer.content.shares) * 7), true)
    assert right >= 14


def test_vectors_of_more_than_few_examples_are_left_out():
    """As uploads of 7 and 8 examples are that do not tell; one in twelve may look like few."""
    backbone, knowledge, _, _ = scene()
    targets = [*uploads(7, 6)[0], *uploads(8, 6)[0]]
    try:
        found = few_examples(backbone, knowledge, targets, CLASSES)
    except TooManyError as reason:
        assert f"looked for behind {MOST} at most" in str(reason)
    else:
        assert len(found) <= 1


def test_where_no_answer_is_read_the_number_is_not_taken_for_one():
    backbone, knowledge, _, _ = scene()
    with pytest.raises(TooManyError):
        few_examples(backbone, knowledge, uploads(12, 4)[0], 1)


def test_noise_is_not_taken_for_variety():
    backbone, knowledge, _, _ = scene()
    targets, _ = uploads(4, 8, noise=0.02)
    found = behind(backbone, knowledge, targets, CLASSES)
    assert 3 <= np.median([each.examples for each in found]) <= 5


def test_noise_that_hides_everything_leaves_what_public_texts_tell():
    """Whole counts of what least squares make of noise would be farther from the truth than the public mix is."""
    backbone, knowledge, _, _ = scene()
    public = np.bincount([example.label for example in knowledge.public], minlength=CLASSES)
    told = replace(knowledge, declared=Declared(1e4))
    targets, _ = uploads(8, 6, noise=1e4)
    for examples in (None, 8):
        for answer in label_mixes(backbone, told, [replace(each, examples=examples) for each in targets]):
            assert np.abs(np.array(answer.content.shares) - public / public.sum()).sum() / 2 < 0.02


def test_a_declared_clip_is_reckoned_with():
    """Half of the median norm: every text is scaled, and who does not know it finds mixes far from all classes'."""
    backbone, knowledge, _, activations = scene()
    clip = 0.5 * float(np.median(np.linalg.norm(activations.reshape(len(activations), -1), axis=1)))
    targets, counts = uploads(8, 8, clip=clip)
    told = label_mixes(backbone, replace(knowledge, declared=Declared(clip=clip)), targets)
    untold = label_mixes(backbone, knowledge, targets)

    def distance(answers):
        return np.mean(
            [
                np.abs(np.array(a.content.shares) - n / 8).sum() / 2
                for a, n in zip(answers, counts, strict=True)
            ]
        )

    assert distance(told) < 0.05 < distance(untold)


def test_an_attacker_with_hardly_any_texts_still_answers():
    backbone, knowledge, _, _ = scene()
    for held in (1, 3, 12):
        (found,) = behind(
            backbone, replace(knowledge, public=knowledge.public[:held]), uploads(2, 1)[0], CLASSES
        )
        assert found.examples >= 1
        assert found.shares.sum() == pytest.approx(1)
