"""Rounds of coefficients as the server has them, and the same rounds played by clients made of public texts.

The invariant: a shadow client does what a client was told to do, from the very numbers that were broadcast, and holds
public texts alone; so how it moves differs from how a client moves in nothing but whose texts it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge
from attacks._base.targets import Floats, check_model
from defenses.frame import DecodedFrame
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.icl.calibrate import Calibrator
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.private_calibrate import gradient_rows
from ifedpriv.icl.vectors import Coefficients, ContextVector

MOST_ROUNDS = 6
"""Rounds that are played by shadows, spread over the run: each costs as many calibrations as there are shadows."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Round:
    """One round of coefficients.

    Attributes:
        number: in the run.
        start: what was broadcast, ``[layers, 2, 2]``.
        moves: how far each client's upload is from that, by number, flat ``[4 layers]``; none where sums are seen.
        mean: the same of the mean over clients.
        weights: what each upload counts in the mean, in the order of ``moves``.
        clients: how many took part.
    """

    number: int
    start: NDArray[np.float32]
    moves: Mapping[int, Floats]
    mean: Floats | None
    weights: tuple[float, ...]
    clients: int

    def __repr__(self) -> str:
        """Show sizes, never content."""
        return f"Round({self.number}, <{len(self.moves)} moves of {self.clients} clients>)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Recorded:
    """All rounds that are looked at.

    Attributes:
        vector: that was broadcast.
        rounds: in order.
        refused: why there are none; empty if there are some.
    """

    vector: ContextVector | None
    rounds: tuple[Round, ...]
    refused: str = ""


def read_rounds(view: ServerView, backbone: Backbone) -> Recorded:
    """The rounds of coefficients in a recording, thinned out to `MOST_ROUNDS`."""
    check_model(view, backbone)
    entries = [entry for entry in view.facts.rounds if entry.kind is UploadKind.COEFFICIENTS]
    if not entries:
        return Recorded(None, (), "the recording holds no round of coefficients")
    if getattr(view.facts.defense, "privacy", None) is not None:
        return Recorded(
            None,
            (),
            "coefficients of this run come with noise that is accounted for, and this attack does not model it",
        )
    vector = next((f.upload.arrays.get("vector") for f in view.broadcasts(UploadKind.VECTOR)), None)
    shape = (backbone.n_layers, 2, backbone.width)
    if vector is None or vector.shape != shape:
        return Recorded(
            None, (), "the recording holds no broadcast of one vector, which coefficients belong to"
        )
    starts = _by_round(view.broadcasts(UploadKind.COEFFICIENTS), backbone)
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    sent: dict[int, list[tuple[int, NDArray[np.float32], float]]] = {}
    for frame in (
        view.uploads(UploadKind.COEFFICIENTS) if readable else view.computed(UploadKind.COEFFICIENTS)
    ):
        values = _joined(frame.upload.arrays, backbone)
        if values is not None:
            sent.setdefault(frame.upload.round, []).append((frame.sender, values, frame.upload.weight))
    found = [
        _round(entry.number, starts[entry.number], sent[entry.number], len(entry.roster), readable)
        for entry in entries
        if entry.number in starts and entry.number in sent
    ]
    if not found:
        return Recorded(
            None, (), "the recording holds no coefficients that decode, with what was broadcast before"
        )
    chosen = np.unique(np.linspace(0, len(found) - 1, min(MOST_ROUNDS, len(found))).round().astype(int))
    return Recorded(ContextVector(vector, 0), tuple(found[i] for i in chosen))


def _round(
    number: int,
    start: NDArray[np.float32],
    sent: Sequence[tuple[int, NDArray[np.float32], float]],
    roster: int,
    readable: bool,
) -> Round:
    moves = [(values.astype(np.float64) - start).reshape(-1) for _, values, _ in sent]
    weights = np.array([weight for *_, weight in sent])
    mean = np.average(np.stack(moves), axis=0, weights=weights)
    if not readable:
        return Round(number, start, {}, mean, (), roster)
    by_client = {sender: move for (sender, *_), move in zip(sent, moves, strict=True)}
    return Round(number, start, by_client, mean, tuple(map(float, weights)), len(sent))


