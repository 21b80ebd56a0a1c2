"""The two halves of a causal LM's forward pass, so that nobody computes logits that nobody reads.

The invariant, proved at load: `head_of(model).logits(last_hidden(...))` is what the whole model answers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ifedpriv.backbone.batches import Batch
from ifedpriv.backbone.families import text_config
from ifedpriv.errors import ModelError

# They warn of padding without a mask, though causality hides it.
_WANT_MASK = ("gpt2", "openai-gpt")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The map from the last hidden state to logits.

    Attributes:
        weight: ``[V, D]``.
        bias: ``[V]`` (Phi, GPT-J) or None.
        multiplier: multiplies the logits (Cohere's ``logit_scale``).
        divisor: divides them (Granite's ``logits_scaling``).
        softcap: c in ``c * tanh(logits / c)`` (Gemma 2), or None.
    """

    weight: Tensor
    bias: Tensor | None
    multiplier: float
    divisor: float
    softcap: float | None

    def logits(self, rows: Tensor, vocabulary: Tensor | None = None) -> Tensor:
        """Logits of the hidden states ``[N, D]`` over the whole vocabulary, or only over the ids given.

        Returns:
            ``[N, V]`` or ``[N, len(vocabulary)]`` in the model's dtype.
        """
        weight, bias = self.weight, self.bias
        if vocabulary is not None:
            chosen = vocabulary.to(weight.device)
            weight = weight.index_select(0, chosen)
            bias = None if bias is None else bias.index_select(0, chosen)
        logits = nn.functional.linear(rows.to(weight.dtype), weight, bias)
        if self.multiplier != 1.0:
            logits = logits * self.multiplier
        if self.divisor != 1.0:
            logits = logits / self.divisor
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits


def head_of(model: Any) -> Head:
    """The head of a causal LM.

    Raises:
        ModelError: if the model has no linear output layer.
    """
    layer = model.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        found = "no output layer" if layer is None else f"an output layer of type {type(layer).__name__}"
        raise ModelError(
            f"model type {model.config.model_type!r} has {found}", "choose a causal language model"
        )
    config = text_config(model)
    divisor = float(getattr(config, "logits_scaling", None) or 1.0)
    multiplier = float(getattr(config, "logit_scale", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    return Head(layer.weight, layer.bias, multiplier, divisor, float(softcap) if softcap else None)


def last_hidden(base: Any, batch: Batch) -> Tensor:
    """The last hidden state ``[B, T, D]`` of a base model, without logits and without a cache.

    Values at padding are arbitrary.
    """
    given: dict[str, Any] = {"input_ids": batch.input_ids}
    accepted = _parameters(type(base).forward)
    if batch.side == "left" or text_config(base).model_type in _WANT_MASK:
        given["attention_mask"] = batch.attention_mask
    if batch.side == "left" and "position_ids" in accepted:
        given["position_ids"] = batch.position_ids
    # Padding on the right lies in the future of every real token: causality alone hides it, positions count
    # from 0 as they do by default, and attention without a mask is faster. Proved at load like the rest.
    if "use_cache" in accepted:
        given["use_cache"] = False
    result: Tensor = base(**given, return_dict=True)[0]
    return result


def goes_on_from_a_cache(base: Any) -> bool:
    """Whether a base model can be given the beginning of a text as a cache."""
    wanted = {"past_key_values", "use_cache", "attention_mask", "position_ids"}
    return wanted <= _parameters(type(base).forward)


@lru_cache(maxsize=64)
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
