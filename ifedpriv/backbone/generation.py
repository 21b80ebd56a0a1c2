"""Text through the model's own ``generate``, so that cache and hooks meet as they do in deployment.

The invariant: the text depends on the model, the prompt and, where it is drawn, on a seed only; sampling and penalties
that a checkpoint's generation config may ask for are switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from ifedpriv.backbone.front import written_out
from ifedpriv.errors import InputError

if TYPE_CHECKING:
    from ifedpriv.backbone.backbone import Backbone

# Prompt tokens that are decoded together with the new ones.
_TAIL = 8


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn instead of taking the best.

    Attributes:
        seed: of the draws; a prompt's text depends on it, on the prompt's place in the list, and on no other prompt.
        temperature: divides the logits.
    """

    seed: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"the sampling temperature is {self.temperature}", "give a positive number")


def generate(
    backbone: Backbone,
    prompts: Sequence[str],
    max_new_tokens: int,
    stop: str,
    batch_size: int,
    sampling: Sampling | None = None,
) -> list[str]:
    """Continue prompts; see `Backbone.generate`."""
    if max_new_tokens < 1 or batch_size < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens} and batch_size {batch_size}", "give at least 1")
    encoded = [backbone.encode_prompt(prompt) for prompt in prompts]
    for row, ids in enumerate(encoded):
        backbone.check_length(
            [*ids, *range(max_new_tokens)], f"prompt {row} with {max_new_tokens} new tokens"
        )
    # Neighbours in length share a batch, so that little padding is computed.
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    texts = [""] * len(encoded)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        drawn = _Draws(sampling, rows) if sampling is not None else None
        written = _one_batch(backbone, [encoded[r] for r in rows], max_new_tokens, stop, drawn)
        for row, text in zip(rows, written, strict=True):
            texts[row] = text
    return texts


class _Draws(LogitsProcessor):  # type: ignore[misc]
    """Gumbel noise on the logits: the best of them is then a draw from their softmax, row by row its own.

    Reference: Maddison, Tarlow and Minka, *A* sampling*, arXiv 1411.0030, section 2.
    """

    def __init__(self, sampling: Sampling, rows: Sequence[int]) -> None:
        self._temperature = sampling.temperature
        self._generators = [np.random.default_rng([sampling.seed, row]) for row in rows]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = np.stack([generator.gumbel(size=scores.shape[1]) for generator in self._generators])
        return scores.double() / self._temperature + torch.from_numpy(noise).to(scores.device)


def _one_batch(
    backbone: Backbone, sequences: list[list[int]], max_new_tokens: int, stop: str, drawn: _Draws | None
) -> list[str]:
    ends = _end_ids(backbone)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        min_length=0,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=True,
        pad_token_id=backbone.pad_id,
        eos_token_id=sorted(ends) or None,
    )
    finished = [False] * len(sequences)

    def stopped(input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        for row, done in enumerate(finished):
            if not done:
                finished[row] = stop in _new_text(
                    backbone, sequences[row], input_ids[row, width:].tolist(), ends
                )
        return torch.tensor(finished, device=input_ids.device)

    with torch.no_grad(), written_out(backbone) as front:
        batch = backbone.make_batch([[*front, *sequence] for sequence in sequences], side="left")
        width = batch.input_ids.shape[1]
        written = backbone.model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            generation_config=config,
            stopping_criteria=[stopped] if stop else [],
            logits_processor=LogitsProcessorList([drawn] if drawn is not None else []),
        )
    texts = [
        _new_text(backbone, sequence, row, ends)
        for sequence, row in zip(sequences, written[:, width:].tolist(), strict=True)
    ]
    return [text.split(stop)[0] if stop else text for text in texts]


def _end_ids(backbone: Backbone) -> set[int]:
    stated = getattr(backbone.model.generation_config, "eos_token_id", None)
    if stated is None:
        stated = backbone.tokenizer.eos_token_id
    if stated is None:
        return set()
    return {int(each) for each in (stated if isinstance(stated, list | tuple) else [stated])}


def _new_text(backbone: Backbone, prompt: list[int], new: list[int], ends: set[int]) -> str:
    """The text of new tokens up to an end token, decoded behind its prompt.

    Decoded alone, some tokenizers would drop the space in front of the first word; the prompt's last tokens
    are enough to keep it.
    """
    for place, token in enumerate(new):
        if token in ends:
            new = new[:place]
            break
    decode = partial(backbone.tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    tail = prompt[-_TAIL:]
    before, whole = decode(tail), decode([*tail, *new])
    text: str = whole[len(before) :] if whole.startswith(before) else decode(new)
    return text
