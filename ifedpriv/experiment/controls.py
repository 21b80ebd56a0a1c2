"""Four other vectors in the place of the run's own, each calibrated as the run was: what does the vector add?

The invariant: a control differs from its run in the vector and in nothing else. Rounds, clients, batches, failures,
private steps, releases and noise are the run's own; so are its clusters, where there are any, and the defense: masks
and ciphertexts cost milliseconds a round beside the calibration's seconds, and behind any other defense clients that
fail in the middle of a round would be in other sums. What a control's rounds release is written down nowhere: it is
the simulator's measurement, and no party of a federation plays it. With ``simulation: false`` its noise is drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.public import public_examples
from ifedpriv.data.task import Example, Task
from ifedpriv.experiment import control_plan
from ifedpriv.experiment.play import Report, play
from ifedpriv.experiment.prepare import Setup, data_root
from ifedpriv.icl.extract import extract
from ifedpriv.icl.prompts import Position, tokenize_all
from ifedpriv.methods.ifed_icl import IfedIcl
from ifedpriv.methods.method import Method, State
from ifedpriv.methods.prototype_icl import VECTORS, PrototypeIcl
from ifedpriv.report.parts import OTHER_TASK, PUBLIC_MEAN, RANDOM_VECTOR, ZERO_VECTOR

Vector = NDArray[np.float32]

_STREAM = 23
_ALIKE = "coefficients calibrated as in the run"
_CHOSEN = "public coefficients, chosen as in the run"
_EACH = " for every cluster of the run"


@dataclass(frozen=True, slots=True)
class Source:
    """Examples whose mean activation is a control's vector; nothing of them is any client's.

    Attributes:
        task: their wording.
        examples: as many as count.
        note: what a reader has to know.
    """

    task: Task
    examples: tuple[Example, ...]
    note: str

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"Source({self.task.name!r}, {len(self.examples)} examples)"


def sources(setup: Setup) -> dict[str, Source]:
    """What the run's controls are made from, read and found to fit the model; those made from nothing are not in it.

    Raises:
        InputError: public texts or another task are named and cannot be had.
    """
    config = setup.config
    wanted = control_plan.evaluable(config)
    found: dict[str, Source] = {}
    if PUBLIC_MEAN in wanted:
        found[PUBLIC_MEAN] = _public(setup)
    if OTHER_TASK in wanted:
        found[OTHER_TASK] = _another(setup)
    for source in found.values():
        tokenize_all(setup.backbone, source.task, source.examples)
    return found


def note(control: str, made_from: Mapping[str, Source], setup: Setup) -> str:
    """What stands below the table about a control."""
    # Nothing is calibrated on private data where coefficients are frozen.
    how = _CHOSEN if setup.frozen else _ALIKE
    each = _EACH if isinstance(setup.method, PrototypeIcl) else ""
    of_nothing = {ZERO_VECTOR: "no vector", RANDOM_VECTOR: "a random vector of the run's norm in each block"}
    what = made_from[control].note if control in made_from else of_nothing[control]
    return f"{what}{each}, {how}"


def stand_in(
    control: str, setup: Setup, made_from: Mapping[str, Source], own: Callable[[], Vector]
) -> Vector:
    """A control's vector as it is injected, float32 ``[layers, 2, width]``, or one for each cluster of the run.

    Args:
        control: its row's key.
        setup: the run's parts.
        made_from: what `sources` found.
        own: gives the run's own vector, of which the norms of the blocks are looked at and nothing else.
    """
    if control == ZERO_VECTOR:
        return np.zeros(_method(setup).vector_shape, dtype=np.float32)
    if control == RANDOM_VECTOR:
        return random_like(own(), setup.config.seed)
    return as_injected(mean_of(made_from[control], setup), setup)


def as_injected(mean: Vector, setup: Setup) -> Vector:
    """A mean activation as the run would inject it: off the public centre where it has one, for every cluster."""
    centred = mean if setup.public is None else setup.public.centred(mean)
    return np.broadcast_to(centred, _method(setup).vector_shape)


def mean_of(source: Source, setup: Setup) -> Vector:
    """The mean activation of a source's examples, taken as the run takes its own."""
    spec = _method(setup).spec
    return extract(
        setup.backbone,
        source.task,
        source.examples,
        position=Position(spec.position),
        batch_size=spec.batch_size,
    ).values


