"""Questions with their answers as tokens, and the loss of each: of one task, or of several in one batch.

The invariant: a query's loss is what its own task would give it alone: an answer of one token competes with its task's
label words, and a longer one with the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.icl.labels import label_tokens
from ifedpriv.icl.prompts import Demonstration, tokenize_all


@dataclass(frozen=True, slots=True, repr=False)
class Query:
    """A tokenised query with its answer.

    Attributes:
        ids: the prompt, and of a longer answer all tokens but the last.
        columns: where answer tokens are predicted, as indices into ``ids``.
        targets: the answer tokens; where ``choices`` are given, one index into them.
        choices: the label words' tokens, if each is one token; else empty.
    """

    ids: tuple[int, ...]
    columns: tuple[int, ...]
    targets: tuple[int, ...]
    choices: tuple[int, ...]

    def __repr__(self) -> str:
        """Show lengths, never tokens."""
        return f"Query(<{len(self.ids)} tokens>)"


def queries_of(backbone: Backbone, task: Task, examples: Sequence[Example]) -> list[Query]:
    """Examples as queries of their task."""
    choices: tuple[int, ...] = ()
    if task.kind is TaskKind.CLASSIFICATION:
        labels = label_tokens(backbone, task)
        if labels.single:
            choices = tuple(tokens[0] for tokens in labels.tokens)
    found = []
    for example, d in zip(examples, tokenize_all(backbone, task, examples), strict=True):
        if choices:
            found.append(Query(d.ids[: d.prompt_length], (d.prompt_length - 1,), (example.label,), choices))
            continue
        found.append(open_query(task, d))
    return found


def open_query(task: Task, demonstration: Demonstration) -> Query:
    """A demonstration as a query whose answer tokens compete with the whole vocabulary."""
    d, end = demonstration, answer_end(task, demonstration)
    columns = tuple(range(d.prompt_length - 1, end - 1))
    return Query(d.ids[: end - 1], columns, d.ids[d.prompt_length : end], ())


def answer_end(task: Task, demonstration: Demonstration) -> int:
    """Where what must be predicted ends; a generated answer must get its separator right: it stops there."""
    if task.kind is TaskKind.GENERATION:
        return len(demonstration.ids)
    return demonstration.prompt_length + demonstration.answer_length


def losses_of(backbone: Backbone, queries: Sequence[Query]) -> Tensor:
    """Each query's mean cross-entropy over its answer tokens, with whatever is injected; ``[queries]``.

    The sites see whole sequences, as `backbone.each` asks for.
    """
    batch = backbone.make_batch([query.ids for query in queries])
    hidden = backbone.hidden(batch)
    rows = [row for row, query in enumerate(queries) for _ in query.columns]
    columns = [column for query in queries for column in query.columns]
    where = torch.tensor(rows, device=hidden.device)
    logits = backbone.logits(hidden[where, torch.tensor(columns, device=hidden.device)]).float()
    targets = [target for query in queries for target in query.targets]
    if any(query.choices for query in queries):
        logits, targets = _among_choices(logits, targets, [queries[row].choices for row in rows])
    each = functional.cross_entropy(logits, torch.tensor(targets, device=logits.device), reduction="none")
    total = torch.zeros(len(queries), device=each.device).index_add(0, where, each)
    return total / torch.bincount(where, minlength=len(queries))


def _among_choices(
    logits: Tensor, targets: list[int], choices: Sequence[tuple[int, ...]]
) -> tuple[Tensor, list[int]]:
    """Logits of other tokens than a row's choices at minus infinity, and targets as tokens."""
    masked = torch.full_like(logits, -torch.inf)
    for index, allowed in enumerate(choices):
        masked[index, list(allowed) if allowed else slice(None)] = 0.0
    tokens = [
        allowed[target] if allowed else target for allowed, target in zip(choices, targets, strict=True)
    ]
    return logits + masked, tokens
