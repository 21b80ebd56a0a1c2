"""Coefficients are fitted to a vector by public texts without labels."""

import numpy as np
import pytest
import torch
from tiny import LAYERS, WIDTH, examples, task, tiny_backbone

from ifedpriv.data.task import Task
from ifedpriv.icl.choice import information
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.sharpen import answer_scores, mutual_information, sharpen
from ifedpriv.icl.vectors import Coefficients, ContextVector

TEXTS = [example.text for example in examples(40)]


def vector(seed=0):
    rng = np.random.default_rng(seed)
    return ContextVector(rng.normal(size=(LAYERS, 2, WIDTH)).astype(np.float32), 1)


def long_labels():
    """Labels of several tokens, two of which begin alike."""
    wording = task()
    words = (
        f"{wording.label_words[0]} {wording.label_words[1]}",
        f"{wording.label_words[0]} of",
        "none of it",
    )
    return Task("long", wording.template, words, separator=wording.separator)


def told(wording, coefficients):
    scores = score_labels(tiny_backbone(), wording, TEXTS, injection=Injection(vector(), coefficients))
    return information(scores)


@pytest.mark.parametrize("wording", [task(), long_labels()], ids=["one token", "several tokens"])
def test_scores_with_a_gradient_are_the_scores_of_predictions(wording):
    backbone = tiny_backbone()
    labels = label_tokens(backbone, wording)
    assert labels.single == (wording.name != "long")
    prompts = [backbone.encode_prompt(wording.prompt(text)) for text in TEXTS]
    with torch.no_grad():
        found = answer_scores(backbone, labels, prompts).numpy()
    np.testing.assert_allclose(found, score_labels(backbone, wording, TEXTS), rtol=1e-4, atol=1e-4)


def test_mutual_information_is_that_of_the_choice():
    scores = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32) * 3
    assert float(mutual_information(torch.from_numpy(scores))) == pytest.approx(information(scores), abs=1e-5)


@pytest.mark.parametrize("wording", [task(), long_labels()], ids=["one token", "several tokens"])
def test_answers_tell_more_after_the_steps_and_nothing_else_has_changed(wording):
    backbone = tiny_backbone()
    bare = score_labels(backbone, wording, TEXTS)
    start = Coefficients.uniform(LAYERS, 0.1, 1.0)
    found = sharpen(backbone, wording, vector(), start, TEXTS, steps=8, rate=0.1)
    assert told(wording, found) > told(wording, start)
    again = sharpen(backbone, wording, vector(), start, TEXTS, steps=8, rate=0.1)
    np.testing.assert_array_equal(found.values, again.values)
    np.testing.assert_array_equal(score_labels(backbone, wording, TEXTS), bare)
    assert all(weight.grad is None for weight in backbone.model.parameters())


def test_no_steps_leave_the_coefficients_and_one_text_is_enough():
    start = Coefficients.uniform(LAYERS, 0.1, 1.0)
    none = sharpen(tiny_backbone(), task(), vector(), start, TEXTS, steps=0)
    np.testing.assert_array_equal(none.values, start.values)
    assert np.isfinite(sharpen(tiny_backbone(), task(), vector(), start, TEXTS[:1], steps=1).values).all()
