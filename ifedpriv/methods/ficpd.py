"""FICPD: clients tune soft prompts, one sum a round gathers them by cluster, and the server distils one prompt of all.

First some rounds of one common prompt (``warmup``). Then steps of clustering over the prompts that clients tuned in
the last of them (``splits``), and then rounds in which each client tunes the prompt of a cluster and joins the cluster
that its result lies nearest to. A step of clustering is two rounds: counts, which decide what clusters are large
enough, and prompts, in which the clients of the others join the nearest of those. With one cluster all rounds are of
the first kind.

The invariant: a client keeps nothing between steps but its examples and the prompt that it has just tuned, which is a
function of the state, so that a resumed run repeats it; and what it sends is one block in a sum, whatever the defense.

Reference: the FICPD proposal; what it leaves open is settled in `docs/decisions/0015-prompts-in-clusters.md`.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from defenses.prototypes.slots import MEMBERS, living, slotted
from defenses.prototypes.spherical import nearest
from defenses.session import Aggregate
from defenses.upload import Layout, Upload, UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError
from ifedpriv.icl.guard import GuardVerdict
from ifedpriv.icl.soft_prompt.client_model import BlackBox, WhiteBox
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.icl.soft_prompt.prompt import (
    embedding_scale,
    prompt_width,
    start_from_task,
    start_from_vocabulary,
)
from ifedpriv.icl.soft_prompt.tune import Tuned, TunePlan, tune
from ifedpriv.icl.soft_prompt.zeroth_order import ZerothOrder
from ifedpriv.methods import ficpd_slots as slots
from ifedpriv.methods.ficpd_meta import Distiller
from ifedpriv.methods.ficpd_specs import FicpdSpec
from ifedpriv.methods.method import SERVERS, Client, ClientStep, State
from ifedpriv.methods.recent import recent

_START, _FRAME, _TUNE = 41, 42, 43
_REMEMBERED = 1024
META, SERVER_QUERIES = "meta", f"{SERVERS}queries"


class Phase(StrEnum):
    """What a round is for."""

    COMMON = "common"
    COUNT = "count"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Turn:
    """One round's place in the method.

    Attributes:
        phase: what it is for.
        tuning: number of the tuning whose prompts it is about, from 0; the same for both rounds of a step.
        fresh: whether that tuning happens for it, or had happened before.
        everybody: whether all clients are asked.
    """

    phase: Phase
    tuning: int
    fresh: bool
    everybody: bool


def turns(spec: FicpdSpec) -> tuple[Turn, ...]:
    """All rounds of a run."""
    if spec.clusters == 1:
        return tuple(
            Turn(Phase.COMMON, number, True, number < spec.warmup)
            for number in range(spec.warmup + spec.rounds)
        )
    found = [Turn(Phase.COMMON, number, True, True) for number in range(spec.warmup)]
    for _ in range(spec.splits):
        found += [Turn(phase, spec.warmup - 1, False, True) for phase in (Phase.COUNT, Phase.PROMPT)]
    for number in range(spec.warmup, spec.warmup + spec.rounds):
        found += [Turn(phase, number, phase is Phase.COUNT, False) for phase in (Phase.COUNT, Phase.PROMPT)]
    return tuple(found)


class Ficpd:
    """FICPD on one backbone and one task.

    Args:
        spec: what the configuration says about it.
        backbone: the frozen model.
        task: the task's wording.
        seed: public; fixes starts, directions and each client's batches.
        texts: public seed texts for the distillation; none where there is none.
    """

    def __init__(
        self, spec: FicpdSpec, backbone: Backbone, task: Task, seed: int = 0, texts: Sequence[str] = ()
    ) -> None:
        self.spec = spec
        self.backbone = backbone
        self.task = task
        self.seed = seed
        self.turns = turns(spec)
        self.width = prompt_width(backbone)
        _check(spec, task, self.width)
        self.plan = tune_plan(spec, embedding_scale(backbone), seed)
        self._begin = slots.frame(spec.clusters, spec.length, self.width, (seed, _FRAME))
        zeroth = self.plan.zeroth if spec.access == "black_box" else None
        self._distiller = Distiller(spec.meta, backbone, task, seed, texts, zeroth) if texts else None
        self._models: OrderedDict[int, WhiteBox | BlackBox] = OrderedDict()
        self._tuned: OrderedDict[int, tuple[bytes, Tuned]] = OrderedDict()

    @property
    def rounds(self) -> int:
        """Number of rounds, all phases together."""
        return len(self.turns)

    @property
    def guard_round(self) -> int | None:
        """There is no guard."""
        return None

    def cohort(self, round_number: int) -> int:
        """Both rounds of a step ask the same clients."""
        turn = self.turns[round_number]
        return 0 if turn.everybody else 1 + turn.tuning

    def initial_state(self) -> State:
        """The public start, for the common prompt and for every cluster."""
        spec = self.spec
        if spec.start == "task":
            start = start_from_task(self.backbone, self.task, spec.length)
        else:
            rng = np.random.default_rng([self.seed, _START])
            start = start_from_vocabulary(self.backbone, spec.length, rng)
        return State(0, {"origin": start, "before": start, **self._unparted(start)})

    def asks(self, round_number: int) -> tuple[UploadKind, Layout]:
        """Changes to prompts by cluster, or how many are in each."""
        if self.turns[round_number].phase is Phase.COUNT:
            return UploadKind.COUNTS, slots.count_layout(self.spec.clusters)
        return UploadKind.PROMPTS, slots.prompt_layout(self.spec.clusters, self.spec.length, self.width)

    def broadcasts(self, state: State) -> list[Upload]:
        """The common prompt, the library before a step of clustering, and in its middle who is how many."""
        phase = self.turns[state.round].phase
        if phase is Phase.PROMPT:
            return [Upload({"members": state.arrays["counts"]}, 1.0, state.round, UploadKind.COUNTS)]
        names = ("origin",) if phase is Phase.COMMON else ("origin", "prototypes", "taken", META)
        arrays = {name: state.arrays[name] for name in names if name in state.arrays}
        return [Upload(arrays, 1.0, state.round, UploadKind.PROMPTS)]

    def heard(self, state: State, broadcast: Upload) -> State:
        """What clients decode."""
        if broadcast.kind is UploadKind.COUNTS:
            return state.with_arrays({"counts": broadcast.arrays["members"]})
        return state.with_arrays(broadcast.arrays)

    def takes_part(self, round_number: int, client: Client) -> bool:
        """Whether a client has anything to tune on."""
        return bool(client.train)

    def client_step(self, state: State, client: Client, rng: np.random.Generator) -> ClientStep:
        """Tune, choose a cluster, and give one block of the sum; batches follow from the method's own seed."""
        turn, clusters = self.turns[state.round], self.spec.clusters
        found = self.tuned(state, client)
        loss = found.loss if turn.fresh and math.isfinite(found.loss) else None
        queries = found.queries if turn.fresh else 0
        skipped = f"{found.skipped} steps of tuning" if turn.fresh and found.skipped else ""
        if turn.phase is Phase.COMMON:
            arrays = slots.in_slot(0, found.prompt - state.arrays["origin"], clusters)
            return ClientStep(Upload(arrays, 1.0, state.round, UploadKind.PROMPTS), loss, queries, skipped)
        if turn.phase is Phase.COUNT:
            slot = self._nearest(state, found)
            arrays = {MEMBERS: slotted({}, slot, clusters)[MEMBERS]}
            return ClientStep(Upload(arrays, 1.0, state.round, UploadKind.COUNTS), loss, queries, skipped)
        counts = state.arrays["counts"]
        if not counts.any():
            # The counts were lost, so nothing is known to be large enough.
            arrays = slots.nothing(clusters, *found.prompt.shape)
            return ClientStep(Upload(arrays, 1.0, state.round, UploadKind.PROMPTS), None, queries)
        slot = self._nearest(state, found, living(counts, 1, self.spec.min_members))
        arrays = slots.in_slot(slot, found.prompt - state.arrays["prototypes"][slot], clusters)
        return ClientStep(Upload(arrays, 1.0, state.round, UploadKind.PROMPTS), loss, queries, skipped)

    def server_step(self, state: State, aggregate: Aggregate) -> State:
        """Counts, the mean prompt, or one step of Lloyd's; and the distillation where it is due."""
        turn, a, spec = self.turns[state.round], state.arrays, self.spec
        clients, noise = aggregate.total_weight, aggregate.noise
        if turn.phase is Phase.COUNT:
            counts = aggregate.means[MEMBERS] * np.float32(clients)
            return state.next(counts=counts if noise else np.rint(counts))
        if turn.phase is Phase.COMMON:
            # How many clients take part is public, and all of them are in the first place.
            met = clients >= spec.min_members
            change = slots.calmed(aggregate.means[slots.slot_name(0)], noise)
            common = (a["origin"] + change).astype(np.float32) if met else a["origin"]
            after = state.next(origin=common, before=a["origin"], **self._unparted(common, met=met))
        else:
            found, new, members = slots.lloyd(
                aggregate.means, clients, a["prototypes"], spec.min_members, noise
            )
            after = state.next(
                prototypes=found,
                taken=np.maximum(a["taken"], new.astype(np.float32)),
                origin=slots.pooled(found, members, new, a["origin"]),
                counts=np.zeros(spec.clusters, dtype=np.float32),
            )
        return self._with_meta(after)

    def artifact(self, state: State, facts: dict[str, str] | None = None) -> PromptLibrary:
        """The library that a state stands for: the clusters that had members, and the distilled prompt or the mean."""
        prototypes = self._library(state)
        meta = state.arrays.get(META, state.arrays["origin"])
        over = state.round == self.rounds and len(prototypes) > 0
        if META not in state.arrays and over and self._distiller is not None:
            # The last round, which would have distilled, gave no sum.
            meta = self._distiller.of(prototypes, state.arrays["origin"]).prompt
        return PromptLibrary(meta, prototypes, self.backbone.fingerprint, facts or {})

    def verdict(self, state: State) -> GuardVerdict | None:
        """None: nothing is guarded."""
        return None

    def model(self, client: Client) -> WhiteBox | BlackBox:
        """A client's examples behind the model, as far as it is open."""
        make = WhiteBox if self.spec.access == "white_box" else BlackBox
        return recent(self._models, client, lambda c: make(self.backbone, self.task, c.train))

    def tuned(self, state: State, client: Client) -> Tuned:
        """A client's prompt for a round, computed once for both rounds of a step."""
        turn, a = self.turns[state.round], state.arrays
        # The splits are of what was tuned in the last common round.
        common = turn.phase is Phase.COMMON or (not turn.fresh and turn.tuning < self.spec.warmup)
        starts = self._starts(state) if not common else a["origin" if turn.fresh else "before"][None]
        key = hashlib.sha256(f"{turn.tuning}|{client.number}|".encode() + starts.tobytes()).digest()
        kept = self._tuned.get(client.number)
        if kept is None or kept[0] != key:
            rng = np.random.default_rng([self.seed, _TUNE, turn.tuning, client.number])
            kept = (key, self.tune(starts, client, rng))
            self._tuned[client.number] = kept
            if len(self._tuned) > _REMEMBERED:
                self._tuned.popitem(last=False)
        return kept[1]

    def tune(self, starts: NDArray[np.float32], client: Client, rng: np.random.Generator) -> Tuned:
        """Tune from the start, of several ``[m, L, width]``, that fits a client's examples best."""
        model = self.model(client)
        before = model.queries
        start = starts[0] if len(starts) == 1 else starts[best(model.losses(starts, range(model.examples)))]
        found = tune(model, start, self.plan, rng)
        return Tuned(found.prompt, found.loss, model.queries - before, found.skipped)

    def _nearest(self, state: State, found: Tuned, alive: NDArray[np.bool_] | None = None) -> int:
        a = state.arrays
        centres = slots.directions(a["prototypes"], a["origin"], a["taken"] > 0, self._begin)
        return nearest(found.prompt.astype(np.float64) - a["origin"], centres, alive)

    def _starts(self, state: State) -> NDArray[np.float32]:
        """What a client may begin with: clusters that had members, and the distilled prompt where clients have it."""
        library = self._library(state)
        if META in state.arrays:
            library = np.concatenate([library, state.arrays[META][None]])
        return library if len(library) else state.arrays["origin"][None]

    @staticmethod
    def _library(state: State) -> NDArray[np.float32]:
        return state.arrays["prototypes"][state.arrays["taken"] > 0]

    def _unparted(self, prompt: NDArray[np.float32], *, met: bool = False) -> dict[str, NDArray[np.float32]]:
        """Every cluster at one prompt; with one cluster, that is the library."""
        clusters = self.spec.clusters
        taken = np.full(clusters, 1.0 if met and clusters == 1 else 0.0, dtype=np.float32)
        return {
            "prototypes": np.stack([prompt] * clusters),
            "taken": taken,
            "counts": np.zeros(clusters, dtype=np.float32),
        }

    def distils(self, round_number: int) -> bool:
        """Whether the server distils at a round's end, if there is a sum."""
        turn = self.turns[round_number]
        fresh = self.spec.clusters == 1 or (turn.phase is Phase.PROMPT and turn.tuning >= self.spec.warmup)
        every = self.spec.meta.when == "every_round" and fresh
        return self._distiller is not None and (every or round_number == self.rounds - 1)

    def _with_meta(self, state: State) -> State:
        """The state after a round, with the distilled prompt where it is due."""
        prototypes = self._library(state)
        if self._distiller is None or not self.distils(state.round - 1) or not len(prototypes):
            return state
        found = self._distiller.of(prototypes, state.arrays["origin"])
        queries = np.asarray([found.queries], dtype=np.float32)
        return state.with_arrays({META: found.prompt, SERVER_QUERIES: queries})


