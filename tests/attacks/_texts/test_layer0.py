"""The first attention taken apart and put together again."""

import numpy as np
import pytest
import torch
from tiny import examples as tiny_examples
from tiny import task, tiny_backbone
from toys import toy_model, toy_tokenizer

from attacks._base.tokens import inner_tokens, template_border
from attacks._texts.layer0 import FirstAttention, NotLinearError
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Position, tokenize_all

CHOSEN = tiny_examples(6)


def test_heads_add_up_to_what_attention_adds():
    place = tiny_backbone()
    first = FirstAttention(place)
    shown = tokenize_all(place, task(), CHOSEN)
    reading = first.read([each.ids for each in shown], [each.index(Position.LABEL) for each in shown])
    first.check(reading)
    recorded = np.zeros((len(CHOSEN), place.width))
    for chosen, values in activations(place, task(), CHOSEN):
        recorded[chosen] = values[:, 0, 0]
    assert np.allclose(first.outputs(reading.heads).sum(axis=1), recorded, atol=1e-5)
    assert np.allclose(reading.output, recorded, atol=1e-5)
    assert np.allclose(reading.attention.sum(axis=-1), 1, atol=1e-5)


def test_attention_times_table_is_what_the_heads_give():
    place = tiny_backbone()
    first = FirstAttention(place)
    demonstration = tokenize_all(place, task(), CHOSEN[:1])[0]
    reading = first.read([demonstration.ids], [demonstration.index(Position.LABEL)])
    values = first.values(demonstration.ids)
    put_together = np.einsum("ht,thd->hd", reading.attention[0], values)
    assert np.allclose(put_together, reading.heads[0], atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "bloom"])
def test_other_families_are_taken_apart_or_refused(family):
    place = Backbone.wrap(toy_model(family), toy_tokenizer())
    try:
        first = FirstAttention(place)
        reading = first.read([[3, 4, 5, 6], [7, 8, 9, 3]], [3, 3])
        first.check(reading)
    except NotLinearError as reason:
        assert str(reason)
        assert family in ("gemma2", "bloom")
        return
    rest = reading.output - first.outputs(reading.heads).sum(axis=1)
    assert np.abs(rest - rest[0]).max() < 1e-4


def test_the_model_is_left_as_it_was():
    place = tiny_backbone()
    before = place.model.config._attn_implementation
    batch = place.make_batch([[3, 4, 5]])
    plain = place.hidden(batch)
    FirstAttention(place).read([[3, 4, 5]], [2])
    assert place.model.config._attn_implementation == before
    assert torch.equal(place.hidden(batch), plain)


def test_template_tokens_are_cut_off():
    place = tiny_backbone()
    head, tail = template_border(place, task())
    inner = inner_tokens(place, task(), CHOSEN)
    decoded = [place.tokenizer.decode(list(ids)) for ids in inner]
    assert place.tokenizer.decode(list(head)).strip().endswith("Text:")
    assert place.tokenizer.decode(list(tail)).endswith("Label:")
    for text, example in zip(decoded, CHOSEN, strict=True):
        assert "Label" not in text
        assert text.strip() in example.text
        assert len(text.strip()) >= len(example.text) - 2