def random_like(vector: Vector, seed: int) -> Vector:
    """A vector of random direction whose every block (layer, branch) is as long as that of ``vector``."""
    drawn = np.random.default_rng([seed, _STREAM]).normal(size=vector.shape)
    own = np.linalg.norm(vector.astype(np.float64), axis=-1, keepdims=True)
    drawn *= own / np.linalg.norm(drawn, axis=-1, keepdims=True)
    return drawn.astype(np.float32)


def calibrated(
    setup: Setup, vector: Vector, report: Report = lambda *_: None, *, known: State | None = None
) -> State:
    """What the run would have ended with, had this been its vector; its guard, which decides nothing here, left out.

    Args:
        setup: the run's parts.
        vector: float32 ``[layers, 2, width]``, or ``[clusters, layers, 2, width]``.
        report: told of progress.
        known: the run's last state, whose clusters are the control's; where it is left out they are found again.
    """
    method = _method(setup)
    other: Method
    if isinstance(method, PrototypeIcl):
        other = method.standing_in(_with_vector(setup) if known is None else known, vector)
    else:
        other = method.standing_in(vector)
    state, _ = play(replace(setup, method=other), report, until=method.guard_round)
    return state if method.guard_round is None else _as_clients_know_it(setup, state)


def own_vector(setup: Setup) -> Vector:
    """The vectors of the run itself, as its clients decode them: rounds up to theirs played again, and no other."""
    return vector_in(_with_vector(setup))


def vector_in(state: State) -> Vector:
    """The vector that a run's state holds, or those of all its clusters."""
    return state.arrays[VECTORS] if VECTORS in state.arrays else state.arrays["vector"]


def _with_vector(setup: Setup) -> State:
    """The state after the round of vectors, as clients know it."""
    method = _method(setup)
    last = method.vector_round + 1
    state, _ = play(setup, until=last)
    return state if method.rounds == last else _as_clients_know_it(setup, state)


def _as_clients_know_it(setup: Setup, state: State) -> State:
    """The state after the broadcast that opens the next round: what the wire rounds off is gone, as in the run."""
    method = _method(setup)
    for upload in method.broadcasts(state):
        frame = setup.defense.broadcast(upload)
        heard = setup.defense.read_broadcast(
            frame, upload.layout, kind=upload.kind, round_number=upload.round
        )
        state = method.heard(state, heard)
    return state


def _method(setup: Setup) -> IfedIcl | PrototypeIcl:
    if not isinstance(setup.method, IfedIcl | PrototypeIcl):
        raise TypeError("controls are of methods that have a vector")
    return setup.method


def _public(setup: Setup) -> Source:
    config, task = setup.config, setup.data.task
    field, spec = control_plan.public_field(config)
    embedded = config.data.source == "embedded"
    texts = public_examples(task, spec, data_root(config), embedded=embedded, field=field)
    what = "random labels" if task.n_classes else "random words of each as its answer"
    return Source(task, texts, f"mean of {len(texts)} public texts with {what}")


def _another(setup: Setup) -> Source:
    config = setup.config
    spec = control_plan.other_spec(config)
    assert spec is not None, "a control was planned that cannot be had"
    data = load_task_data(spec, data_root(config))
    held = sum(len(setup.clients[number].train) for number in range(len(setup.clients)))
    examples = tuple(data.train[: min(held, control_plan.MOST_EXAMPLES)])
    return Source(data.task, examples, f"vector of {len(examples)} examples of task {data.task.name}")
