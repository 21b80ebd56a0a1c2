"""The first layer's attention at one token, as what it is: a weighted sum of one fixed vector for each token.

The invariant: the table is checked on real texts against what the model adds to its residual stream; a family whose
first attention is no such sum is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks._base.targets import Floats
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.families import text_config
from ifedpriv.backbone.hooks import first_tensor

_PROJECTIONS = ("o_proj", "out_proj", "dense", "c_proj", "wo")
_TOLERANCE = 1e-2


class NotLinearError(Exception):
    """This model's first attention cannot be taken apart; the message is half a sentence."""


class _Enough(Exception):
    """Raised by a hook when the first layer's attention is done, so that no other layer is computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The first attention of one batch, at one token of each sequence.

    Attributes:
        heads: what the heads give before the output projection, float64 ``[n, heads, head width]``.
        attention: how strongly each head looks at each token, float64 ``[n, heads, tokens]``.
        output: what attention adds to the residual stream, float64 ``[n, width]``.
    """

    heads: Floats
    attention: Floats
    output: Floats


class FirstAttention:
    """The first attention block of a backbone, as a linear map of attention weights.

    Raises:
        NotLinearError: the block has no output projection that is a plain matrix, or gives no attention weights.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        site = backbone.sites.layers[0].attention
        named = [m for name, m in site.named_modules() if name.rpartition(".")[2] in _PROJECTIONS]
        if len(named) != 1 or getattr(named[0], "weight", None) is None or named[0].weight.ndim != 2:
            raise NotLinearError("the model's first attention has no output projection of a known name")
        self.site, self.projection = site, named[0]
        config = text_config(backbone.model)
        self.n_heads = int(getattr(config, "num_attention_heads", 0) or getattr(config, "n_head", 0))
        weight = self.projection.weight.detach().double().cpu().numpy()
        # GPT-2's Conv1D keeps its matrix as [in, out], everybody else as [out, in].
        self.weight: Floats = weight if isinstance(self.projection, nn.Linear) else weight.T
        if not self.n_heads or self.weight.shape[1] % self.n_heads:
            raise NotLinearError("the model does not say how many heads its attention has")

    @property
    def head_width(self) -> int:
        """Numbers that one head gives."""
        return int(self.weight.shape[1]) // self.n_heads

    def values(self, tokens: Sequence[int], batch_size: int = 512) -> Floats:
        """What each token gives where a head looks at it alone, float64 ``[tokens, heads, head width]``.

        A sequence of one token can look at nothing else, and rotary positions leave values alone.
        """
        found = [
            self.read([[token] for token in tokens[start : start + batch_size]], [0] * batch_size).heads
            for start in range(0, len(tokens), batch_size)
        ]
        return np.concatenate(found)

    def outputs(self, heads: Floats) -> Floats:
        """What each head's part adds to the residual stream, float64 ``[..., heads, width]``."""
        by_head = self.weight.reshape(len(self.weight), self.n_heads, self.head_width)
        found: Floats = np.einsum("...hd,whd->...hw", heads, by_head) * self.backbone.sites.multiplier
        return found

    def read(self, sequences: Sequence[Sequence[int]], columns: Sequence[int]) -> Reading:
        """The first attention at one token of each sequence; nothing behind it is computed."""
        batch = self.backbone.make_batch(sequences)
        rows = torch.arange(len(sequences), device=self.backbone.device)
        at = torch.as_tensor(columns[: len(sequences)], device=self.backbone.device)
        taken: dict[str, Tensor] = {}

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            taken["heads"] = args[0][rows, at].double().cpu()

        def after(module: nn.Module, args: Any, output: Any) -> None:
            weights = [
                t
                for t in (output if isinstance(output, tuple) else ())
                if isinstance(t, Tensor) and t.ndim == 4
            ]
            if weights:
                taken["attention"] = weights[-1][rows, :, at].double().cpu()
            taken["output"] = first_tensor(output)[rows, at].double().cpu() * self.backbone.sites.multiplier
            raise _Enough

        handles = [self.projection.register_forward_pre_hook(before), self.site.register_forward_hook(after)]
        try:
            with torch.inference_mode(), _eager(self.backbone.model), suppress(_Enough):
                self.backbone.hidden(batch)
        finally:
            for handle in handles:
                handle.remove()
        if "attention" not in taken or taken["attention"].shape[1] != self.n_heads:
            raise NotLinearError("the model's first attention does not say where it looks")
        heads = taken["heads"].reshape(len(sequences), self.n_heads, self.head_width).numpy()
        return Reading(heads, taken["attention"].numpy(), taken["output"].numpy())

    def check(self, reading: Reading) -> None:
        """Refuse a model in which the heads, projected, are not what attention adds, but for a bias."""
        rest = reading.output - self.outputs(reading.heads).sum(axis=-2)
        rest = rest - rest.mean(axis=0)
        if np.abs(rest).max() > _TOLERANCE * np.abs(reading.output).max():
            raise NotLinearError("the model's first attention does more than project its heads")


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """The attention that writes its weights down, in place of a fused one that does not."""
    config = model.config
    before = config._attn_implementation
    try:
        model.set_attn_implementation("eager")
        yield
    except (ValueError, AttributeError) as problem:
        raise NotLinearError("the model cannot say where its attention looks") from problem
    finally:
        model.set_attn_implementation(before)
