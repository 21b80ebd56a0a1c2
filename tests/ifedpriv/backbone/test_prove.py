"""The proof finds a wrong site, however small its effect, and says where."""

from __future__ import annotations

import pytest
import torch
import transformers
from toys import toy_model, toy_tokenizer

from ifedpriv.backbone import Backbone
from ifedpriv.backbone.families import FAMILIES, Layout, Sites, resolve
from ifedpriv.backbone.hooks import first_tensor, with_first_tensor
from ifedpriv.backbone.prove import prove_sites
from ifedpriv.errors import ModelError


def scaled(module: torch.nn.Module, factor: float) -> None:
    """Scale what the module gives, behind its hook site."""

    def hook(_module, _args, output):
        return with_first_tensor(output, first_tensor(output) * factor)

    module.register_forward_hook(hook)


class Behind(torch.nn.Module):
    """A block that secretly halves its own MLP."""

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self.self_attn, self.mlp, self.norm = block.self_attn, block.mlp, block.post_attention_layernorm
        self.input_layernorm = block.input_layernorm

    def forward(self, hidden_states, **kwargs):
        middle = (
            hidden_states + self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)[0]
        )
        return middle + 0.5 * self.mlp(self.norm(middle))


def refused(model: object) -> str:
    with pytest.raises(ModelError) as caught:
        Backbone.wrap(model, toy_tokenizer())
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_halved_mlp_behind_the_site_is_refused():
    def tamper(model):
        model.model.layers[1] = Behind(model.model.layers[1])

    text = refused(toy_model("llama", change=tamper))
    assert "'llama'" in text
    assert "layer 1 does not add" in text


@pytest.mark.parametrize("factor", [0.0, 1.001])
@pytest.mark.parametrize(
    "name", ["llama", "bloom", "gemma2", "opt-350m", "openai-gpt", "falcon-7b", "granite"]
)
def test_a_changed_block_output_is_refused(name, factor):
    model = toy_model(name)
    scaled(next(iter(resolve(model))).layers[1].block, factor)
    assert "layer 1 does not add" in refused(model)


def test_a_dead_branch_at_a_wrong_site_is_still_found():
    """The MLP gives nothing, so a passive check would see no error; the perturbation does."""

    def tamper(model):
        model.model.layers[1] = Behind(model.model.layers[1])
        model.model.layers[1].mlp.down_proj.weight.data.zero_()

    assert "layer 1 does not add" in refused(toy_model("llama", change=tamper))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("gemma2", Layout("self_attn", "mlp")),
        ("olmo2", Layout("self_attn", "mlp")),
        ("bloom", Layout("self_attention", "mlp")),
        ("llama", Layout("mlp", "mlp")),
        ("llama", Layout("post_attention_layernorm", "mlp")),
        ("opt", Layout("self_attn", "fc1")),
    ],
)
def test_sites_of_other_families_are_refused(name, layout):
    model = toy_model(name).requires_grad_(False)
    right = prove_sites(model, resolve(model))
    kind = type(right.layers[0])
    layers = tuple(
        kind(place.block, place.block.get_submodule(layout.attention), place.block.get_submodule(layout.mlp))
        for place in right.layers
    )
    with pytest.raises(ModelError, match="cannot carry an injection"):
        prove_sites(model, [Sites(right.base, layers, right.multiplier, layout)])


def test_a_wrong_multiplier_is_refused():
    model = toy_model("granite").requires_grad_(False)
    right = prove_sites(model, resolve(model))
    assert right.multiplier == pytest.approx(0.3)
    with pytest.raises(ModelError, match="layer 0"):
        prove_sites(model, [Sites(right.base, right.layers, 1.0, right.layout)])


def test_a_stream_changed_between_layers_is_refused():
    model = toy_model("gpt2")
    model.transformer.h[1].register_forward_pre_hook(lambda _m, args: (args[0] * 1.5, *args[1:]))
    assert "between layers 0 and 1" in refused(model)


def test_an_unknown_head_is_refused():
    model = toy_model("llama")
    model.lm_head.register_forward_hook(lambda _m, _a, out: out * 1.1)
    assert "output layer" in refused(model)


def test_a_model_that_looks_ahead_is_refused():
    def tamper(model):
        for layer in model.model.layers:
            layer.mlp.register_forward_hook(lambda _m, _a, out: out + 0.1 * out.mean(1, keepdim=True))

    assert "later tokens" in refused(toy_model("llama", change=tamper))


@pytest.mark.parametrize("kind", ["MptConfig", "MambaConfig", "BertConfig", "CTRLConfig"])
def test_architectures_without_such_sites_are_refused_in_one_sentence(kind):
    sizes = {
        "MptConfig": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64},
        "MambaConfig": {"hidden_size": 32, "num_hidden_layers": 2},
        "BertConfig": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
        },
        "CTRLConfig": {"n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 48},
    }[kind]
    config = getattr(transformers, kind)(vocab_size=64, **sizes)
    text = refused(transformers.AutoModelForCausalLM.from_config(config))
    assert repr(config.model_type) in text
    assert "docs/backbones.md" in text


def test_every_family_names_its_fold():
    assert all(family.fold.why or family.fold.flags for family in FAMILIES.values())
