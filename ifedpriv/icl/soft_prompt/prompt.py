"""A soft prompt: vectors that stand in front of every text where the model expects embeddings of tokens.

The invariant: a prompt is on while its block runs and gone without a trace afterwards, and it refuses any backbone but
the one it was made for. Where a prompt starts is public: tokens of the task's wording, or of the vocabulary.

Reference: Lester et al., *The Power of Scale for Parameter-Efficient Prompt Tuning*, arXiv 2104.08691.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.front import check_prompt, embedding_width, in_front
from ifedpriv.data.task import Task
from ifedpriv.errors import InputError, ModelError
from ifedpriv.icl.tensor_file import reading, write_tensors

FORMAT = "ifedpriv-soft-prompt-1"

# The share of the vocabulary with the shortest, and with the longest, embeddings that a start leaves out: tokens that
# training has hardly met lie there.
_TAIL = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class SoftPrompt:
    """A prompt of L virtual tokens.

    Attributes:
        values: what the input embeddings give for them, float32 ``[L, width]``, read-only.
        backbone: fingerprint of the model it was made for; empty if not yet known.
        facts: strings that travel with it: task, template, label words, privacy statement.
    """

    values: NDArray[np.float32]
    backbone: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", owned(self.values, 2, "the soft prompt"))

    def __repr__(self) -> str:
        """Show shape, never content: it may have been fitted to private text."""
        return f"SoftPrompt({self.length} tokens of width {self.width})"

    @property
    def length(self) -> int:
        """Number of virtual tokens, L."""
        return int(self.values.shape[0])

    @property
    def width(self) -> int:
        """Width of the input embeddings that it belongs to."""
        return int(self.values.shape[1])

    @contextmanager
    def on(self, backbone: Backbone) -> Iterator[None]:
        """Put the prompt in front of every text of this backbone until the block ends."""
        self.check(backbone)
        with in_front(backbone, torch.from_numpy(self.values.copy()).to(backbone.device)):
            yield

    def check(self, backbone: Backbone) -> None:
        """Refuse a backbone that this prompt was not made for."""
        check_fingerprint("soft prompt", self.backbone, backbone)
        check_prompt(backbone, torch.from_numpy(self.values.copy()))

    def save(self, path: Path) -> None:
        """Write a safetensors file; an interrupted write leaves nothing under the final name."""
        metadata = {"format": FORMAT, "backbone": self.backbone}
        write_tensors(path, {"prompt": self.values}, metadata, self.facts)

    @classmethod
    def load(cls, path: Path) -> SoftPrompt:
        """Read a file that `save` wrote."""
        with reading(path, "softprompt", FORMAT) as (tensors, metadata, facts):
            return cls(tensors["prompt"], metadata["backbone"], facts)


def owned(values: NDArray[np.float32], ndim: int, what: str) -> NDArray[np.float32]:
    """A read-only float32 copy of prompts.

    Raises:
        ModelError: for another number of axes, no numbers at all, or one that is not finite.
    """
    copy = np.array(values, dtype=np.float32, order="C")
    if copy.ndim != ndim or 0 in copy.shape[-2:]:
        raise ModelError(
            f"{what} has shape {copy.shape}",
            f"its last two axes must be tokens and width, {ndim} axes in all",
        )
    if not np.isfinite(copy).all():
        raise ModelError(f"{what} holds a number that is not finite")
    copy.flags.writeable = False
    return copy


def check_fingerprint(what: str, made_for: str, backbone: Backbone) -> None:
    """Refuse a backbone with another fingerprint than the one that something was made for (empty: any)."""
    if made_for and made_for != backbone.fingerprint:
        raise ModelError(
            f"the {what} was made for the model with fingerprint {made_for[:12]}, this one has "
            f"{backbone.fingerprint[:12]}",
            "use the very weights that the run used",
        )


def prompt_width(backbone: Backbone) -> int:
    """Width of a soft prompt for this backbone; the model's own but for a few that project their embeddings."""
    return embedding_width(backbone)


def embeddings_of(backbone: Backbone, ids: Sequence[int]) -> NDArray[np.float32]:
    """What the input embeddings give for tokens, float32 ``[tokens, width]``."""
    with torch.no_grad():
        rows = backbone.model.get_input_embeddings()(torch.tensor(list(ids), device=backbone.device))
    found: NDArray[np.float32] = rows.float().cpu().numpy()
    return found


def start_from_task(backbone: Backbone, task: Task, length: int) -> NDArray[np.float32]:
    """A start made of the task's public wording: its template without the text, then its label words, over and over.

    Args:
        backbone: the frozen model.
        task: the wording; no example is looked at.
        length: L.

    Returns:
        float32 ``[L, width]``, each row the embedding of a token.
    """
    wording = task.prompt("") + "".join(task.answers())
    ids = backbone.tokenizer(wording, add_special_tokens=False).input_ids
    if not ids:
        raise InputError(f"task.template {task.template!r} has no tokens", "start from the vocabulary")
    return embeddings_of(backbone, [ids[place % len(ids)] for place in range(_positive(length))])


def start_from_vocabulary(backbone: Backbone, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A start made of tokens drawn from the vocabulary, special ones and those of untypical norm left out.

    Args:
        backbone: the frozen model.
        length: L.
        rng: draws, from a public seed.

    Returns:
        float32 ``[L, width]``, each row the embedding of a token.
    """
    # Some checkpoints have more rows than their tokenizer has tokens.
    special = set(backbone.tokenizer.all_special_ids)
    known = min(len(backbone.tokenizer), backbone.model.get_input_embeddings().weight.shape[0])
    ids = np.array([i for i in range(known) if i not in special])
    norms = np.linalg.norm(embeddings_of(backbone, ids.tolist()).astype(np.float64), axis=1)
    low, high = np.quantile(norms, [_TAIL, 1 - _TAIL])
    typical = ids[(norms >= low) & (norms <= high)]
    drawn = rng.choice(typical, size=_positive(length), replace=length > len(typical))
    return embeddings_of(backbone, drawn.tolist())


def _positive(length: int) -> int:
    if length < 1:
        raise InputError(f"the soft prompt's length is {length}", "give at least 1 token")
    return length


def embedding_scale(backbone: Backbone) -> float:
    """Root mean square of the numbers in the input embeddings: a public unit for steps on a prompt."""
    ids = range(min(len(backbone.tokenizer), backbone.model.get_input_embeddings().weight.shape[0]))
    return float(np.sqrt(np.mean(np.square(embeddings_of(backbone, ids), dtype=np.float64))))
