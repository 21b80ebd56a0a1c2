"""Reading and changing what each branch adds to the residual stream, as context managers.

The invariant: when a context ends, however it ends, the model is exactly the one it was before. Vectors and
captures are in *residual units*: what is captured is what the stream receives, and an injected vector v with
λ = 1 adds v to the stream. Granite multiplies every branch by a constant m before adding it, so there a
capture is ``m * output`` and the shift is divided by m; in all other families m = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ifedpriv.backbone.front import columns_moved
from ifedpriv.errors import InputError, ModelError

if TYPE_CHECKING:
    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.backbone.families import Sites

_INJECTED: WeakSet[nn.Module] = WeakSet()

Edit = Callable[[Tensor], Tensor]


class Captured:
    """What one forward pass added to the residual stream at the positions asked for."""

    __slots__ = ("_positions", "_rows")

    def __init__(self, positions: Tensor, n_layers: int) -> None:
        self._positions = positions
        self._rows: list[list[Tensor | None]] = [[None, None] for _ in range(n_layers)]

    def __repr__(self) -> str:
        """Show shape, never content: captures are made of private texts."""
        return f"Captured(positions={tuple(self._positions.shape)}, layers={len(self._rows)})"

    def contributions(self) -> Tensor:
        """The contributions as float32.

        Returns:
            Tensor ``[B, L, 2, D]`` for positions ``[B]``, or ``[B, P, L, 2, D]`` for positions ``[B, P]``;
            branch 0 is attention, 1 the MLP. A copy; part of the autograd graph if the forward pass was.

        Raises:
            InputError: if no forward pass has run inside the context.
        """
        layers = []
        for layer, (attention, mlp) in enumerate(self._rows):
            if attention is None or mlp is None:
                raise InputError(f"capture holds nothing for layer {layer}", "run one forward pass inside it")
            layers.append(torch.stack((attention, mlp), dim=-2))
        return torch.stack(layers, dim=-3)

    def _take(self, layer: int, branch: int, multiplier: float, moved: int, output: Tensor) -> None:
        if self._rows[layer][branch] is not None:
            raise InputError(
                "capture holds one forward pass and got a second", "open a new capture for each batch"
            )
        batch = len(self._positions)
        if output.ndim == 2:
            # OPT runs its MLP over all tokens of the batch as one long list.
            if output.shape[0] % batch:
                raise InputError(
                    f"capture has positions for {batch} sequences, and the batch has another number"
                )
            output = output.view(batch, -1, output.shape[-1])
        if output.shape[0] != batch:
            raise InputError(
                f"capture has positions for {batch} sequences, and the batch has {output.shape[0]}",
                "give one row of positions for each sequence",
            )
        positions = self._positions.to(output.device) + moved
        rows = torch.arange(batch, device=output.device)
        # Indexing copies, so a model that goes on adding in place (Falcon) cannot change what was taken.
        taken = output[rows if positions.ndim == 1 else rows[:, None], positions].float()
        self._rows[layer][branch] = taken if multiplier == 1.0 else taken * multiplier


@contextmanager
def capture(backbone: Backbone, positions: Tensor) -> Iterator[Captured]:
    """Collect what attention and MLP add to the residual stream at given positions of one forward pass.

    Opened inside an `inject`, it sees the contributions as injected.

    Args:
        backbone: the model with its sites.
        positions: indices into the batch's token axis, ``[B]`` or ``[B, P]``; `Batch.last` is the usual one.

    Yields:
        A `Captured`; call its ``contributions()`` after the forward pass.
    """
    if positions.ndim not in (1, 2) or positions.is_floating_point():
        raise InputError(
            f"capture's positions have shape {tuple(positions.shape)} and type {positions.dtype}",
            "give integers of shape [B] or [B, P]",
        )
    captured = Captured(positions.clone(), backbone.n_layers)
    sites = backbone.sites
    with ExitStack() as stack:
        for layer, place in enumerate(sites.layers):
            for branch, module in enumerate(place.branches):
                hook = _reading(captured, layer, branch, sites)
                stack.callback(module.register_forward_hook(hook).remove)
        yield captured


@contextmanager
def inject(backbone: Backbone, vector: Tensor, coefficients: Tensor) -> Iterator[None]:
    """Change every branch's contribution o to β·o + λ·v, at every position of every layer.

    With λ = 0 and β = 1 the model's output is bit for bit that of the bare model. Tensors that require a
    gradient are read afresh in each forward pass, so an optimiser may step inside the context; others are
    read once, when the context opens.

    Args:
        backbone: the model with its sites.
        vector: v in residual units, float ``[L, 2, D]``; branch 0 is attention, 1 the MLP.
        coefficients: float ``[L, 2, 2]``; last axis 0 is λ for the vector, 1 is β for the live activation.

    Raises:
        ModelError: for a wrong shape, a number that is not finite, or a second injection on one backbone.
    """
    check_injection(backbone, vector, coefficients)
    sites = backbone.sites
    live = vector.requires_grad or coefficients.requires_grad
    with ExitStack() as stack:
        stack.enter_context(claimed(backbone))
        for layer, place in enumerate(sites.layers):
            for branch, module in enumerate(place.branches):
                edit = (
                    _live_edit(vector, coefficients, layer, branch, sites.multiplier)
                    if live
                    else _fixed_edit(vector[layer, branch], coefficients[layer, branch], sites.multiplier)
                )
                if edit is not None:
                    stack.callback(module.register_forward_hook(_writing(edit)).remove)
        yield


@contextmanager
def claimed(backbone: Backbone) -> Iterator[None]:
    """Hold the right to inject into a backbone, which one injection at a time has.

    Raises:
        ModelError: another one has it.
    """
    if backbone.model in _INJECTED:
        raise ModelError(
            "this backbone carries an injection already", "leave the first one before the next begins"
        )
    _INJECTED.add(backbone.model)
    try:
        yield
    finally:
        _INJECTED.discard(backbone.model)


def is_injected(backbone: Backbone) -> bool:
    """Whether an `inject` context is open on this backbone."""
    return backbone.model in _INJECTED


def check_injection(backbone: Backbone, vector: Tensor, coefficients: Tensor) -> None:
    """Refuse a vector or coefficients that do not belong to this backbone.

    Raises:
        ModelError: for a wrong shape or a number that is not finite.
    """
    expected = {
        "vector": (vector, (backbone.n_layers, 2, backbone.width)),
        "coefficients": (coefficients, (backbone.n_layers, 2, 2)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"the injection's {name} has shape {tuple(tensor.shape)}, and this backbone takes {shape}",
                "use an injection made with the same model",
            )
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.detach()).all()):
            raise ModelError(f"the injection's {name} holds something else than finite floats")


def first_tensor(output: Any) -> Tensor:
    """The hidden state in a module's output: the output itself, or the first element of a tuple or list."""
    tensor = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(tensor, Tensor):
        raise ModelError(f"a hook site gives {type(tensor).__name__} where a tensor was expected")
    return tensor


