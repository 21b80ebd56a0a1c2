"""Answers: the best label word for a text, or a generated one.

Only what decides is computed: hidden states for the whole prompt, logits at the scored positions alone, and
for labels of one token only the rows of the label words.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.prefix import SharedPrefix
from ifedpriv.data.task import Task
from ifedpriv.icl.labels import LabelTokens, label_tokens, probe_values
from ifedpriv.icl.prompts import bucketed


class Adaptation(Protocol):
    """What can be put on a backbone for the length of a block: an injection, an adapter."""

    def on(self, backbone: Backbone) -> AbstractContextManager[None]:
        """Make every forward pass of the backbone the adapted one until the block ends."""
        ...


def score_labels(
    backbone: Backbone,
    task: Task,
    texts: Sequence[str],
    *,
    context: str = "",
    injection: Adaptation | None = None,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Score every label word for every text.

    Args:
        backbone: the frozen model.
        task: a classification task.
        texts: the queries.
        context: what stands in front of each query: demonstrations or an instruction.
        injection: injection or adapter that is on while scoring, if given.
        batch_size: prompts per forward pass.

    Returns:
        float32 ``[texts, classes]``: logits if one token decides, else mean log-probabilities of the label's tokens.
    """
    labels = label_tokens(backbone, task)
    prompts = backbone.encode_prompts([context + task.prompt(text) for text in texts])
    longest = max((len(path) for path in labels.paths), default=0)
    for ids, text in zip(prompts, texts, strict=True):
        backbone.check_length([*ids, *range(longest)], f"a query of {len(text)} characters with its context")
    scores = np.zeros((len(texts), task.n_classes), dtype=np.float32)
    with torch.inference_mode(), injection.on(backbone) if injection else nullcontext():
        prefix = SharedPrefix(backbone, prompts)
        for chosen in bucketed([len(p) for p in prompts], batch_size):
            scores[chosen] = _score_batch(backbone, labels, prefix, [prompts[i] for i in chosen])
    return scores


def _score_batch(
    backbone: Backbone, labels: LabelTokens, prefix: SharedPrefix, prompts: list[list[int]]
) -> NDArray[np.float32]:
    scores = torch.zeros((len(prompts), len(labels.tokens)), dtype=torch.float32)
    ends = torch.tensor([len(p) - 1 - prefix.length for p in prompts])
    for index, path in enumerate(labels.paths):
        probes = [probe for probe in labels.probes if probe.path == index]
        rows = torch.arange(len(prompts)).repeat(len(probes))
        columns = torch.cat([ends + probe.depth for probe in probes])
        with backbone.reading_at(rows, columns, len(prompts)) as (chosen, tokens):
            hidden = prefix.hidden([[*p, *path] for p in prompts])[chosen, tokens]
        for probe, at in zip(probes, torch.split(hidden, len(prompts)), strict=True):
            values = probe_values(backbone, labels, probe, at)
            for column, through in enumerate(probe.labels):
                for label in through:
                    scores[:, label] += values[:, column].cpu() / len(labels.tokens[label])
    return scores.numpy()


def predict_labels(
    backbone: Backbone,
    task: Task,
    texts: Sequence[str],
    *,
    context: str = "",
    injection: Adaptation | None = None,
    batch_size: int = 64,
) -> NDArray[np.int64]:
    """The best label index for every text; see `score_labels`."""
    scores = score_labels(backbone, task, texts, context=context, injection=injection, batch_size=batch_size)
    best: NDArray[np.int64] = scores.argmax(axis=1).astype(np.int64)
    return best


def generate_answers(
    backbone: Backbone,
    task: Task,
    texts: Sequence[str],
    *,
    context: str = "",
    injection: Adaptation | None = None,
    batch_size: int = 32,
) -> list[str]:
    """Generate an answer for every text, up to the task's separator, without its leading gap."""
    prompts = [context + task.prompt(text) for text in texts]
    with injection.on(backbone) if injection else nullcontext():
        answers = backbone.generate(prompts, task.max_new_tokens, task.separator, batch_size=batch_size)
    return [answer.strip() for answer in answers]
