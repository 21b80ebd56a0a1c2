"""Label words as tokens: every label is scored along its own path, once for each of its tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import task, tiny_backbone, tiny_model
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import InputError
from ifedpriv.icl.labels import label_tokens

LABELS = st.lists(st.text("ab", min_size=1, max_size=5), min_size=2, max_size=5, unique=True)


def word_backbone() -> Backbone:
    """A tokenizer of ten words, which folds case and knows what it does not know."""
    words = ["<unk>", "<s>", "text", "label", ":", "x", "red", "blue", "green", "day"]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.normalizer = normalizers.Lowercase()
    return Backbone.wrap(
        tiny_model(),
        PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>"),
    )


@given(LABELS)
def test_probes_follow_every_label_token_by_token(words):
    backbone = tiny_backbone()
    labels = label_tokens(backbone, task(words, gap=" "))
    before = backbone.encode_prompt(task().prompt("x"))
    for word, tokens in zip(words, labels.tokens, strict=True):
        assert [*before, *tokens] == backbone.encode_prompt(task().prompt("x") + " " + word)
    found: dict[int, list[tuple[int, int]]] = {index: [] for index in range(len(words))}
    for probe in labels.probes:
        assert len(set(probe.tokens)) == len(probe.tokens) == len(probe.labels)
        for token, through in zip(probe.tokens, probe.labels, strict=True):
            for label in through:
                assert labels.tokens[label][: probe.depth] == labels.paths[probe.path][: probe.depth]
                found[label].append((probe.depth, token))
    for label, tokens in enumerate(labels.tokens):
        assert sorted(found[label]) == list(enumerate(tokens))


@given(LABELS)
def test_no_path_is_the_beginning_of_another(words):
    """Otherwise a forward pass would be wasted."""
    paths = label_tokens(tiny_backbone(), task(words, gap=" ")).paths
    assert not any(a != b and b[: len(a)] == a for a in paths for b in paths)
    assert len(set(paths)) == len(paths)


def test_single_tokens_need_one_place():
    labels = label_tokens(tiny_backbone(), task(("A", "B", "C")))
    assert labels.single
    assert labels.paths == ((),)
    assert len(labels.probes) == 1
    assert labels.probes[0].labels == ((0,), (1,), (2,))


def test_a_label_that_begins_another():
    labels = label_tokens(tiny_backbone(), task(("x", "xy"), gap=" "))
    assert labels.tokens[1][: len(labels.tokens[0])] == labels.tokens[0]
    assert not labels.single


def refused(backbone, words, **changes) -> str:
    with pytest.raises(InputError) as caught:
        label_tokens(backbone, task(words, **changes))
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_that_the_tokenizer_does_not_know_are_refused_by_index():
    said = refused(word_backbone(), ("red", "purple"), gap=" ")
    assert "task.label_words[1] is 'purple', which the tokenizer does not know" in said


def test_words_with_the_same_tokens_are_refused():
    said = refused(word_backbone(), ("red", "blue", "Red"), gap=" ")
    assert "task.label_words[2] is 'Red', which has the same tokens as 'red'" in said


def test_labels_that_melt_into_the_prompt_are_refused():
    """Behind "Label: " the word's own space is taken, so "Label: good" is not those tokens and then some."""
    said = refused(tiny_backbone(), ("good", "bad"), template="Text: {text}\nLabel: ", gap="")
    assert "task.gap" in said
    assert "task.template" in said


def test_known_words_of_any_tokenizer_are_taken():
    assert label_tokens(word_backbone(), task(("red", "Blue"), gap=" ")).tokens == ((6,), (7,))
