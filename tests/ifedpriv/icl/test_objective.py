"""What all clients minimise: nothing is computed behind the last answer token, and nothing is lost by that."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import toy_model, toy_tokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import extract
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.prompts import tokenize, tokenize_all

TASK = Task("toy", "Text: {text}\nLabel:", ("positive", "bad day"), separator=" .\n")
GENERATION = Task("toy", "Text: {text}\nName:", kind=TaskKind.GENERATION)
SOME = [Example(f"the cat {'sat ' * i}{i}", i % 2, f"dog {i}") for i in range(6)]


@pytest.fixture(scope="module")
def backbone():
    return Backbone.wrap(toy_model("llama"), toy_tokenizer())


@pytest.mark.parametrize("task", [TASK, GENERATION])
def test_the_loss_is_that_of_the_whole_sequence(backbone, task):
    """Against the model's own logits over every token of every example, one at a time."""
    objective = Objective(backbone, task, SOME)
    losses = []
    for example in SOME:
        prompt, answer = task.prompt(example.text), task.answer(example)
        ids = backbone.encode_prompt(prompt + answer + task.separator)
        start = len(backbone.encode_prompt(prompt))
        end = len(ids) if task is GENERATION else len(backbone.encode_prompt(prompt + answer))
        with torch.no_grad():
            scores = backbone.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        losses.extend(-float(scores[i - 1, ids[i]]) for i in range(start, end))
    with torch.no_grad():
        assert float(objective.loss_of(range(6))) == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("task", [TASK, GENERATION])
def test_no_token_is_computed_that_predicts_nothing(backbone, task, monkeypatch):
    seen = []
    make = Backbone.make_batch
    monkeypatch.setattr(
        Backbone, "make_batch", lambda self, ids, *a: (seen.extend(ids), make(self, ids, *a))[1]
    )
    objective = Objective(backbone, task, SOME)
    objective.loss_of(range(6))
    for d, ids in zip(objective.demonstrations, seen, strict=True):
        last = len(d.ids) if task is GENERATION else d.prompt_length + d.answer_length
        assert ids == d.ids[: last - 1]


TOKENIZER = toy_tokenizer()
words = st.text(st.sampled_from("the cat.\nLa bel:é ñ漢  "), max_size=30)


@settings(max_examples=60)
@given(texts=st.lists(words.filter(str.strip), min_size=1, max_size=4), context=words)
def test_tokenising_all_at_once_is_tokenising_each(texts, context):
    backbone = Backbone.__new__(Backbone)
    object.__setattr__(backbone, "tokenizer", TOKENIZER)
    object.__setattr__(backbone, "max_length", 10_000)
    examples = [Example(text, i % 2) for i, text in enumerate(texts)]
    for example, d in zip(examples, tokenize_all(backbone, TASK, examples, context), strict=True):
        assert d == tokenize(backbone, TASK, example, context)
        prompt = context + TASK.prompt(example.text)
        start, rest = backbone.encode_pair(prompt, TASK.answer(example) + TASK.separator)
        assert list(d.ids) == [*start, *rest] and d.prompt_length == len(start)
        assert d.answer_length == min(len(backbone.encode_answer(prompt, TASK.answer(example))), len(rest))


def test_one_text_that_is_too_long_is_named_by_its_length_alone(backbone):
    with pytest.raises(InputError, match="900 characters") as caught:
        tokenize_all(backbone, TASK, [*SOME, Example("a cat sat " * 90, 0)])
    assert "cat" not in caught.value.message


def test_no_examples_are_no_demonstrations(backbone):
    assert tokenize_all(backbone, TASK, []) == ()
    assert backbone.encode_prompts([]) == []


def test_extraction_from_tokens_is_extraction_from_examples(backbone):
    demonstrations = Objective(backbone, TASK, SOME).demonstrations
    own = extract(backbone, TASK, SOME)
    given_ = extract(backbone, TASK, SOME, demonstrations=demonstrations)
    assert np.array_equal(own.values, given_.values) and own.count == given_.count


@given(
    count=st.integers(1, 30),
    epochs=st.integers(1, 3),
    size=st.integers(1, 40),
    seed=st.integers(0, 9),
)
@settings(max_examples=40)
def test_passes_show_every_example_once_an_epoch(count, epochs, size, seed):
    objective = Objective.__new__(Objective)
    objective._demonstrations = tuple(type("D", (), {"ids": range(3 + i % 5)})() for i in range(count))
    batches = objective.passes(epochs, size, np.random.default_rng(seed))
    assert len(batches) == epochs * -(-count // size)
    per_epoch = len(batches) // epochs
    for epoch in range(epochs):
        shown = [i for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for i in batch]
        assert sorted(shown) == list(range(count))
    assert all(len(batch) <= size for batch in batches)
