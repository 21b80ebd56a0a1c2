"""From guessed tokens to what the model would have been shown: the template and the answer around a text.

The invariant: a guess is a sequence of tokens between the template's and a label; all else of a demonstration is
public, and is the same here as where clients tokenise theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks._attack import Knowledge
from attacks._tokens import Border, template_border, text_range
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Demonstration, Position, tokenize_all

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Text:
    """One guessed example.

    Attributes:
        tokens: ids between the template's.
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

    Attributes:
        head: tokens before the text.
        tails: for each class, the template's tokens behind the text and the answer's, up to the token that is read.
        border: where public texts are cut out of their template.
    """

    head: tuple[int, ...]
    tails: tuple[tuple[int, ...], ...]
    border: Border

    @classmethod
    def of(cls, backbone: Backbone, knowledge: Knowledge) -> Wording:
        """The wording of the public task; one class where the answer is not read."""
        border = template_border(backbone, knowledge.task)
        reads_answer = knowledge.position is not Position.PROMPT_END and knowledge.task.n_classes > 0
        labels = range(knowledge.task.n_classes if reads_answer else 1)
        text = knowledge.public[0].text
        shown = tokenize_all(backbone, knowledge.task, [Example(text, label=label) for label in labels])
        tails = [
            each.ids[text_range(each, border).stop : each.index(knowledge.position) + 1] for each in shown
        ]
        return cls(shown[0].ids[: text_range(shown[0], border).start], tuple(tails), border)

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
        """Activations of each text, as the declared clip leaves them, float64 ``[n, layers, 2, width]``."""
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
                for index, value in zip(chosen, values, strict=True):
                    self._kept[missing[index]] = self._clipped(value.astype(np.float64))
            self.forwards += len(missing)
        return np.stack([self._kept[text] for text in texts])

    def forget(self) -> None:
        """Drop what is kept: another vector needs other texts."""
        self._kept.clear()

    def _clipped(self, value: Floats) -> Floats:
        clip = self.knowledge.declared.clip
        if clip is None:
            return value
        return np.asarray(value * min(1.0, clip / max(float(np.linalg.norm(value)), 1e-30)))
