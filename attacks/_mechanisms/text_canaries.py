"""Canaries that are texts: what the model makes of everyday texts, and of texts of random tokens.

The invariant: every text is public or drawn at random, so an audit hands no private text to the mechanism it plays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge
from attacks._base.defaults import TEXTS
from attacks._base.space import read
from attacks._mechanisms.mechanism import Floats
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.icl.prompts import Position

RANDOM_TOKENS = "random tokens"
_DRAWN, _TOKENS = 16, 24


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TextCanaries:
    """Records made of texts.

    Attributes:
        natural: activations of public texts, float64 ``[n, layers, 2, width]``; None where there are fewer than two.
        crafted: activations ``[layers, 2, width]`` of made-up texts, by the canary's name.
    """

    natural: Floats | None
    crafted: Mapping[str, Floats]

    def __repr__(self) -> str:
        """Show sizes, never records."""
        return f"TextCanaries(<{0 if self.natural is None else len(self.natural)} texts>)"


def text_canaries(
    backbone: Backbone, task: Task, position: Position, public: Sequence[Example], seed: int
) -> TextCanaries:
    """Records of public texts, and of the oddest of some texts of random tokens.

    Args:
        backbone: the model that turns texts into records.
        task: the template.
        position: the token that stands for a text.
        public: texts that are no client's.
        seed: of the draws.
    """
    known = Knowledge(task, position)
    chosen = list(public[:TEXTS])
    natural = read(backbone, known, chosen, "reading public texts") if len(chosen) > 1 else None
    made = read(backbone, known, _random_texts(backbone, task, seed), "reading random tokens")
    centre = np.zeros(made.shape[1:]) if natural is None else natural.mean(axis=0, dtype=np.float64)
    away = np.linalg.norm((made - centre).reshape(len(made), -1), axis=1)
    return TextCanaries(
        None if natural is None else natural.astype(np.float64),
        {RANDOM_TOKENS: made[int(np.argmax(away))].astype(np.float64)},
    )


def _random_texts(backbone: Backbone, task: Task, seed: int) -> list[Example]:
    """Texts that decode from tokens drawn one by one, each with a label or an answer drawn likewise."""
    rng = np.random.default_rng([seed, 37])
    special = set(backbone.tokenizer.all_special_ids)
    usable = [
        i for i in range(min(len(backbone.tokenizer), int(backbone.head.weight.shape[0]))) if i not in special
    ]

    def drawn(size: int) -> str:
        ids: NDArray[np.int64] = rng.choice(usable, size=size)
        return " ".join(str(backbone.tokenizer.decode(ids.tolist())).split()) or "?"

    found = []
    for _ in range(_DRAWN):
        text = drawn(_TOKENS)
        if task.n_classes:
            found.append(Example(text, label=int(rng.integers(task.n_classes))))
        else:
            found.append(Example(text, answer=drawn(2)))
    return found
