"""A run's own releases audited one after the other: what each came to, and the worst of them.

The invariant: a release that could not be played stands beside the others with the reason, and a run of which one was
not is never called consistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attacks._base.attack import Progress
from attacks._base.defaults import NOTHING_ALONE
from attacks._program.released import NotPlayed, OwnRelease
from attacks._statistics.epsilon import Conclusion
from attacks.audit import audit

NUMBERS, FEWEST = 2000, 1000
"""Numbers up to which a release is played as often as asked, and the fewest times that a longer one is."""
_ORDER = (Conclusion.VIOLATION, Conclusion.INCONCLUSIVE, Conclusion.NOT_EVALUABLE, Conclusion.CONSISTENT)


def audited(
    own: Sequence[OwnRelease | NotPlayed],
    *,
    trials: int,
    alpha: float,
    seed: int,
    one_run: int,
    progress: Progress,
) -> dict[str, Any]:
    """The audit of each release as plain data, with what they come to together.

    Args:
        own: the releases of a run.
        trials: runs a side and canary of a release of up to `NUMBERS` numbers.
        alpha: level of the games of all releases together.
        seed: of everything drawn.
        one_run: canaries of the single run of each; 0 for none.
        progress: told of progress.
    """
    played = [each for each in own if isinstance(each, OwnRelease)]
    if not played:
        return {"conclusion": str(Conclusion.NOT_EVALUABLE), "why": NOTHING_ALONE, "releases": []}
    releases = []
    for each in own:
        named = {"release": each.name, "rounds": each.rounds}
        if isinstance(each, NotPlayed):
            releases.append({**named, "conclusion": str(Conclusion.NOT_EVALUABLE), "why": each.why})
            continue

        def say(stage: str, done: int, whole: int, name: str = each.name) -> None:
            progress(f"{name}: {stage}", done, whole)

        made = audit(
            each.mechanism,
            each.base,
            each.claim,
            trials=often(trials, each.numbers),
            alpha=alpha / len(played),
            seed=seed,
            natural=each.natural,
            crafted=each.crafted,
            one_run=one_run,
            progress=say,
        ).to_dict()
        releases.append({**named, "note": each.note, "numbers": each.numbers, **made})
    return {**together(releases), "releases": releases}


def often(trials: int, numbers: int) -> int:
    """How often a release of so many numbers is played a side: a long one less often, and `FEWEST` times at least."""
    return min(trials, max(FEWEST, trials * NUMBERS // numbers))


def together(releases: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The worst conclusion of some releases, and why; all that violate are named."""
    worst = min((Conclusion(each["conclusion"]) for each in releases), key=_ORDER.index)
    such = [f"{each['release']}: {each['why']}" for each in releases if each["conclusion"] == worst]
    if worst is Conclusion.VIOLATION:
        return {"conclusion": str(worst), "why": "; ".join(such)}
    more = f"; likewise {len(such) - 1} more" if len(such) > 1 else ""
    return {"conclusion": str(worst), "why": such[0] + more}
