"""From a budget to the noise of each release: all of them together cost what was allowed, and no more.

Invariant: the bound is that of the accounting on the very mechanisms that will run, not an estimate of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import brentq

from defenses.accounting.compose import Composition
from defenses.accounting.mechanism import Mechanism
from defenses.errors import UserError

_MOST = 40.0
"""Scales are looked for between exp(-40) and exp(40)."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One kind of release, as often as it will be made.

    Attributes:
        what: in words, for errors.
        make: the mechanism of one release, from its noise multiplier.
        times: how often.
        share: of the budget.
        gain: by how much sampling lowers what a release costs, roughly: the chance of an example to be in a step, times
            the root of the steps; 1 without sampling. It only spreads the budget; the bound does not rest on it.
    """

    what: str
    make: Callable[[float], Mechanism]
    times: int
    share: float
    gain: float = 1.0

    def multiplier(self, scale: float) -> float:
        """This release's noise for a common scale: a share of squared signal-to-noise ratios, which is what adds up."""
        return scale * self.gain * math.sqrt(self.times / self.share)


def calibrated(plan: list[Planned], epsilon: float, delta: float) -> tuple[list[float], float]:
    """The least noise that keeps a budget.

    Args:
        plan: what will be released about one unit.
        epsilon: the budget.
        delta: its failure probability.

    Returns:
        A multiplier for each entry, and the epsilon that they come to, which is at most the budget.

    Raises:
        UserError: no noise can meet it, or nothing is planned.
    """
    for entry in plan:
        if entry.share <= 0:
            raise UserError(
                f"privacy gives {entry.what} none of the budget", "give it a share, or do not release it"
            )

    def spent(scale: float) -> float:
        mechanisms = [(entry.make(entry.multiplier(scale)), entry.times) for entry in plan]
        return Composition.of(mechanisms).epsilon(delta)[0]

    if not plan:
        raise UserError("privacy has a budget and nothing is released", "leave the privacy section out")
    scale = _least(spent, epsilon, f"privacy.epsilon is {epsilon:g} at delta {delta:g}")
    return [entry.multiplier(scale) for entry in plan], spent(scale)


def _least(spent: Callable[[float], float], epsilon: float, budget: str) -> float:
    """The least scale that keeps a budget, to one part in 10^4; the accounting is asked a dozen times."""
    known: dict[float, float] = {}

    def over(log_scale: float) -> float:
        """Roughly linear, since epsilon falls as a power of the noise."""
        if log_scale not in known:
            known[log_scale] = math.log(spent(math.exp(log_scale)) / epsilon)
        return known[log_scale]

    low = high = 0.0
    while over(high) > 0:
        low, high = high, high + 1.0
        if high > _MOST:
            raise UserError(
                f"{budget}, which no noise meets",
                "raise one of them: the sampler's own failure probability may already be larger than delta",
            )
    while over(low) <= 0:
        low, high = low - 1.0, low
        if low < -_MOST:
            return math.exp(high)
    root: float = brentq(over, low, high, xtol=1e-4)
    while over(root) > 0:
        root += 1e-4
    return math.exp(root)
