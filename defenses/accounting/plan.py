"""Before anybody spends: which noise a list of releases needs for a budget, or what it costs with given noise.

Invariant: a calibrated plan has been composed anew with the very numbers it holds, and came out at the budget or
below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from defenses.accounting.composition import Bound, Composition
from defenses.accounting.continuous import SampledGaussian
from defenses.accounting.gaussian import check_delta, check_epsilon, gaussian_mu_for
from defenses.accounting.mechanism import Mechanism
from defenses.accounting.mechanisms import mechanism_class, mechanism_from_json
from defenses.decimals import at_most
from defenses.errors import UserError
from defenses.units import Neighbouring, Unit

_DIGITS = 6
_ENOUGH = 1e-3
_EXACTLY = 1e-9
_NARROW = 1e-6
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Planned:
    """One kind of release in a plan.

    Attributes:
        mechanism: the mechanism; where `fixed` is False its noise is a place-holder that calibration replaces.
        count: how many times a unit takes part in it.
        share: part of the budget that it may spend, where its noise is not fixed: of the squared μ that the releases
            whose noise is free have together, so that for Gaussian releases twice the share is √2 times the signal
            to noise. None for an equal part of what the others leave.
        fixed: its noise was given.
    """

    mechanism: Mechanism
    count: int = 1
    share: float | None = None
    fixed: bool = True

    def __post_init__(self) -> None:
        name = self.mechanism.name
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise UserError(f"{name}.count is {self.count!r}", "use a whole number of 1 or more")
        if self.share is not None and not (_is_number(self.share) and 0 < self.share <= 1):
            raise UserError(f"{name}.share is {self.share!r}", "use a part of the budget above 0 and up to 1")
        if self.fixed and self.share is not None:
            raise UserError(
                f"{name} has a share of the budget and its noise too",
                f"leave out share or {self.mechanism.noise_field}",
            )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Planned:
        """A release from ``mechanism``, its parameters, and optionally ``count`` and ``share``; strict."""
        given = dict(data)
        count, share = given.pop("count", 1), given.pop("share", None)
        kind = mechanism_class(str(given.get("mechanism")))
        fixed = given.get(kind.noise_field) is not None
        if not fixed:
            given[kind.noise_field] = 1.0
        return cls(mechanism_from_json(given), count, share, fixed)

    def at(self, mu: float) -> Planned:
        """This release at the noise at which all its repetitions together spend about μ.

        Exactly for Gaussian noise; by the central limit theorem of Bu, Dong, Long, Su (2020) for steps on samples.
        Only the parts of the budget rest on that, never the bound.
        """
        mechanism = self.mechanism
        if isinstance(mechanism, SampledGaussian):
            steps = mechanism.steps * self.count
            per_step = mu**2 / steps
            if mechanism.rate == 1:
                spread = 1 / math.sqrt(per_step)
            else:
                spread = 1 / math.sqrt(math.log1p(per_step / mechanism.rate**2))
        else:
            spread = mechanism.moved * math.sqrt(self.count) / mu
        return replace(self, mechanism=mechanism.with_spread(spread), share=None, fixed=True)

    def rounded_up(self) -> Planned:
        """The same with its noise rounded up to six digits, so that what is printed is what was proved."""
        name = self.mechanism.noise_field
        value = _up(float(getattr(self.mechanism, name)))
        return replace(self, mechanism=replace(self.mechanism, **{name: value}))  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will release about one unit, and the failure probability that it may have.

    Attributes:
        releases: in any order.
        delta: for all of it together.
        unit: whose presence the sensitivities are of.
        neighbouring: how neighbours differ.
        population: how many units there are; delta may not be above one over it.
    """

    releases: tuple[Planned, ...]
    delta: float
    unit: Unit
    neighbouring: Neighbouring
    population: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", Unit(self.unit))
        object.__setattr__(self, "neighbouring", Neighbouring(self.neighbouring))
        check_delta(self.delta)
        if not self.releases:
            raise UserError("the plan has no releases", "name at least one")
        if self.population is not None:
            if (
                isinstance(self.population, bool)
                or not isinstance(self.population, int)
                or self.population < 1
            ):
                raise UserError(f"population is {self.population!r}", "use a whole number of 1 or more")
            check_population(self.delta, self.population)
        Composition.of(release.mechanism for release in self.releases).check(self.neighbouring)
        _ = self.weights

    @property
    def fixed(self) -> bool:
        """True where every noise is given."""
        return all(release.fixed for release in self.releases)

    def composition(self) -> Composition:
        """All releases, with every repetition."""
        if not self.fixed:
            raise UserError("the plan leaves noise open", "give an epsilon to find it for, or give the noise")
        return Composition.of((release.mechanism, release.count) for release in self.releases)

    def bound(self) -> Bound:
        """What the plan costs, where every noise is given."""
        epsilon, method = self.composition().epsilon(self.delta)
        if math.isinf(epsilon):
            raise self._eaten()
        return Bound(epsilon, self.delta, self.unit, self.neighbouring, method)

    def calibrated(self, epsilon: float) -> tuple[Plan, Bound]:
        """The plan with the noise that spends this epsilon, up to a thousandth less, and what it then costs.

        Raises:
            UserError: no noise can meet the budget, or every noise is given already.
        """
        check_epsilon(epsilon)
        if self.fixed:
            raise UserError("every release of the plan has its noise", "leave one out, or leave out epsilon")
        given = [(release.mechanism, release.count) for release in self.releases if release.fixed]
        spent, _ = Composition.of(given).epsilon(self.delta) if given else (0.0, "")
        if spent >= epsilon:
            raise UserError(
                f"the releases whose noise is given cost epsilon {at_most(spent, 4)} already, and the budget is "
                f"{epsilon:g}",
                "give them more noise, or raise epsilon",
            )
        if 2 * self._distance >= self.delta:
            raise self._eaten()
        goal = gaussian_mu_for(epsilon, self.delta)
        tolerance = _EXACTLY if self._at(goal).composition().gdp is not None else _ENOUGH
        low = self._search(goal, epsilon, tolerance)
        if low == 0:
            raise UserError(
                f"no noise brings the plan to epsilon {epsilon:g} at delta {self.delta:g}",
                "raise epsilon, or plan fewer releases",
            )
        while True:
            plan = self._rounded(low)
            bound = plan.bound()
            if bound.epsilon <= epsilon:
                return plan, bound
            # A grid of losses moves with the noise, so a little more noise can come out a little dearer.
            low *= 1 - 1e-4

    def _rounded(self, mu: float) -> Plan:
        releases = tuple(
            new if old.fixed else new.rounded_up()
            for old, new in zip(self.releases, self._at(mu).releases, strict=True)
        )
        return replace(self, releases=releases)

    def _search(self, mu: float, epsilon: float, tolerance: float) -> float:
        """The largest μ found whose plan costs at most epsilon; 0 for none. Secants, and halving where they stray."""
        low, high = 0.0, math.inf
        aim = math.log(epsilon * (1 - tolerance / 2))
        before: tuple[float, float] | None = None
        for _ in range(_TRIES):
            found = self._at(mu)._epsilon()
            if found <= epsilon:
                low = mu
                if found >= epsilon * (1 - tolerance):
                    break
            else:
                high = mu
            if high <= low * (1 + _NARROW):
                break
            # μ is about proportional to epsilon where nothing else is known.
            here = (math.log(mu), math.log(found) if 0 < found < math.inf else math.inf)
            slope = 1.0
            if before is not None and here[0] != before[0]:
                slope = (here[1] - before[1]) / (here[0] - before[0])
            step = (aim - here[1]) / slope if 0 < slope < math.inf else math.nan
            before = here
            mu = math.exp(here[0] + max(-3.0, min(step, 3.0))) if math.isfinite(step) else 0.0
            if not low < mu < high:
                mu = (
                    math.sqrt(low * high) if low > 0 and high < math.inf else 2 * low if low > 0 else high / 4
                )
        return low

    def _at(self, mu: float) -> Plan:
        releases = tuple(
            release if release.fixed else release.at(mu * math.sqrt(weight))
            for release, weight in zip(self.releases, self.weights, strict=True)
        )
        return replace(self, releases=releases)

    def _epsilon(self) -> float:
        return self.composition().epsilon(self.delta)[0]

    @property
    def weights(self) -> tuple[float, ...]:
        """Each release's part of the budget; 0 where its noise is fixed."""
        free = [release for release in self.releases if not release.fixed]
        asked = math.fsum(release.share for release in free if release.share is not None)
        equal = sum(release.share is None for release in free)
        whole = math.isclose(asked, 1, rel_tol=1e-9)
        if free and ((asked > 1 and not whole) or (equal > 0) == whole):
            raise UserError(
                f"shares add up to {asked:g}" + (", and a release without one is left" if equal else ""),
                "let them add up to 1, or leave out a share for the rest",
            )
        rest = (1 - asked) / equal if equal else 0.0
        return tuple(
            0.0 if release.fixed else rest if release.share is None else release.share
            for release in self.releases
        )

    @property
    def _distance(self) -> float:
        return Composition.of((release.mechanism, release.count) for release in self.releases).distance

    def _eaten(self) -> UserError:
        return UserError(
            f"delta is {self.delta:g}, which does not cover the releases' own delta of {self._distance:g}",
            "use a larger one, or a sampler nearer to its ideal",
        )


