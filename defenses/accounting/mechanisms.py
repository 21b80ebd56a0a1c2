"""The mechanisms by name, and as JSON.

Invariant: what is read back equals what was written, and nothing that a mechanism does not know is read over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from defenses.accounting.continuous import Gaussian, SampledGaussian
from defenses.accounting.discrete import DiscreteGaussian, DistributedDiscreteGaussian, Skellam
from defenses.accounting.mechanism import Mechanism
from defenses.accounting.sampled_discrete import SampledDiscreteGaussian
from defenses.errors import UserError

MECHANISMS: dict[str, type[Mechanism]] = {
    kind.name: kind
    for kind in (
        Gaussian,
        DiscreteGaussian,
        DistributedDiscreteGaussian,
        Skellam,
        SampledGaussian,
        SampledDiscreteGaussian,
    )
}
"""Every mechanism by its name."""


def mechanism_class(name: str) -> type[Mechanism]:
    """The class of a name, or one sentence that lists the names."""
    if name not in MECHANISMS:
        raise UserError(f"mechanism {name!r} is unknown", "use one of " + ", ".join(MECHANISMS))
    return MECHANISMS[name]


def mechanism_from_json(data: Mapping[str, Any]) -> Mechanism:
    """The inverse of `Mechanism.to_json`; a key too many, one too few or a wrong type is refused."""
    given = dict(data)
    kind = mechanism_class(str(given.pop("mechanism", None)))
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    needed = {name for name, f in known.items() if f.default is MISSING and name != "l1_sensitivity"}
    for name in sorted(set(given) - set(known)):
        raise UserError(f"{kind.name} has no parameter {name!r}", "it has " + ", ".join(known))
    for name in sorted(needed - set(given)):
        raise UserError(f"{kind.name} lacks {name!r}", "give it")
    given |= {"l1_sensitivity": given.get("l1_sensitivity")}
    return kind(**{name: value for name, value in given.items() if name in known})
