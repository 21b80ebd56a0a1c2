"""How many examples of each class a client holds, from its context vector alone.

The invariant: the mix is read off the vector and off public texts to which every label word was added; no client's
example is needed, and none is used.
"""

from __future__ import annotations

import time

from attacks._base.attack import Capability, Guess, Knowledge
from attacks._base.targets import read_told
from attacks._mixes.labels import label_mixes
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone

NAME = "labels"


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """The label mix of every upload and of the aggregate.

    Reads: context vectors. Knows: the public task and public texts. Where the vector is taken at the answer's
    token, the public texts need no labels: the attacker writes every label word behind each of them.
    """
    needs = [Capability.CLASSES, Capability.PUBLIC_TEXTS]
    if knowledge.position.value == "prompt_end":
        needs.append(Capability.LABELLED_PUBLIC_TEXTS)
    found = []
    for targets in read_told(view, backbone, knowledge.declared):
        known = any(target.who.label is not None for target in targets.targets)
        refused = targets.lacks(knowledge, needs) or (
            "each vector is of one class, which it names" if known else ""
        )
        started = time.perf_counter()
        answers = () if refused else label_mixes(backbone, knowledge, targets.targets)
        seconds = time.perf_counter() - started
        found.append(Guess(NAME, "class means", targets.scope, answers, refused, seconds))
    return tuple(found)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