def check_population(delta: float, population: int) -> None:
    """Refuse a delta at which one of so many units could be published as it is."""
    if delta > 1 / population:
        raise UserError(
            f"delta is {delta:g}, above 1/{population}, where publishing one unit as it is would do",
            f"use less, such as {0.1 / population:.1g}",
        )


PLAN_KEYS = ("releases", "delta", "epsilon", "unit", "neighbouring", "population")


def plan_from_mapping(data: Mapping[str, Any]) -> tuple[Plan, float | None]:
    """A plan, and the epsilon it is for where one is named; strict.

    Args:
        data: ``delta``, ``unit``, ``neighbouring``, ``releases`` (see `Planned.from_mapping`), and optionally
            ``epsilon`` and ``population``.
    """
    for name in data:
        if name not in PLAN_KEYS:
            raise UserError(f"the plan has no field {name!r}", "it has " + ", ".join(PLAN_KEYS))
    for name in ("releases", "delta", "unit", "neighbouring"):
        if data.get(name) is None:
            raise UserError(f"the plan lacks {name!r}", "give it")
    for name in ("delta", "epsilon"):
        if data.get(name) is not None and not _is_number(data[name]):
            raise UserError(f"{name} is {data[name]!r}", "give a number")
    releases = data["releases"]
    if isinstance(releases, str) or not isinstance(releases, list | tuple):
        raise UserError("the plan's releases are no list", "give one entry a release")
    for release in releases:
        if not isinstance(release, Mapping):
            raise UserError(
                f"the plan's release {release!r} is no mapping", "write mechanism: and its parameters"
            )
    plan = Plan(
        tuple(Planned.from_mapping(release) for release in releases),
        float(data["delta"]),
        _member(Unit, "unit", data["unit"]),
        _member(Neighbouring, "neighbouring", data["neighbouring"]),
        data.get("population"),
    )
    epsilon = data.get("epsilon")
    if epsilon is not None:
        check_epsilon(float(epsilon))
    return plan, None if epsilon is None else float(epsilon)


def _member(kind: Any, name: str, value: Any) -> Any:
    words = str(value).replace("-", " ")
    if words not in list(kind):
        raise UserError(
            f"{name} is {value!r}", "use one of " + ", ".join(each.replace(" ", "-") for each in kind)
        )
    return kind(words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _up(value: float) -> float:
    """The next number of six digits, not below this one."""
    scale = 10.0 ** (_DIGITS - 1 - math.floor(math.log10(value)))
    shown = float(f"{math.ceil(value * scale) / scale:.{_DIGITS}g}")
    return shown if shown >= value else float(f"{(math.ceil(value * scale) + 1) / scale:.{_DIGITS}g}")
