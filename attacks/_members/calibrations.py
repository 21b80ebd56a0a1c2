"""Rounds of coefficients as the server has them, and the same rounds played by clients made of public texts.

The invariant: a shadow client does what a client was told to do, from the very numbers that were broadcast, and holds
public texts alone; so how it moves differs from how a client moves in nothing but whose texts it holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge
from attacks._base.space import key_of_texts
from attacks._base.targets import Floats, check_model, read_told
from attacks._mixes.labels import counted
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example
from ifedpriv.icl.calibrate import Calibrator
from ifedpriv.icl.objective import Objective
from ifedpriv.icl.private_calibrate import gradient_rows
from ifedpriv.icl.vectors import Coefficients, ContextVector

_UNTOLD = 16
_PLAYED: dict[str, ShadowClients] = {}
_GRADIENTS: dict[str, Floats] = {}
_MOST_KEPT = 4
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
            "coefficients of this run come with noise that is accounted for, and only sums of examples' gradients are "
            "read with it, of a recording whose configuration is known",
        )
    vector = broadcast_vector(view, backbone)
    if vector is None:
        return Recorded(
            None, (), "the recording holds no broadcast of one vector, which coefficients belong to"
        )
    starts = starts_of(view, backbone)
    readable = Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes
    sent: dict[int, list[tuple[int, NDArray[np.float32], float]]] = {}
    for frame in (
        view.uploads(UploadKind.COEFFICIENTS) if readable else view.computed(UploadKind.COEFFICIENTS)
    ):
        values = joined(frame.upload.arrays, backbone)
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
    return Recorded(vector, tuple(found[i] for i in spread_over(len(found))))


def spread_over(rounds: int) -> NDArray[np.int64]:
    """Which of so many rounds are looked at, at most `MOST_ROUNDS`, the first and the last among them."""
    return np.unique(np.linspace(0, rounds - 1, min(MOST_ROUNDS, rounds)).round().astype(np.int64))


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


def broadcast_vector(view: ServerView, backbone: Backbone) -> ContextVector | None:
    """The one vector that was broadcast to be injected; None where there was none, or several."""
    vector = next((f.upload.arrays.get("vector") for f in view.broadcasts(UploadKind.VECTOR)), None)
    shape = (backbone.n_layers, 2, backbone.width)
    return None if vector is None or vector.shape != shape else ContextVector(vector, 0)


def starts_of(view: ServerView, backbone: Backbone) -> dict[int, NDArray[np.float32]]:
    """The coefficients ``[layers, 2, 2]`` that each round's clients began with, by number of the round."""
    found: dict[int, NDArray[np.float32]] = {}
    for frame in view.broadcasts(UploadKind.COEFFICIENTS):
        if frame.upload.round not in found:
            values = joined(frame.upload.arrays, backbone)
            if values is not None:
                found[frame.upload.round] = values
    return found


def joined(arrays: Mapping[str, NDArray[np.float32]], backbone: Backbone) -> NDArray[np.float32] | None:
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


def examples_told(view: ServerView, backbone: Backbone, knowledge: Knowledge, recorded: Recorded) -> int:
    """How many examples a client has: told by weights, else the likeliest number by the context vectors."""
    told = [weight for each in recorded.rounds for weight in each.weights if weight != 1.0]
    if told:
        return max(1, round(float(np.median(told))))
    singles, aggregate = read_told(view, backbone, knowledge.declared)
    targets = singles.targets or aggregate.targets
    if not targets:
        return _UNTOLD
    sizes = [target.number for target in counted(backbone, knowledge, targets)]
    share = 1 if singles.targets else recorded.rounds[0].clients
    return max(1, round(float(np.median(sizes)) / share))


def shadow_clients(
    backbone: Backbone, knowledge: Knowledge, recorded: Recorded, examples: int
) -> ShadowClients:
    """Play every round with so many clients as the attacker wants shadows, each of random public texts.

    Played once for the same rounds and texts: a guess and its control compare with the same shadows.

    Args:
        backbone: the public model.
        knowledge: the attacker's; public texts with labels, and what clients were told to do.
        recorded: the rounds.
        examples: how many texts each holds.
    """
    assert recorded.vector is not None
    key = f"{_key(backbone, knowledge, recorded, knowledge.public)} {examples}"
    if key in _PLAYED:
        return _PLAYED[key]
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
    texts.flags.writeable = moves.flags.writeable = False
    _PLAYED[key] = ShadowClients(texts, moves)
    _forget(_PLAYED)
    return _PLAYED[key]


def gradients(
    backbone: Backbone, knowledge: Knowledge, recorded: Recorded, texts: Sequence[Example], stage: str
) -> Floats:
    """Each text's gradient of its loss at each round's start, ``[rounds, n, 4 layers]``; read-only."""
    assert recorded.vector is not None
    key = _key(backbone, knowledge, recorded, texts)
    if key in _GRADIENTS:
        return _GRADIENTS[key]
    objective = Objective(backbone, knowledge.task, texts)
    lengths = [len(demonstration.ids) for demonstration in objective.demonstrations]
    order = sorted(range(len(texts)), key=lambda i: (lengths[i], i))
    found = np.empty((len(recorded.rounds), len(texts), recorded.rounds[0].start.size))
    for at, each in enumerate(recorded.rounds):
        knowledge.progress(stage, at, len(recorded.rounds))
        plan = knowledge.plans.get(each.number)
        free = None if plan is None else plan.free
        rows = gradient_rows(backbone, objective, recorded.vector, Coefficients(each.start), order, free)
        found[at, order] = np.concatenate([part.reshape(len(part), -1) for part in rows])
    found.flags.writeable = False
    _GRADIENTS[key] = found
    _forget(_GRADIENTS)
    return found


def _key(backbone: Backbone, knowledge: Knowledge, recorded: Recorded, texts: Sequence[Example]) -> str:
    """What playing rounds with some texts depends on, as a hash."""
    assert recorded.vector is not None
    digest = hashlib.sha256(key_of_texts(backbone, knowledge, texts).encode())
    digest.update(f"{knowledge.seed} {knowledge.shadows} {recorded.vector.values.shape}".encode())
    digest.update(recorded.vector.values.tobytes())
    for each in recorded.rounds:
        plan = knowledge.plans.get(each.number)
        digest.update(f"{each.number} {plan!r}".encode())
        # An array of many layers is shortened where it is printed.
        digest.update(b"" if plan is None or plan.free is None else plan.free.tobytes())
        digest.update(each.start.tobytes())
    return digest.hexdigest()


def _forget(kept: dict[str, Any]) -> None:
    while len(kept) > _MOST_KEPT:
        del kept[next(iter(kept))]
