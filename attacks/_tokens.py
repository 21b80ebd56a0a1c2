"""Which tokens of a demonstration are its text's: the template's and the answer's are public and count for nothing.

The invariant: attack and scorer cut texts out of their template by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.icl.prompts import tokenize_all

COMMON = 0.5
"""Tokens that so large a share of public texts hold (full stops, commas) say nothing and are left out of scores."""


def template_border(backbone: Backbone, task: Task) -> tuple[int, int]:
    """How many tokens of every prompt are the template's, at its beginning and at its end."""
    prompts = backbone.encode_prompts([task.prompt(text) for text in ("x", "7 y.", "Zq, z")])
    start = _shared(min(prompts), max(prompts))
    backward = [ids[::-1] for ids in prompts]
    end = _shared(min(backward), max(backward))
    shortest = min(map(len, prompts))
    return min(start, shortest - 1), min(end, shortest - 1 - min(start, shortest - 1))


def inner_tokens(backbone: Backbone, task: Task, examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """The tokens of each text inside its template, without the answer."""
    start, end = template_border(backbone, task)
    shown = tokenize_all(backbone, task, examples)
    return [each.ids[start : each.prompt_length - end] for each in shown]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
