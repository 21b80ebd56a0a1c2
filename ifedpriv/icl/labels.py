"""Label words as tokens, and how to score them from as few forward positions as possible.

When the first tokens of all labels differ and each label is one token, one position scores them all. Labels
of several tokens, or with a common first token, are scored as whole sequences by their mean log-probability;
labels with a common beginning share the sequence that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.errors import InputError


@dataclass(frozen=True, slots=True)
class Probe:
    """One place where label tokens are scored.

    Attributes:
        path: index of the continuation that is appended to the prompt.
        depth: how many tokens of it stand before the scored one.
        tokens: the tokens scored there, distinct.
        labels: for each scored token, the labels that run through it.
    """

    path: int
    depth: int
    tokens: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class LabelTokens:
    """The label words of a task for one tokenizer.

    Attributes:
        tokens: for each label, its tokens with the leading gap.
        paths: continuations to append to a prompt (an empty one if labels are single tokens).
        probes: every place that is scored.
    """

    tokens: tuple[tuple[int, ...], ...]
    paths: tuple[tuple[int, ...], ...]
    probes: tuple[Probe, ...]

    @property
    def single(self) -> bool:
        """Whether one position decides: every label is one token of its own."""
        return all(len(label) == 1 for label in self.tokens)


def label_tokens(backbone: Backbone, task: Task) -> LabelTokens:
    """Tokenise the labels behind a prompt and plan how they are scored.

    Raises:
        InputError: if two label words become the same tokens, one becomes none, or one merges with the prompt,
            which would then have to be scored behind another prompt.
    """
    prompt = task.prompt("x")
    alone = backbone.encode_prompt(prompt)
    pairs = [backbone.encode_pair(prompt, answer) for answer in task.answers()]
    for index, (start, _) in enumerate(pairs):
        if start != alone:
            raise InputError(
                f"task.label_words[{index}] is {task.label_words[index]!r}, which the tokenizer merges with the end "
                f"of task.template, {task.template[-10:]!r}, across task.gap, {task.gap!r}",
                "move a space at the template's end into the gap, or a line break in the gap into the template",
            )
    tokens = tuple(tuple(answer) for _, answer in pairs)
    unknown = backbone.tokenizer.unk_token_id
    for index, label in enumerate(tokens):
        word = task.label_words[index]
        if not label or (unknown is not None and unknown in label):
            raise InputError(
                f"task.label_words[{index}] is {word!r}, which the tokenizer does not know",
                "choose another word",
            )
        if label in tokens[:index]:
            raise InputError(
                f"task.label_words[{index}] is {word!r}, which has the same tokens as "
                f"{task.label_words[tokens.index(label)]!r}",
                "choose words that differ for this tokenizer",
            )
    branches = {label[:depth] for label in tokens for depth in range(len(label))}
    paths = tuple(sorted(b for b in branches if not any(o != b and o[: len(b)] == b for o in branches)))
    probes = []
    for branch in sorted(branches):
        path = next(i for i, p in enumerate(paths) if p[: len(branch)] == branch)
        following: dict[int, list[int]] = {}
        for index, label in enumerate(tokens):
            if len(label) > len(branch) and label[: len(branch)] == branch:
                following.setdefault(label[len(branch)], []).append(index)
        probes.append(Probe(path, len(branch), tuple(following), tuple(map(tuple, following.values()))))
    return LabelTokens(tokens, paths, tuple(probes))


def probe_values(backbone: Backbone, labels: LabelTokens, probe: Probe, hidden: Tensor) -> Tensor:
    """What each token scored at one place gets: logits if one token decides, else log-probabilities.

    Args:
        backbone: the frozen model.
        labels: the task's label words.
        probe: the place.
        hidden: last hidden states there, ``[prompts, width]``.

    Returns:
        float32 ``[prompts, tokens of the probe]``.
    """
    wanted = torch.tensor(probe.tokens, device=backbone.device)
    if labels.single:
        return backbone.logits(hidden, wanted).float()
    return backbone.logits(hidden).float().log_softmax(dim=-1)[:, wanted]
