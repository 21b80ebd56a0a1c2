"""The fixed-point grid: real numbers times whole weights, as integers whose sum over all clients is exact.

A client's number x, clipped to [-clip, clip], and its weight w become the integer nearest by chance to
``w * x / step``, where ``step = clip / levels`` and ``levels = 2^(bits-1) - 1``; one more slot carries w itself.

Why no sum wraps. |x| <= clip, so |w*x/step| <= w*levels, and rounding to one of the two whole numbers around it
cannot leave that range, because its ends are whole. Over n clients with w <= max_weight a sum of numbers stays
within ``n * max_weight * levels`` and the sum of weights within ``n * max_weight``, which is no more. The ring is
chosen, or checked, so that this bound is at most its largest number, 2^(modulus_bits-1) - 1. Every number in the
sum is then itself, not itself modulo something.

Where most of a number is noise, sums stay far below that bound but for a chance that can be stated. A grid may be given
a ring that was chosen for such a chance (`defenses.dp.modulus`); a sum that leaves it comes out as another one.

Rounding error. Each client's number moves by less than one step of the weighted value, so a mean moves by less
than ``clients * step / total_weight``; rounding is unbiased, so the errors of different clients cancel, and the
standard deviation is at most ``sqrt(clients) / 2 * step / total_weight``. A larger weight buys finer rounding.

Invariant: a `Grid` that exists cannot wrap unless it was told that its ring was chosen for a chance of it; whatever it
cannot carry is refused before a byte is sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from defenses.entropy import Entropy
from defenses.errors import ProtocolError, UserError
from defenses.ring import Ring, UIntArray
from defenses.upload import Float32Array, Layout

MIN_BITS, MOST_BITS = 2, 24
"""A float32 has 24 bits of precision, so finer levels would carry nothing."""
MAX_WEIGHT = 2**20
MAX_CLIENTS = 2**20

_DRAW_BITS = 32
_CHUNK = 12_288
"""Numbers worked on at a time: they stay in the processor's cache, and no other array is as long as the vector."""


