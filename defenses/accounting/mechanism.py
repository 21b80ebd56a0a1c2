"""What every mechanism of the accounting has: sensitivity, noise, and bounds on what it tells.

Invariant: a mechanism claims only what its theorem proves. ``gdp`` is there only where the release is exactly as hard
to tell apart as two normal distributions; `losses` only where the worst pair of outputs is known; `renyi` always.
"""

from __future__ import annotations

import abc
import math
from dataclasses import fields
from typing import Any, ClassVar, Self

from defenses.accounting.losses import Losses
from defenses.errors import UserError
from defenses.units import Neighbouring

BOTH = frozenset(Neighbouring)


class Mechanism(abc.ABC):
    """One release of a kind whose privacy is proved.

    A sensitivity is the most that one unit moves the release under the neighbouring relation in question: adding or
    removing a unit moves a sum by at most its norm, replacing it by up to twice that; `for_replacement` says so.

    Attributes:
        name: what a ledger calls it.
        noise_field: the field that calibration may choose.
        theorem: where its guarantee is proved.
        assumes: what has to be true beside the theorem, for a reader of the result.
        delta: statistical distance between what is released and what the theorem speaks about, for each data set:
            of a sampler from its ideal, for example. It costs (1 + exp ε) times itself of delta.
    """

    __slots__ = ()
    name: ClassVar[str]
    noise_field: ClassVar[str]
    theorem: ClassVar[str]
    assumes: ClassVar[str]
    delta: float

    @property
    @abc.abstractmethod
    def moved(self) -> float:
        """The L2 sensitivity that the guarantee stands on."""

    @property
    @abc.abstractmethod
    def spread(self) -> float:
        """Standard deviation of the noise in the release, in the unit of `moved` (σ, where noise is discrete)."""

    @abc.abstractmethod
    def with_spread(self, spread: float) -> Self:
        """The same release at another noise."""

    @abc.abstractmethod
    def renyi(self, order: float) -> float:
        """An upper bound on the Rényi divergence between neighbours, at a real order above 1."""

    @abc.abstractmethod
    def for_replacement(self) -> Self:
        """The same release under the relation *replace*, from one under *add or remove*: sensitivities double."""

    @property
    def relations(self) -> frozenset[Neighbouring]:
        """The relations under which the theorem holds, each with its own sensitivity."""
        return BOTH

    @property
    def gdp(self) -> float | None:
        """μ where the release is exactly μ-GDP."""
        return None

    @property
    def rho(self) -> float | None:
        """ρ where the release is ρ-zCDP: its divergence is at most ρ times the order (Bun, Steinke 2016)."""
        return None

    @property
    def loss_scale(self) -> tuple[float, float] | None:
        """Where `losses` exists, roughly: the standard deviation of a step's privacy loss, and the largest loss.

        A grid of losses has to be finer than the one and reach the other.
        """
        return None

    def losses(self, interval: float) -> Losses | None:
        """Its privacy-loss distribution, pessimistic, on a grid of this step; None where no worst pair is known."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Name and parameters."""
        return {"mechanism": self.name, **self.parameters}

    @property
    def parameters(self) -> dict[str, float | int | None]:
        """The fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


def positive(mechanism: Mechanism, *names: str) -> None:
    """Refuse a parameter that is not a finite number above 0; an L1 sensitivity may be left out."""
    for name in names:
        value = getattr(mechanism, name)
        if value is None and name == "l1_sensitivity":
            continue
        where = f"{mechanism.name}.{name}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{where} is {value!r}", "give a number")
        if name.startswith(("sensitivity", "l1")):
            if value == 0:
                raise UserError(
                    f"{where} is 0", "what no unit can move needs no noise; leave the release out"
                )
            if not math.isfinite(value):
                raise UserError(f"{where} is {value}, so contributions are not bounded", "clip them first")
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{where} is {value}", "use a finite number above 0")


def whole(mechanism: Mechanism, *names: str) -> None:
    """Refuse a parameter that is not a whole number of 1 or more."""
    for name in names:
        value = getattr(mechanism, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{mechanism.name}.{name} is {value!r}", "use a whole number of 1 or more")


def charged(mechanism: Mechanism) -> None:
    """Refuse a statistical distance that is no probability below 1."""
    value = mechanism.delta
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise UserError(f"{mechanism.name}.delta is {value!r}", "use 0 or more, below 1")
