"""A backbone with a client's examples, asked for losses of prompts: open (with gradients) or as a black box.

The invariant: both give the same loss, which is that of `Objective`; the black box has nothing public beside it.
Many prompts go through the model in one pass, each sequence behind its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.front import in_front
from ifedpriv.data.task import Example, Task
from ifedpriv.errors import InputError
from ifedpriv.icl.objective import Loss, Objective
from ifedpriv.icl.prompts import bucketed
from ifedpriv.icl.queries import answer_end


class Terms(Protocol):
    """What a loss is made of: terms of numbered examples, such as one for each token of an answer."""

    @property
    def backbone(self) -> Backbone:
        """The model."""
        ...

    @property
    def examples(self) -> int:
        """How many examples there are."""
        ...

    def length(self, example: int) -> int:
        """Tokens that are fed to the model for an example."""
        ...

    def count(self, example: int) -> int:
        """How many terms an example has."""
        ...

    def sequences(self, example: int) -> int:
        """How many sequences the model gets for an example: its queries."""
        ...

    def kind(self, example: int) -> int:
        """Examples of different kinds do not go through the model together."""
        ...

    def each(self, chosen: Sequence[int]) -> tuple[Tensor, list[int]]:
        """The terms of examples of one kind, ``[N]``, and which of the chosen examples each belongs to.

        The model gets one sequence for each chosen example, in their order, in every pass that this takes.
        """
        ...


class Ask:
    """Losses and gradients of prompts as means of terms; a `GradientOracle`.

    Args:
        terms: of the loss.
        rows_per_pass: sequences in one forward pass, at most.
    """

    def __init__(self, terms: Terms, rows_per_pass: int = 64) -> None:
        if not terms.examples:
            raise InputError("a soft prompt is to be tuned on no examples", "give at least one")
        if rows_per_pass < 1:
            raise InputError(f"rows_per_pass is {rows_per_pass}", "give at least 1")
        self._terms = terms
        self._backbone = terms.backbone
        self._rows_per_pass = rows_per_pass
        self._queries = 0

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return self._terms.examples

    @property
    def queries(self) -> int:
        """Forward passes of one example so far."""
        return self._queries

    def losses(self, prompts: NDArray[np.float32], chosen: Sequence[int]) -> NDArray[np.float64]:
        """The mean of the terms of chosen examples, for each prompt; see `LossOracle`."""
        bank = torch.from_numpy(np.array(prompts, dtype=np.float32)).to(self._backbone.device)
        pairs = [(prompt, example) for example in chosen for prompt in range(len(bank))]
        total = np.zeros(len(bank))
        for part in self._passes([example for _, example in pairs]):
            owners = torch.tensor([pairs[i][0] for i in part])
            with torch.inference_mode(), in_front(self._backbone, bank, owners, share=True):
                each, rows = self._terms.each([pairs[i][1] for i in part])
            np.add.at(total, owners[rows].numpy(), each.double().cpu().numpy())
        return total / sum(self._terms.count(example) for example in chosen)

    def gradient(
        self, prompt: NDArray[np.float32], chosen: Sequence[int]
    ) -> tuple[float, NDArray[np.float64]]:
        """The mean of the terms of chosen examples, and its gradient; see `GradientOracle`."""
        point = torch.from_numpy(np.array(prompt, dtype=np.float32)).to(self._backbone.device)
        point.requires_grad_()
        count = sum(self._terms.count(example) for example in chosen)
        loss = 0.0
        for part in self._passes(chosen):
            with in_front(self._backbone, point, share=True):
                share = self._terms.each([chosen[i] for i in part])[0].sum() / count
                # Inside: models that compute a block anew for its gradient must find the prompt there.
                share.backward()  # type: ignore[no-untyped-call]
            loss += float(share.detach())
        assert point.grad is not None
        slope: NDArray[np.float64] = point.grad.double().cpu().numpy()
        return loss, slope

    def _passes(self, examples: Sequence[int]) -> Iterator[list[int]]:
        """Indices into the examples given, cut by kind and by like lengths; counts the queries."""
        for kind in sorted({self._terms.kind(example) for example in examples}):
            alike = [i for i, example in enumerate(examples) if self._terms.kind(example) == kind]
            for part in bucketed([self._terms.length(examples[i]) for i in alike], self._rows_per_pass):
                self._queries += sum(self._terms.sequences(examples[alike[i]]) for i in part)
                yield [alike[i] for i in part]


class WhiteBox(Ask):
    """A model that gives losses and gradients of a client's examples; a `GradientOracle`.

    Args:
        backbone: the frozen model.
        task: the task's wording.
        examples: the client's own; tokenised once.
        loss: what an answer competes with; the loss is the mean cross-entropy over answer tokens.
        rows_per_pass: sequences in one forward pass, at most.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
        *,
        loss: Loss = Loss.LABELS,
        rows_per_pass: int = 64,
    ) -> None:
        super().__init__(_AnswerTokens(backbone, task, examples, loss), rows_per_pass)