def _by_round(frames: Iterable[DecodedFrame], backbone: Backbone) -> dict[int, NDArray[np.float32]]:
    found: dict[int, NDArray[np.float32]] = {}
    for frame in frames:
        if frame.upload.round not in found:
            values = _joined(frame.upload.arrays, backbone)
            if values is not None:
                found[frame.upload.round] = values
    return found


def _joined(arrays: Mapping[str, NDArray[np.float32]], backbone: Backbone) -> NDArray[np.float32] | None:
    """λ and β as one array ``[layers, 2, 2]``; None where the upload is of another kind."""
    shape = (backbone.n_layers, 2)
    if any(name not in arrays or arrays[name].shape != shape for name in ("lambda", "beta")):
        return None
    return np.stack((arrays["lambda"], arrays["beta"]), axis=-1)


# ---- shadows


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ShadowClients:
    """Clients of public texts.

    Attributes:
        texts: which public texts each holds, indices ``[shadows, n]``.
        moves: how far each moves in each round, ``[rounds, shadows, 4 layers]``.
    """

    texts: NDArray[np.int64]
    moves: Floats

    @property
    def examples(self) -> int:
        """How many texts each holds."""
        return int(self.texts.shape[1])

    def __repr__(self) -> str:
        """Show sizes, never texts."""
        return f"ShadowClients({self.texts.shape[0]} of {self.examples} texts)"


def shadow_clients(
    backbone: Backbone, knowledge: Knowledge, recorded: Recorded, examples: int
) -> ShadowClients:
    """Play every round with so many clients as the attacker wants shadows, each of random public texts.

    Args:
        backbone: the public model.
        knowledge: the attacker's; public texts with labels, and what clients were told to do.
        recorded: the rounds.
        examples: how many texts each holds.
    """
    assert recorded.vector is not None
    rng = np.random.default_rng([knowledge.seed, 43])
    size = min(examples, len(knowledge.public))
    texts = np.stack(
        [rng.choice(len(knowledge.public), size=size, replace=False) for _ in range(knowledge.shadows)]
    )
    moves = np.empty((len(recorded.rounds), len(texts), recorded.rounds[0].start.size))
    for number, chosen in enumerate(texts):
        knowledge.progress("calibrating shadows", number, len(texts))
        client = Calibrator(backbone, knowledge.task, [knowledge.public[i] for i in chosen])
        for at, each in enumerate(recorded.rounds):
            draws = np.random.default_rng([knowledge.seed, 47, number, each.number])
            plan = knowledge.plans[each.number]
            after = client.run(recorded.vector, Coefficients(each.start), plan, draws).coefficients.values
            moves[at, number] = (after.astype(np.float64) - each.start).reshape(-1)
    return ShadowClients(texts, moves)


def gradients(
    backbone: Backbone, knowledge: Knowledge, recorded: Recorded, texts: Sequence[Example], stage: str
) -> Floats:
    """Each text's gradient of its loss at each round's start, ``[rounds, n, 4 layers]``."""
    assert recorded.vector is not None
    objective = Objective(backbone, knowledge.task, texts)
    lengths = [len(demonstration.ids) for demonstration in objective.demonstrations]
    order = sorted(range(len(texts)), key=lambda i: (lengths[i], i))
    found = np.empty((len(recorded.rounds), len(texts), recorded.rounds[0].start.size))
    for at, each in enumerate(recorded.rounds):
        knowledge.progress(stage, at, len(recorded.rounds))
        rows = gradient_rows(backbone, objective, recorded.vector, Coefficients(each.start), order)
        found[at, order] = np.concatenate([part.reshape(len(part), -1) for part in rows])
    return found
