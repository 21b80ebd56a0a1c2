"""The same function as a checkpoint of another architecture, one that has biases on its output projections.

The invariant: only equalities that hold for every input are used; a setting that the carrier cannot express
(a sliding window shorter than the context, a scaled partial rotary embedding) is refused, never dropped.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from ifedpriv.errors import ModelError

State = dict[str, Tensor]

_SHARED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "attention_dropout",
    "initializer_range",
)


def as_llama(model: Any) -> Any:
    """A Mistral, Qwen 2, Gemma or Phi-3 model as Llama with biases.

    Raises:
        ModelError: if Llama cannot express one of its settings.
    """
    config = model.config
    kind = str(config.model_type)
    _no_window(config)
    state: State = dict(model.state_dict())
    changes: dict[str, Any] = {}
    if kind == "gemma":
        _refuse_if(bool(config.use_bidirectional_attention), kind, "it attends in both directions")
        state = _gemma_state(state, config)
        changes["tie_word_embeddings"] = False
    if kind == "phi3":
        rope = config.rope_parameters
        plain = (
            rope.get("rope_type", "default") == "default" and rope.get("partial_rotary_factor", 1.0) == 1.0
        )
        _refuse_if(not plain, kind, "its rotary embedding is scaled or partial")
        state = _phi3_state(state, config)
        changes["rope_parameters"] = {"rope_type": "default", "rope_theta": rope["rope_theta"]}
    return _build("llama", model, state, changes)


def as_hy_v3(model: Any) -> Any:
    """A Qwen 3 model as HunYuan 3 with dense layers only: Llama with norms on queries and keys, and biases.

    Raises:
        ModelError: if it has a sliding window, or this transformers does not know the architecture.
    """
    config = model.config
    _no_window(config)
    _refuse_if(
        "hy_v3" not in CONFIG_MAPPING, str(config.model_type), "this transformers has no architecture hy_v3"
    )
    changes = {"mlp_layer_types": ["dense"] * config.num_hidden_layers}
    return _build("hy_v3", model, dict(model.state_dict()), changes)


def _build(kind: str, model: Any, state: State, changes: dict[str, Any]) -> Any:
    config = model.config
    settings = {name: getattr(config, name) for name in _SHARED}
    settings["hidden_act"] = config.hidden_act
    settings["head_dim"] = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    settings["rope_parameters"] = copy.deepcopy(config.rope_parameters)
    try:
        target = CONFIG_MAPPING[kind](**{**settings, **changes}, attention_bias=True, mlp_bias=True)
    except (ValueError, TypeError) as problem:
        reason = f"{kind} does not take its sizes ({str(problem).splitlines()[-1].strip().rstrip('.')})"
        raise _refusal(str(config.model_type), reason) from problem
    target._attn_implementation = config._attn_implementation
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(copy.deepcopy(target))
    device = model.get_input_embeddings().weight.device
    tied = {"lm_head.weight"} if target.tie_word_embeddings else set()
    full: State = {}
    for name, tensor in empty.state_dict().items():
        if name in state:
            full[name] = state.pop(name).clone()
        elif name.endswith(".bias"):
            full[name] = torch.zeros(tensor.shape, dtype=model.dtype, device=device)
        elif name not in tied:
            raise _refusal(str(config.model_type), f"it has no tensor {name!r}, which {kind} needs")
    if left := sorted(set(state) - tied):
        raise _refusal(str(config.model_type), f"{kind} has no place for its tensor {left[0]!r}")
    carrier = type(empty).from_pretrained(None, config=target, state_dict=full, dtype=model.dtype)
    carrier.generation_config = copy.deepcopy(model.generation_config)
    return carrier.to(device)


def _gemma_state(state: State, config: Any) -> State:
    """Gemma keeps norms as w in (1 + w) and scales its embeddings by the root of the width."""
    head = state["lm_head.weight"]
    scale = torch.tensor(config.hidden_size**0.5).to(head.dtype)
    changed = {
        name: tensor + 1.0 if name.endswith("norm.weight") else tensor for name, tensor in state.items()
    }
    changed["model.embed_tokens.weight"] = state["model.embed_tokens.weight"] * scale.to(head.device)
    changed["lm_head.weight"] = head
    return changed


def _phi3_state(state: State, config: Any) -> State:
    """Phi-3 keeps queries, keys and values in one matrix, and the MLP's gate and input in another."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    split: dict[str, tuple[tuple[str, ...], list[int]]] = {
        "qkv_proj": (("q_proj", "k_proj", "v_proj"), [queries, keys, keys]),
        "gate_up_proj": (("gate_proj", "up_proj"), [config.intermediate_size] * 2),
    }
    changed: State = {}
    for name, tensor in state.items():
        owner = name.split(".")[-2]
        if owner not in split:
            changed[name] = tensor
            continue
        names, sizes = split[owner]
        for part, piece in zip(names, torch.split(tensor, sizes), strict=True):
            changed[name.replace(f".{owner}.", f".{part}.")] = piece
    return changed


def _no_window(config: Any) -> None:
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)
    if layers is not None and "sliding_attention" not in layers:
        window = None
    binding = window is not None and window < config.max_position_embeddings
    _refuse_if(
        binding, str(config.model_type), f"its sliding window of {window} tokens has no place in the carrier"
    )


def _refuse_if(condition: bool, kind: str, reason: str) -> None:
    if condition:
        raise _refusal(kind, reason)


def _refusal(kind: str, reason: str) -> ModelError:
    return ModelError(f"an injection does not fold into this {kind!r} model: {reason}", "keep the hooks")
