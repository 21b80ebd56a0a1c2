"""What a bounded release is charged: the theorem behind it, with its numbers in steps, and its entry in the ledger.

Invariant: a mechanism comes from the lattice that the numbers were made on, and from nowhere else.
"""

# Inside functions: the accounting loads scipy, which a program that only prints its help can do without.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from defenses.dp.lattice import Lattice
from defenses.ledger import Event
from defenses.noise.distributed import NoiseKind
from defenses.units import Neighbouring, Trust, Unit
from defenses.upload import UploadKind

if TYPE_CHECKING:
    from defenses.accounting.mechanism import Mechanism


def theorem(
    terms: Lattice, trust: Trust, *, roster: int, honest: int, rate: float, wrap: float = 0.0
) -> Mechanism:
    """The theorem behind one round.

    Rounding at random changes nothing: each row is rounded by itself, so for any outcome of it the theorem holds, and a
    mixture of releases is no easier to tell apart than the easiest of them (divergences are jointly quasi-convex).

    A sum that wraps is a function of the exact one, so it tells no more and the theorem holds for it as it is. Its
    chance is charged all the same, as a distance from what the theorem speaks about: as if such a sum told everything.

    Args:
        terms: the round's lattice.
        trust: who adds the noise.
        roster: how many clients the round asks.
        honest: how many clients' noise the guarantee counts on; only where they add it together.
        rate: the chance with which a unit's row is offered at all. `Bounded` takes one below 1 with discrete Gaussian
            noise only.
        wrap: the chance that the round's sum wraps; only where they add it together.
    """
    if terms.kind is NoiseKind.SKELLAM:
        return _skellam(terms, trust, roster, honest, wrap)
    from defenses.accounting.discrete import DiscreteGaussian, DistributedDiscreteGaussian
    from defenses.accounting.sampled_discrete import SampledDiscreteGaussian

    all_rows: DiscreteGaussian | DistributedDiscreteGaussian
    if trust is Trust.DISTRIBUTED:
        missing = terms.beyond * roster + wrap
        all_rows = DistributedDiscreteGaussian(
            terms.sensitivity, None, terms.share, honest, terms.width, delta=missing
        )
    else:
        all_rows = DiscreteGaussian(terms.sensitivity, terms.noise, terms.width, delta=terms.beyond)
    if rate == 1:
        return all_rows
    # What a sample needs of the noise is its divergence at every order, which `rho` bounds for both.
    return SampledDiscreteGaussian(1 / math.sqrt(2 * all_rows.rho), rate, 1, delta=all_rows.delta)


def _skellam(terms: Lattice, trust: Trust, roster: int, honest: int, wrap: float) -> Mechanism:
    from defenses.accounting.discrete import Skellam

    if trust is Trust.DISTRIBUTED:
        # Below the sum of the variances that are drawn, whatever the product's rounding.
        variance, missing = math.nextafter(honest * terms.share**2, 0.0), terms.beyond * roster + wrap
    else:
        variance, missing = terms.noise**2, terms.beyond
    return Skellam(terms.sensitivity, terms.sensitivity_l1, variance, delta=missing)


def charge(
    released: str, number: int, by: tuple[int, ...], kind: UploadKind, unit: Unit, mechanism: Mechanism
) -> Event:
    """The ledger's entry of one release, under *add or remove*."""
    from defenses.accounting.spent import event_of

    return event_of(
        mechanism,
        released=released,
        round_number=number,
        by=by,
        unit=unit,
        neighbouring=Neighbouring.ADD_OR_REMOVE,
        kind=kind,
    )
