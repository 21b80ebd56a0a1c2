"""LoRA adapters on a backbone, by PEFT: put in place for the length of a block, and then gone without a trace.

The invariant: outside `Adapters.on` the model consists of the very modules it was proved with. PEFT's wrapped
layers are made once and kept aside; putting them on replaces entries of the blocks' module tables, and taking
them off puts the originals back.

Reference: Hu et al., *LoRA*, arXiv 2106.09685: W x becomes W x + (α / r) B A x, with B = 0 at the start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import ModelError, UserError
from ifedpriv.icl.tensor_file import reading, write_tensors

FORMAT = "ifedpriv-lora-1"

_SPLIT = ("q_proj", "v_proj")
# Families that compute queries, keys and values by one fused map: an adapter there covers the keys as well.
_FUSED: Mapping[str, str] = {
    "gpt2": "c_attn",
    "openai-gpt": "c_attn",
    "gpt_neox": "query_key_value",
    "bloom": "query_key_value",
    "falcon": "query_key_value",
    "phi3": "qkv_proj",
    "codegen": "qkv_proj",
}
_NAME = "federated"
_ADAPTED: WeakSet[nn.Module] = WeakSet()


def targets_for(backbone: Backbone, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Full names of the modules that get an adapter, block by block.

    Args:
        backbone: the model.
        wanted: last parts of module names; the default, queries and values, means the fused map where a family
            has one.

    Raises:
        ModelError: if a name is met in no block.
    """
    family = backbone.family
    names = (_FUSED[family],) if set(wanted) == set(_SPLIT) and family in _FUSED else wanted
    blocks = {id(module) for place in backbone.sites.layers for module in place.block.modules()}
    found = [
        path
        for path, module in backbone.model.named_modules()
        if id(module) in blocks and path.rpartition(".")[2] in names and _is_linear(module)
    ]
    for name in names:
        if not any(path.rpartition(".")[2] == name for path in found):
            known = {
                path.rpartition(".")[2]
                for path, module in backbone.sites.layers[0].block.named_modules()
                if _is_linear(module)
            }
            raise ModelError(
                f"method.targets names {name!r}, which is no linear map in the blocks of a {family}",
                f"choose among {', '.join(sorted(known)) or 'the linear maps of another backbone'}",
            )
    return tuple(found)


class Adapters:
    """PEFT's LoRA layers for one backbone.

    Args:
        backbone: the frozen model.
        rank: r, the inner width of each adapter.
        alpha: α; what an adapter adds is scaled by α / r.
        targets: last parts of the names of the adapted modules; see `targets_for`.

    Attributes:
        shapes: name to shape of every trained array: ``<module>/A`` is ``[r, in]``, ``<module>/B`` ``[out, r]``.

    Raises:
        UserError: if PEFT is not installed.
        ModelError: if the model has no such modules.
    """

    def __init__(self, backbone: Backbone, rank: int, alpha: float, targets: tuple[str, ...]) -> None:
        if find_spec("peft") is None:
            raise UserError(
                "method.kind is 'fed_lora', which needs the package peft", "pip install 'ifedpriv[lora]'"
            )
        _refuse_second(backbone.model)
        paths = targets_for(backbone, targets)
        self._backbone = backbone
        self._places = [
            (backbone.model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]) for path in paths
        ]
        self._plain = [getattr(parent, name) for parent, name in self._places]
        self._adapted = _wrapped(backbone.model, paths, self._places, self._plain, rank, alpha)
        self._weights: dict[str, nn.Parameter] = {}
        for path, layer in zip(paths, self._adapted, strict=True):
            self._weights[f"{path}/A"] = layer.lora_A[_NAME].weight
            self._weights[f"{path}/B"] = layer.lora_B[_NAME].weight
        self.shapes: Mapping[str, tuple[int, ...]] = MappingProxyType(
            {name: tuple(weight.shape) for name, weight in self._weights.items()}
        )

    def start(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """Where training starts: A uniform within ±1/√in, as in PEFT and in the paper's code, and B zero."""
        return {
            name: np.zeros(shape, dtype=np.float32)
            if name.endswith("/B")
            else rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(shape[1]))
            for name, shape in self.shapes.items()
        }

    @contextmanager
    def on(self, arrays: Mapping[str, NDArray[np.float32]]) -> Iterator[list[nn.Parameter]]:
        """Adapt every forward pass until the block ends.

        Args:
            arrays: name to values, as `shapes` says.

        Yields:
            The trainable parameters; stepping on them steps the adapters.

        Raises:
            ModelError: for other names or shapes, or if an adapter is on already.
        """
        given = {name: tuple(array.shape) for name, array in arrays.items()}
        if given != dict(self.shapes):
            raise ModelError(
                f"the adapter holds {len(given)} arrays that do not fit this backbone's {len(self.shapes)}",
                "use the model, the rank and the targets that the run's config.yaml names",
            )
        model = self._backbone.model
        _refuse_second(model)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(torch.from_numpy(np.array(arrays[name])))
                weight.grad = None
        try:
            _ADAPTED.add(model)
            _put(self._places, self._adapted)
            yield list(self._weights.values())
        finally:
            _put(self._places, self._plain)
            _ADAPTED.discard(model)
            for weight in self._weights.values():
                weight.grad = None

    def values(self) -> dict[str, NDArray[np.float32]]:
        """The arrays as they stand after training (copies)."""
        return {name: weight.detach().cpu().float().numpy().copy() for name, weight in self._weights.items()}


