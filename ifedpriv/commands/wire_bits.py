"""How many bits a value of a planned release takes on the wire, under masks and with noise in shares.

Invariant: rings come from the very functions that a run's two ends use, so that a plan tells what will be sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ifedpriv.errors import UserError

if TYPE_CHECKING:
    from defenses.accounting.mechanism import Mechanism

KEYS = ("clients", "bits", "wrap")
"""What a release in shares may say of the wire, beside its mechanism's parameters."""

_SUMMED = {"distributed-discrete-gaussian": (), "skellam": ("dimension", "shares")}
_MOST_CLIENTS = 2**20


@dataclass(frozen=True, slots=True)
class Wire:
    """How one release in shares is sent.

    Attributes:
        clients: how many are asked, each of whom adds a share.
        bits: one client's number has 2^(bits-1) - 1 steps on either side of 0, its noise included.
        wrap: the chance that one round's sum leaves its ring; 0 where it has to hold every sum.
        dimension: numbers of the release, where the mechanism does not say.
        shares: how many clients' noise the guarantee counts on, where the mechanism does not say.
    """

    clients: int
    bits: int
    wrap: float = 0.0
    dimension: int = 0
    shares: int = 0


@dataclass(frozen=True, slots=True)
class Width:
    """What comes of it.

    Attributes:
        bits_per_value: bits that a value is sent at: those of its ring.
        needed_bits: bits of the smallest ring that is wide enough; processors add in 16, 32 and 64, which is what is
            sent where no sum may wrap.
        bytes_per_upload: of the masked numbers of one client: all values, and its weight.
    """

    bits_per_value: int
    needed_bits: int
    bytes_per_upload: int


def taken_out(release: Mapping[str, Any]) -> tuple[dict[str, Any], Wire | None]:
    """A release without what it says of the wire, and that; None where it says nothing.

    The chance of a wrap is left in it as a distance from what the theorem is about.
    """
    name = str(release.get("mechanism"))
    keys = (*KEYS, *_SUMMED.get(name, ()))
    if name not in _SUMMED or not any(key in release for key in keys):
        return dict(release), None
    said = {key: release[key] for key in keys if key in release}
    needed = ("clients", "bits") + (("dimension",) if name == "skellam" else ())
    for key in needed:
        if key not in said:
            raise UserError(
                f"{name} has {', '.join(said)} and lacks {key!r}",
                f"give {', '.join(needed)} for the bits on the wire, or none of them",
            )
    most = {"clients": _MOST_CLIENTS, "bits": 24, "shares": said["clients"], "dimension": 2**31}
    least = {"clients": 2, "bits": 8, "shares": 1, "dimension": 1}
    for key in most.keys() & said.keys():
        value = said[key]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least[key] <= value <= most[key]:
            raise UserError(
                f"{name}.{key} is {value!r}", f"use a whole number from {least[key]} to {most[key]}"
            )
    wrap = said.get("wrap", 0.0)
    if isinstance(wrap, bool) or not isinstance(wrap, int | float) or not 0 <= wrap < 1:
        raise UserError(f"{name}.wrap is {wrap!r}", "use 0 or more, below 1")
    rest = {key: value for key, value in release.items() if key not in said}
    if wrap and isinstance(rest.get("delta", 0), int | float):
        # As a run charges it.
        rest["delta"] = rest.get("delta", 0) + wrap
    return rest, Wire(**said)


def width(wire: Wire, mechanism: Mechanism) -> Width:
    """Bits and bytes of a release whose noise is known.

    Raises:
        UserError: a client's number has no room for its noise and one unit, or fewer clients are asked than are counted
            on.
    """
    from defenses.accounting.discrete import DistributedDiscreteGaussian, Skellam
    from defenses.dp.lattice import Lattice
    from defenses.dp.modulus import ring_bits
    from defenses.noise.distributed import NoiseKind
    from defenses.secagg.masked.policy import Policy

    assert isinstance(mechanism, DistributedDiscreteGaussian | Skellam)
    if isinstance(mechanism, Skellam):
        kind, honest, numbers = NoiseKind.SKELLAM, wire.shares or wire.clients, wire.dimension
        share = math.sqrt(mechanism.mu / honest)
    else:
        kind, honest, numbers = NoiseKind.DISCRETE_GAUSSIAN, mechanism.shares, mechanism.dimension
        share = mechanism.noise_share
    if honest > wire.clients:
        raise UserError(
            f"{mechanism.name}.clients is {wire.clients}, and the noise of {honest} is counted on",
            "ask that many, or count on fewer",
        )
    levels = 2 ** (wire.bits - 1) - 1
    spread = share * math.sqrt(honest)
    terms = Lattice(
        numbers, 1.0, False, math.floor(mechanism.moved), 0, mechanism.moved, spread, share, levels, kind
    )
    if terms.reach < mechanism.moved:
        raise UserError(
            f"{mechanism.name}.bits is {wire.bits}, and beside a noise share of {share:g} steps a number has room for "
            f"{max(terms.reach, 0)} more, where one unit moves it by up to {mechanism.moved:g}",
            "raise bits, or make the step larger: sensitivity and noise are then fewer steps",
        )
    chosen = ring_bits(terms, roster=wire.clients, honest=honest, chance=wire.wrap) if wire.wrap else None
    policy = Policy(
        minimum=max(2, honest),
        collusion=0.0,
        dropout=0.0,
        clip=float(levels),
        bits=wire.bits,
        max_weight=1,
        ring=chosen,
    )
    ring = policy.grid(wire.clients).ring
    needed = chosen or (wire.clients * levels).bit_length() + 1
    return Width(ring.bits, needed, ring.packed_size(numbers + 1))
