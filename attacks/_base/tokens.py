"""Which tokens of a demonstration are its text's: the template's and the answer's are public and count for nothing.

The invariant: attack and scorer cut texts out of their template by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.icl.prompts import Demonstration, tokenize_all

COMMON = 0.5
"""Tokens that so large a share of public texts hold (full stops, commas) say nothing and are left out of scores."""


Border = tuple[tuple[int, ...], tuple[int, ...]]
"""The template's tokens before and behind the text."""


def template_border(backbone: Backbone, task: Task) -> Border:
    """The tokens with which prompts of different texts all begin, and with which all end."""
    prompts = backbone.encode_prompts([task.prompt(text) for text in ("x", "7 y.", "Zq, z")])
    start = _shared(min(prompts), max(prompts))
    backward = [ids[::-1] for ids in prompts]
    end = _shared(min(backward), max(backward))
    return tuple(prompts[0][:start]), tuple(backward[0][:end])[::-1]


def text_range(shown: Demonstration, border: Border) -> range:
    """Where a demonstration's text stands; a token that the tokenizer merges across the border is the text's."""
    prompt = shown.ids[: shown.prompt_length]
    start = min(_shared(prompt, border[0]), len(prompt) - 1)
    end = min(_shared(prompt[::-1], border[1][::-1]), len(prompt) - 1 - start)
    return range(start, len(prompt) - end)


def inner_tokens(backbone: Backbone, task: Task, examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """The tokens of each text inside its template, without the answer."""
    border = template_border(backbone, task)
    return [_cut(each, border) for each in tokenize_all(backbone, task, examples)]


def _cut(shown: Demonstration, border: Border) -> tuple[int, ...]:
    place = text_range(shown, border)
    return shown.ids[place.start : place.stop]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
