"""Token sequences of unequal length as one rectangle, padded on either side.

The invariant: every real token keeps the position it would have alone, so padding never changes a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ifedpriv.errors import InputError

Side = Literal["left", "right"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Padded token sequences.

    Attributes:
        input_ids: int64 ``[B, T]``.
        attention_mask: int64 ``[B, T]``, 1 at real tokens.
        position_ids: int64 ``[B, T]``, counted from each sequence's first real token.
        lengths: int64 ``[B]``, real tokens of each sequence.
        side: where the padding stands.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    lengths: Tensor
    side: Side

    @property
    def starts(self) -> Tensor:
        """Index of each sequence's first real token, int64 ``[B]``."""
        if self.side == "right":
            return torch.zeros_like(self.lengths)
        return self.input_ids.shape[1] - self.lengths

    @property
    def last(self) -> Tensor:
        """Index of each sequence's last real token, int64 ``[B]``."""
        return self.starts + self.lengths - 1

    def __repr__(self) -> str:
        """Show shape, never content: tokens are private texts."""
        rows, columns = self.input_ids.shape
        return f"Batch({rows} sequences, {columns} tokens, padded on the {self.side})"


def pad(
    sequences: Sequence[Sequence[int]],
    *,
    filler: int,
    side: Side = "right",
    device: torch.device | str = "cpu",
) -> Batch:
    """Lay token sequences side by side.

    Args:
        sequences: token ids, none of them empty.
        filler: the id that stands at padding; no real token ever attends to it.
        side: where the padding goes.
        device: where the tensors live.

    Raises:
        InputError: for no sequences, or an empty one.
    """
    if side not in ("left", "right"):
        raise InputError(f"the padding side is {side!r}", "say left or right")
    if not sequences:
        raise InputError("a batch of no sequences was asked for", "give at least one text")
    lengths = [len(sequence) for sequence in sequences]
    if not min(lengths):
        raise InputError(
            f"text {lengths.index(0)} of the batch has no tokens",
            "leave empty texts out, or give the model a BOS token",
        )
    width = max(lengths)
    ids = torch.full((len(sequences), width), filler, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        where = slice(0, length) if side == "right" else slice(width - length, width)
        ids[row, where] = torch.as_tensor(sequence, dtype=torch.long)
        mask[row, where] = 1
    places = torch.arange(width).expand_as(ids) if side == "right" else (mask.cumsum(1) - 1).clamp(min=0)
    return Batch(
        ids.to(device),
        mask.to(device),
        places.contiguous().to(device),
        torch.tensor(lengths, dtype=torch.long, device=device),
        side,
    )
