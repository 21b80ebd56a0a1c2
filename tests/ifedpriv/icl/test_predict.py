"""Label scores are those of the whole model on the whole text, however much of the work was saved."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import examples, generation_task, injection, task, tiny_backbone
from toys import toy_model, toy_tokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import InputError
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.predict import generate_answers, predict_labels, score_labels
from ifedpriv.icl.vectors import Coefficients, ContextVector

TEXTS = [example.text for example in examples(5)]
CONTEXT = "Text: the dog\nLabel:A\nText: the cat\nLabel:B\n"


def brute_force(backbone, chosen, texts, context=""):
    """Mean log-probability of each label's tokens by the whole model on one whole sequence at a time."""
    scores = np.zeros((len(texts), chosen.n_classes))
    for row, text in enumerate(texts):
        prompt = context + chosen.prompt(text)
        start = len(backbone.tokenizer(prompt).input_ids)
        for column, answer in enumerate(chosen.answers()):
            ids = backbone.tokenizer(prompt + answer).input_ids
            with torch.no_grad():
                logits = backbone.model(input_ids=torch.tensor([ids])).logits[0].double()
            logp = logits.log_softmax(-1)
            scores[row, column] = np.mean([float(logp[i - 1, ids[i]]) for i in range(start, len(ids))])
    return scores


def assert_same_scores(backbone, chosen, got, expected):
    """Labels of one token are scored by logits, which are log-probabilities up to a number for each text."""
    if label_tokens(backbone, chosen).single:
        got, expected = got - got[:, :1], expected - expected[:, :1]
    np.testing.assert_allclose(got, expected, atol=3e-5)


@settings(max_examples=20)
@given(
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=2, max_size=4, unique=True),
    st.sampled_from(["", CONTEXT]),
    st.integers(1, 6),
)
def test_scores_are_those_of_whole_sequences(words, context, batch_size):
    """Labels of several tokens, with a shared beginning, or one of them the beginning of another."""
    backbone, chosen = tiny_backbone(), task(words, gap=" ")
    expected = brute_force(backbone, chosen, TEXTS, context)
    got = score_labels(backbone, chosen, TEXTS, context=context, batch_size=batch_size)
    assert_same_scores(backbone, chosen, got, expected)


def test_single_tokens_are_the_plain_logits_and_predictions_their_argmax():
    backbone, chosen = tiny_backbone(), task(("A", "B", "C"))
    scores = score_labels(backbone, chosen, TEXTS, batch_size=2)
    for row, text in enumerate(TEXTS):
        ids = backbone.tokenizer(chosen.prompt(text)).input_ids
        with torch.no_grad():
            logits = backbone.model(input_ids=torch.tensor([ids])).logits[0, -1]
        wanted = [logits[backbone.tokenizer(word).input_ids[-1]] for word in chosen.label_words]
        np.testing.assert_allclose(scores[row], wanted, atol=2e-5)
    predicted = predict_labels(backbone, chosen, TEXTS)
    assert predicted.dtype == np.int64
    assert predicted.tolist() == scores.argmax(axis=1).tolist()


@pytest.mark.parametrize("words", [("A", "B"), ("ab", "abba", "b")])
def test_an_injection_scores_as_the_injected_model_does(words):
    backbone, chosen, made = tiny_backbone(), task(words, gap=" "), injection(tiny_backbone())
    got = score_labels(backbone, chosen, TEXTS, injection=made, context=CONTEXT)
    with made.on(backbone):
        expected = brute_force(backbone, chosen, TEXTS, CONTEXT)
    assert_same_scores(backbone, chosen, got, expected)
    plain = score_labels(backbone, chosen, TEXTS, context=CONTEXT)
    assert np.abs(got - plain).max() > 0.01


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral-window", "bloom"])
def test_sharing_the_beginning_changes_nothing(name, monkeypatch):
    """A window shorter than the prefix, learned positions, ALiBi without position ids."""
    backbone = Backbone.wrap(toy_model(name), toy_tokenizer())
    chosen = task(("ab", "abba", "b"), gap=" ")
    for made in (None, random_injection(backbone)):
        shared = score_labels(backbone, chosen, TEXTS, context=CONTEXT, injection=made)
        with monkeypatch.context() as patch:
            patch.setattr("ifedpriv.backbone.prefix._WORTH_SHARING", 10**6)
            whole = score_labels(backbone, chosen, TEXTS, context=CONTEXT, injection=made)
        np.testing.assert_allclose(shared, whole, atol=3e-5)


def random_injection(backbone):
    rng = np.random.default_rng(0)
    return Injection(
        ContextVector(rng.normal(size=(backbone.n_layers, 2, backbone.width)), 1),
        Coefficients(rng.normal(size=(backbone.n_layers, 2, 2)) * 0.2 + [0.2, 1.0]),
    )


def test_order_and_batch_size_do_not_show():
    backbone, chosen = tiny_backbone(), task(("ab", "abba"), gap=" ")
    reference = score_labels(backbone, chosen, TEXTS, batch_size=64)
    np.testing.assert_allclose(
        score_labels(backbone, chosen, TEXTS[::-1], batch_size=2)[::-1], reference, atol=2e-5
    )


def test_a_single_text_and_no_text():
    backbone, chosen = tiny_backbone(), task()
    assert score_labels(backbone, chosen, TEXTS[:1]).shape == (1, 2)
    assert score_labels(backbone, chosen, []).shape == (0, 2)
    assert predict_labels(backbone, chosen, []).shape == (0,)


def test_the_same_text_twice_scores_twice_the_same():
    scores = score_labels(tiny_backbone(), task(), [TEXTS[0]] * 3)
    # Matrix products may take a batch's last rows by another kernel, which adds in another order.
    np.testing.assert_allclose(scores[1:], scores[[0, 0]], rtol=0, atol=2e-5)


def test_a_query_that_does_not_fit_is_refused_by_length_and_not_quoted():
    with pytest.raises(InputError, match="a query of 700 characters with its context has") as caught:
        score_labels(tiny_backbone(), task(), ["fine", "secret " * 100])
    assert "secret" not in str(caught.value)


def test_a_long_label_counts_toward_the_context():
    backbone = tiny_backbone()
    chosen = task(("ab", "a" + "b" * 40), gap=" ")
    room = backbone.max_length - len(backbone.encode_prompt(chosen.prompt("")))
    text = "q" * room
    with pytest.raises(InputError, match="a query of"):
        score_labels(backbone, chosen, [text])


def test_generation_stops_at_the_separator_and_drops_the_gap():
    backbone, chosen = tiny_backbone(), generation_task()
    answers = generate_answers(backbone, chosen, TEXTS)
    assert len(answers) == len(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        ids = backbone.tokenizer(chosen.prompt(text)).input_ids
        new = []
        for _ in range(chosen.max_new_tokens):
            with torch.no_grad():
                token = int(backbone.model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax())
            if token == backbone.tokenizer.eos_token_id:
                break
            new.append(token)
        assert answer == backbone.tokenizer.decode(new).split("\n")[0].strip()


def test_generation_under_an_injection_is_another():
    backbone = tiny_backbone()
    strong = injection(backbone)
    bare = generate_answers(backbone, generation_task(), TEXTS)
    assert generate_answers(backbone, generation_task(), TEXTS, injection=strong) != bare
