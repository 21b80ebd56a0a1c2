"""IFed-ICL in clusters: which clients mean the same is found first, then each cluster has its vector and coefficients.

Rounds of clustering (`clustering.py`), one for vectors, n for coefficients, one for the guard. Every upload from the
vectors on holds a block for each cluster, and a client fills its own.

The invariant: one sum serves all clusters, so that secure aggregation hides which one a client is in, and the numbers
are the same with every defense but for its rounding.
"""

from __future__ import annotations

from copy import copy
from functools import partial

import numpy as np
from numpy.typing import NDArray

from defenses.prototypes.slots import MEMBERS, per_slot, slot_layout, slotted
from defenses.session import Aggregate
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.icl.calibrate import CalibrationPlan
from ifedpriv.icl.extract import extract
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.icl.sketch import PublicSketch, classes_of
from ifedpriv.icl.vectors import Coefficients, ContextVector
from ifedpriv.methods import guarding
from ifedpriv.methods.client_work import ClientWork
from ifedpriv.methods.clustering import ALIVE, CENTRES, Clustering, Phase
from ifedpriv.methods.ifed_icl import calibration_plan, joined, split, starting_coefficients
from ifedpriv.methods.method import Client, ClientStep, State
from ifedpriv.methods.public_start import PublicStart
from ifedpriv.methods.specs import PrototypeIclSpec

VECTORS, COEFFICIENTS = "vectors", "scalars"


