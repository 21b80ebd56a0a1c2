"""Token sequences of demonstrations and queries, and the batches that waste little on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ifedpriv.backbone.backbone import Backbone, answer_border
from ifedpriv.data.task import Example, Task


class Position(StrEnum):
    """Which token of a demonstration stands for it: its last, the answer's last, or the prompt's last."""

    LAST = "last"
    LABEL = "label"
    PROMPT_END = "prompt_end"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One tokenised demonstration.

    Attributes:
        ids: all tokens, with BOS and separator.
        prompt_length: tokens up to where the answer begins.
        answer_length: tokens of the answer, separator not counted.
    """

    ids: tuple[int, ...]
    prompt_length: int
    answer_length: int

    def index(self, position: Position) -> int:
        """Index of the token asked for."""
        if position is Position.PROMPT_END:
            return self.prompt_length - 1
        if position is Position.LABEL:
            return self.prompt_length + self.answer_length - 1
        return len(self.ids) - 1

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """Tokens of the answer without the separator."""
        return self.ids[self.prompt_length : self.prompt_length + self.answer_length]

    def __repr__(self) -> str:
        """Show lengths, never tokens."""
        return f"Demonstration(<{len(self.ids)} tokens>)"


def tokenize(backbone: Backbone, task: Task, example: Example, context: str = "") -> Demonstration:
    """Tokenise one example; see `tokenize_all`."""
    return tokenize_all(backbone, task, [example], context)[0]


def tokenize_all(
    backbone: Backbone, task: Task, examples: Sequence[Example], context: str = ""
) -> tuple[Demonstration, ...]:
    """Tokenise examples with their answers and separators, refusing one that does not fit the model.

    Args:
        backbone: whose tokenizer and context length hold.
        task: the template.
        examples: texts and answers.
        context: text in front, such as demonstrations or an instruction.
    """
    prompts = [context + task.prompt(example.text) for example in examples]
    answered = [prompt + task.answer(example) for prompt, example in zip(prompts, examples, strict=True)]
    count = len(prompts)
    ids = backbone.encode_prompts([*prompts, *answered, *(text + task.separator for text in answered)])
    found = []
    for example, prompt, answer, whole in zip(
        examples, ids[:count], ids[count : 2 * count], ids[2 * count :], strict=True
    ):
        backbone.check_length(whole, f"an example of task {task.name} of {len(example.text)} characters")
        border = answer_border(prompt, whole)
        length = len(answer) - answer_border(prompt, answer)
        found.append(Demonstration(tuple(whole), border, min(length, len(whole) - border)))
    return tuple(found)


def bucketed(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Index batches of like lengths, so that little is computed on padding; order is deterministic."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
