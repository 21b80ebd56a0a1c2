"""What a client's texts say, from its context vector: their words, which texts of a pool they are, and how they read.

The invariant: all methods run on single uploads where the recording shows any, and on the aggregate always; what cannot
be run says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attacks._base.attack import Answer, Capability, Guess, Knowledge
from attacks._base.targets import Target, Targets, read_told
from attacks._texts.corpus import identify
from attacks._texts.few import PartsError, TooManyError
from attacks._texts.layer0 import NotLinearError
from attacks._texts.search import search
from attacks._texts.soft import soft
from attacks._texts.unmix import words
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone

NAME = "invert"
DEFAULT = ("unmix", "probe", "corpus")
"""Methods of seconds; those that look for whole texts take seconds for every vector, and are asked for."""
METHODS = (*DEFAULT, "search", "soft")
_Method = Callable[[Backbone, Knowledge, Sequence[Target]], dict[str, tuple[Answer, ...]]]


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """Words, members and texts behind every upload and behind the aggregate.

    Reads: context vectors. Knows: the public task, public texts, and for ``corpus`` a pool of candidates.
    Methods, each of a file in `attacks._texts`: ``unmix`` and ``probe`` (`unmix`), ``corpus``, ``search``, ``soft``.
    """
    texts = [Capability.PUBLIC_TEXTS]
    plans: list[tuple[tuple[str, ...], list[Capability], _Method]] = [
        (("unmix", "probe"), texts, words),
        (("corpus",), [*texts, Capability.POOL], _corpus),
        (("search",), texts, _search),
        (("soft",), texts, _soft),
    ]
    asked = knowledge.methods or DEFAULT
    found: list[Guess] = []
    for targets in read_told(view, backbone, knowledge.declared):
        for names, needs, run in plans:
            chosen = tuple(name for name in names if name in asked)
            if chosen:
                found += _run(backbone, knowledge, targets, chosen, needs, run)
    return tuple(found)


def _corpus(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]
) -> dict[str, tuple[Answer, ...]]:
    return {"corpus": identify(backbone, knowledge, targets)}


def _search(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]
) -> dict[str, tuple[Answer, ...]]:
    return {"search": search(backbone, knowledge, targets)}


def _soft(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]
) -> dict[str, tuple[Answer, ...]]:
    return {"soft": soft(backbone, knowledge, targets)}


def _run(
    backbone: Backbone,
    knowledge: Knowledge,
    targets: Targets,
    methods: Sequence[str],
    needs: Sequence[Capability],
    run: _Method,
) -> list[Guess]:
    refused = targets.refused or knowledge.lacks(needs) or ""
    started = time.perf_counter()
    answers: dict[str, tuple[Answer, ...]] = {}
    if not refused:
        try:
            answers = run(backbone, knowledge, targets.targets)
        except (NotLinearError, PartsError, TooManyError) as reason:
            refused = str(reason)
    seconds = (time.perf_counter() - started) / len(methods)
    unread = "the first layer's attention is not among what is read"
    return [
        Guess(
            NAME,
            name,
            targets.scope,
            answers.get(name, ()),
            refused or ("" if name in answers else unread),
            seconds,
        )
        for name in methods
    ]


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
