"""The rounds in which clusters of clients are found: who asks for what, and what becomes of the sums.

Moments first: two sums say in which directions clients' sketches differ and where the groups lie in these. Then steps
of k-means on the sphere, each of which is a round of counts, that decides which clusters are large enough, and a round
of sums over those. A last round of counts decides which clusters live. Nobody is in a block of their own before that.

The invariant: a client's step reads its own sketch and what the server has broadcast, and its cluster is in no message.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from defenses.prototypes.moments import (
    groups_by_gap,
    mixture,
    principal,
    second_moments,
    second_size,
    third_moments,
    third_size,
    unpacked_second,
    unpacked_third,
)
from defenses.prototypes.slots import MEMBERS, living, per_slot, slot_layout, slotted
from defenses.prototypes.spherical import mixture_weights, nearest, unit
from defenses.session import Aggregate
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.methods.method import State
from ifedpriv.methods.specs import ClustersSpec

Sketch = NDArray[np.float32]

_START = 51
MEAN, DIRECTIONS, CENTRES, ALIVE, COUNTS = "mean", "directions", "centres", "alive", "counts"


class Phase(StrEnum):
    """What a round of clustering is for."""

    SECOND = "second moments"
    THIRD = "third moments"
    COUNT = "counts"
    SUM = "sums"


def phases(spec: ClustersSpec) -> tuple[Phase, ...]:
    """All rounds of clustering; none where there is one cluster, or an oracle."""
    if spec.slots == 1 or spec.found_by == "oracle":
        return ()
    return (Phase.SECOND, Phase.THIRD, *(Phase.COUNT, Phase.SUM) * spec.steps, Phase.COUNT)


class Clustering:
    """Clusters of clients by their sketches.

    Args:
        spec: how they are found.
        size: numbers of a sketch.
        seed: public; fixes the starts of the power method.
    """

    def __init__(self, spec: ClustersSpec, size: int, seed: int) -> None:
        self.spec = spec
        self.size = size
        self.seed = seed
        self.phases = phases(spec)
        # The means of K groups span K - 1 directions around their common mean.
        self.directions = min(spec.slots - 1, size)

    def initial(self) -> dict[str, NDArray[np.float32]]:
        """No direction is known, and every cluster lives, since the first alone does where nothing is found."""
        slots = self.spec.slots
        return {
            CENTRES: np.zeros((slots, self.size), dtype=np.float32),
            ALIVE: np.ones(slots, dtype=np.float32),
        }

    def asks(self, phase: Phase) -> tuple[UploadKind, Layout]:
        """What clients upload in a round."""
        slots = self.spec.slots
        match phase:
            case Phase.SECOND:
                shapes = {"first": (self.size,), "second": (second_size(self.size),)}
            case Phase.THIRD:
                q = self.directions
                shapes = {"first": (q,), "second": (second_size(q),), "third": (third_size(q),)}
            case Phase.COUNT:
                return UploadKind.COUNTS, slot_layout({}, slots)
            case Phase.SUM:
                return UploadKind.CLUSTERS, slot_layout({"sketch": (self.size,)}, slots)
        return UploadKind.CLUSTERS, Layout.of(shapes)

    def broadcasts(self, state: State, phase: Phase | None) -> list[Upload]:
        """What clients need before a round of clustering, or before the round that comes after all of them.

        Args:
            state: the server's.
            phase: of the round that comes; None for the first after clustering.
        """
        names = {
            Phase.SECOND: (),
            Phase.THIRD: (MEAN, DIRECTIONS),
            Phase.COUNT: (CENTRES,),
            Phase.SUM: (ALIVE,),
            None: (ALIVE,),
        }[phase]
        arrays = {name: state.arrays[name] for name in names}
        return [Upload(arrays, 1.0, state.round, UploadKind.CLUSTERS)] if arrays else []

    def gives(self, state: State, phase: Phase, sketch: Sketch) -> Upload:
        """A client's upload in a round."""
        kind = self.asks(phase)[0]
        match phase:
            case Phase.SECOND:
                arrays = {"first": sketch, "second": second_moments(sketch).astype(np.float32)}
            case Phase.THIRD:
                found = self._projected(state, sketch)
                arrays = {
                    "first": found.astype(np.float32),
                    "second": second_moments(found).astype(np.float32),
                    "third": third_moments(found).astype(np.float32),
                }
            case Phase.COUNT:
                arrays = slotted({}, self.slot(state, sketch, all_alive=True), self.spec.slots)
            case Phase.SUM:
                arrays = slotted({"sketch": sketch}, self.slot(state, sketch), self.spec.slots)
        return Upload(arrays, 1.0, state.round, kind)

    def _projected(self, state: State, sketch: Sketch) -> NDArray[np.float64]:
        """A sketch in the directions in which sketches differ; no longer than 1, as the bound on moments asks."""
        centred = sketch.astype(np.float64) - state.arrays[MEAN]
        moved: NDArray[np.float64] = centred @ state.arrays[DIRECTIONS].astype(np.float64).T
        return np.asarray(moved / max(1.0, float(np.linalg.norm(moved))))

    def slot(self, state: State, sketch: Sketch, *, all_alive: bool = False) -> int:
        """A client's cluster: the nearest that lives."""
        alive = self._open(state) if all_alive else state.arrays[ALIVE] > 0
        return nearest(sketch, state.arrays[CENTRES], alive)

    def weights(self, centres: NDArray[np.float32], sketch: Sketch) -> NDArray[np.float64]:
        """How much of each prototype a client uses, ``[prototypes]``, given where the prototypes' clusters lie."""
        if self.spec.use == "mix":
            return mixture_weights(sketch, centres, self.spec.temperature)
        one = np.zeros(len(centres))
        one[nearest(sketch, centres)] = 1
        return one

    @staticmethod
    def _open(state: State) -> NDArray[np.bool_]:
        """Clusters that have a centre: those beyond the number that was found have none."""
        found: NDArray[np.bool_] = np.abs(state.arrays[CENTRES]).sum(axis=1) > 0
        found[0] = True
        return found

    def took(self, state: State, phase: Phase, aggregate: Aggregate) -> State:
        """The state after a round of clustering."""
        match phase:
            case Phase.SECOND:
                return self._directed(state, aggregate)
            case Phase.THIRD:
                return self._placed(state, aggregate)
            case Phase.COUNT:
                clients = round(aggregate.total_weight)
                counts = aggregate.means[MEMBERS] * np.float32(clients)
                alive = living(aggregate.means[MEMBERS], clients, self.spec.min_members) & self._open(state)
                return state.next(**{ALIVE: alive.astype(np.float32), COUNTS: counts.astype(np.float32)})
            case Phase.SUM:
                kept = {"sketch": state.arrays[CENTRES]}
                moved = per_slot(aggregate.means, round(aggregate.total_weight), kept)["sketch"]
                return state.next(**{CENTRES: unit(moved).astype(np.float32)})

    def _directed(self, state: State, aggregate: Aggregate) -> State:
        """In which directions sketches differ, and with ``auto`` how many groups that makes."""
        mean = aggregate.means["first"]
        variances, rows = principal(mean, unpacked_second(aggregate.means["second"], self.size))
        number = self._number(variances, round(aggregate.total_weight))
        directions = np.zeros((self.directions, self.size))
        directions[: number - 1] = rows[: number - 1]
        return state.next(**{MEAN: mean, DIRECTIONS: directions.astype(np.float32)})

    def _number(self, variances: NDArray[np.float64], clients: int) -> int:
        # Clusters of the agreed size are no more than that, however many groups the sketches show.
        room = max(1, min(self.spec.slots, clients // self.spec.min_members, self.size + 1))
        if self.spec.number == "auto":
            return groups_by_gap(variances, room, self.spec.gap)
        return min(self.spec.number, self.size + 1)

    def _placed(self, state: State, aggregate: Aggregate) -> State:
        """Where the groups lie, as directions of sketches."""
        used = int((np.abs(state.arrays[DIRECTIONS]).sum(axis=1) > 0).sum())
        q = self.directions
        first = aggregate.means["first"][:used].astype(np.float64)
        second = unpacked_second(aggregate.means["second"], q)[:used, :used]
        third = unpacked_third(aggregate.means["third"], q)[:used, :used, :used]
        found = mixture(first, second, third, used + 1, np.random.default_rng([self.seed, _START]))
        centres = np.zeros((self.spec.slots, self.size))
        mean = state.arrays[MEAN].astype(np.float64)
        centres[: used + 1] = unit(mean + found.means @ state.arrays[DIRECTIONS][:used].astype(np.float64))
        return state.next(**{CENTRES: centres.astype(np.float32)})
