"""An injection as a plain checkpoint: the same function, with no hook and no run-time cost."""

from __future__ import annotations

from pathlib import Path

import torch

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.fold import fold_into, save_folded
from ifedpriv.icl.injection import Injection


def fold(backbone: Backbone, injection: Injection, out: Path) -> None:
    """Write a checkpoint in which β scales the branches' output projections and λ·v is their bias.

    Args:
        backbone: the model that the injection was made for.
        injection: what is folded in.
        out: the checkpoint's folder.

    Raises:
        ModelError: if plain transformers cannot carry it in this family.
    """
    injection.check(backbone)
    model = fold_into(
        backbone,
        torch.from_numpy(injection.vector.values.copy()),
        torch.from_numpy(injection.coefficients.values.copy()),
    )
    save_folded(model, backbone.tokenizer, out)
