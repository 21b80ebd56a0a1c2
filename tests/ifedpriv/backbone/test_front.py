"""Vectors in front of a text do what the tokens would do whose embeddings they are, in every family."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from toys import CONFIGS, UNKNOWN, toy_model, toy_tokenizer

from ifedpriv.backbone import Backbone, capture, inject
from ifedpriv.backbone.front import columns_moved, embedding_width, in_front, tokens_in_front
from ifedpriv.backbone.prefix import SharedPrefix
from ifedpriv.errors import InputError, ModelError

NAMES = [*CONFIGS, *UNKNOWN]
LONG, SHORT = list(range(3, 24)), list(range(40, 53))
IN_FRONT = [200, 77, 5, 131, 60, 18]
L = len(IN_FRONT)
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@cache
def backbone_of(name: str) -> Backbone:
    return Backbone.wrap(toy_model(name), toy_tokenizer())


@pytest.fixture(params=NAMES)
def backbone(request) -> Backbone:
    return backbone_of(request.param)


def rows_of(backbone: Backbone, ids=IN_FRONT) -> torch.Tensor:
    with torch.no_grad():
        return backbone.model.get_input_embeddings()(torch.tensor(ids)).clone()


def hooks_on(backbone: Backbone) -> int:
    modules = backbone.model.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def real(states: torch.Tensor, batch, skip: int = 0) -> list[torch.Tensor]:
    return [
        states[row, int(start) + skip : int(start) + int(length)]
        for row, (start, length) in enumerate(zip(batch.starts, batch.lengths, strict=True))
    ]


@pytest.mark.parametrize("side", ["right", "left"])
def test_embeddings_of_tokens_do_what_the_tokens_do(backbone, side):
    written = backbone.make_batch([[*IN_FRONT, *LONG], [*IN_FRONT, *SHORT]], side)
    expected = real(backbone.hidden(written), written, skip=L)
    batch = backbone.make_batch([LONG, SHORT], side)
    with in_front(backbone, rows_of(backbone)):
        states = backbone.hidden(batch)
        assert states.shape[:2] == batch.input_ids.shape
    for got, wanted in zip(real(states, batch), expected, strict=True):
        assert torch.equal(got, wanted), "the same path, so the same bits"
    bare = real(backbone.hidden(batch), batch)
    assert not torch.allclose(bare[0], expected[0], atol=1e-3)


def test_the_whole_models_logits_too(backbone):
    batch = backbone.make_batch([LONG])
    written = backbone.model(input_ids=torch.tensor([[*IN_FRONT, *LONG]])).logits[:, L:]
    with in_front(backbone, rows_of(backbone)):
        got = backbone.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    torch.testing.assert_close(got, written, **CLOSE)


def test_states_at_chosen_tokens_and_captures_keep_the_callers_columns(backbone):
    sequences = [LONG, SHORT]
    written = backbone.make_batch([[*IN_FRONT, *ids] for ids in sequences])
    rows, columns = [0, 0, 1], [20, 4, 12]
    expected = backbone.hidden(written)[rows, [c + L for c in columns]]
    with capture(backbone, written.last) as captured:
        backbone.hidden(written)
    batch = backbone.make_batch(sequences)
    with in_front(backbone, rows_of(backbone)):
        torch.testing.assert_close(backbone.hidden_at(batch, rows, columns), expected, **CLOSE)
        with capture(backbone, batch.last) as again:
            backbone.hidden(batch)
    torch.testing.assert_close(again.contributions(), captured.contributions(), **CLOSE)


def test_gradients_are_those_of_the_embeddings(backbone):
    """By central differences in one direction; and no weight gets one."""
    prompt = rows_of(backbone)
    direction = torch.randn(prompt.shape, generator=torch.Generator().manual_seed(3))
    direction /= direction.norm()
    batch = backbone.make_batch([LONG, SHORT])
    weights = torch.randn(320, generator=torch.Generator().manual_seed(4))

    def value(point):
        with in_front(backbone, point):
            rows = backbone.hidden_at(batch, [0, 1], [20, 12])
        return (backbone.logits(rows).double().log_softmax(-1) * weights).sum()

    point = prompt.clone().requires_grad_()
    value(point).backward()
    step = 1e-2 * float(prompt.norm()) / 5
    measured = float(value(prompt + step * direction) - value(prompt - step * direction)) / (2 * step)
    assert float((point.grad * direction).sum()) == pytest.approx(
        measured, abs=0.05 * float(point.grad.norm())
    )
    assert bool((point.grad.abs().sum(-1) > 0).all())
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_generation_with_cache_and_padding(backbone):
    prompts = ["Text: a good day Label:", "the cat", "a bad dog sat on the mat"]
    with in_front(backbone, rows_of(backbone)):
        texts = backbone.generate(prompts, 8, "")
    assert texts != backbone.generate(prompts, 8, "")
    for prompt, text in zip(prompts, texts, strict=True):
        ids = [*IN_FRONT, *backbone.encode_prompt(prompt)]
        start = len(ids)
        for _ in range(8):
            state = backbone.hidden(backbone.make_batch([ids]))[:, -1]
            ids.append(int(backbone.logits(state).argmax()))
        new = ids[start : ids.index(1, start)] if 1 in ids[start:] else ids[start:]
        encoded = [*backbone.encode_prompt(prompt), *new]
        assert prompt + text == backbone.tokenizer.decode(encoded, skip_special_tokens=True)


def test_transformers_own_generate_needs_to_know_of_nothing(backbone):
    """Called as anybody calls it, with padding on the left, while a prompt stands in front."""
    batch = backbone.make_batch([LONG, SHORT], "left")
    written = backbone.make_batch([[*IN_FRONT, *LONG], [*IN_FRONT, *SHORT]], "left")

    def said(given):
        masked = {"input_ids": given.input_ids, "attention_mask": given.attention_mask}
        with torch.no_grad():
            new = backbone.model.generate(
                **masked, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=2
            )
        return new[:, given.input_ids.shape[1] :].tolist()

    with in_front(backbone, rows_of(backbone)):
        got = said(batch)
    assert got == said(written)


def test_a_shared_beginning_is_shared_with_what_stands_in_front(backbone):
    shared = list(range(100, 118))
    sequences = [[*shared, *LONG], [*shared, *SHORT]]
    with in_front(backbone, rows_of(backbone)):
        whole = backbone.hidden(backbone.make_batch(sequences))
        prefix = SharedPrefix(backbone, sequences)
        states = prefix.hidden(sequences)
    assert prefix.length in (0, len(shared))
    for row, sequence in enumerate(sequences):
        rest = len(sequence) - prefix.length
        torch.testing.assert_close(states[row, :rest], whole[row, prefix.length : len(sequence)], **CLOSE)


def test_computing_each_prompt_once_gives_the_same_states_and_gradients(backbone):
    """With the last MLP narrowed too; a prompt that no sequence has is not computed and gets no gradient."""
    bank = torch.stack(
        [rows_of(backbone), rows_of(backbone, [9, 8, 7, 6, 5, 4]), rows_of(backbone, LONG[:6])]
    )
    batch = backbone.make_batch([LONG, SHORT, LONG])
    rows, columns = [0, 1, 1, 2], [20, 12, 3, 19]
    weights = torch.randn(4, backbone.width, generator=torch.Generator().manual_seed(4))
    found = []
    for share in (False, True):
        point = bank.clone().requires_grad_()
        with in_front(backbone, point, torch.tensor([2, 0, 2]), share=share):
            states = backbone.hidden_at(batch, rows, columns)
            assert backbone.hidden(batch).shape[:2] == batch.input_ids.shape
            # OPT-350m gives states as wide as its embeddings.
            (states * weights[:, : states.shape[1]]).sum().backward()
        found.append((states, point.grad))
    torch.testing.assert_close(found[1][0], found[0][0], **CLOSE)
    size = float(found[0][1].abs().max())
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-4 * size, rtol=1e-3)
    assert not found[1][1][1].any()
    one = rows_of(backbone)
    with in_front(backbone, one):
        expected = backbone.hidden_at(batch, rows, columns)
        left = backbone.hidden(backbone.make_batch([LONG, SHORT], "left"))[:, -1]
        texts = backbone.generate(["the cat", "a bad dog"], 4, "")
    with in_front(backbone, one, share=True):
        torch.testing.assert_close(backbone.hidden_at(batch, rows, columns), expected, **CLOSE)
        got = backbone.hidden(backbone.make_batch([LONG, SHORT], "left"))[:, -1]
        torch.testing.assert_close(got, left, **CLOSE)
        assert backbone.generate(["the cat", "a bad dog"], 4, "") == texts


def test_every_sequence_may_have_a_prompt_of_its_own(backbone):
    bank = torch.stack(
        (rows_of(backbone), rows_of(backbone, [9, 8, 7, 6, 5, 4]), torch.zeros(L, embedding_width(backbone)))
    )
    batch = backbone.make_batch([LONG, SHORT, LONG])
    with in_front(backbone, bank, torch.tensor([1, 0, 2])):
        mixed = backbone.hidden(batch)
    for row, which in enumerate((1, 0, 2)):
        with in_front(backbone, bank[which]):
            alone = backbone.hidden(batch)
        length = int(batch.lengths[row])
        torch.testing.assert_close(mixed[row, :length], alone[row, :length], **CLOSE)


def test_an_injection_inside_acts_on_both(backbone):
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(backbone.n_layers, 2, backbone.width, generator=generator)
    coefficients = torch.randn(backbone.n_layers, 2, 2, generator=generator) * 0.3 + 0.6
    batch, written = backbone.make_batch([LONG]), backbone.make_batch([[*IN_FRONT, *LONG]])
    with inject(backbone, vector, coefficients):
        expected = backbone.hidden_at(written, [0], [20 + L])
        with in_front(backbone, rows_of(backbone)):
            got = backbone.hidden_at(batch, [0], [20])
    torch.testing.assert_close(got, expected, **CLOSE)


def test_nothing_is_left_behind(backbone):
    batch = backbone.make_batch([LONG, SHORT])
    before, hooks = backbone.hidden(batch), hooks_on(backbone)
    with pytest.raises(ZeroDivisionError), in_front(backbone, rows_of(backbone)):
        backbone.hidden(batch)
        assert tokens_in_front(backbone) == L
        _ = 1 / 0
    assert tokens_in_front(backbone) == columns_moved(backbone.sites.base) == 0
    assert hooks_on(backbone) == hooks
    assert torch.equal(backbone.hidden(batch), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_prompt_once(dtype):
    backbone = Backbone.wrap(toy_model("llama", dtype=dtype), toy_tokenizer())
    prompt = rows_of(backbone).float().requires_grad_()
    batch = backbone.make_batch([LONG, SHORT])
    written = backbone.make_batch([[*IN_FRONT, *LONG], [*IN_FRONT, *SHORT]])
    with in_front(backbone, prompt):
        states = backbone.hidden_at(batch, [0, 1], [20, 12])
    states.float().sum().backward()
    assert prompt.grad.dtype == torch.float32
    assert bool(torch.isfinite(prompt.grad).all())
    assert torch.equal(states, backbone.hidden_at(written, [0, 1], [20 + L, 12 + L]))


def refused(error, backbone, prompts, rows=None, run=lambda: None):
    with pytest.raises(error) as caught, in_front(backbone, prompts, rows):
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_is_refused_in_a_sentence():
    backbone = backbone_of("llama")
    prompt = rows_of(backbone)
    assert "(6, 31)" in refused(ModelError, backbone, prompt[:, 1:])
    assert "finite" in refused(ModelError, backbone, prompt * np.nan)
    assert "finite" in refused(ModelError, backbone, prompt.long())
    assert "no room" in refused(ModelError, backbone, torch.zeros(128, 32))
    assert "(0, 32)" in refused(ModelError, backbone, torch.zeros(0, 32))
    one = backbone.make_batch([LONG])
    several = torch.stack((prompt, prompt))
    said = refused(ModelError, backbone, several, torch.tensor([0, 1]), lambda: backbone.hidden(one))
    assert "2 sequences" in said
    said = refused(
        ModelError, backbone, several, torch.tensor([0, 1]), lambda: backbone.generate(["a"], 1, "")
    )
    assert "one at a time" in said
    with in_front(backbone, prompt):
        assert "already" in refused(ModelError, backbone, prompt)


def test_a_text_that_fits_only_without_the_prompt_is_refused():
    backbone = backbone_of("gpt2")
    text = [5] * (128 - L)
    with in_front(backbone, rows_of(backbone)):
        backbone.hidden(backbone.make_batch([text]))
        with pytest.raises(InputError, match=r"has 123 tokens, 6 of a soft prompt stand in front.*128"):
            backbone.make_batch([[*text, 5]])
        with pytest.raises(InputError, match="soft prompt"):
            backbone.generate(["a" * 110], 12, "")


def test_a_model_that_reads_its_tokens_elsewhere_is_refused(monkeypatch):
    """A prompt that nobody reads would train, score, and be silently nothing."""
    backbone = Backbone.wrap(toy_model("llama"), toy_tokenizer())
    stranger = torch.nn.Embedding(320, 32)
    monkeypatch.setattr(backbone.model, "get_input_embeddings", lambda: stranger)
    inner = backbone.sites.base.embed_tokens
    monkeypatch.setattr(inner, "forward", lambda ids: torch.zeros(*ids.shape, 32))
    run = lambda: backbone.hidden(backbone.make_batch([LONG]))  # noqa: E731
    assert "does not read its tokens" in refused(ModelError, backbone, torch.zeros(2, 32), run=run)