@dataclass(frozen=True, slots=True, eq=False)
class LoraAdapter:
    """A trained adapter: what a LoRA run ends with.

    Attributes:
        arrays: as `Adapters.shapes` names them, float32.
        rank: r.
        alpha: α.
        targets: last parts of the names of the adapted modules.
        backbone: fingerprint of the model it was made for; empty if not yet known.
        facts: strings that travel with it: task, template, label words, privacy statement.
    """

    arrays: Mapping[str, NDArray[np.float32]]
    rank: int
    alpha: float
    targets: tuple[str, ...]
    backbone: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        owned = {name: np.array(array, dtype=np.float32) for name, array in self.arrays.items()}
        for name, array in owned.items():
            if not np.isfinite(array).all():
                raise ModelError(f"the adapter's {name} holds a number that is not finite")
            array.flags.writeable = False
        object.__setattr__(self, "arrays", MappingProxyType(owned))

    def __repr__(self) -> str:
        """Show size, never content: the weights were fitted to private text."""
        return f"LoraAdapter({len(self.arrays)} arrays, rank={self.rank}, alpha={self.alpha})"

    @contextmanager
    def on(self, backbone: Backbone) -> Iterator[None]:
        """Adapt every forward pass of this backbone until the block ends."""
        self.check(backbone)
        with Adapters(backbone, self.rank, self.alpha, self.targets).on(self.arrays), torch.no_grad():
            yield

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone that this adapter was not made for."""
        if self.backbone and self.backbone != backbone.fingerprint:
            raise ModelError(
                f"the adapter was made for the model with fingerprint {self.backbone[:12]}, this one has "
                f"{backbone.fingerprint[:12]}",
                "use the very weights that the run used",
            )

    def save(self, path: Path) -> None:
        """Write a safetensors file; an interrupted write leaves nothing under the final name."""
        metadata = {
            "format": FORMAT,
            "rank": str(self.rank),
            "alpha": repr(self.alpha),
            "targets": json.dumps(self.targets),
            "backbone": self.backbone,
        }
        write_tensors(path, self.arrays, metadata, self.facts)

    @classmethod
    def load(cls, path: Path) -> LoraAdapter:
        """Read a file that `save` wrote."""
        with reading(path, "adapter", FORMAT) as (tensors, metadata, facts):
            return cls(
                tensors,
                int(metadata["rank"]),
                float(metadata["alpha"]),
                tuple(json.loads(metadata["targets"])),
                metadata["backbone"],
                facts,
            )


def _wrapped(
    model: Any,
    paths: tuple[str, ...],
    places: list[tuple[nn.Module, str]],
    plain: list[nn.Module],
    rank: int,
    alpha: float,
) -> list[Any]:
    """PEFT's layers around the plain ones, with the model as it was before."""
    from peft import LoraConfig, inject_adapter_in_model

    if hasattr(model, "peft_config"):
        raise ModelError("the model carries PEFT adapters of its own", "load it without them")
    # PEFT draws a start of its own, which `on` overwrites; the caller's generator must not notice.
    state = torch.random.get_rng_state()
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type, unused-ignore]
        lora_dropout=0.0,
        bias="none",
        target_modules=list(paths),
        fan_in_fan_out=not isinstance(plain[0], nn.Linear),
    )
    try:
        inject_adapter_in_model(config, model, _NAME)
        layers = [getattr(parent, name) for parent, name in places]
    finally:
        _put(places, plain)
        if hasattr(model, "peft_config"):
            del model.peft_config
        torch.random.set_rng_state(state)
    return [layer.eval() for layer in layers]


def _refuse_second(model: nn.Module) -> None:
    if model in _ADAPTED:
        raise ModelError("this backbone carries an adapter already", "leave the first one before the next")


def _put(places: list[tuple[nn.Module, str]], modules: list[Any]) -> None:
    for (parent, name), module in zip(places, modules, strict=True):
        setattr(parent, name, module)


def _is_linear(module: nn.Module) -> bool:
    """Whether PEFT can adapt it: a linear map, or GPT-2's transposed one."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
