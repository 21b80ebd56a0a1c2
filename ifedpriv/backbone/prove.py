"""The proof, on the loaded model, that hooks act where the table says and that our shortcuts are exact.

Nothing is believed by name: a wrong site would still train, still score, and be silently another method. So
at load a known perturbation is put on every site, and each block must pass on exactly what the sites then
give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ifedpriv.backbone.batches import Batch, pad
from ifedpriv.backbone.families import LayerSites, Sites, text_config
from ifedpriv.backbone.forward import Head, last_hidden
from ifedpriv.backbone.hooks import first_tensor, with_first_tensor
from ifedpriv.errors import ModelError

# Roundings a block may make between its input and its output, each at most half an epsilon of the largest
# intermediate sum; the bound is on every single element, so one wrong element is found.
_ROUNDINGS = 8
# Two ways of running a deep model (padding left or right) differ by accumulated rounding, relative to the
# largest value of a token's state. A lost position or a look at a later token changes it by its own size.
PATH_TOLERANCE = {torch.float32: 2e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}


def prove_sites(model: Any, candidates: Iterable[Sites]) -> Sites:
    """The first candidate under which every block adds exactly what its two sites give.

    Args:
        model: a frozen causal LM in evaluation mode.
        candidates: sites to try, as `families.resolve` yields them.

    Raises:
        ModelError: if none is proved; names the model type, and layer and error of the best candidate.
    """
    kind = str(text_config(model).model_type)
    faults: list[tuple[int, str]] = []
    for sites in candidates:
        fault = _site_fault(model, sites)
        if fault is None:
            return sites
        faults.append(fault)
    nearest = max(faults, key=lambda each: each[0])[1]
    raise ModelError(
        f"model type {kind!r} cannot carry an injection: {nearest}",
        "choose a backbone of a family listed in docs/backbones.md",
    )


def prove_outputs(model: Any, sites: Sites, head: Head) -> None:
    """Show that hidden states and logits computed in parts are the model's own, in either padding.

    Raises:
        ModelError: if the model looks ahead, answers otherwise under padding, or has a head we do not know.
    """
    kind = str(text_config(model).model_type)
    size = head.weight.shape[0]
    long, short = probe_tokens(size, 12, seed=1), probe_tokens(size, 7, seed=2)
    changed = [*long[:6], *probe_tokens(size, 5, seed=3)]
    texts = [long, changed, short]
    device = head.weight.device
    with torch.no_grad():
        right = pad(texts, filler=0, side="right", device=device)
        left = pad(texts, filler=0, side="left", device=device)
        states = _real_rows(last_hidden(sites.base, right), right)
        others = _real_rows(last_hidden(sites.base, left), left)
        seen: list[Tensor] = []
        remove = sites.base.register_forward_hook(lambda _m, _a, out: seen.append(out[0])).remove
        try:
            given = {"input_ids": right.input_ids, "attention_mask": right.attention_mask}
            answer = model(**given, return_dict=True).logits
        finally:
            remove()
        own = head.logits(seen[0].reshape(-1, seen[0].shape[-1])) if seen else None
    tolerance = PATH_TOLERANCE[states.dtype]
    if own is None or relative_difference(own, answer.reshape(own.shape)) > tolerance:
        error = (
            "it was not asked"
            if own is None
            else f"relative error {relative_difference(own, answer.reshape(own.shape)):.2g}"
        )
        raise ModelError(
            f"model type {kind!r} does not answer with its output layer on its last state ({error})"
        )
    if (ahead := relative_difference(states[:6], states[len(long) : len(long) + 6])) > tolerance:
        raise ModelError(
            f"model type {kind!r} looks at later tokens (relative error {ahead:.2g})",
            "choose a causal language model",
        )
    if (padded := relative_difference(states, others)) > tolerance:
        raise ModelError(
            f"model type {kind!r} answers otherwise when padded on the left (relative error {padded:.2g})"
        )


def _site_fault(model: Any, sites: Sites) -> tuple[int, str] | None:
    """The first layer at which these sites are wrong, and how; None if they are right."""
    entries: list[Tensor] = []
    exits: list[Tensor] = []
    given: list[list[Tensor]] = [[], []]
    device = next(model.parameters()).device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    batch = pad(
        [probe_tokens(vocabulary, 9, seed=4), probe_tokens(vocabulary, 9, seed=5)], filler=0, device=device
    )
    with torch.no_grad(), ExitStack() as stack:
        for place in sites.layers:
            stack.callback(
                place.block.register_forward_pre_hook(_note_entry(entries), with_kwargs=True).remove
            )
            stack.callback(place.block.register_forward_hook(_note_exit(exits)).remove)
            for branch, module in enumerate(place.branches):
                stack.callback(module.register_forward_hook(_perturb(entries, given[branch], branch)).remove)
        last_hidden(sites.base, batch)
    n_layers = len(sites.layers)
    counts = (len(entries), len(exits), len(given[0]), len(given[1]))
    if counts != (n_layers,) * 4:
        ran = f"{counts[0]} times, and their sites {counts[2:]} times"
        return 0, f"in one pass its {n_layers} blocks ran {ran}"
    for layer, place in enumerate(sites.layers):
        entry, leave = entries[layer], exits[layer]
        attention, mlp = given[0][layer], given[1][layer]
        if {attention.numel(), mlp.numel(), leave.numel()} != {entry.numel()}:
            shapes = [tuple(tensor.shape) for tensor in (entry, attention, mlp)]
            return layer, f"layer {layer} has block, attention and MLP of shapes {shapes}"
        error = _block_error(
            place, entry, leave, attention.view_as(entry), mlp.view_as(entry), sites.multiplier
        )
        if error > 1.0:
            what = f"layer {layer} does not add what its attention and MLP give"
            return layer, f"{what} (error {error:.2g} times the tolerance)"
        if layer + 1 < n_layers and not torch.equal(leave, entries[layer + 1]):
            return layer, f"the residual stream is changed between layers {layer} and {layer + 1}"
    return None


def _block_error(
    place: LayerSites, entry: Tensor, leave: Tensor, attention: Tensor, mlp: Tensor, multiplier: float
) -> float:
    """Largest error of the block's sum, in units of the rounding that its dtype allows there."""
    epsilon = torch.finfo(entry.dtype).eps
    if place.post_norms is not None:
        first, second = place.post_norms
        with torch.no_grad():
            middle = first(entry + attention)
            expected = second(middle + mlp).double()
        allowed = _ROUNDINGS * epsilon * expected.abs().amax() * torch.ones_like(expected)
    else:
        parts = (entry.double(), attention.double() * multiplier, mlp.double() * multiplier)
        expected = parts[0] + parts[1] + parts[2]
        allowed = _ROUNDINGS * epsilon * (parts[0].abs() + parts[1].abs() + parts[2].abs())
    tiny = torch.finfo(entry.dtype).tiny
    return float(((leave.double() - expected).abs() / (allowed + tiny)).nan_to_num(nan=float("inf")).max())


