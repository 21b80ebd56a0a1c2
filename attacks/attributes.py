"""What kind of texts a client holds: the mix of each attribute of its texts, from its context vector alone.

The invariant: an attribute is guessed at only where public texts carry it, and each by itself; what cannot be run says
why.
"""

from __future__ import annotations

import time

from attacks._base.attack import Capability, Guess, Knowledge
from attacks._base.targets import read_told
from attacks._mixes.attributes import NO_ATTRIBUTE, attribute_mixes, names_of
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone

NAME = "attributes"
METHOD = "class means"


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """The mix of every attribute, for every upload and for the aggregate.

    Reads: context vectors. Knows: the public task, and public texts with their attributes (shipped tasks' carry
    ``domain``, and some ``language`` or ``group``).
    """
    needs = [Capability.PUBLIC_TEXTS]
    if knowledge.position.value == "prompt_end":
        needs.append(Capability.LABELLED_PUBLIC_TEXTS)
    names = names_of(knowledge)
    none = "" if names else NO_ATTRIBUTE
    found = []
    for targets in read_told(view, backbone, knowledge.declared):
        refused = targets.lacks(knowledge, needs) or none
        if refused:
            found.append(Guess(NAME, METHOD, targets.scope, (), refused, 0.0))
            continue
        for name, values in names.items():
            started = time.perf_counter()
            answers = attribute_mixes(backbone, knowledge, targets.targets, name, values)
            method = f"{name}, {METHOD}"
            found.append(Guess(NAME, method, targets.scope, answers, "", time.perf_counter() - started))
    return tuple(found)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