class BlackBox:
    """The same model behind a service that answers with losses only; a `LossOracle`.

    Args:
        backbone: the model on the service's side.
        task: the task's wording.
        examples: the client's own.
        loss: what an answer competes with.
        rows_per_pass: sequences in one forward pass, at most.
    """

    __slots__ = ("__service",)

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
        *,
        loss: Loss = Loss.LABELS,
        rows_per_pass: int = 64,
    ) -> None:
        self.__service = WhiteBox(backbone, task, examples, loss=loss, rows_per_pass=rows_per_pass)

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return self.__service.examples

    @property
    def queries(self) -> int:
        """Forward passes of one example so far."""
        return self.__service.queries

    def losses(self, prompts: NDArray[np.float32], chosen: Sequence[int]) -> NDArray[np.float64]:
        """The mean loss over the answer tokens of chosen examples, for each prompt; see `LossOracle`."""
        return self.__service.losses(prompts, chosen)


class _AnswerTokens(Objective):
    """An objective that gives the loss of each answer token, so that sequences of one pass may differ in prompt."""

    def __init__(self, backbone: Backbone, task: Task, examples: Sequence[Example], kind: Loss) -> None:
        super().__init__(backbone, task, examples)
        labels = self._label_tokens() if kind is Loss.LABELS else None
        self._words = None if labels is None or not labels.single else [t[0] for t in labels.tokens]

    def length(self, example: int) -> int:
        """Tokens of what is fed to the model."""
        d = self._demonstrations[example]
        return d.prompt_length if self._words is not None else answer_end(self._task, d) - 1

    @property
    def backbone(self) -> Backbone:
        """The model."""
        return self._backbone

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(self._demonstrations)

    def sequences(self, example: int) -> int:
        """All answer tokens have their losses from one sequence."""
        return 1

    def kind(self, example: int) -> int:
        """All of one task."""
        return 0

    def count(self, example: int) -> int:
        """How many tokens of an example have a loss."""
        d = self._demonstrations[example]
        return 1 if self._words is not None else answer_end(self._task, d) - d.prompt_length

    def each(self, chosen: Sequence[int]) -> tuple[Tensor, list[int]]:
        """The cross-entropy of each answer token, ``[N]``, and which of the chosen examples it belongs to."""
        demonstrations = [self._demonstrations[i] for i in chosen]
        if self._words is None:
            batch, rows, columns, targets = self._wanted(demonstrations)
            words = None
        else:
            batch = self._backbone.make_batch([d.ids[: d.prompt_length] for d in demonstrations])
            rows, columns = list(range(len(chosen))), [d.prompt_length - 1 for d in demonstrations]
            targets = [self._classes[i] for i in chosen]
            words = torch.tensor(self._words, device=self._backbone.device)
        at = self._backbone.hidden_at(batch, rows, columns)
        logits = self._backbone.logits(at, words).float()
        wanted = torch.tensor(targets, device=logits.device)
        return functional.cross_entropy(logits, wanted, reduction="none"), rows
