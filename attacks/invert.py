"""What a client's texts say, from its context vector: which words they hold, and which texts of a pool they are.

The invariant: all methods run on single uploads where the recording shows any, and on the aggregate always; what cannot
be run says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attacks._attack import Answer, Capability, Guess, Knowledge
from attacks._corpus import identify
from attacks._layer0 import NotLinearError
from attacks._targets import Target, Targets, read_targets
from attacks._unmix import words
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone

NAME = "invert"
_Method = Callable[[Backbone, Knowledge, Sequence[Target]], dict[str, tuple[Answer, ...]]]


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """Words and members behind every upload and behind the aggregate.

    Reads: context vectors. Knows: the public task, public texts, and for ``corpus`` a pool of candidates.
    Methods: ``unmix`` and ``probe`` (`attacks._unmix`), ``corpus`` (`attacks._corpus`).
    """
    found: list[Guess] = []
    for targets in read_targets(view, backbone):
        found += _run(backbone, knowledge, targets, ("unmix", "probe"), [Capability.PUBLIC_TEXTS], words)
        needs = [Capability.PUBLIC_TEXTS, Capability.POOL]
        found += _run(backbone, knowledge, targets, ("corpus",), needs, _corpus)
    return tuple(found)


def _corpus(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]
) -> dict[str, tuple[Answer, ...]]:
    return {"corpus": identify(backbone, knowledge, targets)}


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
        except NotLinearError as reason:
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
    from attacks._launch import main

    raise SystemExit(main(NAME))