def _note_entry(entries: list[Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        state = args[0] if args else kwargs["hidden_states"]
        entries.append(first_tensor(state).clone())

    return hook


def _note_exit(exits: list[Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        exits.append(first_tensor(output).clone())

    return hook


def _perturb(entries: list[Tensor], given: list[Tensor], branch: int) -> Callable[..., Any]:
    """Add noise of the block input's size, and note the sum: so a dead or tiny branch is tested too."""

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        state = first_tensor(output)
        generator = torch.Generator().manual_seed(2 * len(given) + branch)
        noise = torch.randn(state.shape, generator=generator).to(state.device)
        size = entries[-1].float().square().mean().sqrt() if entries else torch.ones((), device=state.device)
        changed = (state.float() + noise * size).to(state.dtype)
        given.append(changed.clone())
        return with_first_tensor(output, changed)

    return hook


def probe_tokens(vocabulary: int, length: int, seed: int) -> list[int]:
    """Random token ids, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    drawn: list[int] = torch.randint(vocabulary, (length,), generator=generator).tolist()
    return drawn


def _real_rows(states: Tensor, batch: Batch) -> Tensor:
    """All real tokens' states, sequence after sequence."""
    return states[batch.attention_mask.bool()]


def relative_difference(one: Tensor, other: Tensor) -> float:
    """Median over tokens of the relative distance: a mixture of experts may flip an expert by rounding."""
    one, other = one.float(), other.float()
    size = torch.maximum(one.abs().amax(-1), other.abs().amax(-1)).clamp(min=1e-30)
    distance = ((one - other).abs().amax(-1) / size).nan_to_num(nan=float("inf"))
    return float(distance.median())
