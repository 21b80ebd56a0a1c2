"""The mix of an attribute's values behind a vector, such as the domain or the language that a client's texts are in.

The invariant: means come from public texts that carry the attribute, each under every label that an attacker can write;
a client's example is neither needed nor used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attacks._base.attack import Answer, Attribute, Knowledge
from attacks._base.space import relabelled, seen
from attacks._base.targets import Floats, Target
from attacks._mixes.labels import Reader, counted
from ifedpriv.backbone.backbone import Backbone

MOST_VALUES = 32
"""An attribute with more values than this has too few public texts for each."""
NO_ATTRIBUTE = "no attribute varies among the public texts"
_TEXTS = 400


def names_of(knowledge: Knowledge) -> dict[str, tuple[str, ...]]:
    """Attributes that all public texts carry and that vary among them, with their values in order."""
    first = knowledge.public[0].attributes if knowledge.public else {}
    found: dict[str, tuple[str, ...]] = {}
    for name in first:
        values = {example.attributes.get(name, "") for example in knowledge.public}
        if "" not in values and 2 <= len(values) <= MOST_VALUES:
            found[name] = tuple(sorted(values))
    return found


def attribute_mixes(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target], name: str, values: Sequence[str]
) -> tuple[Answer, ...]:
    """Guess the shares of an attribute's values in each vector.

    A vector is near a mix of the mean activations of every pair of label and value: the shares of pairs as
    `attacks._mixes.labels.Reader` reads those of labels, then summed over labels.
    """
    shown = relabelled(knowledge, _TEXTS)
    vectors = seen(backbone, knowledge, shown, "reading labelled public texts")
    # Of a generation task no example has a label, and all are of one kind.
    pairs = [(max(example.label, 0), values.index(example.attributes[name])) for example in shown]
    kinds = sorted(set(pairs))
    of = np.array([kinds.index(pair) for pair in pairs])
    repeated = max(1, len(shown) // len(knowledge.public[:_TEXTS]))
    mean = np.bincount(of) / len(of) if knowledge.declared.noisy else None
    reader = Reader.fit(vectors, of, repeated, len(kinds), mean, targets)
    answers = []
    for target in counted(backbone, knowledge, targets):
        shares = _over_labels(reader.read(target).shares, kinds, len(values))
        answers.append(Answer(target.who, Attribute(name, tuple(values), shares)))
    return tuple(answers)


def _over_labels(shares: Floats, kinds: Sequence[tuple[int, int]], values: int) -> tuple[float, ...]:
    total = np.zeros(values)
    for share, (_, value) in zip(shares, kinds, strict=True):
        total[value] += share
    return tuple(map(float, total / total.sum()))
