"""Tiny random causal LMs, one or more for every family, and a byte-level tokenizer: no downloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

SIZE = 320  # vocabulary: 256 bytes, three special tokens and a few merges, rounded up
_TEXT = "the cat and the dog sat on the mat. Label: positive. Label: negative. Text: a good day, a bad day"


def toy_tokenizer(*, bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE; with ``bos`` it puts <s> in front, as Llama's does."""
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - 20,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([_TEXT] * 3, trainer)
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}
_MOE = dict(_LLAMA, num_experts_per_tok=2)

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _LLAMA),
    "llama-wide-heads": ("LlamaConfig", dict(_LLAMA, head_dim=12, tie_word_embeddings=True)),
    "mistral": ("MistralConfig", dict(_LLAMA, sliding_window=None)),
    "mistral-window": ("MistralConfig", dict(_LLAMA, sliding_window=8)),
    "qwen2": ("Qwen2Config", dict(_LLAMA, tie_word_embeddings=True)),
    "qwen3": ("Qwen3Config", dict(_LLAMA, head_dim=16)),
    "gemma": ("GemmaConfig", dict(_LLAMA, head_dim=16, num_key_value_heads=1)),
    "gemma2": ("Gemma2Config", dict(_LLAMA, head_dim=16, sliding_window=8, final_logit_softcapping=2.0)),
    "gemma3": ("Gemma3TextConfig", dict(_LLAMA, head_dim=16, sliding_window=8)),
    "phi": ("PhiConfig", _LLAMA),
    "phi3": ("Phi3Config", dict(_LLAMA, pad_token_id=2)),
    "gpt2": ("GPT2Config", _GPT),
    "gptj": ("GPTJConfig", dict(_GPT, rotary_dim=4)),
    "gpt-neo": (
        "GPTNeoConfig",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
            "num_heads": 4,
            "window_size": 8,
            "max_position_embeddings": 128,
        },
    ),
    "gpt-neox": ("GPTNeoXConfig", dict(_LLAMA, use_parallel_residual=True)),
    "gpt-neox-sequential": ("GPTNeoXConfig", dict(_LLAMA, use_parallel_residual=False, attention_bias=False)),
    "opt": ("OPTConfig", dict(_LLAMA, ffn_dim=48, word_embed_proj_dim=32)),
    "opt-no-bias": ("OPTConfig", dict(_LLAMA, ffn_dim=48, word_embed_proj_dim=32, enable_bias=False)),
    "opt-350m": ("OPTConfig", dict(_LLAMA, ffn_dim=48, word_embed_proj_dim=16, do_layer_norm_before=False)),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "falcon-7b": ("FalconConfig", dict(_LLAMA, num_kv_heads=1)),
    "falcon-40b": ("FalconConfig", dict(_LLAMA, num_kv_heads=2, new_decoder_architecture=True, bias=True)),
    "falcon-rw": (
        "FalconConfig",
        dict(_LLAMA, alibi=True, parallel_attn=False, multi_query=False, num_kv_heads=4, bias=True),
    ),
    "mixtral": ("MixtralConfig", dict(_MOE, num_local_experts=4)),
    "qwen2-moe": (
        "Qwen2MoeConfig",
        dict(_MOE, num_experts=4, moe_intermediate_size=16, shared_expert_intermediate_size=16),
    ),
    "qwen3-moe": ("Qwen3MoeConfig", dict(_MOE, num_experts=4, moe_intermediate_size=16, head_dim=16)),
    "olmo2": ("Olmo2Config", _LLAMA),
    "granite": (
        "GraniteConfig",
        dict(
            _LLAMA,
            residual_multiplier=0.3,
            logits_scaling=3.0,
            attention_multiplier=0.2,
            embedding_multiplier=4.0,
        ),
    ),
    "openai-gpt": ("OpenAIGPTConfig", _GPT),
    "gpt-oss": ("GptOssConfig", dict(_MOE, num_local_experts=4, head_dim=16, sliding_window=8)),
    "stablelm": ("StableLmConfig", dict(_LLAMA, use_qkv_bias=True)),
    "stablelm-parallel": ("StableLmConfig", dict(_LLAMA, use_parallel_residual=True)),
    "starcoder2": ("Starcoder2Config", dict(_LLAMA, sliding_window=8)),
    "smollm3": ("SmolLM3Config", _LLAMA),
}

# Not in the table: found by name, then proved.
UNKNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "olmo": ("OlmoConfig", _LLAMA),
    "cohere": ("CohereConfig", dict(_LLAMA, logit_scale=0.25)),
    "glm4": ("Glm4Config", dict(_LLAMA, head_dim=8)),
    "codegen": ("CodeGenConfig", dict(_GPT, rotary_dim=4)),
    "exaone4": ("Exaone4Config", dict(_LLAMA, sliding_window=None, layer_types=["full_attention"] * 3)),
}


def toy_model(
    name: str, *, dtype: torch.dtype = torch.float32, change: Callable[[Any], None] | None = None
) -> Any:
    """A random model whose every weight matters: norms are not ones and biases are not zeros."""
    kind, options = {**CONFIGS, **UNKNOWN}[name]
    options = {"pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1, **options}
    config = getattr(transformers, kind)(vocab_size=SIZE, **options)
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.15)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    if change is not None:
        change(model)
    return model.to(dtype).eval()
