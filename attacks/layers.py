"""How much each layer and each branch of a context vector tells: the same attacks, once for each part of the vectors.

The invariant: at every part the attacker, its texts and its methods are the same, and only what is read differs, as if
nothing else had been uploaded; so two points of a curve differ in nothing but that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attacks._base.attack import Answer, Bag, Capability, Guess, Knowledge
from attacks._base.sites import Sites
from attacks._base.space import Space, seen
from attacks._base.targets import Floats, Target, Targets
from attacks._base.tokens import inner_tokens
from attacks._members.likelihood import Population, as_scores, likelihood_ratio
from attacks._mixes.attributes import NO_ATTRIBUTE, attribute_mixes, names_of
from attacks._mixes.labels import counted, label_mixes
from attacks._texts.corpus import identify
from attacks._texts.unmix import Words
from ifedpriv.backbone.backbone import Backbone

NAME = "layers"
_RIDGE = 0.01
_RARE = 1e-4


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a vector.

    Attributes:
        group: ``all``, ``single`` layers, whole ``branch``, or ``prefix`` of depth.
        at: the layer, or the last layer of a prefix; None for all layers.
        sites: what is read.
    """

    group: str
    at: int | None
    sites: Sites


def parts_of(n_layers: int) -> tuple[Part, ...]:
    """All of a vector, each branch, each layer by itself and by branch, and the layers up to each."""
    branches = ("attention", "mlp")
    return (
        Part("all", None, Sites()),
        *(Part("branch", None, Sites(None, branch)) for branch in branches),
        *(Part("single", n, Sites((n,), branch)) for branch in (*branches, "both") for n in range(n_layers)),
        # The last prefix is all of it.
        *(Part("prefix", n, Sites(tuple(range(n + 1)))) for n in range(n_layers - 1)),
    )


Measure = Callable[[Backbone, Knowledge, Sequence[Target]], tuple[Answer, ...]]


def probe(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Words by ridge regression from vectors to token counts on public texts, and nothing else."""
    inner = inner_tokens(backbone, knowledge.task, knowledge.public)
    bags = Words.of(backbone.model.get_input_embeddings().weight.shape[0], inner)
    public = seen(backbone, knowledge, knowledge.public, "reading public texts")
    space = Space.of(public, targets)
    points = space.enter(public)
    covariance = (bags.bags - bags.bags.mean(axis=0)).T @ points / len(points)
    answers = []
    for target in counted(backbone, knowledge, targets):
        point = space.enter(target.vector)
        ridge = space.variance + target.number * space.told(target).rounding + _RIDGE
        scores: Floats = np.maximum(bags.frequency + covariance @ (point / ridge), _RARE)
        ranked = bags.tokens[np.argsort(-scores, kind="stable")]
        answers.append(Answer(target.who, Bag(tuple(map(int, ranked)), bags.distinct(target.number))))
    return tuple(answers)


def members(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Likelihood ratios of all candidates."""
    population = Population.of(backbone, knowledge, targets)
    return tuple(
        Answer(target.who, as_scores(likelihood_ratio(population.told(target), target)))
        for target in counted(backbone, knowledge, targets)
    )


def attributes(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """The mix of the first attribute that public texts carry."""
    name, values = next(iter(names_of(knowledge).items()))
    return attribute_mixes(backbone, knowledge, targets, name, values)


MEASURES: dict[str, tuple[Measure, str, tuple[Capability, ...]]] = {
    "labels": (label_mixes, "total variation", (Capability.CLASSES, Capability.PUBLIC_TEXTS)),
    "attributes": (attributes, "attribute variation", (Capability.PUBLIC_TEXTS,)),
    "probe": (probe, "average precision", (Capability.PUBLIC_TEXTS,)),
    "corpus": (identify, "corpus recall", (Capability.PUBLIC_TEXTS, Capability.POOL)),
    "membership": (members, "AUC", (Capability.PUBLIC_TEXTS, Capability.POOL)),
}
"""By name: how to guess, the metric that is drawn, and what the attacker needs."""


def guesses(
    backbone: Backbone, knowledge: Knowledge, targets: Targets, part: Part, names: Sequence[str]
) -> tuple[Guess, ...]:
    """What each method makes of one part of each vector; the method's name is that of the measure.

    Args:
        backbone: the public model.
        knowledge: the attacker's.
        targets: the vectors, declared noise counted in their variance.
        part: what is read of them.
        names: of the measures.
    """
    told = replace(knowledge, sites=part.sites)
    mask = part.sites.mask(backbone.n_layers)
    # What is not read is the same for everybody: no method may find anything in it.
    seen = [replace(target, vector=np.where(mask, target.vector, 0.0)) for target in targets.targets]
    found = []
    for name in names:
        method, _, needs = MEASURES[name]
        refused = targets.lacks(knowledge, needs) or (
            NO_ATTRIBUTE if method is attributes and not names_of(knowledge) else ""
        )
        started = time.perf_counter()
        answers = () if refused else method(backbone, told, seen)
        found.append(Guess(NAME, name, targets.scope, answers, refused, time.perf_counter() - started))
    return tuple(found)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