def best(losses: NDArray[np.float64]) -> int:
    """The place of the least loss; what is not a number is the largest."""
    return int(np.where(np.isfinite(losses), losses, np.inf).argmin())


def _check(spec: FicpdSpec, task: Task, width: int) -> None:
    """Refuse what only the model and the task show to be impossible."""
    numbers = spec.length * width
    if spec.tuning.intrinsic > numbers:
        raise InputError(
            f"method.tuning.intrinsic is {spec.tuning.intrinsic}, and a prompt has {numbers} numbers",
            f"use at most {numbers}, or 0 for all of them",
        )
    if task.kind is TaskKind.GENERATION and spec.meta.when != "never":
        raise InputError(
            f"method.meta.when is {spec.meta.when!r}, and a generation task has no label words to distil on",
            "use never",
        )


def tune_plan(spec: FicpdSpec, unit: float, seed: int) -> TunePlan:
    """How a client tunes in one round: ``unit`` is the scale of the model's embeddings, ``seed`` public."""
    t = spec.tuning
    zeroth = ZerothOrder(t.directions, t.mu, "sphere", t.intrinsic) if t.estimator == "zeroth_order" else None
    return TunePlan(
        t.steps, t.batch_size, t.rate, t.optimiser, t.norm, t.proximal, zeroth, subspace_seed=seed, unit=unit
    )
