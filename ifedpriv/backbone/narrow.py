"""The last block's MLP at chosen tokens alone: what it gives elsewhere, nobody reads.

The invariant: hidden states at the chosen tokens are those of the whole forward pass; at other tokens they are
arbitrary. An MLP works token by token, and behind the last one nothing mixes tokens any more; that this holds
for a model is proved at load, and where it does not, nothing is narrowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ifedpriv.backbone.batches import pad
from ifedpriv.backbone.families import Sites
from ifedpriv.backbone.forward import last_hidden
from ifedpriv.backbone.front import columns_moved, runs_ahead
from ifedpriv.backbone.hooks import first_tensor, with_first_tensor
from ifedpriv.backbone.prove import PATH_TOLERANCE, probe_tokens, relative_difference


@contextmanager
def narrowed(sites: Sites, rows: Tensor, columns: Tensor, n_rows: int) -> Iterator[None]:
    """Run the last layer's MLP at chosen tokens of each forward pass, until the block ends.

    Hooks on its output that are there already see the chosen tokens alone, as one sequence: right for an injection.
    Hooks set inside the block, such as a capture's, see the whole batch with zeros at all other tokens.

    Args:
        sites: of the model.
        rows: int64 ``[N]``, which sequence of the batch.
        columns: int64 ``[N]``, which of its tokens, no pair twice.
        n_rows: sequences in the batch.
    """
    module = sites.layers[-1].mlp
    shapes: list[tuple[int, ...]] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor) or runs_ahead(sites.base):
            return None
        given = args[0]
        shapes.append(tuple(given.shape))
        there = columns + columns_moved(sites.base)
        if given.ndim == 2:
            # OPT runs its MLP over all tokens of the batch as one long list.
            return (given[_flat(rows, there, given.shape[0] // n_rows)], *args[1:])
        return (given[rows, there].unsqueeze(0), *args[1:])

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        if not shapes:
            return output
        shape = shapes.pop()
        found = first_tensor(output)
        whole = found.new_zeros((*shape[:-1], found.shape[-1]))
        there = columns + columns_moved(sites.base)
        if len(shape) == 2:
            whole[_flat(rows, there, shape[0] // n_rows)] = found
        else:
            whole[rows, there] = found.squeeze(0)
        return with_first_tensor(output, whole)

    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def can_narrow(model: Any, sites: Sites) -> bool:
    """Whether this model's hidden states at chosen tokens survive narrowing, tried on a probe."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    lengths = (9, 6, 9)
    texts = [probe_tokens(vocabulary, length, seed=20 + length) for length in lengths]
    batch = pad(texts, filler=0, device=next(model.parameters()).device)
    rows = torch.tensor([0, 1, 1, 2], device=batch.input_ids.device)
    columns = torch.tensor([8, 5, 2, 0], device=batch.input_ids.device)
    with torch.no_grad():
        plain = last_hidden(sites.base, batch)[rows, columns]
        try:
            with narrowed(sites, rows, columns, len(texts)):
                found = last_hidden(sites.base, batch)[rows, columns]
        except (RuntimeError, IndexError, TypeError, ValueError):
            # A module that wants the whole batch says so in one of these ways.
            return False
    return relative_difference(found, plain) <= PATH_TOLERANCE[plain.dtype]


def _flat(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    return rows * width + columns
