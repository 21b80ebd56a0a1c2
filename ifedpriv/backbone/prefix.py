"""A beginning that many prompts share, computed once: demonstrations, an instruction, a long template.

The invariant: hidden states are those of the whole prompts; only the work is shared. Whatever is injected while
the prefix is computed must still be injected when it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.forward import goes_on_from_a_cache
from ifedpriv.backbone.front import tokens_in_front

_WORTH_SHARING = 16
"""Shorter beginnings cost less to compute again than their cache costs to copy."""


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many first tokens all sequences share, at least one token of each left over."""
    if len(sequences) < 2:
        return 0
    # The lexicographic extremes differ no later than any other two.
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    length = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        length += 1
    return min(length, min(map(len, sequences)) - 1)


class SharedPrefix:
    """The part of a forward pass that belongs to a common beginning.

    Args:
        backbone: the frozen model.
        sequences: whole prompts, from whose common beginning the prefix is taken. It is empty where sharing does
            not pay or the model keeps no cache, and then prompts are computed whole.
    """

    def __init__(self, backbone: Backbone, sequences: Sequence[Sequence[int]]) -> None:
        self._backbone = backbone
        length = common_prefix(sequences)
        cached = goes_on_from_a_cache(backbone.sites.base)
        # What stands in front of every prompt is shared as well.
        shared = length + tokens_in_front(backbone) if length else 0
        self.length = length if cached and shared >= _WORTH_SHARING else 0
        self._cache = self._compute(list(sequences[0][: self.length])) if self.length else None

    def hidden(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Last hidden states of the tokens behind the prefix, ``[B, T, D]``, padded on the right.

        Args:
            sequences: whole sequences that begin with the prefix and have at least one token more.
        """
        backbone = self._backbone
        batch = backbone.make_batch([sequence[self.length :] for sequence in sequences])
        if self._cache is None:
            return backbone.hidden(batch)
        for sequence in sequences:
            backbone.check_length(sequence, "a text with its prefix")
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(sequences))
        before = torch.ones((len(sequences), self.length), dtype=torch.long, device=backbone.device)
        with torch.no_grad():
            result: Tensor = backbone.sites.base(
                input_ids=batch.input_ids,
                attention_mask=torch.cat((before, batch.attention_mask), dim=1),
                position_ids=batch.position_ids + self.length,
                past_key_values=cache,
                use_cache=True,
                return_dict=True,
            )[0]
        return result

    def _compute(self, ids: list[int]):  # type: ignore[no-untyped-def]  # noqa: ANN202 (transformers' own cache type)
        with torch.no_grad():
            output = self._backbone.sites.base(
                input_ids=torch.tensor([ids], device=self._backbone.device), use_cache=True, return_dict=True
            )
        return getattr(output, "past_key_values", None)
