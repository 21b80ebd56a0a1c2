"""Four other vectors in the place of the run's own, each calibrated as the run was: what does the vector add?

The invariant: a control differs from its run in the vector and in nothing else. Rounds, clients, batches, failures,
private steps, releases and noise are the run's own, and so is the defense: masks and ciphertexts cost milliseconds a
round beside the calibration's seconds, and behind any other defense clients that fail in the middle of a round would
be in other sums. What a control's rounds release is written down nowhere: it is the simulator's measurement, and no
party of a federation plays it. With ``simulation: false`` its noise is drawn anew.
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
from ifedpriv.methods.method import State
from ifedpriv.report.parts import OTHER_TASK, PUBLIC_MEAN, RANDOM_VECTOR, ZERO_VECTOR

Vector = NDArray[np.float32]

_STREAM = 23
_ALIKE = "coefficients calibrated as in the run"
_CHOSEN = "public coefficients, chosen as in the run"


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


def note(control: str, made_from: Mapping[str, Source], *, frozen: bool = False) -> str:
    """What stands below the table about a control; ``frozen`` where nothing is calibrated on private data."""
    how = _CHOSEN if frozen else _ALIKE
    if control in made_from:
        return f"{made_from[control].note}, {how}"
    of_nothing = {ZERO_VECTOR: "no vector", RANDOM_VECTOR: "a random vector of the run's norm in each block"}
    return f"{of_nothing[control]}, {how}"


def stand_in(
    control: str, setup: Setup, made_from: Mapping[str, Source], own: Callable[[], Vector]
) -> Vector:
    """A control's vector as it is injected, float32 ``[layers, 2, width]``.

    Args:
        control: its row's key.
        setup: the run's parts.
        made_from: what `sources` found.
        own: gives the run's own vector, of which the norms of the blocks are looked at and nothing else.
    """
    if control == ZERO_VECTOR:
        return np.zeros((setup.backbone.n_layers, 2, setup.backbone.width), dtype=np.float32)
    if control == RANDOM_VECTOR:
        return random_like(own(), setup.config.seed)
    mean = mean_of(made_from[control], setup)
    return mean if setup.public is None else setup.public.centred(mean)


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


def calibrated(setup: Setup, vector: Vector, report: Report = lambda *_: None) -> State:
    """What the run would have ended with, had this been its vector; its guard, which decides nothing here, left out.

    Args:
        setup: the run's parts.
        vector: float32 ``[layers, 2, width]``.
        report: told of progress.
    """
    method = _method(setup)
    state, _ = play(replace(setup, method=method.standing_in(vector)), report, until=method.guard_round)
    return state if method.guard_round is None else _as_clients_know_it(setup, state)


def own_vector(setup: Setup) -> Vector:
    """The vector of the run itself, as its clients decode it: round 0 played again, and nothing else."""
    state, _ = play(setup, until=1)
    known = state if setup.method.rounds == 1 else _as_clients_know_it(setup, state)
    return known.arrays["vector"]


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


def _method(setup: Setup) -> IfedIcl:
    if not isinstance(setup.method, IfedIcl):
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
