"""An injection as plain weights: the same function as the hooks, at no run-time cost.

β·o + λ·v is what an output projection gives whose weight and bias are scaled by β and whose bias gains λ·v.
The invariant: a folded model is always one that plain transformers can save and load; where no architecture
can hold the biases exactly, folding is refused.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.carriers import as_hy_v3, as_llama
from ifedpriv.backbone.families import FAMILIES, Carrier, Fold
from ifedpriv.backbone.hooks import check_injection, inject, is_injected
from ifedpriv.backbone.prove import PATH_TOLERANCE, probe_tokens, relative_difference
from ifedpriv.errors import ModelError


def fold_into(backbone: Backbone, vector: Tensor, coefficients: Tensor) -> Any:
    """A copy of the model whose weights hold the injection.

    Equal to the hooks up to the rounding of the model's dtype: in bf16 the weights themselves are rounded.

    Args:
        backbone: the model; it is not changed.
        vector: float ``[L, 2, D]``, in residual units as for `hooks.inject`.
        coefficients: float ``[L, 2, 2]``; last axis 0 is λ, 1 is β.

    Returns:
        A transformers causal LM of the same architecture, or of an equivalent one that has the biases.

    Raises:
        ModelError: if no architecture can hold it, naming family and reason, or if a context injects.
    """
    check_injection(backbone, vector, coefficients)
    if is_injected(backbone):
        raise ModelError(
            "this backbone carries an injection while another is folded", "leave the context first"
        )
    family = FAMILIES.get(backbone.family)
    if family is None:
        raise _refusal(backbone.family, "its output projections are not in the table of families")
    fold = family.fold
    if fold.carrier is Carrier.NONE:
        raise _refusal(backbone.family, fold.why)
    if getattr(backbone.model, "is_quantized", False):
        raise _refusal(backbone.family, "its weights are quantised")
    if fold.carrier is Carrier.OWN:
        model = _with_biases(copy.deepcopy(backbone.model), fold.flags)
    else:
        model = (as_llama if fold.carrier is Carrier.LLAMA else as_hy_v3)(backbone.model)
        family = FAMILIES.get(str(model.config.model_type), family)
    blocks = model.get_submodule(family.blocks)
    shifts = (coefficients[..., :1] * vector).detach().double() / backbone.sites.multiplier
    betas = coefficients[..., 1].detach().double()
    with torch.no_grad():
        for block, shift, beta in zip(blocks, shifts, betas, strict=True):
            _edit_block(block, fold, shift, beta)
    model.eval().requires_grad_(False)
    _prove(backbone, vector, coefficients, model)
    return model


def save_folded(model: Any, tokenizer: Any, out_dir: str | Path) -> None:
    """Write a folded model and its tokenizer for ``AutoModelForCausalLM.from_pretrained(out_dir)``.

    Raises:
        ModelError: if the architecture named in the config would not take up every tensor.
    """
    _check_loadable(model)
    out = Path(out_dir)
    try:
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    except OSError as problem:
        raise ModelError(
            f"the folded model cannot be written to {str(out)!r}: {problem.strerror or problem}"
        ) from problem


def _prove(backbone: Backbone, vector: Tensor, coefficients: Tensor, model: Any) -> None:
    """Show on a probe that the folded model answers as the hooked one."""
    ids = torch.tensor([probe_tokens(backbone.head.weight.shape[0], 12, seed=6)], device=backbone.device)
    with torch.no_grad():
        folded = model(input_ids=ids).logits
        with inject(backbone, vector.detach(), coefficients.detach()):
            hooked = backbone.model(input_ids=ids).logits
    if (error := relative_difference(folded, hooked)) > PATH_TOLERANCE[backbone.dtype]:
        raise _refusal(backbone.family, f"the folded model answers otherwise (relative error {error:.2g})")


def _refusal(family: str, why: str) -> ModelError:
    return ModelError(f"an injection does not fold into model type {family!r}: {why}", "keep the hooks")


def _edit_block(block: nn.Module, fold: Fold, shift: Tensor, beta: Tensor) -> None:
    """Scale both output projections and move their biases; shift ``[2, D]`` and beta ``[2]`` in float64."""
    attention = block.get_submodule(fold.attention)
    mlp = block.get_submodule(fold.mlp)
    _scale(attention.weight, beta[0])
    if fold.experts:
        # Each token's routing weights add up to one, so a shift in every expert's bias arrives whole.
        _scale(mlp.down_proj, beta[1])
        _scale(mlp.down_proj_bias, beta[1], shift[1])
    else:
        _scale(mlp.weight, beta[1])
        _scale(mlp.bias, beta[1], shift[0] + shift[1] if fold.parallel else shift[1])
    if not fold.parallel:
        _scale(attention.bias, beta[0], shift[0])


def _scale(parameter: Any, beta: Tensor, shift: Tensor | None = None) -> None:
    """beta * parameter + shift, in float64, rounded once."""
    value = parameter.double() * beta.to(parameter.device)
    parameter.copy_(value if shift is None else value + shift.to(parameter.device))


def _with_biases(model: Any, flags: tuple[str, ...]) -> Any:
    """Switch config flags on, and give the model the zero biases that they promise."""
    for flag in flags:
        setattr(model.config, flag, True)
    present = model.state_dict()
    for name, shape in _promised(model.config).items():
        if name in present:
            continue
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        if leaf != "bias":
            raise _refusal(
                str(model.config.model_type), f"its config would ask for a tensor {name!r} it does not have"
            )
        owner.bias = nn.Parameter(torch.zeros(shape, dtype=owner.weight.dtype, device=owner.weight.device))
    return model


def _promised(config: Any) -> dict[str, torch.Size]:
    """Names and shapes of the tensors that plain transformers makes for this config; takes no memory."""
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    return {name: tensor.shape for name, tensor in empty.state_dict().items()}


def _check_loadable(model: Any) -> None:
    here = {name: tensor.shape for name, tensor in model.state_dict().items()}
    there = _promised(model.config)
    if here != there:
        odd = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
        raise ModelError(
            f"plain transformers would not take up {len(odd)} tensors of this {model.config.model_type!r} "
            f"model, first {odd[0]!r}",
            "save a model made by fold_into",
        )
