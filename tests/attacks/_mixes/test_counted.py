"""That no attack and no control takes a mean of eight for one of few: untold, each answers as it does when told."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from attacked import frames_view

from attacks import layers
from attacks._base.attack import Answer, Guess, Histogram, Knowledge, Scope, Who
from attacks._base.space import read
from attacks._base.targets import Target, read_targets, rounding_variance
from attacks._judging.controls import NEAREST, controls_of, random_view
from attacks._members.calibrations import Recorded, examples_told
from attacks._mixes.labels import behind
from attacks._texts.unmix import words
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.vectors import ContextVector

EXAMPLES, VECTORS, CLASSES = 8, 8, 6


@cache
def scene():
    """The shipped model, an attacker's knowledge, and vectors of eight private texts each."""
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=EXAMPLES * VECTORS, validation=1, test=1)
    public = shipped.load("topic", seed=5, train=400, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public), pool=tuple(data.train))
    vectors = read(backbone, knowledge, tuple(data.train), "").astype(np.float64)
    return backbone, knowledge, vectors.reshape(VECTORS, EXAMPLES, *vectors.shape[1:]).mean(axis=1)


@cache
def right():
    """Targets that tell nothing, of which the reader is right; it errs in one of six at most."""
    backbone, knowledge, vectors = scene()
    targets = []
    for number, vector in enumerate(vectors):
        sent = vector.astype(np.float16).astype(np.float64)
        targets.append(Target(Who(number), sent, rounding_variance(sent, Precision.FP16), None))
    found = behind(backbone, knowledge, targets, CLASSES)
    kept = [target for target, each in zip(targets, found, strict=True) if each.examples == EXAMPLES]
    assert len(kept) >= VECTORS / 2
    return kept


def told(targets):
    return [replace(target, examples=EXAMPLES) for target in targets]


@pytest.mark.parametrize("method", [layers.probe, layers.members])
def test_a_part_of_a_curve(method):
    backbone, knowledge, _ = scene()
    assert method(backbone, knowledge, right()) == method(backbone, knowledge, told(right()))


def test_words_where_no_class_shows():
    """Read before the answer: one class, and a fresh reading of what the vectors are the means of."""
    backbone, knowledge, _ = scene()
    knowledge = replace(knowledge, position=Position.PROMPT_END)
    values = read(backbone, knowledge, knowledge.pool, "").astype(np.float64)
    aims = [
        Target(Who(n), each.mean(axis=0), np.full(each.shape[1:], 1e-10), None)
        for n, each in enumerate(values.reshape(VECTORS, EXAMPLES, *values.shape[1:]))
    ]
    chosen = {}
    for name, targets in (("untold", aims), ("told", told(aims))):
        answers = words(backbone, knowledge, targets)["probe"]
        chosen[name] = np.median([answer.content.chosen for answer in answers])
    assert chosen["untold"] == pytest.approx(chosen["told"], rel=0.2)


def test_the_nearest_texts_are_as_many():
    backbone, knowledge, _ = scene()
    answers = tuple(Answer(t.who, Histogram((1 / CLASSES,) * CLASSES, EXAMPLES)) for t in right())
    guess = Guess("labels", "class means", Scope.UPLOADS, answers)
    near = controls_of(guess, right(), None, backbone, knowledge)[NEAREST]
    assert [each.examples for each in near] == [EXAMPLES] * len(right())


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    backbone, _, vectors = scene()
    uploads = [{"vector": vector.astype(np.float32)} for vector in vectors]
    return frames_view(tmp_path_factory.mktemp("view"), uploads, fingerprint=backbone.fingerprint)


def test_random_vectors_are_means_of_as_many(view, tmp_path):
    """Squared distance to the public mean over one text's: an eighth, and a third where eight were read as few."""
    backbone, knowledge, _ = scene()
    drawn = random_view(view, backbone, knowledge, tmp_path / "drawn")
    public = read(backbone, knowledge, knowledge.public, "").astype(np.float64)
    found = np.stack([each.vector for each in read_targets(drawn, backbone)[0].targets])
    share = np.mean((found - public.mean(axis=0)) ** 2, axis=0) / public.var(axis=0)
    assert float(share.mean()) == pytest.approx(1 / EXAMPLES, rel=0.3)


def test_clients_of_coefficients_have_as_many(view):
    backbone, knowledge, vectors = scene()
    recorded = Recorded(ContextVector(vectors.mean(axis=0).astype(np.float32), 0), ())
    assert examples_told(view, backbone, knowledge, recorded) == pytest.approx(EXAMPLES, rel=0.15)