def with_first_tensor(output: Any, tensor: Tensor) -> Any:
    """The same container with another hidden state."""
    if isinstance(output, tuple):
        rest = (tensor, *output[1:])
        return type(output)(*rest) if hasattr(output, "_fields") else rest
    if isinstance(output, list):
        return [tensor, *output[1:]]
    return tensor


def _reading(captured: Captured, layer: int, branch: int, sites: Sites) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        captured._take(layer, branch, sites.multiplier, columns_moved(sites.base), first_tensor(output))

    return hook


def _writing(edit: Edit) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        return with_first_tensor(output, edit(first_tensor(output)))

    return hook


def _fixed_edit(vector: Tensor, pair: Tensor, multiplier: float) -> Edit | None:
    """The edit for constant tensors, computed once; None where it would change nothing."""
    shift = pair[0].float() * (vector.float() / multiplier)
    beta = pair[1].float()
    if not bool(shift.any()) and float(beta) == 1.0:
        return None
    ready: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def edit(out: Tensor) -> Tensor:
        if out.device not in ready:
            ready[out.device] = (shift.to(out.device), beta.to(out.device))
        return _affine(out, *ready[out.device])

    return edit


def _live_edit(vector: Tensor, coefficients: Tensor, layer: int, branch: int, multiplier: float) -> Edit:
    def edit(out: Tensor) -> Tensor:
        direction = vector[layer, branch].to(out.device, torch.float32)
        pair = coefficients[layer, branch].to(out.device, torch.float32)
        result: Tensor = _Affine.apply(out, direction / multiplier, pair)  # type: ignore[no-untyped-call]
        return result

    return edit


def _affine(out: Tensor, shift: Tensor, beta: Tensor) -> Tensor:
    """β·o + shift, rounded once: a β of 1.002 must not become 1 because activations are bf16."""
    if out.dtype == torch.float32:
        return torch.addcmul(shift, out, beta)
    return torch.addcmul(shift, out.float(), beta).to(out.dtype)


class _Affine(torch.autograd.Function):
    """β·o + λ·v with reductions that never build a tensor of the activation's size for the coefficients."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, vector: Tensor, pair: Tensor) -> Tensor:
        ctx.save_for_backward(out, vector, pair)
        return _affine(out, pair[0] * vector, pair[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        out, vector, pair = ctx.saved_tensors
        need_out, need_vector, need_pair = ctx.needs_input_grad
        # Summed over tokens in float32: bf16 sums over thousands of tokens lose the gradient.
        total = grad.reshape(-1, grad.shape[-1]).sum(0, dtype=torch.float32)
        grad_pair = None
        if need_pair:
            beta = torch.dot(grad.reshape(-1).float(), out.reshape(-1).float())
            grad_pair = torch.stack((torch.dot(total, vector), beta))
        return (
            (grad * pair[1]).to(grad.dtype) if need_out else None,
            total * pair[0] if need_vector else None,
            grad_pair,
        )
