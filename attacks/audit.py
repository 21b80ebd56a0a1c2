"""Does a mechanism keep what it promises? Guessing games with canaries, and replays under frozen noise, side by side.

The invariant: every verdict stands beside what was declared, and beside the most that so many trials could have proved.
What was not measured is not called sound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks._base.defaults import ALPHA, NAME, ONE_RUN_CANARIES, TRIALS
from attacks._mechanisms.canaries import pairs
from attacks._mechanisms.games import Game, OneRun, play, play_once, preregistered, sides
from attacks._mechanisms.mechanism import Claim, Floats, Mechanism
from attacks._mechanisms.replay import Check, replay
from attacks._statistics.epsilon import Conclusion
from defenses.units import Unit
from ifedpriv.errors import InputError


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        claim: what was declared.
        conclusion: violation if any check fails or any canary proves more than is declared; inconclusive if no
            canary could have.
        why: one sentence.
        checks: by replay.
        games: one for each canary.
        one_run: one run with many canaries, for information; None where it could not be played.
        trials: runs a side and canary.
        alpha: probability with which a sound mechanism is called a violation by a game.
        seed: of everything drawn.
    """

    claim: Claim
    conclusion: Conclusion
    why: str
    checks: tuple[Check, ...]
    games: tuple[Game, ...]
    one_run: OneRun | None
    trials: int
    alpha: float
    seed: int

    @property
    def tightness(self) -> float | None:
        """The largest proved ε over the declared one; None where 0 is declared."""
        best = max((game.bounds[0].epsilon for game in self.games), default=0.0)
        return best / self.claim.epsilon if self.claim.epsilon else None

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        found = asdict(self)
        return {
            "attack": NAME,
            **found,
            "conclusion": str(self.conclusion),
            "tightness": self.tightness,
            "decided_by": str(preregistered(self.claim)),
        }


def audit(
    mechanism: Mechanism,
    base: Sequence[Floats],
    claim: Claim,
    *,
    trials: int = TRIALS,
    alpha: float = ALPHA,
    seed: int = 0,
    natural: NDArray[np.floating] | None = None,
    crafted: Mapping[str, Floats] | None = None,
    repeats: int = 100,
    one_run: int = ONE_RUN_CANARIES,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Audit:
    """Audit a mechanism.

    Args:
        mechanism: from records and entropy to releases; called tens of thousands of times.
        base: each client's records, which the adversary knows.
        claim: what is declared.
        trials: runs a side and canary.
        alpha: level of the games together.
        seed: of everything drawn.
        natural: records like those of clients, for the everyday canaries.
        crafted: further canaries, by name, such as activations of texts of random tokens.
        repeats: runs with fresh noise for the replay's checks.
        one_run: canaries of the single run; 0 for no such run.
        progress: told of progress.
    """
    if trials < 20 or repeats < 10:
        raise InputError(
            f"trials is {trials} and repeats {repeats}", "give 20 trials and 10 repeats, or more"
        )
    if one_run and one_run < 4:
        raise InputError(f"one_run is {one_run}", "give 4 canaries or more, or 0 for no such run")
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha is {alpha}", "give a level above 0 and below 0.5")
    given = pairs(base, claim, seed, natural, crafted)
    # Replaying, every side of every game, the single run.
    whole = sides(given) + 2
    progress("replaying", 0, whole)
    found = replay(mechanism, given, claim, repeats=repeats, seed=seed)
    progress("playing", 1, whole)
    games = play(
        mechanism,
        given,
        claim,
        found,
        trials=trials,
        alpha=alpha,
        seed=seed,
        progress=lambda done: progress("playing", 1 + done, whole),
    )
    progress("one run", whole - 1, whole)
    once = None
    if one_run and claim.unit is Unit.EXAMPLE and all(each.difference is not None for each in found.frozen):
        once = play_once(mechanism, base, claim, canaries=one_run, alpha=alpha, seed=seed)
    conclusion, why = _together(found.checks, games)
    return Audit(claim, conclusion, why, found.checks, games, once, trials, alpha, seed)


def _together(checks: Sequence[Check], games: Sequence[Game]) -> tuple[Conclusion, str]:
    broken = [check for check in checks if check.holds is False]
    proved = [game for game in games if game.conclusion is Conclusion.VIOLATION]
    if broken or proved:
        parts = [f"{check.name}: {check.why}" for check in broken]
        parts += [f"canary {game.canary!r}: {game.why}" for game in proved]
        return Conclusion.VIOLATION, "; ".join(parts)
    best = max(games, key=lambda game: game.bounds[0].epsilon)
    if all(game.conclusion is Conclusion.INCONCLUSIVE for game in games):
        return Conclusion.INCONCLUSIVE, best.why
    return Conclusion.CONSISTENT, f"canary {best.canary!r}: {best.why}"


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
