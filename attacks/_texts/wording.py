"""From guessed tokens to what the model would have been shown: the template and the answer around a text.

The invariant: a guess is a sequence of tokens between the template's and a label; all else of a demonstration is
public, and is the same here as where clients tokenise theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks._base.attack import Knowledge
from attacks._base.space import clipped
from attacks._base.tokens import template_border, text_range
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Demonstration, Position, tokenize_all

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Text:
    """One guessed example.

    Attributes:
        tokens: ids between the template's, as `Wording.whole` has them.
        label: its class; 0 where the answer is behind what is read.
    """

    tokens: tuple[int, ...]
    label: int

    def __repr__(self) -> str:
        """Show the length, never tokens."""
        return f"Text(<{len(self.tokens)} tokens>)"


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """What stands around a text, for each class.

    A tokenizer may merge a text's first characters with the template's last ones. Then the template's share of such
    tokens is counted with the text while it is looked for, and taken off again (`bare`) before it is answered.

    Attributes:
        head: tokens before every text.
        lead: tokens of the template that stand between them and a text's own, but where these were merged.
        merged: first tokens of public texts before which there is no lead.
        tails: for each class, the template's tokens behind every text and the answer's, up to the token that is read.
        inner: public texts, as they are looked for.
    """

    head: tuple[int, ...]
    lead: tuple[int, ...]
    merged: frozenset[int]
    tails: tuple[tuple[int, ...], ...]
    inner: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, backbone: Backbone, knowledge: Knowledge) -> Wording:
        """The wording of the public task; one class where the answer is not read."""
        border = template_border(backbone, knowledge.task)
        shown = tokenize_all(backbone, knowledge.task, knowledge.public)
        places = [text_range(each, border) for each in shown]
        start = min(place.start for place in places)
        behind = min(each.prompt_length - place.stop for each, place in zip(shown, places, strict=True))
        reads_answer = knowledge.position is not Position.PROMPT_END and knowledge.task.n_classes > 0
        labels = range(knowledge.task.n_classes if reads_answer else 1)
        text = knowledge.public[0].text
        answered = tokenize_all(backbone, knowledge.task, [Example(text, label=label) for label in labels])
        return cls(
            shown[0].ids[:start],
            border[0][start:],
            frozenset(
                each.ids[place.start]
                for each, place in zip(shown, places, strict=True)
                if place.start < len(border[0])
            ),
            tuple(e.ids[e.prompt_length - behind : e.index(knowledge.position) + 1] for e in answered),
            tuple(each.ids[start : each.prompt_length - behind] for each in shown),
        )

    def bare(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """A text as it is looked for, without the template's share."""
        led = self.lead and tokens[: len(self.lead)] == self.lead
        return tokens[len(self.lead) :] if led else tokens

    def whole(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The other way round."""
        return tokens if not tokens or tokens[0] in self.merged else (*self.lead, *tokens)

    def demonstration(self, text: Text) -> Demonstration:
        """The tokens of a guess in its template, cut behind the one that is read: no later one bears on it."""
        tail = self.tails[text.label if len(self.tails) > 1 else 0]
        ids = (*self.head, *text.tokens, *tail)
        return Demonstration(ids, len(ids), 0)


class Encoder:
    """Guessed texts through the public model, each at most once, and how many there were.

    Args:
        backbone: the public model.
        knowledge: the attacker's.
        wording: of the task.
    """

    def __init__(self, backbone: Backbone, knowledge: Knowledge, wording: Wording) -> None:
        self.backbone, self.knowledge, self.wording = backbone, knowledge, wording
        self.forwards = 0
        self._kept: dict[Text, Floats] = {}

    def __call__(self, texts: Sequence[Text]) -> Floats:
        """Activations of each text, bounded as is declared, float64 ``[n, layers, 2, width]``."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if missing:
            shown = [self.wording.demonstration(text) for text in missing]
            stand_ins = [Example("", label=0)] * len(shown)
            for chosen, values in activations(
                self.backbone,
                self.knowledge.task,
                stand_ins,
                position=Position.LAST,
                batch_size=self.knowledge.batch_size,
                demonstrations=shown,
            ):
                for index, value in zip(chosen, clipped(values, self.knowledge.declared), strict=True):
                    self._kept[missing[index]] = value.astype(np.float64)
            self.forwards += len(missing)
        return np.stack([self._kept[text] for text in texts])

    def forget(self) -> None:
        """Drop what is kept: another vector needs other texts."""
        self._kept.clear()
