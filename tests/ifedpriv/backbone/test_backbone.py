"""Loading, tokens, batches, text and the fingerprint."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from toys import SIZE, toy_model, toy_tokenizer

from ifedpriv.backbone import Backbone, inject
from ifedpriv.backbone.batches import pad
from ifedpriv.backbone.families import family_table
from ifedpriv.errors import InputError, ModelError

DOCS = Path(__file__).parents[3] / "docs" / "backbones.md"


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.wrap(toy_model("llama"), toy_tokenizer())


@pytest.fixture
def saved(tmp_path) -> Path:
    toy_model("llama").save_pretrained(tmp_path)
    toy_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def refused(place: object, **options: str) -> str:
    with pytest.raises(ModelError) as caught:
        Backbone.load(place, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_load_gives_what_was_saved(saved, backbone, name, dtype):
    loaded = Backbone.load(saved, dtype=name)
    assert (loaded.family, loaded.n_layers, loaded.width, loaded.max_length) == ("llama", 3, 32, 128)
    assert loaded.dtype == dtype
    assert loaded.device == torch.device("cpu")
    assert (loaded.fingerprint == backbone.fingerprint) == (name == "float32")
    assert "llama" in repr(loaded)


def test_a_backbone_is_frozen(backbone):
    with pytest.raises(dataclasses.FrozenInstanceError):
        backbone.width = 3


def test_no_model_there(tmp_path):
    assert "no model was found" in refused(tmp_path / "nothing")


def test_no_tokenizer(saved):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (saved / name).unlink()
    assert "tokenizer" in refused(saved)


def test_an_encoder_decoder(tmp_path):
    transformers.T5Config(vocab_size=8, d_model=8, num_layers=1, num_heads=1).save_pretrained(tmp_path)
    assert "an encoder-decoder (model type 't5')" in refused(tmp_path)


def test_not_a_causal_model(tmp_path):
    transformers.ViTConfig().save_pretrained(tmp_path)
    assert "no causal language model (model type 'vit')" in refused(tmp_path)


def test_a_checkpoint_without_some_weights(saved):
    config = json.loads((saved / "config.json").read_text())
    config["num_hidden_layers"] = 4
    (saved / "config.json").write_text(json.dumps(config))
    assert "lacks 9 of the model's tensors, first 'model.layers.3" in refused(saved)


def test_broken_weights(saved):
    (saved / "model.safetensors").write_bytes(b"not a checkpoint")
    assert "weights" in refused(saved)


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"device": "nowhere"}, {"device": "cuda:99"}])
def test_senseless_options(saved, options):
    assert next(iter(options.values())) in refused(saved, **options)


def test_wrap_refuses_other_dtypes():
    with pytest.raises(ModelError, match="float64"):
        Backbone.wrap(toy_model("llama", dtype=torch.float64), toy_tokenizer())


def test_prompts_keep_the_tokenizers_own_bos(backbone):
    assert backbone.encode_prompt("the cat")[0] == 0
    assert 1 not in backbone.encode_prompt("the cat")
    bare = Backbone.wrap(toy_model("gpt2"), toy_tokenizer(bos=False))
    assert bare.encode_prompt("the cat") == backbone.encode_prompt("the cat")[1:]


def test_an_appended_end_token_is_left_out(backbone):
    tokenizer = toy_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    assert tokenizer("the cat").input_ids[-1] == 1
    other = Backbone.wrap(toy_model("llama"), tokenizer)
    assert other.encode_prompt("the cat") == backbone.encode_prompt("the cat")


@settings(max_examples=60, deadline=None)
@given(prompt=st.text(max_size=20), answer=st.text(st.characters(codec="ascii"), min_size=1, max_size=12))
def test_pairs_join_to_the_whole(backbone, prompt, answer):
    first, second = backbone.encode_pair(prompt, answer)
    assert second
    assert first + second == backbone.encode_prompt(prompt + answer)
    assert first == backbone.encode_prompt(prompt)[: len(first)]
    assert backbone.encode_answer(prompt, answer) == second


def test_answers_follow_the_prompt(backbone):
    prompt = "Text: a good day Label:"
    answer = backbone.encode_answer(prompt, " positive")
    assert backbone.encode_prompt(prompt) + answer == backbone.encode_prompt(prompt + " positive")
    assert backbone.tokenizer.decode(answer) == " positive"


def test_a_merge_across_the_border_moves_it_left(backbone):
    whole = backbone.encode_prompt("the")
    assert whole != backbone.encode_prompt("t") + backbone.encode_prompt("he")[1:]
    first, second = backbone.encode_pair("t", "he")
    assert first == [0]
    assert first + second == whole


def test_an_answer_that_adds_nothing(backbone):
    with pytest.raises(InputError, match="adds no token"):
        backbone.encode_answer("the cat", "")


def test_too_long_texts_are_named(backbone):
    backbone.check_length([3] * 128, "the prompt")
    with pytest.raises(InputError, match="the prompt has 129 tokens, and the backbone's context is 128"):
        backbone.check_length([3] * 129, "the prompt")
    with pytest.raises(InputError, match="text 1 of the batch has 130"):
        backbone.make_batch([[3], [3] * 130])
    with pytest.raises(InputError, match="prompt 0 with 127 new tokens has 129 tokens"):
        backbone.generate(["a"], 127, "\n")


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    side=st.sampled_from(["left", "right"]),
)
def test_batches_hold_every_token_at_its_own_position(lengths, side):
    sequences = [list(range(10 * row + 1, 10 * row + 1 + length)) for row, length in enumerate(lengths)]
    batch = pad(sequences, filler=0, side=side)
    assert batch.input_ids.shape == (len(lengths), max(lengths))
    for row, sequence in enumerate(sequences):
        real = batch.attention_mask[row].bool()
        assert batch.input_ids[row, real].tolist() == sequence
        assert batch.position_ids[row, real].tolist() == list(range(len(sequence)))
        assert bool((batch.input_ids[row, ~real] == 0).all())
        assert int(batch.input_ids[row, batch.last[row]]) == sequence[-1]
        assert int(batch.input_ids[row, batch.starts[row]]) == sequence[0]
    assert batch.lengths.tolist() == lengths


def test_empty_batches_are_refused(backbone):
    with pytest.raises(InputError, match="no sequences"):
        backbone.make_batch([])
    with pytest.raises(InputError, match="text 1 of the batch has no tokens"):
        backbone.make_batch([[3], []])
    with pytest.raises(InputError, match="middle"):
        backbone.make_batch([[3]], "middle")


def test_a_batch_does_not_show_its_tokens(backbone):
    assert (
        repr(backbone.make_batch([[111, 222], [123]])) == "Batch(2 sequences, 2 tokens, padded on the right)"
    )


def test_padding_ids_without_a_pad_token():
    tokenizer = toy_tokenizer()
    tokenizer.pad_token = None
    assert Backbone.wrap(toy_model("llama"), tokenizer).pad_id == 1
    tokenizer.eos_token = None
    assert Backbone.wrap(toy_model("llama"), tokenizer).pad_id == 0


def rigged(word: str) -> Backbone:
    """A model that always continues with the given characters in turn, whatever it reads."""
    tokenizer = toy_tokenizer()
    model = toy_model("phi")
    model.lm_head.weight.data.zero_()
    model.lm_head.bias.data.zero_()
    ids = tokenizer(word, add_special_tokens=False).input_ids
    assert len(ids) == 1
    model.lm_head.bias.data[ids[0]] = 10.0
    return Backbone.wrap(model, tokenizer)


def test_generation_stops_at_the_separator_and_keeps_the_leading_space():
    backbone = rigged(" the")
    assert backbone.generate(["a", "a good day"], 3, "\n") == [" the the the"] * 2
    assert backbone.generate(["a"], 9, "e t") == [" th"]
    assert rigged("\n").generate(["a", "the cat"], 4, "\n") == ["", ""]
    assert backbone.generate([], 3, "\n") == []


def test_generation_stops_early():
    backbone = rigged(" the")
    steps = []
    handle = backbone.sites.base.register_forward_hook(lambda *_: steps.append(1))
    backbone.generate(["a", "a good day"], 20, "the the")
    handle.remove()
    assert len(steps) == 2


def test_generation_order_and_batch_size_do_not_matter(backbone):
    prompts = ["the cat sat", "a", "Text: a bad day Label:", "dog", "a good day on the mat"]
    together = backbone.generate(prompts, 6, "")
    assert together == backbone.generate(prompts, 6, "", batch_size=2)
    assert together == [backbone.generate([prompt], 6, "")[0] for prompt in prompts]


def test_a_checkpoints_own_sampling_is_switched_off(backbone):
    model = toy_model("llama")
    other = Backbone.wrap(model, toy_tokenizer())
    model.generation_config.update(
        do_sample=True, temperature=5.0, top_k=50, repetition_penalty=7.0, num_beams=3
    )
    prompts = ["the cat sat", "a good day"]
    assert other.generate(prompts, 8, "") == backbone.generate(prompts, 8, "")


def test_senseless_generation_is_refused(backbone):
    with pytest.raises(InputError, match="max_new_tokens is 0"):
        backbone.generate(["a"], 0, "\n")


def test_the_fingerprint_sees_every_weight_the_config_and_the_vocabulary(backbone):
    def changed(change, tokenizer=None):
        return Backbone.wrap(toy_model("llama", change=change), tokenizer or toy_tokenizer()).fingerprint

    def one_weight(model):
        model.model.layers[2].mlp.up_proj.weight.data[3, 4] += 1e-4

    def one_setting(model):
        model.config.rms_norm_eps = 1e-5

    def no_answer_depends_on_it(model):
        model.config._name_or_path = "/somewhere/else"
        model.config.use_cache = False

    other = toy_tokenizer()
    other.add_tokens(["zebra"])
    same = changed(None)
    assert len(same) == 64
    assert same == backbone.fingerprint == changed(no_answer_depends_on_it)
    assert len({same, changed(one_weight), changed(one_setting), changed(None, other)}) == 4


def test_logits_of_some_tokens_only_touch_their_rows(backbone):
    rows = torch.randn(4, 32)
    assert backbone.logits(rows).shape == (4, SIZE)
    assert backbone.logits(rows, torch.tensor([7])).shape == (4, 1)


def test_the_documentation_holds_the_table_of_the_code():
    assert family_table() in DOCS.read_text()


def models() -> Path:
    return Path(os.environ.get("IFEDPRIV_MODELS", "")) / "stories260k"


@pytest.mark.skipif(
    not os.environ.get("IFEDPRIV_MODELS") or not models().is_dir(),
    reason="set IFEDPRIV_MODELS to a directory that holds stories260k",
)
def test_a_trained_model_tells_a_story():
    backbone = Backbone.load(models())
    (story,) = backbone.generate(["Once upon a time, there was a little girl named"], 12, ".")
    assert story.startswith(" ")
    assert "." not in story
    vector, coefficients = torch.randn(5, 2, 64), torch.zeros(5, 2, 2)
    coefficients[..., 1] = 1.0
    with inject(backbone, vector, coefficients):
        assert backbone.generate(["Once upon a time, there was a little girl named"], 12, ".") == [story]
