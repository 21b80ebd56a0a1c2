"""Where each family of models adds to its residual stream, and whether an injection folds into its weights.

The table only proposes: a layout is used after `ifedpriv.backbone.prove` has shown on the loaded model that
what the two sites give is what the block adds. Module names were read from transformers 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn

from ifedpriv.errors import ModelError


class Carrier(StrEnum):
    """The architecture that holds a folded injection as plain weights."""

    OWN = "own"
    LLAMA = "llama"
    HY_V3 = "hy_v3"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Fold:
    """How an injection becomes weights and biases.

    Attributes:
        carrier: the architecture of the folded checkpoint.
        attention: the attention branch's output projection, as a path inside the block.
        mlp: the MLP branch's output projection, as a path inside the block.
        flags: config fields to switch on so that plain transformers loads the biases.
        parallel: both branches are added in one sum, so one bias can carry both shifts.
        experts: ``mlp`` names a bank of experts with biases whose routing weights add up to one.
        why: for no carrier, the reason; otherwise a remark for the table, or empty.
    """

    carrier: Carrier
    attention: str = ""
    mlp: str = ""
    flags: tuple[str, ...] = ()
    parallel: bool = False
    experts: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The two sites inside a block, as module paths, and the norms of a post-LN block.

    Attributes:
        attention: the module whose output attention adds to the residual stream.
        mlp: the module whose output the MLP adds.
        post_norms: for a block ``norm1(x + attention)``, then ``norm2(that + mlp)``, those two norms.
    """

    attention: str
    mlp: str
    post_norms: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table.

    Attributes:
        model_type: transformers' name for the architecture.
        blocks: path of the list of blocks inside the causal LM.
        layouts: candidates, in the order in which they are tried.
        fold: how an injection folds.
    """

    model_type: str
    blocks: str
    layouts: tuple[Layout, ...]
    fold: Fold


@dataclass(frozen=True, slots=True, eq=False)
class LayerSites:
    """The modules of one layer.

    Attributes:
        block: the transformer block.
        attention: its output (or the first element of it) is what attention adds.
        mlp: likewise for the MLP.
        post_norms: the block's norms after each addition, for post-LN blocks.
    """

    block: nn.Module
    attention: nn.Module
    mlp: nn.Module
    post_norms: tuple[nn.Module, nn.Module] | None = None

    @property
    def branches(self) -> tuple[nn.Module, nn.Module]:
        """The two sites in the order of the branch axis: 0 attention, 1 MLP."""
        return (self.attention, self.mlp)


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """All hook sites of one model.

    Attributes:
        base: the module that turns token ids into the last hidden state.
        layers: one entry per block, in order.
        multiplier: the residual stream receives ``multiplier * site output`` (Granite; otherwise 1).
        layout: the layout the modules were found by.
    """

    base: nn.Module
    layers: tuple[LayerSites, ...]
    multiplier: float
    layout: Layout


_SELF = Layout("self_attn", "mlp")
_SELF_POST = Layout("post_attention_layernorm", "post_feedforward_layernorm")
_GPT = Layout("attn", "mlp")
_O, _DOWN = "self_attn.o_proj", "mlp.down_proj"
_BOTH_FLAGS = ("attention_bias", "mlp_bias")
_BIASES = "its output projections have biases"
_NO_POST_NORM_BIAS = "a norm without bias follows the branch, so nothing can hold the shift"
_NO_EXPERT_BIAS = "its experts have no biases, so nothing can hold the MLP's shift"


def _own(attention: str, mlp: str, *flags: str, why: str = "") -> Fold:
    return Fold(Carrier.OWN, attention, mlp, flags, why=why)


def _as_llama(why: str) -> Fold:
    return Fold(Carrier.LLAMA, _O, _DOWN, why=why)


def _no_fold(why: str) -> Fold:
    return Fold(Carrier.NONE, why=why)


_ROWS: tuple[Family, ...] = (
    Family("llama", "model.layers", (_SELF,), _own(_O, _DOWN, *_BOTH_FLAGS)),
    Family("mistral", "model.layers", (_SELF,), _as_llama("if its sliding window spans the context")),
    Family("qwen2", "model.layers", (_SELF,), _as_llama("if it has no sliding window")),
    Family(
        "qwen3",
        "model.layers",
        (_SELF,),
        Fold(Carrier.HY_V3, _O, _DOWN, why="all layers dense, if it has no sliding window"),
    ),
    Family("gemma", "model.layers", (_SELF,), _as_llama("head untied, embeddings scaled")),
    Family("gemma2", "model.layers", (_SELF_POST,), _no_fold(_NO_POST_NORM_BIAS)),
    Family("gemma3_text", "model.layers", (_SELF_POST,), _no_fold(_NO_POST_NORM_BIAS)),
    Family("phi", "model.layers", (_SELF,), _own("self_attn.dense", "mlp.fc2", why=_BIASES)),
    Family(
        "phi3",
        "model.layers",
        (_SELF,),
        _as_llama("fused projections split; plain rotary embedding, no window"),
    ),
    Family("gpt2", "transformer.h", (_GPT,), _own("attn.c_proj", "mlp.c_proj", why=_BIASES)),
    Family(
        "gptj",
        "transformer.h",
        (_GPT,),
        Fold(
            Carrier.OWN, "attn.out_proj", "mlp.fc_out", parallel=True, why="the MLP's bias holds both shifts"
        ),
    ),
    Family("gpt_neo", "transformer.h", (_GPT,), _own("attn.attention.out_proj", "mlp.c_proj", why=_BIASES)),
    Family(
        "gpt_neox",
        "gpt_neox.layers",
        (Layout("attention", "mlp"),),
        _own("attention.dense", "mlp.dense_4h_to_h", "attention_bias"),
    ),
    Family(
        "opt",
        "model.decoder.layers",
        (
            Layout("self_attn", "fc2"),
            Layout("self_attn", "fc2", ("self_attn_layer_norm", "final_layer_norm")),
        ),
        _own("self_attn.out_proj", "fc2", "enable_bias"),
    ),
    Family(
        "bloom",
        "transformer.h",
        (Layout("self_attention.dense", "mlp.dense_4h_to_h"),),
        _own("self_attention.dense", "mlp.dense_4h_to_h", why=_BIASES),
    ),
    Family(
        "falcon",
        "transformer.h",
        (Layout("self_attention", "mlp"),),
        _own("self_attention.dense", "mlp.dense_4h_to_h", "bias"),
    ),
    Family("mixtral", "model.layers", (_SELF,), _no_fold(_NO_EXPERT_BIAS)),
    Family("qwen2_moe", "model.layers", (_SELF,), _no_fold(_NO_EXPERT_BIAS)),
    Family("qwen3_moe", "model.layers", (_SELF,), _no_fold(_NO_EXPERT_BIAS)),
    Family("olmo2", "model.layers", (_SELF_POST,), _no_fold(_NO_POST_NORM_BIAS)),
    Family("granite", "model.layers", (_SELF,), _own(_O, _DOWN, *_BOTH_FLAGS)),
    Family(
        "openai-gpt",
        "transformer.h",
        (Layout("attn", "mlp", ("ln_1", "ln_2")),),
        _own("attn.c_proj", "mlp.c_proj", why=_BIASES),
    ),
    Family(
        "gpt_oss",
        "model.layers",
        (_SELF,),
        Fold(
            Carrier.OWN,
            _O,
            "mlp.experts",
            ("attention_bias",),
            experts=True,
            why="every expert's bias holds the MLP's shift",
        ),
    ),
    Family(
        "stablelm", "model.layers", (_SELF,), _no_fold("neither of its output projections can have a bias")
    ),
    Family("starcoder2", "model.layers", (_SELF,), _own("self_attn.o_proj", "mlp.c_proj", "use_bias")),
    Family("smollm3", "model.layers", (_SELF,), _own(_O, _DOWN, *_BOTH_FLAGS)),
)

FAMILIES: Mapping[str, Family] = {row.model_type: row for row in _ROWS}

# Names under which families outside the table keep their branches. Plain modules are tried before post-norms:
# in most families a "post attention" norm is the norm in front of the MLP.
_ATTENTION_NAMES = ("self_attn", "attention", "attn", "self_attention")
_MLP_NAMES = ("mlp", "feed_forward", "ffn", "fc2")
_POST_NORM_NAMES = (
    ("post_attention_layernorm", "post_feedforward_layernorm"),
    ("post_self_attn_layernorm", "post_mlp_layernorm"),
)


def text_config(model: Any) -> Any:
    """The part of a model's config that describes its language model."""
    return model.config.get_text_config(decoder=True)


