"""What somebody who only uses the finished injection can tell of whose texts made it: by losses, with it and without.

The invariant: no upload is read. What is used is the public model, the artifact that everybody is given, and
candidates; the model without the injection is the reference, so nothing has to be trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attacks._base.attack import Answer, Capability, Guess, Knowledge, Scope, Scores, Who
from attacks._base.targets import Floats, check_model
from attacks._members.near import near_pool
from attacks._members.token_scores import TokenScores, token_scores
from defenses.view import ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.errors import UserError

NAME = "deployed"
READS = None
"""No upload."""
NEAR = "near duplicates"


def guess(view: ServerView, backbone: Backbone, knowledge: Knowledge) -> tuple[Guess, ...]:
    """Scores of every candidate, from losses of the model with the injection and without.

    Reads: the artifact. Knows: the public task, and a pool of candidates with their labels. Methods: ``loss``;
    ``loss, calibrated``, the loss without the injection less that with it; ``Min-K%++``, and the same calibrated;
    and, with public texts, both calibrated ones of near duplicates in place of the candidates.
    """
    check_model(view, backbone)
    if not any(True for _ in view.frames()):
        raise UserError("the recording is empty", "give the folder of a run that was recorded")
    why = "there is no injection: none was trained, or the recording came without its run"
    needs = [Capability.POOL, *([Capability.CLASSES] if knowledge.task.n_classes else [])]
    lacks = knowledge.lacks(needs) or ("" if knowledge.artifact is not None else why)
    no_public = lacks or knowledge.lacks([Capability.PUBLIC_TEXTS]) or ""
    kept: dict[tuple[bool, bool], TokenScores] = {}

    def scores(near: bool, injected: bool) -> TokenScores:
        if (near, injected) not in kept:
            pool: tuple[Example, ...] = near_pool(knowledge) if near else knowledge.pool
            stage = (
                f"reading {NEAR if near else 'candidates'} {'with' if injected else 'without'} the injection"
            )
            artifact = knowledge.artifact if injected else None
            kept[near, injected] = token_scores(backbone, knowledge, pool, artifact, stage)
        return kept[near, injected]

    def gained(near: bool) -> Floats:
        return scores(near, False).loss - scores(near, True).loss

    def likelier(near: bool) -> Floats:
        return scores(near, True).lowest - scores(near, False).lowest

    methods: dict[str, tuple[str, Callable[[], Floats]]] = {
        "loss": (lacks, lambda: -scores(False, True).loss),
        "loss, calibrated": (lacks, lambda: gained(False)),
        "Min-K%++": (lacks, lambda: scores(False, True).lowest),
        "Min-K%++, calibrated": (lacks, lambda: likelier(False)),
        f"loss, calibrated, {NEAR}": (no_public, lambda: gained(True)),
        f"Min-K%++, calibrated, {NEAR}": (no_public, lambda: likelier(True)),
    }
    found = []
    for method, (refused, run) in methods.items():
        started = time.perf_counter()
        answers = () if refused else (Answer(Who(None), Scores(tuple(map(float, run())))),)
        found.append(Guess(NAME, method, Scope.AGGREGATE, answers, refused, time.perf_counter() - started))
    return tuple(found)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
