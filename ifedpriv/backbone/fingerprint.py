"""One hash that two parties compare to know that they run the same model.

The invariant: anything that changes an answer changes the hash; where a model was loaded from does not.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from ifedpriv.backbone.families import text_config

# Book-keeping of transformers that no answer depends on.
_BOOKKEEPING = frozenset(
    {
        "_name_or_path",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_experts_implementation",
        "architectures",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "use_cache",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "id2label",
        "label2id",
        "problem_type",
        "chunk_size_feed_forward",
        "initializer_range",
        "task_specific_params",
    }
)


def fingerprint_of(model: Any, tokenizer: Any) -> str:
    """SHA-256 over config, vocabulary and every weight, one tensor in memory at a time; 64 hex digits."""
    digest = hashlib.sha256(b"ifedpriv backbone 1\0")
    config = {key: value for key, value in text_config(model).to_dict().items() if key not in _BOOKKEEPING}
    for part in (config, sorted(tokenizer.get_vocab().items())):
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    # named_parameters lists tied weights once; the buffers that are saved come from the state.
    tensors = dict(model.named_parameters())
    saved = model.state_dict()
    tensors.update({name: saved[name] for name, _ in model.named_buffers() if name in saved})
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
