"""Vectors in front of a text, where a model expects the embeddings of tokens: soft prompts, as a context manager.

The vectors become *virtual tokens*: ids beyond the vocabulary, which are written in front of each sequence and for
which the input embeddings give the vectors. So positions, padding, masks, caches and the scaling of embeddings are the
model's own business, as with any token, in every family.

The invariant: callers number tokens as if nothing stood in front. Hidden states come without those of the virtual
tokens, and columns that callers name are moved by their number where the model is read inside. When the context ends,
however it ends, the model is exactly the one it was before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ifedpriv.backbone.forward import goes_on_from_a_cache
from ifedpriv.errors import ModelError

if TYPE_CHECKING:
    from ifedpriv.backbone.backbone import Backbone

_FRONTS: WeakKeyDictionary[nn.Module, _Front] = WeakKeyDictionary()


@contextmanager
def in_front(
    backbone: Backbone, prompts: Tensor, rows: Tensor | None = None, *, share: bool = False
) -> Iterator[None]:
    """Put vectors in front of every sequence of every forward pass, until the block ends.

    Tensors are read afresh in each pass, so an optimiser may step inside the context, and gradients reach them.

    Args:
        backbone: the frozen model.
        prompts: what the input embeddings are to give: float ``[L, width]`` for all, or ``[m, L, width]``.
        rows: for m prompts, int64 ``[B]``: whose prompt each sequence of the batches that follow gets.
        share: compute each prompt once in a pass and not for every sequence, where the model keeps a cache and padding
            is on the right; the same up to rounding. Inside, captures and injections of each sequence's own see
            passes of another shape, and must not be.

    Raises:
        ModelError: for a wrong shape, a number that is not finite, a prompt that leaves no room for a text, or a
            second prompt on one backbone.
    """
    base = backbone.sites.base
    if base in _FRONTS:
        raise ModelError(
            "this backbone has a soft prompt already", "leave the first one before the next begins"
        )
    check_prompt(backbone, prompts)
    embedding = backbone.model.get_input_embeddings()
    shared = share and goes_on_from_a_cache(base)
    front = _Front(prompts, rows, int(embedding.weight.shape[0]), shared)
    handles = [
        base.register_forward_pre_hook(front.before, with_kwargs=True),
        base.register_forward_hook(front.after),
        embedding.register_forward_pre_hook(front.known_ids),
        embedding.register_forward_hook(front.embedded),
    ]
    _FRONTS[base] = front
    try:
        yield
    finally:
        del _FRONTS[base]
        for handle in handles:
            handle.remove()


def check_prompt(backbone: Backbone, prompts: Tensor) -> None:
    """Refuse prompts, ``[L, width]`` or ``[m, L, width]``, that this backbone cannot have in front.

    Raises:
        ModelError: for a wrong shape, a number that is not finite, or a prompt that leaves no room for a text.
    """
    width = embedding_width(backbone)
    if prompts.ndim not in (2, 3) or prompts.shape[-1] != width or not prompts.numel():
        raise ModelError(
            f"a soft prompt has shape {tuple(prompts.shape[-2:])}, and this backbone takes (tokens, {width})",
            "use a prompt made with the same model",
        )
    if not prompts.is_floating_point() or not bool(torch.isfinite(prompts.detach()).all()):
        raise ModelError("a soft prompt holds something else than finite floats")
    if prompts.shape[-2] >= backbone.max_length:
        raise ModelError(
            f"a soft prompt of {prompts.shape[-2]} tokens leaves no room for a text in the backbone's context of "
            f"{backbone.max_length}",
            "take a shorter prompt",
        )


def embedding_width(backbone: Backbone) -> int:
    """Width of what the input embeddings give: the model's own, but for a few (OPT-350m) that project it."""
    width: int = backbone.model.get_input_embeddings().weight.shape[1]
    return width


def tokens_in_front(backbone: Backbone) -> int:
    """How many virtual tokens stand in front of every sequence that this backbone is given; 0 for none."""
    front = _FRONTS.get(backbone.sites.base) if _FRONTS else None
    return 0 if front is None or front.written else front.length


def columns_moved(base: nn.Module) -> int:
    """By how much the columns of the pass that runs now stand behind where its caller numbers them."""
    front = _FRONTS.get(base)
    return 0 if front is None else front.moved


def runs_ahead(base: nn.Module) -> bool:
    """Whether the pass that runs now is one of virtual tokens alone, whose states nobody reads."""
    front = _FRONTS.get(base)
    return front is not None and front.ahead


@contextmanager
def written_out(backbone: Backbone) -> Iterator[list[int]]:
    """Until the block ends, the caller writes the virtual tokens itself; yields their ids, an empty list for none.

    For loops that number tokens on their own, such as transformers' ``generate``.
    """
    front = _FRONTS.get(backbone.sites.base)
    if front is None:
        yield []
        return
    if front.several:
        raise ModelError("several soft prompts are in front of this backbone", "generate with one at a time")
    front.written = True
    try:
        yield list(range(front.first, front.first + front.length))
    finally:
        front.written = False


