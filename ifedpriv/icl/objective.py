"""What a client minimises, whichever numbers it trains: cross-entropy of its own answers, and nothing else.

The invariant: a forward pass ends at the last token whose prediction counts, and logits are computed where an
answer token is predicted and nowhere else. Methods that train different numbers share this file, so that a
comparison of their cost compares what they train.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from torch.nn import functional

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.batches import Batch
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.icl.labels import LabelTokens, label_tokens
from ifedpriv.icl.prompts import Demonstration, tokenize_all
from ifedpriv.icl.queries import losses_of, open_query


class Loss(StrEnum):
    """What an answer token competes with: the whole vocabulary, or the label words alone."""

    VOCABULARY = "vocabulary"
    LABELS = "labels"


class Objective:
    """Cross-entropy of one client's answers, and the batches it is taken over; tokenises once.

    Args:
        backbone: the frozen model, with whatever is injected or adapted at the time of a call.
        task: the task's wording.
        examples: the client's own.
    """

    def __init__(self, backbone: Backbone, task: Task, examples: Sequence[Example]) -> None:
        self._backbone = backbone
        self._task = task
        self._classes = [example.label for example in examples]
        self._labels: LabelTokens | None = None
        self._demonstrations = tokenize_all(backbone, task, examples)

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The tokenised examples, which the extraction can use too."""
        return self._demonstrations

    def loss_of(self, chosen: Sequence[int], kind: Loss = Loss.VOCABULARY) -> torch.Tensor:
        """Mean cross-entropy over the answer tokens of the examples with these indices; a scalar tensor."""
        return self.loss([self._demonstrations[i] for i in chosen], [self._classes[i] for i in chosen], kind)

    def loss(
        self, demonstrations: Sequence[Demonstration], classes: Sequence[int], kind: Loss = Loss.VOCABULARY
    ) -> torch.Tensor:
        """Mean cross-entropy over answer tokens, with whatever is injected; a scalar tensor.

        Args:
            demonstrations: tokenised examples.
            classes: their classes.
            kind: what the answer competes with; labels of several tokens always compete with the vocabulary.
        """
        labels = self._label_tokens() if kind is Loss.LABELS else None
        if labels is not None and labels.single:
            return self._among_labels(demonstrations, classes, labels)
        batch, rows, columns, targets = self._wanted(demonstrations)
        logits = self._backbone.logits(self._backbone.hidden_at(batch, rows, columns)).float()
        return functional.cross_entropy(logits, torch.tensor(targets, device=logits.device))

    def losses_of(self, chosen: Sequence[int]) -> torch.Tensor:
        """Each example's own mean cross-entropy over its answer tokens, among the whole vocabulary; ``[chosen]``.

        The sites see whole sequences, as `backbone.each` asks for.
        """
        demonstrations = [self._demonstrations[i] for i in chosen]
        return losses_of(self._backbone, [open_query(self._task, d) for d in demonstrations])

    def _wanted(
        self, demonstrations: Sequence[Demonstration]
    ) -> tuple[Batch, list[int], list[int], list[int]]:
        """The batch up to the last token that counts; where an answer token is predicted, and which it is."""
        queries = [open_query(self._task, d) for d in demonstrations]
        rows = [row for row, query in enumerate(queries) for _ in query.columns]
        columns = [column for query in queries for column in query.columns]
        targets = [target for query in queries for target in query.targets]
        return self._backbone.make_batch([query.ids for query in queries]), rows, columns, targets

    def batches(self, steps: int, batch_size: int, rng: np.random.Generator) -> list[list[int]]:
        """Batches without replacement while examples last; then a fresh shuffle.

        What all steps need is drawn first and then cut into batches by length, which wastes little on padding
        and still shows every example equally often.

        Args:
            steps: how many batches.
            batch_size: examples in each, or all of them if there are fewer.
            rng: draws.
        """
        size = min(batch_size, len(self._demonstrations))
        drawn: list[int] = []
        while len(drawn) < steps * size:
            drawn.extend(rng.permutation(len(self._demonstrations)).tolist())
        cut = self._by_length(drawn[: steps * size], size)
        return [cut[i] for i in rng.permutation(steps)]

    def passes(self, epochs: int, batch_size: int, rng: np.random.Generator) -> list[list[int]]:
        """Batches that show every example once an epoch, the last batch of an epoch being what is left over."""
        found: list[list[int]] = []
        for _ in range(epochs):
            cut = self._by_length(rng.permutation(len(self._demonstrations)).tolist(), batch_size)
            found.extend(cut[i] for i in rng.permutation(len(cut)))
        return found

    def _by_length(self, drawn: list[int], size: int) -> list[list[int]]:
        drawn.sort(key=lambda i: (len(self._demonstrations[i].ids), i))
        return [drawn[start : start + size] for start in range(0, len(drawn), size)]

    def _among_labels(
        self, demonstrations: Sequence[Demonstration], classes: Sequence[int], labels: LabelTokens
    ) -> torch.Tensor:
        prompts = [d.ids[: d.prompt_length] for d in demonstrations]
        batch = self._backbone.make_batch(prompts)
        at = self._backbone.hidden_at(batch, range(len(prompts)), [len(p) - 1 for p in prompts])
        words = torch.tensor([label[0] for label in labels.tokens], device=at.device)
        return functional.cross_entropy(
            self._backbone.logits(at, words).float(), torch.tensor(list(classes), device=at.device)
        )

    def _label_tokens(self) -> LabelTokens | None:
        if self._task.kind is TaskKind.GENERATION:
            return None
        if self._labels is None:
            self._labels = label_tokens(self._backbone, self._task)
        return self._labels
