"""Several releases together: the smallest epsilon that a valid theorem gives, and which theorem that was.

Invariant: an epsilon comes out only for a delta that also covers what lies between the theorems and what is released
(`Mechanism.delta`), and only where every release is proved under the relation asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial, reduce

from defenses.accounting.continuous import Gaussian
from defenses.accounting.gaussian import check_delta, compose_mu, gaussian_delta, gaussian_epsilon
from defenses.accounting.losses import MOST_POINTS, Losses, profile_losses
from defenses.accounting.mechanism import Mechanism
from defenses.accounting.renyi import Curve, epsilon_of, log_delta_of, log_deltas_of
from defenses.accounting.tradeoff import RATES, Attacker, gaussian_attacker, profile_attacker
from defenses.errors import UserError
from defenses.units import Neighbouring, Unit

EXACT = "exact (Gaussian)"
LOSSES = "privacy-loss distribution"
RENYI = "Rényi divergences"
HYBRID = "privacy-loss distribution, Rényi divergences within"

Repeated = Mechanism | tuple[Mechanism, int]
"""A release, or a release and how many times it is made."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What releases add up to, whole.

    Attributes:
        epsilon: the bound.
        delta: its failure probability.
        unit: whose presence it hides.
        neighbouring: how two data sets that must look alike differ.
        method: which theorem gave the smallest epsilon.
    """

    epsilon: float
    delta: float
    unit: Unit
    neighbouring: Neighbouring
    method: str


@dataclass(frozen=True, slots=True)
class Composition:
    """Releases about the same unit, made one after the other, each perhaps with the others in view.

    Attributes:
        parts: each different mechanism and how many times, in an order of their own: what they add up to does not
            depend on the order in which they were given.
    """

    parts: tuple[tuple[Mechanism, int], ...]

    @classmethod
    def of(cls, releases: Iterable[Repeated]) -> Composition:
        """The composition of some releases."""
        counted: Counter[Mechanism] = Counter()
        for release in releases:
            mechanism, times = release if isinstance(release, tuple) else (release, 1)
            if isinstance(times, bool) or not isinstance(times, int) or times < 1:
                raise UserError(
                    f"{mechanism.name} is released {times!r} times", "use a whole number of 1 or more"
                )
            counted[mechanism] += times
        return cls(tuple(sorted(counted.items(), key=repr)))

    @property
    def distance(self) -> float:
        """Statistical distance of all releases together from what the theorems speak about."""
        return math.fsum(times * mechanism.delta for mechanism, times in self.parts)

    @property
    def gdp(self) -> float | None:
        """μ where all of it is exactly Gaussian."""
        mus = [(mechanism.gdp, times) for mechanism, times in self.parts]
        if any(mu is None for mu, _ in mus):
            return None
        return compose_mu(mu * math.sqrt(times) for mu, times in mus if mu is not None)

    def check(self, neighbouring: Neighbouring) -> None:
        """Refuse a release that is not proved under a relation."""
        for mechanism, _ in self.parts:
            if neighbouring not in mechanism.relations:
                proved = " and ".join(sorted(mechanism.relations))
                raise UserError(
                    f"{mechanism.name} is proved for {proved} only, and the plan asks for {neighbouring}",
                    f"ask for {proved}, or account for the steps as gaussian, without sampling",
                )

    def epsilon(self, delta: float) -> tuple[float, str]:
        """The smallest epsilon at a delta, and the method behind it; inf where the distance eats the delta."""
        check_delta(delta)
        distance = self.distance
        if distance == 0:
            return self._epsilon(delta)
        # δ(ε) + (1 + exp ε) distance ≤ delta: from below, each round's epsilon is at most the least that solves it.
        epsilon, method = 0.0, EXACT
        for _ in range(100):
            left = delta - (1 + math.exp(epsilon)) * distance
            if left <= 0 or epsilon > 700:
                return math.inf, method
            following, method = self._epsilon(left)
            if following <= epsilon * (1 + 1e-12):
                return following, method
            epsilon = following
        return math.inf, method

    def delta(self, epsilon: float) -> float:
        """An upper bound on delta at an epsilon of 0 and more."""
        return min(1.0, self._delta(epsilon) + (1 + math.exp(min(epsilon, 700.0))) * self.distance)

    def attacker(self) -> Attacker:
        """The most that an optimal membership attacker can reach against all of it."""
        if self.gdp is not None and self.distance == 0:
            return gaussian_attacker(self.gdp, RATES)
        return profile_attacker(self.delta)

    def _epsilon(self, delta: float) -> tuple[float, str]:
        if self.gdp is not None:
            return gaussian_epsilon(delta, self.gdp) if self.gdp > 0 else 0.0, EXACT
        found = (_renyi_epsilon(self, delta), RENYI)
        made = _losses(self)
        if made is None:
            return found
        losses, name = made
        return min(found, (losses.epsilon(delta), name))

    def _delta(self, epsilon: float) -> float:
        if self.gdp is not None:
            return gaussian_delta(epsilon, self.gdp) if self.gdp > 0 else 0.0
        made = _losses(self)
        if made is None:
            return math.exp(log_delta_of(_curve(self), epsilon))
        return made[0].delta(epsilon)


def compose(releases: Iterable[Repeated], delta: float, unit: Unit, neighbouring: Neighbouring) -> Bound:
    """What releases about the same unit add up to.

    Args:
        releases: mechanisms, alone or with how many times; sensitivities are those of ``neighbouring``.
        delta: the failure probability that the bound may have in all.
        unit: whose presence the sensitivities are of.
        neighbouring: how neighbours differ. Nothing is converted: see `Mechanism.for_replacement`.

    Raises:
        UserError: a release is not proved under this relation, or delta does not cover the distances.
    """
    composition = Composition.of(releases)
    composition.check(Neighbouring(neighbouring))
    epsilon, method = composition.epsilon(delta)
    if math.isinf(epsilon):
        raise UserError(
            f"delta is {delta:g}, which does not cover the releases' own delta of {composition.distance:g}",
            "use a larger one, or more noise, or a sampler nearer to its ideal",
        )
    return Bound(epsilon, delta, Unit(unit), Neighbouring(neighbouring), method)


@lru_cache(maxsize=128)
def _curve(composition: Composition) -> Curve:
    return lru_cache(maxsize=1024)(
        lambda order: math.fsum(times * mechanism.renyi(order) for mechanism, times in composition.parts)
    )


@lru_cache(maxsize=256)
def _renyi_epsilon(composition: Composition, delta: float) -> float:
    return epsilon_of(_curve(composition), delta)


@lru_cache(maxsize=16)
def _losses(composition: Composition) -> tuple[Losses, str] | None:
    """The distribution of all losses, and its name; None where no release has one.

    Gaussian releases are joined exactly first, and releases without a distribution into one profile.
    """
    gaussian, listed, others = [], [], []
    for mechanism, times in composition.parts:
        if mechanism.gdp is not None:
            gaussian.append(mechanism.gdp * math.sqrt(times))
        elif mechanism.loss_scale is not None:
            listed.append((mechanism, times))
        else:
            others.append((mechanism, times))
    if gaussian:
        listed.append((Gaussian(compose_mu(gaussian), 1.0), 1))
    scales = [mechanism.loss_scale for mechanism, _ in listed if mechanism.loss_scale is not None]
    if not scales:
        return None
    # Fine beside one release's losses and beside the result, and still some hundred thousand points at most.
    rough = _renyi_epsilon(composition, 1e-6)
    finest, reach = min(scale[0] for scale in scales), max(scale[1] for scale in scales)
    interval = max(min(finest / 12, 5e-4 * max(rough, 1e-3)), 1e-5 * rough, 2 * reach / MOST_POINTS)
    found = [losses.repeated(times) for mechanism, times in listed if (losses := mechanism.losses(interval))]
    if others:
        profile = profile_losses(partial(log_deltas_of, _curve(Composition(tuple(others)))), interval)
        if profile is None:
            return None
        found.append(profile)
    return reduce(Losses.then, found), HYBRID if others else LOSSES
