"""What is said of a guess once it is judged: numbers beside those of controls, and a verdict.

The invariant: a finding holds numbers and whose they are, and no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from attacks._base.attack import Scope


class Verdict(StrEnum):
    """What a finding amounts to; `docs/attacks.md` has the thresholds."""

    SEVERE = "severe"
    WORKS = "works"
    INCONCLUSIVE = "inconclusive"
    RESISTED = "resisted"
    NOT_EVALUABLE = "not evaluable"

    @property
    def leaks(self) -> bool:
        """Whether a release gate should close."""
        return self in (Verdict.SEVERE, Verdict.WORKS)


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much a metric is better than the best control's; below 0 where it is worse, also for a distance.

    Attributes:
        control: which one is best on average.
        value: mean difference over vectors.
        interval: of that mean, by bootstrap over vectors; None with fewer than two.
    """

    control: str
    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured number with what it is to be compared with.

    Attributes:
        attack, method, scope: as in the `Guess`.
        metric: what was measured.
        value: its mean over vectors; None if it could not be.
        interval: of the mean, by bootstrap over vectors; None with fewer than two.
        vectors: how many vectors.
        controls: the same metric for guesses made without the vector.
        verdict: what it amounts to; None for a metric that has no threshold.
        why: one sentence, or nothing.
        by_vector: the value of each vector, by whose it is.
        gain: over the best control; None for a metric that has no threshold, and where there is no control.
    """

    attack: str
    method: str
    scope: Scope
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    vectors: int
    controls: tuple[tuple[str, float], ...]
    verdict: Verdict | None
    why: str
    by_vector: tuple[tuple[str, float], ...] = ()
    gain: Gain | None = None
