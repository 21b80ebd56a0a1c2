"""Which texts of a pool were members, and whose: a score for every candidate, from uploads and from the aggregate.

The invariant: every method runs on single uploads where the recording shows any, and on the aggregate always; what
cannot be run says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from attacks._base.attack import Answer, Capability, Guess, Knowledge, Scope, Source
from attacks._base.targets import Floats, Target, Targets, read_told
from attacks._members.likelihood import (
    Population,
    as_scores,
    cosine,
    inner_product,
    knowing_all_others,
    likelihood_ratio,
    shadow,
    weights_of_all,
)
from attacks._members.near import near_pool, paraphrase_pool
from attacks._members.shadows import Shadows, in_and_out, relative
from attacks._mixes.labels import counted
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example

NAME = "membership"
NEEDS = (Capability.PUBLIC_TEXTS, Capability.POOL)
STRONG = "all others known"
SOURCE = "source"
RATIO = "likelihood ratio"
PARAPHRASES = "paraphrases"


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """Scores of every candidate for every upload and for the aggregate.

    Reads: context vectors. Knows: the public task, public texts, a pool of candidates with their labels, and what
    clip and noise are declared. Methods: ``likelihood ratio``; ``shadow``, ``shadow, in and out`` and ``RMIA``,
    beside vectors of its own; ``unmixing``; ``near duplicates``, the likelihood ratio of each candidate with other
    names and numbers; ``paraphrases``, that of each in other words, where the texts are the shipped writer's; the
    baselines ``inner product`` and ``cosine``; ``all others known``, for an adversary that has every example but one;
    ``source``, which client a text is of. All of them, or those that ``knowledge.methods`` names.
    """
    found: list[Guess] = []
    for targets in read_told(view, backbone, knowledge.declared):
        found += _scope(backbone, knowledge, targets)
    return tuple(found)


def _scope(backbone: Backbone, knowledge: Knowledge, given: Targets) -> list[Guess]:
    refused = given.lacks(knowledge, NEEDS)
    targets = given.targets if refused else counted(backbone, knowledge, given.targets)
    population = None if refused else Population.of(backbone, knowledge, targets)

    def each(score: Callable[[Population, Target], Floats]) -> Callable[[], tuple[Answer, ...]]:
        def run() -> tuple[Answer, ...]:
            assert population is not None
            return tuple(
                Answer(target.who, as_scores(score(population.told(target), target))) for target in targets
            )

        return run

    @cache
    def reworded(pool: Callable[[Knowledge], tuple[Example, ...]]) -> Population:
        assert population is not None
        return population.with_candidates(backbone, knowledge, pool(knowledge))

    def changed(told: Population, pool: Callable[[Knowledge], tuple[Example, ...]]) -> Population:
        # Whose noise it is measured by is each vector's own.
        return replace(reworded(pool), space=told.space)

    def cast(population: Population, target: Target) -> Shadows:
        return Shadows.cast(population, target, knowledge.shadows, knowledge.seed)

    methods: dict[str, Callable[[Population, Target], Floats]] = {
        RATIO: likelihood_ratio,
        "shadow": lambda p, t: shadow(p, t, knowledge.shadows, knowledge.seed),
        "shadow, in and out": lambda p, t: in_and_out(p, t, cast(p, t)),
        "RMIA": lambda p, t: relative(p, t, cast(p, t)),
        "unmixing": weights_of_all,
        "near duplicates": lambda p, t: likelihood_ratio(changed(p, near_pool), t),
        "inner product": inner_product,
        "cosine": cosine,
    }
    asked = knowledge.methods or (*methods, PARAPHRASES, STRONG, SOURCE)
    found = [
        _timed(name, given.scope, refused, each(score)) for name, score in methods.items() if name in asked
    ]
    if PARAPHRASES in asked:
        said = refused or (
            "" if paraphrase_pool(knowledge) else "no other wording of the candidates is known"
        )
        other_words = each(lambda p, t: likelihood_ratio(changed(p, paraphrase_pool), t))
        found.append(_timed(PARAPHRASES, given.scope, said, other_words))
    if STRONG in asked:
        lacks = refused or knowledge.lacks([Capability.OTHERS]) or _not_all_known(knowledge, targets)
        found.append(
            _timed(
                STRONG,
                given.scope,
                lacks,
                each(lambda p, t: knowing_all_others(backbone, knowledge, p, t, knowledge.others[t.who])),
            )
        )
    if SOURCE in asked and given.scope is Scope.UPLOADS:
        alone = "there is one upload, so no other client it could be" if len(targets) == 1 else ""
        ratios = next((guess.answers for guess in found if guess.method == RATIO), ())
        scored = each(likelihood_ratio)
        found.append(_timed(SOURCE, given.scope, refused or alone, lambda: _sources(ratios or scored())))
    return found


def _not_all_known(knowledge: Knowledge, targets: Sequence[Target]) -> str:
    missing = [str(target.who) for target in targets if target.who not in knowledge.others]
    return f"the other examples of {missing[0]} are not known" if missing else ""


def _sources(answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """Each candidate is given to the vector for which its likelihood ratio is largest."""
    scores = np.array([getattr(answer.content, "values", ()) for answer in answers])
    best = np.argmax(scores, axis=0)
    return tuple(
        Answer(answer.who, Source(frozenset(np.flatnonzero(best == i).tolist()), len(answers)))
        for i, answer in enumerate(answers)
    )


def _timed(method: str, scope: Scope, refused: str, run: Callable[[], tuple[Answer, ...]]) -> Guess:
    started = time.perf_counter()
    answers = () if refused else run()
    return Guess(NAME, method, scope, answers, refused, time.perf_counter() - started)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