class PrototypeIcl:
    """Clustered IFed-ICL on one backbone and one task.

    Args:
        spec: what the configuration says about it.
        backbone: the frozen model.
        task: the task's wording.
        sketch: public coordinates in which clients are compared.
        seed: public; fixes the starts of the clustering.
        groups: names of the groups, for an oracle; empty otherwise.
        noised: uploads are clipped and noised.
        work: what has been computed of the clients' examples already.
        public: coefficients from public tasks, where the specification asks for them.
    """

    def __init__(
        self,
        spec: PrototypeIclSpec,
        backbone: Backbone,
        task: Task,
        sketch: PublicSketch,
        *,
        seed: int = 0,
        groups: tuple[str, ...] = (),
        noised: bool = False,
        work: ClientWork | None = None,
        public: PublicStart | None = None,
    ) -> None:
        if (public is None) != (spec.coefficients == "federated"):
            raise ValueError("public coefficients are given where they are asked for, and only there")
        self.spec = spec
        self.backbone = backbone
        self.task = task
        self.sketch = sketch
        self.groups = groups
        self.noised = noised
        self.public = public
        self.work = ClientWork(backbone, task) if work is None else work
        self.clustering = Clustering(spec.clusters, sketch.size, seed)
        # Measured from what everybody knows where vectors are clipped, so that little is left to cut.
        known = sketch.centres.mean(axis=0) if noised else np.zeros_like(sketch.centres[0])
        self._anchor = known.reshape(backbone.n_layers, 2, backbone.width)
        self._sketches: dict[int, tuple[Client, NDArray[np.float32]]] = {}
        self._unreadable: dict[int, int] = {}
        self._stand_in: State | None = None

    def standing_in(self, found: State, vectors: NDArray[np.float32]) -> PrototypeIcl:
        """The same method after the round of vectors, with others for the clients'.

        Args:
            found: any later state of the run, whose clusters stay as they are.
            vectors: as they are injected, float32 ``[clusters, layers, 2, width]``.
        """
        other = copy(self)
        clusters = {name: found.arrays[name] for name in (CENTRES, ALIVE)}
        before = State(self.vector_round, {**self.initial_state().arrays, **clusters})
        other._stand_in = self._injected(before, vectors, np.zeros(len(vectors)))
        return other

    @property
    def vector_shape(self) -> tuple[int, ...]:
        """Of all clusters' vectors together."""
        return self.spec.clusters.slots, self.backbone.n_layers, 2, self.backbone.width

    @property
    def vector_round(self) -> int:
        """Number of the round that asks for vectors."""
        return len(self.clustering.phases)

    @property
    def rounds(self) -> int:
        """Clustering, vectors, coefficients and the guard; with frozen coefficients vectors are the last."""
        if self.spec.frozen:
            return self.vector_round + 1
        return self.vector_round + 1 + self.spec.calibration.rounds + (1 if self.spec.guard else 0)

    @property
    def guard_round(self) -> int | None:
        """Number of the round that asks for held-out scores, if there is one."""
        return self.rounds - 1 if self.spec.guard and not self.spec.frozen else None

    def cohort(self, round_number: int) -> int:
        """Clusters and vectors are everybody's; later rounds draw."""
        return 0 if round_number <= self.vector_round else round_number

    def initial_state(self) -> State:
        """No cluster has a vector, unless others stand in; coefficients are at their start."""
        if self._stand_in is not None:
            return self._stand_in
        start = starting_coefficients(self.spec, self.backbone.n_layers).values
        arrays = {
            VECTORS: np.zeros(self.vector_shape, dtype=np.float32),
            COEFFICIENTS: np.stack([start] * self.spec.clusters.slots),
            **self.clustering.initial(),
        }
        return State(0, arrays)

    def phase(self, round_number: int) -> Phase | None:
        """What a round of clustering is for; None for the rounds after."""
        return self.clustering.phases[round_number] if round_number < self.vector_round else None

    def asks(self, round_number: int) -> tuple[UploadKind, Layout]:
        """What the clustering asks; then blocks of vectors, of changes to coefficients, and held-out scores."""
        phase, slots = self.phase(round_number), self.spec.clusters.slots
        if phase is not None:
            return self.clustering.asks(phase)
        layers, width = self.backbone.n_layers, self.backbone.width
        if round_number == self.vector_round:
            return UploadKind.VECTOR, slot_layout({"prototype": (layers, 2, width)}, slots)
        if round_number == self.guard_round:
            return guarding.ASKED
        return UploadKind.COEFFICIENTS, slot_layout({"beta": (layers, 2), "lambda": (layers, 2)}, slots)

    def broadcasts(self, state: State) -> list[Upload]:
        """Where the clusters are; the vectors once, as soon as there are any; then the coefficients in every round."""
        number = state.round
        if number <= self.vector_round:
            return self.clustering.broadcasts(state, self.phase(number)) if self.vector_round else []
        found = []
        if number == self.vector_round + 1:
            found.append(Upload({VECTORS: state.arrays[VECTORS]}, 1.0, number, UploadKind.VECTOR))
        return [*found, Upload(split(state.arrays[COEFFICIENTS]), 1.0, number, UploadKind.COEFFICIENTS)]

    def heard(self, state: State, broadcast: Upload) -> State:
        """What the clients decode."""
        if broadcast.kind is UploadKind.COEFFICIENTS:
            return state.with_arrays({COEFFICIENTS: joined(broadcast.arrays)})
        return state.with_arrays(broadcast.arrays)

    def takes_part(self, round_number: int, client: Client) -> bool:
        """Whether a client has what the round asks for."""
        return bool(client.validation) if round_number == self.guard_round else bool(client.train)

    def client_step(self, state: State, client: Client, rng: np.random.Generator) -> ClientStep:
        """Sketch, extract, calibrate or score, whichever the round asks for."""
        phase = self.phase(state.round)
        if phase is not None:
            # A sketch is computed once, so a client that has been restarted computes it anew and counts it no more.
            asked = len(client.train) if state.round == 0 else 0
            given = self.clustering.gives(state, phase, self.sketch_of(client))
            broken = self._unreadable.get(client.number, 0)
            return ClientStep(given, None, asked, f"{broken} rows of its sketch" if broken else "")
        if state.round == self.vector_round:
            return ClientStep(self._vector(state, client), None, len(client.train))
        if state.round == self.guard_round:
            bank = self.artifact(state)
            own = bank.mixed(self.shares(bank, client))
            held = guarding.scores(self.backbone, self.task, client, own, state.round)
            return ClientStep(held, None, 2 * len(client.validation))
        slot = self.slot(state, client)
        before = Coefficients(state.arrays[COEFFICIENTS][slot])
        plan = self.plan(state.round)
        vector = ContextVector(state.arrays[VECTORS][slot], 0)
        found = self.work.calibrator(client).run(vector, before, plan, rng)
        change = found.coefficients.values - before.values
        blocks = slotted(split(change), slot, self.spec.clusters.slots)
        asked = plan.steps * min(plan.batch_size, len(client.train))
        return ClientStep(Upload(blocks, 1.0, state.round, UploadKind.COEFFICIENTS), found.loss, asked)

    def server_step(self, state: State, aggregate: Aggregate) -> State:
        """The clustering's step, each cluster's mean vector, each cluster's mean change, or pooled scores."""
        phase, clients = self.phase(state.round), round(aggregate.total_weight)
        if phase is not None:
            return self.clustering.took(state, phase, aggregate)
        if state.round == self.vector_round:
            kept = {"prototype": np.zeros_like(state.arrays[VECTORS])}
            found = per_slot(aggregate.means, clients, kept)["prototype"]
            alive = state.arrays[ALIVE] * (aggregate.means[MEMBERS] * clients >= 0.5)
            return self._with_vectors(state.with_arrays({ALIVE: alive}), found, aggregate)
        if state.round == self.guard_round:
            return state.next(guard=guarding.pooled(aggregate))
        before = state.arrays[COEFFICIENTS]
        change = joined(per_slot(aggregate.means, clients, split(np.zeros_like(before))))
        return state.next(**{COEFFICIENTS: before + change})

    def _with_vectors(self, state: State, moved: NDArray[np.float32], aggregate: Aggregate) -> State:
        vectors = moved + self._anchor
        if self.public is not None:
            vectors = np.stack([self.public.centred(vector) for vector in vectors])
        # A cluster's mean is of fewer clients, so the noise in it is larger.
        noise = aggregate.noise / np.clip(aggregate.means[MEMBERS].astype(np.float64), 1e-3, 1.0)
        return self._injected(state, vectors, noise)

    def _injected(self, state: State, vectors: NDArray[np.float32], noise: NDArray[np.float64]) -> State:
        """The state after the round of vectors; public coefficients are chosen for a vector and the noise in it."""
        if self.public is None:
            return state.next(**{VECTORS: vectors})
        coefficients = state.arrays[COEFFICIENTS].copy()
        for slot in np.flatnonzero(state.arrays[ALIVE] > 0):
            coefficients[slot] = self.public.choice(vectors[slot], float(noise[slot])).coefficients.values
        return state.next(**{VECTORS: vectors, COEFFICIENTS: coefficients})

    def sketch_of(self, client: Client) -> NDArray[np.float32]:
        """A client's sketch, computed once."""
        kept = self._sketches.get(client.number)
        if kept is None or kept[0] is not client:
            rows = self.work.activations(client, Position(self.spec.position), self.spec.batch_size)
            self._unreadable.pop(client.number, None)
            told = partial(self._unreadable.__setitem__, client.number)
            kept = (client, self.sketch.of(rows, classes_of(self.task, client.train), told))
            # A sketch is of a few hundred numbers, so everybody's are kept.
            self._sketches[client.number] = kept
        return kept[1]

    def slot(self, state: State, client: Client) -> int:
        """A client's cluster."""
        if self.groups:
            return self.groups.index(client.group)
        if not self.vector_round:
            return 0
        return self.clustering.slot(state, self.sketch_of(client))

    def plan(self, round_number: int) -> CalibrationPlan:
        """Local steps of a coefficient round."""
        return calibration_plan(self.spec, self.backbone.n_layers, round_number - self.vector_round)

    def shares(self, bank: PrototypeBank, client: Client) -> NDArray[np.float64]:
        """How much of each prototype a client uses, ``[prototypes]``: its nearest, or a mix of all."""
        if self.groups:
            return np.asarray(np.asarray(bank.slots) == self.groups.index(client.group), dtype=np.float64)
        if len(bank) == 1:
            return np.ones(1)
        return self.clustering.weights(bank.centres, self.sketch_of(client))

    def artifact(self, state: State, facts: dict[str, str] | None = None) -> PrototypeBank:
        """The prototypes that a state stands for: those of clusters that are large enough."""
        alive = np.flatnonzero(state.arrays[ALIVE] > 0)
        return PrototypeBank(
            state.arrays[VECTORS][alive],
            state.arrays[COEFFICIENTS][alive],
            tuple(int(slot) for slot in alive),
            state.arrays[CENTRES][alive],
            self.backbone.fingerprint,
            facts or {},
        )

    def verdict(self, state: State) -> GuardVerdict | None:
        """What the guard found, once its round is over, or what speaks for public coefficients."""
        if self.spec.frozen:
            return self.public.verdict(0.0) if self.public is not None and self.spec.guard else None
        if "guard" not in state.arrays:
            return None
        return guarding.verdict_of(state.arrays["guard"], noised=self.noised)

    def _vector(self, state: State, client: Client) -> Upload:
        vector = extract(
            self.backbone,
            self.task,
            client.train,
            position=Position(self.spec.position),
            batch_size=self.spec.batch_size,
            demonstrations=self.work.calibrator(client).demonstrations,
        )
        blocks = slotted(
            {"prototype": vector.values - self._anchor}, self.slot(state, client), self.spec.clusters.slots
        )
        return Upload(blocks, 1.0, state.round, UploadKind.VECTOR)
