"""Which vectors stand for so few examples that their texts can be looked for, and what is known of those at once.

The invariant: a vector of more examples is not guessed at, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attacks._base.attack import Knowledge
from attacks._base.targets import Target
from attacks._mixes.labels import behind
from attacks._mixes.shares import whole
from ifedpriv.backbone.backbone import Backbone

MOST = 4
"""Examples behind a vector beyond which no text is looked for: words no longer find their texts."""


class TooManyError(Exception):
    """No vector stands for few enough examples; the message is half a sentence."""


class PartsError(Exception):
    """Parts of the vectors are left out that a search reads; the message is half a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """One vector, and what is known of the texts behind it before any is looked for.

    Attributes:
        target: the vector.
        labels: the class of each text.
    """

    target: Target
    labels: tuple[int, ...]


def few_examples(
    backbone: Backbone,
    knowledge: Knowledge,
    targets: Sequence[Target],
    classes: int,
    *,
    most: int = MOST,
    parts: bool = False,
) -> list[Told]:
    """The vectors that stand for at most so many examples, with their labels.

    Args:
        backbone: the public model.
        knowledge: the attacker's.
        targets: all vectors.
        classes: how many there are.
        most: examples behind a vector beyond which it is left out.
        parts: whether the attack can do with parts of the vectors.

    Raises:
        TooManyError: there is none.
        PartsError: the auditor leaves parts of the vectors out, and the attack cannot do with the rest.
    """
    if not knowledge.sites.all and not parts:
        raise PartsError("texts are looked for behind whole vectors, and parts of these are left out")
    found: list[Told] = []
    least = 0
    for target, each in zip(targets, behind(backbone, knowledge, targets, classes), strict=True):
        least = min(least or each.examples, each.examples)
        if each.examples <= most:
            counts = np.rint(whole(each.shares, each.examples) * each.examples).astype(int)
            found.append(Told(target, tuple(np.repeat(np.arange(len(counts)), counts).tolist())))
    if not found:
        raise TooManyError(
            f"every vector is the mean of {least} examples or more, and texts are looked for behind {most} at most"
        )
    return found
