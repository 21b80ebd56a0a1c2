"""A folded model, saved and loaded by plain transformers, is the hooked model."""

from __future__ import annotations

import pytest
import torch
from toys import CONFIGS, toy_model, toy_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifedpriv.backbone import Backbone, inject
from ifedpriv.backbone.families import FAMILIES, Carrier
from ifedpriv.backbone.fold import fold_into, save_folded
from ifedpriv.errors import ModelError

REFUSED = {
    "mistral-window": "sliding window of 8 tokens",
    "gemma2": "norm without bias",
    "gemma3": "norm without bias",
    "olmo2": "norm without bias",
    "mixtral": "experts have no biases",
    "qwen2-moe": "experts have no biases",
    "qwen3-moe": "experts have no biases",
    "stablelm": "neither of its output projections",
    "stablelm-parallel": "neither of its output projections",
}
CARRIERS = {"mistral": "llama", "qwen2": "llama", "gemma": "llama", "phi3": "llama", "qwen3": "hy_v3"}


def make(name: str, **options: object) -> tuple[Backbone, torch.Tensor, torch.Tensor]:
    backbone = Backbone.wrap(toy_model(name, **options), toy_tokenizer())
    generator = torch.Generator().manual_seed(5)
    vector = torch.randn(backbone.n_layers, 2, backbone.width, generator=generator)
    coefficients = 0.4 * torch.randn(backbone.n_layers, 2, 2, generator=generator)
    coefficients[..., 1] += 1.0
    return backbone, vector, coefficients


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in REFUSED])
def test_saved_and_loaded_fold_equals_the_hooks(name, tmp_path):
    backbone, vector, coefficients = make(name)
    before = {key: tensor.clone() for key, tensor in backbone.model.state_dict().items()}
    batch = backbone.make_batch([list(range(3, 30)), list(range(60, 75))])
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with inject(backbone, vector, coefficients), torch.no_grad():
        expected = backbone.model(**given).logits
    bare = backbone.model(**given).logits
    save_folded(fold_into(backbone, vector, coefficients), backbone.tokenizer, tmp_path)

    loaded, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert loaded.config.model_type == CARRIERS.get(name, backbone.family)
    got = loaded.eval()(**given).logits
    real = batch.attention_mask.bool()
    torch.testing.assert_close(got[real], expected[real], atol=5e-5, rtol=1e-4)
    assert float((expected[real] - bare[real]).abs().max()) > 0.1
    assert (
        AutoTokenizer.from_pretrained(tmp_path)("the cat").input_ids
        == backbone.tokenizer("the cat").input_ids
    )
    after = backbone.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert backbone.model.config.to_dict() == toy_model(name).config.to_dict()


@pytest.mark.parametrize("name", [*REFUSED, "olmo"])
def test_what_cannot_be_exact_is_refused_in_one_sentence(name):
    backbone, vector, coefficients = make(name)
    with pytest.raises(ModelError) as caught:
        fold_into(backbone, vector, coefficients)
    text = str(caught.value)
    assert "\n" not in text
    assert repr(backbone.family) in text
    assert "keep the hooks" in text
    assert REFUSED.get(name, "not in the table") in text


def test_the_table_agrees_with_what_was_tried():
    folds = {
        Backbone.wrap(toy_model(name), toy_tokenizer()).family for name in CONFIGS if name not in REFUSED
    }
    assert folds == {kind for kind, family in FAMILIES.items() if family.fold.carrier is not Carrier.NONE}


@pytest.mark.parametrize("name", ["llama", "gemma", "gptj", "granite"])
def test_fold_in_bf16_is_near_the_hooks(name):
    backbone, vector, coefficients = make(name, dtype=torch.bfloat16)
    batch = backbone.make_batch([list(range(3, 30))])
    with inject(backbone, vector, coefficients):
        expected = backbone.hidden(batch).float()
    folded = Backbone.wrap(fold_into(backbone, vector, coefficients), backbone.tokenizer)
    assert folded.dtype == torch.bfloat16
    distance = (folded.hidden(batch).float() - expected).norm() / expected.norm()
    assert float(distance) < 0.1


def test_a_fold_of_a_folded_model_composes():
    """Folding adds a bias that the next fold scales: β2(β1·o + λ1·v1) + λ2·v2."""
    backbone, vector, coefficients = make("llama")
    once = Backbone.wrap(fold_into(backbone, vector, coefficients), backbone.tokenizer)
    other = torch.flip(vector, (0,))
    batch = backbone.make_batch([list(range(3, 30))])
    with inject(once, other, coefficients):
        expected = once.hidden(batch)
    twice = Backbone.wrap(fold_into(once, other, coefficients), backbone.tokenizer)
    torch.testing.assert_close(twice.hidden(batch), expected, atol=5e-5, rtol=1e-4)


def test_identity_folds_to_the_same_function():
    backbone, vector, coefficients = make("llama")
    coefficients[..., 0], coefficients[..., 1] = 0.0, 1.0
    folded = Backbone.wrap(fold_into(backbone, vector, coefficients), backbone.tokenizer)
    batch = backbone.make_batch([list(range(3, 30))])
    assert torch.equal(folded.hidden(batch), backbone.hidden(batch))


def test_folding_under_an_injection_is_refused():
    backbone, vector, coefficients = make("llama")
    with inject(backbone, vector, coefficients), pytest.raises(ModelError, match="leave the context"):
        fold_into(backbone, vector, coefficients)


def test_a_model_that_would_lose_tensors_is_not_saved(tmp_path):
    model = toy_model("qwen2")
    model.model.layers[0].mlp.down_proj.bias = torch.nn.Parameter(torch.ones(32))
    with pytest.raises(ModelError, match=r"down_proj\.bias"):
        save_folded(model, toy_tokenizer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_phi3_with_a_partial_rotary_embedding_is_refused():
    backbone, vector, coefficients = make("phi3")
    backbone.model.config.rope_parameters["partial_rotary_factor"] = 0.5
    with pytest.raises(ModelError, match="scaled or partial"):
        fold_into(backbone, vector, coefficients)


def test_quantised_weights_are_not_folded():
    backbone, vector, coefficients = make("llama")
    backbone.model.is_quantized = True
    with pytest.raises(ModelError, match="quantised"):
        fold_into(backbone, vector, coefficients)


def test_a_fold_that_answers_otherwise_is_refused():
    """Something behind the output projection, that the weights do not hold."""
    backbone, vector, coefficients = make("llama")
    with pytest.raises(ModelError, match="answers otherwise"):
        projection = backbone.model.model.layers[1].mlp.down_proj
        projection.register_forward_hook(lambda _m, _a, out: out.square())
        fold_into(backbone, vector, coefficients)
