"""Every sequence of a batch carries coefficients of its own, and a vector of its own where tasks are mixed.

The invariant: sequence b is injected with vector b and coefficients b, so the gradient of a sum of losses with respect
to coefficients b is the gradient of example b alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.hooks import claimed, first_tensor, with_first_tensor
from ifedpriv.errors import ModelError


@contextmanager
def inject_each(backbone: Backbone, vector: Tensor, coefficients: Tensor) -> Iterator[None]:
    """As `inject`, with coefficients, and if need be a vector, for each sequence of the batches that follow.

    Batches must not be narrowed inside: the sites see whole sequences.

    Args:
        backbone: the model with its sites.
        vector: v in residual units, float ``[L, 2, D]`` for all, or ``[B, L, 2, D]``.
        coefficients: float ``[B, L, 2, 2]``, for batches of B sequences.

    Raises:
        ModelError: for a wrong shape, or a second injection on one backbone.
    """
    wanted = (backbone.n_layers, 2, 2)
    if coefficients.ndim != 4 or tuple(coefficients.shape[1:]) != wanted:
        raise ModelError(
            f"the coefficients of each example have shape {tuple(coefficients.shape)}, and this backbone takes "
            f"(examples, {', '.join(map(str, wanted))})",
            "give each example its own",
        )
    whole = (*wanted[:2], backbone.width)
    if tuple(vector.shape) not in (whole, (len(coefficients), *whole)):
        raise ModelError(
            f"the vectors have shape {tuple(vector.shape)}, and this backbone takes {whole} for each of "
            f"{len(coefficients)} sequences, or for all",
            "use vectors made with the same model",
        )
    with ExitStack() as stack:
        stack.enter_context(claimed(backbone))
        for layer, place in enumerate(backbone.sites.layers):
            for branch, module in enumerate(place.branches):
                direction = vector[..., layer, branch, :].float() / backbone.sites.multiplier
                hook = _hook(direction, coefficients[:, layer, branch])
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _hook(direction: Tensor, pairs: Tensor) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        out = first_tensor(output)
        # OPT runs its MLP over all tokens of the batch as one long list.
        rows = out.reshape(len(pairs), -1, out.shape[-1]).float()
        # A direction of each sequence's own stands beside that sequence's tokens.
        own = direction.to(out.device) if direction.ndim == 1 else direction.to(out.device)[:, None]
        shift = pairs[:, 0, None, None].float() * own
        changed = rows * pairs[:, 1, None, None].float() + shift
        return with_first_tensor(output, changed.to(out.dtype).reshape(out.shape))

    return hook


def per_example(
    backbone: Backbone, vector: Tensor, coefficients: Tensor, losses: Callable[[], Tensor], count: int
) -> Tensor:
    """Gradients of each example's loss with respect to the same coefficients.

    Args:
        backbone: the model.
        vector: float ``[L, 2, D]``.
        coefficients: float ``[L, 2, 2]``.
        losses: runs one batch of ``count`` sequences and gives their losses, ``[count]``.
        count: sequences in the batch.

    Returns:
        ``[count, L, 2, 2]``, detached.
    """
    own = coefficients.detach().expand(count, *coefficients.shape).clone().requires_grad_()
    with inject_each(backbone, vector, own):
        total = losses().sum()
    (gradients,) = torch.autograd.grad(total, own)
    return gradients