class Outside(StrEnum):
    """What happens to a number beyond its clip."""

    CLIP = "clip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Quantised:
    """An upload on the grid, as private as the upload.

    Attributes:
        slots: ring elements, the numbers in layout order and then the weight; read-only.
        clipped: how many numbers were beyond their clip. It stays with the client: it depends on private data.
    """

    slots: UIntArray
    clipped: int

    def __post_init__(self) -> None:
        self.slots.flags.writeable = False

    def __repr__(self) -> str:
        return f"Quantised(<{len(self.slots)} slots of {self.slots.dtype}>)"


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid on which the weighted sum of ``clients`` uploads cannot wrap, or only with a chance that was chosen.

    Attributes:
        clip: the largest magnitude that is carried, above 0.
        bits: one number's levels: 2^(bits-1) - 1 on either side of 0, and 0 itself; 2 to 24.
        clients: the most summands.
        max_weight: the largest weight of one client, a whole number; 1 to 2^20.
        modulus_bits: sums are modulo 2^modulus_bits; None takes the fewest bits that hold them.
        outside: what happens to a number beyond the clip.
        may_wrap: the ring was chosen for a chance of a wrap, so it need not hold every sum; that of weights it does.

    Raises:
        UserError: a sum could wrap that may not; the sentence names every bound and says which to change.
    """

    clip: float
    bits: int
    clients: int
    max_weight: int
    modulus_bits: int | None = None
    outside: Outside = Outside.CLIP
    may_wrap: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "outside", Outside(self.outside))
        if not (math.isfinite(self.clip) and 1e-30 <= self.clip <= 1e30):
            raise UserError(f"grid.clip is {self.clip}", "use a number from 1e-30 to 1e30")
        for name, least, most in (
            ("bits", MIN_BITS, MOST_BITS),
            ("clients", 1, MAX_CLIENTS),
            ("max_weight", 1, MAX_WEIGHT),
        ):
            if not least <= getattr(self, name) <= most:
                raise UserError(f"grid.{name} is {getattr(self, name)}", f"use {least} to {most}")
        # At most 64: 23 bits of levels, 20 of clients, 20 of weight, and the sign.
        most = self.clients * self.max_weight * (1 if self.may_wrap else self.levels)
        needed = most.bit_length() + 1
        if self.modulus_bits is None:
            object.__setattr__(self, "modulus_bits", needed)
        if needed > self.ring.bits:
            raise UserError(
                f"grid.modulus_bits is {self.modulus_bits}, and the sum of {self.clients} clients with weights up "
                f"to {self.max_weight} and {self.bits} bits a number needs {needed}",
                f"raise grid.modulus_bits or {self._remedy(self.ring.largest)}",
            )

    @property
    def levels(self) -> int:
        """Steps from 0 to the clip."""
        return int((1 << (self.bits - 1)) - 1)

    @property
    def step(self) -> float:
        """The width of one level."""
        return self.clip / self.levels

    @property
    def bound(self) -> int:
        """The largest magnitude that any sum can reach."""
        return self.clients * self.max_weight * self.levels

    @property
    def ring(self) -> Ring:
        """Where sums are formed."""
        assert self.modulus_bits is not None
        return Ring(self.modulus_bits)

    def _remedy(self, largest: int) -> str:
        """Which bound to change, and how far, for sums up to ``largest``."""
        bits = (largest // (self.clients * self.max_weight) + 1).bit_length()
        weight = largest // (self.clients * self.levels)
        ways = [f"lower grid.bits to {bits}"] * (bits >= MIN_BITS)
        ways += [f"lower grid.max_weight to {weight}"] * (weight >= 1)
        return " or ".join([*ways, "ask fewer clients"])

    def check_sum_fits(self, largest: int, carrier: str) -> None:
        """Refuse where sums must also stay within a carrier other than the ring.

        Args:
            largest: the largest magnitude that the carrier holds.
            carrier: what it is, for the sentence, for example ``"the plain modulus of bfv"``.

        Raises:
            UserError: the bound is beyond it.
        """
        if self.bound > largest:
            raise UserError(
                f"the sum of {self.clients} clients with grid.max_weight {self.max_weight} and grid.bits "
                f"{self.bits} can reach {self.bound}, and {carrier} holds {largest}",
                self._remedy(largest),
            )

    def quantise(
        self,
        values: npt.NDArray[np.floating],
        weight: float,
        entropy: Entropy,
        scale: Float32Array | None = None,
    ) -> Quantised:
        """An upload's numbers and its weight as ring elements.

        Rounding up happens with the probability that makes the mean right. A draw has 32 bits, and the product
        is a float64, so the bias is at most 2^-32 plus 2^-10 of a step, the latter only near 2^43 levels.

        Args:
            values: [size], finite; anything but a finite number is refused.
            weight: a whole number, 1 to ``max_weight``.
            entropy: draws 4 bytes a number.
            scale: [size], public factors of clip and step for each number; None for 1 everywhere.

        Returns:
            [size + 1] ring elements, and how many numbers were clipped.

        Raises:
            UserError: a number or the weight cannot be carried; the sentence shows no number.
        """
        whole = self._whole(weight)
        flat = np.asarray(values).reshape(-1)
        largest = max(float(flat.max(initial=0)), -float(flat.min(initial=0)))
        if not math.isfinite(largest):
            raise UserError("upload holds a number that is not finite", "look for an overflow before it")
        if scale is not None:
            scale = _checked_scale(scale, len(flat))
        parts, beyond = range(0, len(flat), _CHUNK), 0
        inside = scale is None and largest * (self.levels / self.clip) <= self.levels
        if not inside:
            for at in parts:
                beyond += int(np.count_nonzero(np.abs(self._scaled(flat, scale, at)) > self.levels))
        if beyond and self.outside is Outside.REFUSE:
            raise UserError(
                f"upload holds {beyond} numbers beyond grid.clip {self.clip:g}",
                "raise the clip of this kind of upload, or set grid.outside to clip",
            )
        slots = np.empty(len(flat) + 1, dtype=self.ring.dtype)
        # Processors turn numbers into 32-bit integers several times as fast as into 64-bit ones.
        integers = np.int32 if whole * self.levels < 2**31 else np.int64
        for at in parts:
            scaled = self._scaled(flat, scale, at)
            if not inside:
                # Also without a number beyond: a quotient may round to one unit in the last place above the clip.
                np.clip(scaled, -self.levels, self.levels, out=scaled)
            scaled *= whole
            draws = np.frombuffer(entropy.bytes(_DRAW_BITS // 8 * len(scaled)), dtype="<u4")
            floor = np.floor(scaled)
            np.subtract(scaled, floor, out=scaled)
            scaled *= 2.0**_DRAW_BITS
            rounded = np.add(floor.astype(integers), draws < scaled)
            slots[at : at + len(rounded)] = self.ring.wrap(rounded)
        slots[-1] = whole
        return Quantised(slots, beyond)

    def _scaled(
        self, values: npt.NDArray[np.floating], scale: Float32Array | None, at: int
    ) -> npt.NDArray[np.float64]:
        """A chunk of the numbers in steps of the grid."""
        scaled: npt.NDArray[np.float64] = np.multiply(
            values[at : at + _CHUNK], self.levels / self.clip, dtype=np.float64
        )
        if scale is not None:
            scaled /= scale[at : at + _CHUNK]
        return scaled

    def dequantise(self, summed: UIntArray, scale: Float32Array | None = None) -> tuple[Float32Array, int]:
        """The means that a sum of quantised uploads stands for.

        Args:
            summed: [size + 1] ring elements, the weights' sum last.
            scale: as in `quantise`.

        Returns:
            [size] float32 means and the total weight.

        Raises:
            ProtocolError: no uploads on this grid add up to these numbers.
        """
        total, size = int(self.ring.centred(summed[-1:])[0]), len(summed) - 1
        if not 1 <= total <= self.clients * self.max_weight:
            raise ProtocolError("the sum's total weight is none that the clients of the round can have")
        if scale is not None:
            scale = _checked_scale(scale, size)
        means = np.empty(size, dtype=np.float32)
        for at in range(0, size, _CHUNK):
            sums = self.ring.signed(summed[at : min(at + _CHUNK, size)])
            if max(int(sums.max()), -int(sums.min())) > total * self.levels:
                raise ProtocolError("the sum holds a number beyond what its total weight allows")
            part = sums * (self.step / total)
            if scale is not None:
                part *= scale[at : at + _CHUNK]
            means[at : at + _CHUNK] = part
        return means, total

    def _whole(self, weight: float) -> int:
        if weight != int(weight) or not 1 <= weight <= self.max_weight:
            # The weight says how much data a client has, so the sentence does not.
            raise UserError(
                f"upload.weight is no whole number from 1 to grid.max_weight {self.max_weight}",
                "raise grid.max_weight, cap the client's examples, or weigh clients equally",
            )
        return int(weight)


def scales(layout: Layout, factors: Mapping[str, npt.ArrayLike]) -> Float32Array | None:
    """One factor a number from factors by array name; both ends must make them from public facts alone.

    Args:
        layout: the arrays.
        factors: name to a number or an array that broadcasts to the array's shape, for example ``[layers, 2, 1]``
            measured on public texts; an array that is not named has factor 1. All above 0.

    Returns:
        [size], or None where nothing is scaled.
    """
    strangers = sorted(set(factors) - set(layout.names))
    if strangers:
        raise UserError(f"grid.scale names {strangers}", f"the upload's arrays are {list(layout.names)}")
    if not factors:
        return None
    return layout.flatten(
        {
            name: np.broadcast_to(np.asarray(factors.get(name, 1.0), dtype=np.float32), shape)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        }
    )


def _checked_scale(scale: Float32Array, size: int) -> Float32Array:
    if scale.shape != (size,) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise UserError("grid.scale is not one finite factor above 0 for each number", "check the factors")
    return scale
