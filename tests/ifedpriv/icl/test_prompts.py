"""Demonstrations as tokens: which token each position names, and batches that hold every index once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import TEMPLATE, generation_task, task, tiny_backbone

from ifedpriv.data.task import Example
from ifedpriv.errors import InputError
from ifedpriv.icl.prompts import Position, bucketed, tokenize


def spelled(backbone, ids):
    return backbone.tokenizer.decode(ids)


@pytest.mark.parametrize("words", [("A", "B"), ("positive", "negative")])
def test_positions_name_the_prompts_end_the_answers_end_and_the_last_token(words):
    backbone = tiny_backbone()
    chosen = task(words, gap=" ", separator="!\n")
    demonstration = tokenize(backbone, chosen, Example("a day", 1))
    ids = list(demonstration.ids)
    end, label, last = (demonstration.index(p) for p in (Position.PROMPT_END, Position.LABEL, Position.LAST))
    assert spelled(backbone, ids[: end + 1]) == "<s>" + TEMPLATE.format(text="a day")
    assert spelled(backbone, ids[end + 1 : label + 1]) == f" {words[1]}"
    assert spelled(backbone, demonstration.answer_ids) == f" {words[1]}"
    assert spelled(backbone, ids[label + 1 :]) == "!\n"
    assert last == len(ids) - 1
    assert end < label < last


def test_without_a_separator_the_answers_end_is_the_last_token():
    demonstration = tokenize(tiny_backbone(), task(separator=""), Example("a day", 0))
    assert demonstration.index(Position.LABEL) == demonstration.index(Position.LAST)


def test_the_tokens_are_those_of_the_whole_text():
    backbone, chosen = tiny_backbone(), task(("positive", "negative"), gap=" ")
    example = Example("a good day", 0)
    whole = backbone.tokenizer("Before.\n" + chosen.demonstration(example)).input_ids
    assert list(tokenize(backbone, chosen, example, "Before.\n").ids) == whole


def test_a_generation_answer_is_the_examples_own():
    backbone = tiny_backbone()
    demonstration = tokenize(backbone, generation_task(), Example("a day", answer="the mat"))
    assert spelled(backbone, demonstration.answer_ids) == " the mat"


def test_an_example_longer_than_the_context_is_refused_by_length_and_not_quoted():
    with pytest.raises(InputError) as caught:
        tokenize(tiny_backbone(), task(), Example("secret " * 100, 0))
    assert "an example of task tiny of 700 characters has " in str(caught.value)
    assert "context is 256" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_demonstration_prints_its_length_only():
    assert repr(tokenize(tiny_backbone(), task(), Example("a day", 0))).startswith("Demonstration(<")
    assert repr(Example("a day", 0)) == "Example(<5 characters>, label=0)"


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 12))
def test_buckets_hold_every_index_once_in_order_of_length(lengths, size):
    batches = list(bucketed(lengths, size))
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[i] for i in flat] == sorted(lengths)
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)
    assert batches == list(bucketed(lengths, size))
