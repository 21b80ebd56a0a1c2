"""A frozen causal language model with proven hook sites: the one door to models in this project.

The invariant: a `Backbone` exists only if its sites and its shortcuts were proved on the very weights it
holds, and its weights never get a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.logging import disable_progress_bar

from ifedpriv.backbone.batches import Batch, Side, pad
from ifedpriv.backbone.families import Sites, resolve, text_config
from ifedpriv.backbone.fingerprint import fingerprint_of
from ifedpriv.backbone.forward import Head, head_of, last_hidden
from ifedpriv.backbone.front import tokens_in_front
from ifedpriv.backbone.generation import Sampling, generate
from ifedpriv.backbone.narrow import can_narrow, narrowed
from ifedpriv.backbone.prove import prove_outputs, prove_sites
from ifedpriv.errors import InputError, ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Where configs keep the context length; ALiBi models have none, and then the tokenizer's word counts.
_LENGTH_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_NO_LIMIT = 1 << 20


# No slots: cached_property keeps the prefix and the fingerprint in the instance's own dict.
@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen causal LM; make one with `load` or `wrap`.

    Attributes:
        model: the transformers model, in evaluation mode, without gradients.
        tokenizer: its tokenizer.
        family: transformers' model type, such as ``llama``.
        sites: where each branch adds to the residual stream, proved.
        head: from last hidden state to logits, proved.
        n_layers: number of blocks, L.
        width: width of the residual stream, D.
        max_length: the context in tokens; 2**20 if neither config nor tokenizer states one.
        narrows: whether its last MLP may be run at chosen tokens alone, tried at load.
    """

    model: Any
    tokenizer: Any
    family: str
    sites: Sites
    head: Head
    n_layers: int
    width: int
    max_length: int
    narrows: bool

    @classmethod
    def load(cls, path_or_hub_name: str | Path, *, dtype: str = "float32", device: str = "cpu") -> Backbone:
        """Load a model and its tokenizer from a directory or a hub, freeze it and prove it.

        Args:
            path_or_hub_name: a directory with a transformers checkpoint, or a name on the hub.
            dtype: ``float32``, ``bfloat16`` or ``float16``.
            device: a torch device, such as ``cpu`` or ``cuda``.

        Raises:
            ModelError: if it cannot be reached, is not a causal LM, lacks weights or a tokenizer, or is not
                proved.
        """
        name = str(path_or_hub_name)
        if dtype not in DTYPES:
            raise ModelError(f"the backbone's dtype is {dtype!r}", f"choose one of {', '.join(DTYPES)}")
        place = _device(device)
        try:
            config = AutoConfig.from_pretrained(name)
        except (OSError, ValueError, KeyError) as problem:
            raise ModelError(
                f"no model was found at {name!r}: {_one_line(problem)}",
                "give a directory that holds a transformers checkpoint, or a hub name while online",
            ) from problem
        if (
            getattr(config, "is_encoder_decoder", False)
            or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        ):
            what = (
                "an encoder-decoder"
                if getattr(config, "is_encoder_decoder", False)
                else "no causal language model"
            )
            raise ModelError(
                f"{name!r} is {what} (model type {config.model_type!r})", "choose a causal language model"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
        except (
            Exception
        ) as problem:  # transformers raises half a dozen types here, all of them the user's matter
            raise ModelError(
                f"{name!r} has no tokenizer that can be read: {_one_line(problem)}",
                "save the tokenizer beside the model",
            ) from problem
        # transformers draws its own bar, in pipes too; a command of ours shows progress where a person watches.
        disable_progress_bar()
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                name, config=config, dtype=DTYPES[dtype], output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as problem:
            raise ModelError(f"the weights at {name!r} cannot be read: {_one_line(problem)}") from problem
        missing = sorted(report["missing_keys"]) + sorted(str(each) for each in report["mismatched_keys"])
        if missing:
            # transformers fills such weights with random numbers and goes on.
            lack = f"lacks {len(missing)} of the model's tensors, first {missing[0]!r}"
            raise ModelError(
                f"the checkpoint at {name!r} {lack}",
                "download it again, or check that it was saved with its language-model head",
            )
        return cls.wrap(model.to(place), tokenizer)

    @classmethod
    def wrap(cls, model: Any, tokenizer: Any) -> Backbone:
        """Freeze and prove a model in memory; it is itself put in evaluation mode and loses its gradients.

        Raises:
            ModelError: if the model cannot be proved to carry an injection.
        """
        model.eval().requires_grad_(False)
        if model.dtype not in DTYPES.values():
            raise ModelError(f"the model's dtype is {model.dtype}", f"load it as {', '.join(DTYPES)}")
        if text_config(model).is_encoder_decoder:
            raise ModelError(
                f"model type {model.config.model_type!r} is an encoder-decoder", "choose a causal LM"
            )
        head = head_of(model)
        sites = prove_sites(model, resolve(model))
        prove_outputs(model, sites, head)
        config = text_config(model)
        return cls(
            model=model,
            tokenizer=tokenizer,
            family=str(config.model_type),
            sites=sites,
            head=head,
            n_layers=len(sites.layers),
            width=int(config.hidden_size),
            max_length=_context(config, tokenizer),
            narrows=can_narrow(model, sites),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.head.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and activations."""
        dtype: torch.dtype = self.head.weight.dtype
        return dtype

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over config, weights and vocabulary; equal for all who run the same model.

        Computed at the first call; reads every weight once, one tensor at a time.
        """
        return fingerprint_of(self.model, self.tokenizer)

    def __repr__(self) -> str:
        """Name the model, not its weights."""
        size = f"{self.n_layers} layers, width {self.width}"
        return f"Backbone({self.family}, {size}, {self.dtype}, {self.device})"

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a text with whatever the tokenizer puts in front (its BOS), and nothing behind."""
        return [*self._prefix, *self._bare(text)]

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode_prompt` of every text in one call of the tokenizer, which is several times faster."""
        if not texts:
            return []
        bare = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        return [[*self._prefix, *ids] for ids in bare]

    def encode_pair(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """Token ids of a prompt and of its answer; joined, they are ``encode_prompt(prompt + answer)``.

        Where the tokenizer merges characters across the border, the border moves left to the end of the
        longest common prefix: the prompt loses its last tokens, and the answer begins with the merged one.

        Raises:
            InputError: if the answer adds no token.
        """
        alone, whole = self.encode_prompts([prompt, prompt + answer])
        border = answer_border(alone, whole)
        return whole[:border], whole[border:]

    def encode_answer(self, prompt: str, answer: str) -> list[int]:
        """Token ids of an answer as it is tokenized behind its prompt.

        They continue ``encode_prompt(prompt)`` unless the tokenizer merges across the border: then they begin
        at the end of the longest common prefix, and only the shortened prompt of `encode_pair` goes with
        them. An answer that begins with a space does not merge in byte-level tokenizers.
        """
        return self.encode_pair(prompt, answer)[1]

    def check_length(self, ids: Sequence[int], what: str) -> None:
        """Refuse a text that is longer than the context, or than what a soft prompt leaves of it.

        Raises:
            InputError: naming ``what``, its length and the context's.
        """
        front = tokens_in_front(self)
        if len(ids) + front > self.max_length:
            before = f", {front} of a soft prompt stand in front" if front else ""
            raise InputError(
                f"{what} has {len(ids)} tokens{before}, and the backbone's context is {self.max_length}",
                "shorten the text, or choose a backbone with a longer context",
            )

    def make_batch(self, sequences: Sequence[Sequence[int]], side: Side = "right") -> Batch:
        """Pad token sequences into one batch on this backbone's device.

        Raises:
            InputError: for no sequences, an empty one, or one longer than the context.
        """
        for row, sequence in enumerate(sequences):
            self.check_length(sequence, f"text {row} of the batch")
        return pad(sequences, filler=self.pad_id, side=side, device=self.device)

    @property
    def pad_id(self) -> int:
        """The id that fills padding: the tokenizer's own, else its EOS, else 0; it is always masked."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if candidate is not None and int(candidate) < self.head.weight.shape[0]:
                return int(candidate)
        return 0

    def hidden(self, batch: Batch) -> Tensor:
        """The last hidden state before the head, ``[B, T, D]``, in the model's dtype; arbitrary at padding.

        Differentiable in an active injection; without one nothing requires a gradient.
        """
        return last_hidden(self.sites.base, batch)

    def hidden_at(
        self, batch: Batch, rows: Sequence[int] | Tensor, columns: Sequence[int] | Tensor
    ) -> Tensor:
        """`hidden` at chosen tokens, ``[N, D]``; the last MLP is run at these alone where `narrows` says so.

        Args:
            batch: the sequences.
            rows: N indices of sequences.
            columns: N indices of tokens, no pair twice.
        """
        with self.reading_at(rows, columns, len(batch.lengths)) as (chosen, tokens):
            return self.hidden(batch)[chosen, tokens]

    @contextmanager
    def reading_at(
        self, rows: Sequence[int] | Tensor, columns: Sequence[int] | Tensor, n_rows: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Until the block ends, forward passes may be wrong at all tokens but these; yields them as tensors."""
        chosen = torch.as_tensor(rows, device=self.device)
        tokens = torch.as_tensor(columns, device=self.device)
        with narrowed(self.sites, chosen, tokens, n_rows) if self.narrows else nullcontext():
            yield chosen, tokens

    def logits(self, hidden_rows: Tensor, vocabulary: Tensor | None = None) -> Tensor:
        """Logits of chosen hidden states, over all tokens or only over chosen ones.

        Args:
            hidden_rows: ``[N, D]``, rows of `hidden`.
            vocabulary: token ids ``[M]``; only their rows of the head are computed.

        Returns:
            ``[N, V]`` or ``[N, M]`` in the model's dtype, as the whole model would give them.
        """
        return self.head.logits(hidden_rows, vocabulary)

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str,
        *,
        batch_size: int = 16,
        sampling: Sampling | None = None,
    ) -> list[str]:
        """Continuations by the model's own ``generate``, with its cache; greedy unless drawn.

        Args:
            prompts: the texts to continue.
            max_new_tokens: the most tokens added to each.
            stop: text that ends a continuation and is not part of it; empty for none.
            batch_size: prompts at a time.
            sampling: how tokens are drawn; left out, the best is taken.

        Returns:
            The new text of each prompt, in the prompts' order, with its leading space if there is one.

        Raises:
            InputError: if a prompt and its continuation do not fit the context.
        """
        return generate(self, prompts, max_new_tokens, stop, batch_size, sampling)

    @cached_property
    def _prefix(self) -> tuple[int, ...]:
        """What the tokenizer puts in front of a text."""
        whole, bare = list(self.tokenizer("a").input_ids), self._bare("a")
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return tuple(whole[:start])
        return ()

    def _bare(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)


def answer_border(alone: Sequence[int], whole: Sequence[int]) -> int:
    """Where the answer begins in a tokenised prompt with answer: at the end of what it shares with the prompt.

    Raises:
        InputError: if the answer adds no token.
    """
    border = 0
    for one, other in zip(alone, whole, strict=False):
        if one != other:
            break
        border += 1
    if border == len(whole):
        raise InputError("an answer adds no token to its prompt", "give a longer answer")
    return border


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise ModelError(
            f"the device {name!r} cannot be used here: {_one_line(problem)}", "say cpu"
        ) from problem
    return device


def _context(config: Any, tokenizer: Any) -> int:
    for field in _LENGTH_FIELDS:
        length = getattr(config, field, None)
        if isinstance(length, int) and length > 0:
            return length
    return min(int(getattr(tokenizer, "model_max_length", None) or _NO_LIMIT), _NO_LIMIT)


def _one_line(problem: BaseException) -> str:
    text = str(problem).strip()
    return text.splitlines()[0].rstrip(".") if text else type(problem).__name__