class _Front:
    """What stands in front of one base model, and the hooks that put it there.

    Args:
        prompts: ``[L, width]`` or ``[m, L, width]``.
        rows: whose prompt each sequence gets, or None.
        first: the first id that is no token's: virtual token j of prompt i has id ``first + i L + j``.
        shared: whether each prompt is computed once in a pass.
    """

    def __init__(self, prompts: Tensor, rows: Tensor | None, first: int, shared: bool) -> None:
        self._prompts = prompts
        self._rows = rows
        self.length = int(prompts.shape[-2])
        self.several = prompts.ndim == 3
        self.first = first
        self.shared = shared
        self.written = False
        self.ahead = False
        self.moved = 0
        self._virtual: Tensor | None = None
        self._met = False

    def before(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Write the virtual tokens in front of each sequence of a pass; behind a cache that has them, make room."""
        if self.ahead:
            return None
        self.moved, self._met = 0, True
        if self.written:
            return None
        ids = args[0] if args else kwargs.get("input_ids")
        if not isinstance(ids, Tensor):
            raise ModelError("a soft prompt stands in front of token ids only", "give input_ids")
        changed = dict(kwargs)
        mask, positions = kwargs.get("attention_mask"), kwargs.get("position_ids")
        starts = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
        if mask is not None:
            starts = mask.argmax(dim=1)
            changed["attention_mask"] = self._wider(mask, starts, 1)
        cache = kwargs.get("past_key_values")
        if cache is not None and cache.get_seq_length():
            if positions is not None:
                changed["position_ids"] = positions + self.length
            return args, changed
        if positions is not None:
            places = torch.arange(self.length, device=ids.device)
            moved = positions + self.length * (positions.new_ones(positions.shape) if mask is None else mask)
            changed["position_ids"] = self._wider(moved, starts, places)
        self._met = False
        if self.shared and len(args) <= 1 and not bool(starts.any()):
            return args, {**changed, **self._behind_a_cache(module, ids)}
        self.moved = self.length
        wider = self._wider(ids, starts, self._ids(self._owners(len(ids), ids.device)))
        if args:
            return (wider, *args[1:]), changed
        changed["input_ids"] = wider
        return args, changed

    def after(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Hand on the last hidden states without the virtual tokens'; ``[pad][virtual][text]`` loses L columns."""
        if self.ahead:
            return output
        moved, self.moved = self.moved, 0
        if not self._met:
            raise ModelError(
                f"the model {type(module).__name__} does not read its tokens through its input embeddings",
                "choose a backbone of a family listed in docs/backbones.md",
            )
        if not moved:
            return output
        if isinstance(output, tuple):
            return (output[0][:, moved:], *output[1:])
        output["last_hidden_state"] = output["last_hidden_state"][:, moved:]
        return output

    def known_ids(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Let the embedding look up ids that it has."""
        virtual = args[0] >= self.first
        if not bool(virtual.any()):
            return None
        self._virtual = args[0]
        return (args[0].masked_fill(virtual, 0), *args[1:])

    def embedded(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        """The vectors in the place of the virtual tokens."""
        if self._virtual is None:
            return None
        index, self._virtual, self._met = self._virtual - self.first, None, True
        table = self._prompts.reshape(-1, output.shape[-1]).to(output.device, output.dtype)
        rows = nn.functional.embedding(index.clamp(min=0), table)
        return torch.where((index >= 0)[..., None], rows, output)

    def _owners(self, count: int, device: torch.device) -> Tensor:
        """Whose prompt each sequence gets, ``[B]``."""
        rows = torch.zeros(count, dtype=torch.long) if self._rows is None else self._rows
        if len(rows) != count:
            raise ModelError(f"there are soft prompts for {len(rows)} sequences, and the batch has {count}")
        return rows.to(device)

    def _ids(self, owners: Tensor) -> Tensor:
        """Ids of the virtual tokens of some prompts, ``[B, L]``."""
        return self.first + owners[:, None] * self.length + torch.arange(self.length, device=owners.device)

    def _behind_a_cache(self, module: nn.Module, ids: Tensor) -> dict[str, Any]:
        """Compute the prompts that a pass needs, each once, and what the pass must be given to go on from them."""
        count, width = ids.shape
        distinct, whose = torch.unique(self._owners(count, ids.device), return_inverse=True)
        self.ahead = True
        try:
            cache = module(input_ids=self._ids(distinct), use_cache=True, return_dict=True).past_key_values
        finally:
            self.ahead = False
        cache.batch_select_indices(whose)
        whole = self.length + width
        return {
            "past_key_values": cache,
            "use_cache": True,
            # Padding on the right lies in the future of every real token.
            "attention_mask": torch.ones((count, whole), dtype=torch.long, device=ids.device),
            "position_ids": torch.arange(self.length, whole, device=ids.device).expand(count, -1),
        }

    def _wider(self, given: Tensor, starts: Tensor, inserted: Tensor | int) -> Tensor:
        """A tensor ``[B, T]`` as ``[B, T + L]``, with something inserted where each sequence's text begins."""
        count, width = given.shape
        columns = torch.arange(width + self.length, device=given.device).expand(count, -1)
        begin = starts.to(given.device)[:, None]
        places = columns - begin
        source = torch.where(places >= self.length, columns - self.length, columns.clamp(max=width - 1))
        new = torch.as_tensor(inserted, device=given.device, dtype=given.dtype).expand(count, self.length)
        return torch.where(
            (places >= 0) & (places < self.length),
            new.gather(1, places.clamp(0, self.length - 1)),
            given.gather(1, source.clamp(max=width - 1)),
        )