def resolve(model: Any) -> Iterator[Sites]:
    """Candidate sites for a causal LM, best guess first.

    Args:
        model: a transformers causal LM.

    Raises:
        ModelError: if there is no list of blocks, or no layout whose modules exist in every block.
    """
    config = text_config(model)
    kind = str(config.model_type)
    family = FAMILIES.get(kind)
    path = family.blocks if family is not None else _find_blocks(model, int(config.num_hidden_layers), kind)
    blocks = list(_blocks(model, path, kind))
    layouts = family.layouts if family is not None else tuple(_guesses(blocks[0]))
    multiplier = float(getattr(config, "residual_multiplier", None) or 1.0)
    found = False
    for layout in layouts:
        layers = _layers(blocks, layout)
        if layers is not None:
            found = True
            yield Sites(model.get_submodule(path.rpartition(".")[0]), layers, multiplier, layout)
    if not found:
        raise ModelError(
            f"model type {kind!r} lacks attention and MLP modules of known names in some of its blocks",
            "choose a backbone of a family listed in docs/backbones.md",
        )


def family_table() -> str:
    """The table of families as Markdown, as printed in docs/backbones.md."""
    lines = [
        "| model type | attention site | MLP site | block | fold into weights |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(_ROWS, key=lambda family: family.model_type):
        layout = row.layouts[0]
        shape = " or ".join("post-LN" if each.post_norms else "residual sum" for each in row.layouts)
        names = f"`{row.model_type}` | `{layout.attention}` | `{layout.mlp}`"
        lines.append(f"| {names} | {shape} | {_describe(row.fold)} |")
    return "\n".join(lines) + "\n"


def _describe(fold: Fold) -> str:
    if fold.carrier is Carrier.NONE:
        return f"no: {fold.why}"
    if fold.carrier is not Carrier.OWN:
        return f"yes, as a `{fold.carrier}` checkpoint: {fold.why}"
    flags = " and ".join(f"`{flag}`" for flag in fold.flags)
    return "yes: " + "; ".join(part for part in (f"switches on {flags}" if flags else "", fold.why) if part)


def _blocks(model: Any, path: str, kind: str) -> nn.ModuleList:
    try:
        blocks = model.get_submodule(path)
    except AttributeError:
        blocks = None
    if not isinstance(blocks, nn.ModuleList) or not len(blocks):
        raise ModelError(f"model type {kind!r} has no list of blocks at {path!r}", "load it as a causal LM")
    return blocks


def _find_blocks(model: nn.Module, n_layers: int, kind: str) -> str:
    paths = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers and "." in name
    ]
    if not paths:
        raise ModelError(
            f"model type {kind!r} has no list of {n_layers} transformer blocks",
            "choose a backbone of a family listed in docs/backbones.md",
        )
    shallowest: str = min(paths, key=lambda path: (path.count("."), path))
    return shallowest


def _guesses(block: nn.Module) -> Iterator[Layout]:
    children = dict(block.named_children())
    for attention in _ATTENTION_NAMES:
        for mlp in _MLP_NAMES:
            if attention in children and mlp in children:
                yield Layout(attention, mlp)
    for attention, mlp in _POST_NORM_NAMES:
        if attention in children and mlp in children:
            yield Layout(attention, mlp)


def _layers(blocks: list[nn.Module], layout: Layout) -> tuple[LayerSites, ...] | None:
    found = []
    for block in blocks:
        try:
            norms = tuple(block.get_submodule(name) for name in layout.post_norms or ())
            found.append(
                LayerSites(
                    block,
                    block.get_submodule(layout.attention),
                    block.get_submodule(layout.mlp),
                    (norms[0], norms[1]) if norms else None,
                )
            )
        except AttributeError:
            return None
    return tuple(found)
