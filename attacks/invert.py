"""What a client's texts say, from its vector: words, names and numbers, which of a pool they are, and how they read.

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
from attacks._texts.slots import NoSlotsError, slots
from attacks._texts.soft import soft
from attacks._texts.trained import trained
from attacks._texts.unmix import words
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone

NAME = "invert"
DEFAULT = ("unmix", "probe", "slots", "corpus")
"""Methods of seconds; those that look for whole texts take longer, for every vector or to train, and are asked for."""
METHODS = (*DEFAULT, "search", "soft", "trained")
_Made = tuple[dict[str, tuple[Answer, ...]], tuple[tuple[str, float], ...]]
"""Answers by method, and what the methods say of themselves."""
_Method = Callable[[Backbone, Knowledge, Sequence[Target]], _Made]


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """Words, members and texts behind every upload and behind the aggregate.

    Reads: context vectors. Knows: the public task, public texts, and for ``corpus`` a pool of candidates.
    Methods, each of a file in `attacks._texts`: ``unmix`` and ``probe`` (`unmix`), ``slots``, ``corpus``, ``search``,
    ``soft``, ``trained``.
    """
    texts = [Capability.PUBLIC_TEXTS]
    plans: list[tuple[tuple[str, ...], list[Capability], _Method]] = [
        (("unmix", "probe"), texts, _words),
        (("slots",), texts, _slots),
        (("corpus",), [*texts, Capability.POOL], _corpus),
        (("search",), texts, _search),
        (("soft",), texts, _soft),
        (("trained",), texts, _trained),
    ]
    asked = knowledge.methods or DEFAULT
    found: list[Guess] = []
    for targets in read_told(view, backbone, knowledge.declared):
        for names, needs, run in plans:
            chosen = tuple(name for name in names if name in asked)
            if chosen:
                found += _run(backbone, knowledge, targets, chosen, needs, run)
    return tuple(found)


def _words(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> _Made:
    return words(backbone, knowledge, targets), ()


def _slots(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> _Made:
    return {"slots": slots(backbone, knowledge, targets)}, ()


def _corpus(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> _Made:
    return {"corpus": identify(backbone, knowledge, targets)}, ()


def _search(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> _Made:
    return {"search": search(backbone, knowledge, targets)}, ()


def _soft(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> _Made:
    return {"soft": soft(backbone, knowledge, targets)}, ()


def _trained(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> _Made:
    answers, facts = trained(backbone, knowledge, targets)
    return {"trained": answers}, facts


def _run(
    backbone: Backbone,
    knowledge: Knowledge,
    targets: Targets,
    methods: Sequence[str],
    needs: Sequence[Capability],
    run: _Method,
) -> list[Guess]:
    refused = targets.lacks(knowledge, needs)
    started = time.perf_counter()
    answers: dict[str, tuple[Answer, ...]] = {}
    facts: tuple[tuple[str, float], ...] = ()
    if not refused:
        try:
            answers, facts = run(backbone, knowledge, targets.targets)
        except (NoSlotsError, NotLinearError, PartsError, TooManyError) as reason:
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
            facts if name in answers else (),
        )
        for name in methods
    ]


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
