"""What becomes of one kind of upload: sent as it is, or bounded, made whole and noised.

A release stands between a method and the protection of frames. A client's end gives an `Upload` that any defense can
carry, since its numbers are whole and small; the server's end turns what comes out of the sum back into the method's
arrays. Invariant: a method sees the same kinds of arrays with and without privacy, and everything the accounting needs
is in the events that a release writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from defenses.compression import projection
from defenses.compression_specs import CompressionSpec
from defenses.dp.charge import charge, theorem
from defenses.dp.contribution import contribution, left_of
from defenses.dp.lattice import Lattice, lattice
from defenses.dp.modulus import ring_bits
from defenses.dp.shrink import shrunk
from defenses.dp.transform import Transform
from defenses.entropy import Entropy, SecureEntropy
from defenses.errors import UserError
from defenses.ledger import Event
from defenses.noise.distributed import NoiseKind, drawn
from defenses.noise.rotation import Rotation
from defenses.noise.rounding import How
from defenses.privacy_specs import GridPrivacy
from defenses.records import Records
from defenses.session import Aggregate
from defenses.units import Trust, Unit
from defenses.upload import Float32Array, Layout, Upload, UploadKind

if TYPE_CHECKING:
    from defenses.accounting.mechanism import Mechanism

ARRAY = "release"
"""The name under which whole numbers travel."""

_SECURE = SecureEntropy()
_PLAIN = GridPrivacy()
_ROTATION = "ifedpriv grid rotation 1"

Contributed = Upload | Records

Told = Callable[[int], None]
"""Told, at the client and nowhere else, how many of its rows were not finite and count as zero."""


class Release(Protocol):
    """The way of one kind of upload through the door."""

    def travels(self, layout: Layout) -> Layout:
        """Names and shapes of what is sent for a method's arrays."""
        ...

    def give(
        self,
        contributed: Contributed,
        centre: Float32Array | None,
        roster: int,
        entropy: Entropy,
        told: Told | None = None,
    ) -> Upload:
        """What a client sends.

        Args:
            contributed: what the method offers.
            centre: what everybody knows already, flat; None where the release has its own.
            roster: how many clients the round asks.
            entropy: draws the noise.
            told: told of rows that are not finite, where such rows count as zero.
        """
        ...

    def take(
        self, aggregate: Aggregate, layout: Layout, centre: Float32Array | None, roster: int, entropy: Entropy
    ) -> Aggregate:
        """What the server has of it, in the method's arrays."""
        ...

    def events(
        self, released: str, number: int, contributors: tuple[int, ...], sent: tuple[int, ...], roster: int
    ) -> list[Event]:
        """What the ledger writes down for a round.

        Args:
            released: what, in words.
            number: of the round.
            contributors: clients whose upload is in the sum; none where no sum came of the round.
            sent: clients that have sent anything.
            roster: how many clients the round asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bounded:
    """Clipped, made whole and noised.

    Attributes:
        kind: what the numbers are.
        unit: whose presence is hidden. For examples the number of units is released too, with noise; clients are
            counted in the open, since everybody sees who takes part.
        trust: who adds the noise: the server, the clients together, or each client for itself.
        transform: public coordinates of the clip.
        clip: norm to which a unit is clipped, in those coordinates.
        multiplier: the noise on the sum over what one unit can move it.
        bits: steps of one number that travels: 2^(bits-1) - 1 on either side of 0.
        count_weight: what one example counts, as a share of the clip.
        most_units: examples of one client for which there is room without cutting.
        relative: rows are measured from what the server has broadcast, such as coefficients before a client's steps; if
            False, from the transform's own centre.
        rate: the chance with which an example's row is offered at all, each by itself; 1 for all rows.
        honest: from the size of a round's roster, how many clients' noise the guarantee counts on; only with noise
            that the clients add together.
        shrink: pull the released mean toward the centre by what is known of the noise.
        by_block: no block of a row takes more than its even share of the clip.
        compression: rows are projected in the transform's coordinates, and the clip is of what is left of them.
        layout: of the method's arrays; only where there is compression.
        grid: how rows become whole numbers, and the law of the noise.
        wrap: the chance that one round's sum wraps, of the ``grid.wrap`` that all rounds share; 0 where none can.
    """

    kind: UploadKind
    unit: Unit
    trust: Trust
    transform: Transform
    clip: float
    multiplier: float
    bits: int = 24
    count_weight: float = 0.25
    most_units: int = 1024
    relative: bool = False
    rate: float = 1.0
    honest: Callable[[int], int] = lambda roster: roster
    shrink: bool = True
    by_block: bool = False
    compression: CompressionSpec | None = None
    layout: Layout | None = None
    grid: GridPrivacy = _PLAIN
    wrap: float = 0.0

    def __post_init__(self) -> None:
        if (self.compression is None) != (self.layout is None):
            raise ValueError("a layout is given where there is compression, and only there")
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise UserError(f"the clip of {self.kind} uploads is {self.clip}", "use a finite number above 0")
        if not (math.isfinite(self.multiplier) and self.multiplier > 0):
            raise UserError(
                f"the noise of {self.kind} uploads is {self.multiplier}", "no budget is that large"
            )
        if self.rate != 1 and self.grid.noise != "gaussian":
            raise UserError(
                f"privacy.grid.noise is {self.grid.noise!r}, and for rows of kind {self.kind} that are sampled at rate "
                f"{self.rate:g} there is a theorem for 'gaussian' alone",
                "use that, or privacy.coefficients.rate 1, or a method without rounds of coefficients",
            )

    @property
    def rank(self) -> int:
        """Numbers of a row before a rotation, without the count; the same in every round."""
        return self.coordinates(None, 0).rank

    def lattice(self, roster: int) -> Lattice:
        """The whole numbers of a round that asks ``roster`` clients."""
        shares = {Trust.CENTRAL: 0, Trust.LOCAL: 1}.get(self.trust, self.honest(roster))
        if shares == 0 and self.trust is Trust.DISTRIBUTED:
            raise UserError(
                f"of {roster} clients privacy.dropout and privacy.colluders leave none whose noise is certain",
                "lower one of them, or ask more clients",
            )
        return lattice(
            rank=self.rank,
            clip=self.clip,
            counted=self.unit is Unit.EXAMPLE,
            count_weight=self.count_weight,
            most_units=self.most_units if self.unit is Unit.EXAMPLE else 1,
            multiplier=self.multiplier,
            shares=shares,
            bits=self.bits,
            kind=NoiseKind.SKELLAM if self.grid.noise == "skellam" else NoiseKind.DISCRETE_GAUSSIAN,
            how=How(self.grid.rounding),
            rotated=self.grid.rotate,
        )

    def ring(self, roster: int) -> int | None:
        """Bits of the ring in which a round that asks ``roster`` clients is summed, where it was chosen for a chance of
        a wrap; None where it has to hold every sum.
        """
        if not self.wrap:
            return None
        return ring_bits(self.lattice(roster), roster=roster, honest=self.honest(roster), chance=self.wrap)

    def rotation(self, round_number: int) -> Rotation | None:
        """What turns a round's rows; of public facts, so that all ends have the same."""
        if not self.grid.rotate:
            return None
        return Rotation(self.rank, f"{_ROTATION}|{self.grid.seed}|{self.kind}|{round_number}".encode())

    def turned_back(self, total: npt.NDArray[np.floating], round_number: int) -> npt.NDArray[np.float64]:
        """The coordinates of the clip ``[rank]`` of a sum that travelled ``[width]``, its count left out."""
        rotation = self.rotation(round_number)
        if rotation is None:
            return np.asarray(total[: self.rank], dtype=np.float64)
        return rotation.undo(total[: rotation.padded])

    def travels(self, layout: Layout) -> Layout:
        """One row of whole numbers."""
        self._check(layout)
        rotation = self.rotation(0)
        numbers = self.rank if rotation is None else rotation.padded
        return Layout.of({ARRAY: (numbers + (self.unit is Unit.EXAMPLE),)})

    def give(
        self,
        contributed: Contributed,
        centre: Float32Array | None,
        roster: int,
        entropy: Entropy,
        told: Told | None = None,
    ) -> Upload:
        """The client's bounded sum with its share of the noise; of weight 1, whatever the client holds.

        A row that holds a number that is not finite counts as zero.

        Raises:
            UserError: examples are to be hidden, and what is offered does not say what each of them did.
        """
        sent = self.several(contributed, centre, roster, entropy, 1, told)[0]
        return Upload({ARRAY: sent.astype(np.float32)}, 1, contributed.round, self.kind)

    def zero(self, layout: Layout, centre: Float32Array | None, round_number: int) -> Upload | None:
        """What a client offers that has nothing finite to offer: its row is zero, before its noise.

        None where examples are hidden: what one of them spoiled would then take all others of its client out of the
        sum, which is more than one row.
        """
        if self.unit is not Unit.CLIENT:
            return None
        around = self.coordinates(centre, round_number).centre
        return Upload(layout.unflatten(around), 1, round_number, self.kind)

    def several(
        self,
        contributed: Contributed,
        centre: Float32Array | None,
        roster: int,
        entropy: Entropy,
        times: int,
        told: Told | None = None,
    ) -> npt.NDArray[np.int64]:
        """The whole numbers of `give`, so many times over with fresh noise each time: ``[times, width]``.

        A client calls it for once; an audit plays many rounds on the same data, and bounds them once.
        """
        terms = self.lattice(roster)
        transform = self.coordinates(centre, contributed.round)
        found = contribution(
            self._rows(contributed),
            transform,
            terms,
            by_block=self.by_block,
            rotation=self.rotation(contributed.round),
            # A branch, so that how much rounding draws does not move the noise.
            entropy=entropy.branch("rounding"),
        )
        if found.broken and told is not None:
            told(found.broken)
        total = np.repeat(found.total[None], times, axis=0)
        if terms.share:
            total += drawn(terms.kind, terms.share, total.size, entropy).reshape(total.shape)
        # Beyond the levels lies what `Lattice.beyond` bounds; a number there could not be carried.
        return np.clip(total, -terms.levels, terms.levels)

    def take(
        self, aggregate: Aggregate, layout: Layout, centre: Float32Array | None, roster: int, entropy: Entropy
    ) -> Aggregate:
        """The mean of units, noised; where the server adds the noise, this is where."""
        terms, clients = self.lattice(roster), len(aggregate.contributors)
        if aggregate.sums is None:
            raise ValueError("a bounded release is taken from one exact sum")
        # Not from the means: a sum that was rounded to their 24 bits moves by more than one unit's row.
        total = self.noised(aggregate.sums.astype(np.float64), roster, entropy)
        units = float(max(total[-1] / terms.unit, 1.0)) if terms.counted else float(clients)
        step = terms.clip / terms.steps / units
        values = self.turned_back(total, aggregate.round) * step
        noise = self.deviation(terms, clients) * step
        transform = self.coordinates(centre, aggregate.round)
        if self.shrink:
            values = shrunk(values, noise, transform.coordinate_blocks)
        means = layout.unflatten(transform.back(values))
        noise *= transform.noise_unit
        # Turned back, a projection's noise is spread over all the numbers that it was made from.
        noise *= math.sqrt(self.rank / layout.size) if self.compression is not None else 1.0
        return Aggregate(means, units, aggregate.contributors, aggregate.kind, aggregate.round, noise=noise)

    def mechanism(self, roster: int) -> Mechanism:
        """The theorem behind a round that asks ``roster`` clients, with its numbers in steps."""
        terms = self.lattice(roster)
        return theorem(
            terms, self.trust, roster=roster, honest=self.honest(roster), rate=self.rate, wrap=self.wrap
        )

    def events(
        self, released: str, number: int, contributors: tuple[int, ...], sent: tuple[int, ...], roster: int
    ) -> list[Event]:
        """One release by all who sent something; where each adds noise for itself, one by each."""
        mechanism = self.mechanism(roster)
        if self.grid.rows_are:
            released = f"{released}, {self.grid.rows_are}"
        bits = self.ring(roster)
        if bits is not None:
            released = f"{released}, summed modulo 2^{bits}"
        groups = [(client,) for client in sent] if self.trust is Trust.LOCAL else [sent]
        return [charge(released, number, group, self.kind, self.unit, mechanism) for group in groups if group]

    def noised(
        self, total: npt.NDArray[np.float64], roster: int, entropy: Entropy
    ) -> npt.NDArray[np.float64]:
        """Sums ``[..., width]`` as others than the server may see them, in whole steps."""
        if self.trust is not Trust.CENTRAL:
            return total
        terms = self.lattice(roster)
        noise = drawn(terms.kind, terms.noise, total.size, entropy)
        return np.asarray(total + noise.reshape(total.shape), dtype=np.float64)

    def alone(
        self, contributed: Contributed, roster: int, entropy: Entropy = _SECURE
    ) -> npt.NDArray[np.int64]:
        """What each unit of a contribution moves the sum by, ``[units, width]`` whole steps; for whoever tests it."""
        terms, transform = self.lattice(roster), self.coordinates(None, contributed.round)
        rows = (row[None] for batch in self._rows(contributed) for row in np.atleast_2d(batch))
        found = [
            contribution(
                [row],
                transform,
                terms,
                by_block=self.by_block,
                rotation=self.rotation(contributed.round),
                entropy=entropy.branch(f"unit {number}"),
            ).total
            for number, row in enumerate(rows)
        ]
        return np.stack(found)

    def left_of(self, rows: npt.NDArray[np.floating]) -> Float32Array:
        """What the clip and the kept directions leave of units' rows ``[n, size]``, in the method's own numbers.

        As an unrotated round without compression makes it, and before it is made whole; for whoever wants to know what
        the sum is a sum of.
        """
        return self.transform.back(left_of(rows, self.transform, self.clip, by_block=self.by_block))

    def deviation(self, terms: Lattice, clients: int) -> float:
        """Standard deviation of the noise in a sum over this many clients, in steps."""
        return terms.share * math.sqrt(clients) if terms.share else terms.noise

    def _rows(self, contributed: Contributed) -> Iterable[npt.NDArray[np.floating]]:
        if self.unit is Unit.CLIENT:
            upload = contributed.mean() if isinstance(contributed, Records) else contributed
            return [upload.layout.flatten(upload.arrays)[None]]
        if not isinstance(contributed, Records):
            raise UserError(
                f"privacy.unit is 'example', and an upload of kind {self.kind} does not say what each example did",
                "use a method that does, or privacy.unit client",
            )
        return contributed.batches

    def coordinates(self, centre: Float32Array | None, round_number: int) -> Transform:
        """In what coordinates a round's rows are clipped."""
        around = self.relative and centre is not None
        transform = self.transform.around(centre) if around and centre is not None else self.transform
        if self.compression is None or self.layout is None:
            return transform
        return transform.through(projection(self.compression, self.layout, round_number))

    def _check(self, layout: Layout) -> None:
        if layout.size != self.transform.size:
            raise UserError(
                f"the public coordinates are for {self.transform.size} numbers, and an upload of kind {self.kind} "
                f"has {layout.size}",
                "make them for the same model and method",
            )
