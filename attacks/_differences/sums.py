"""From recordings to the sums of vectors in them, each with whose uploads are in it and with its own error.

The invariant: frames of vectors are read, and the public facts of the recording; nothing else of a client is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attacks._base.recorded_sums import SumsInOrder
from attacks._base.targets import Floats, check_model, rounding_variance
from defenses.compression import compresses
from defenses.frame import DecodedFrame
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone

_NONE = "the recording holds no vectors that can be subtracted"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PrivateMean:
    """What a frame of a private run says.

    Attributes:
        vector: the mean, flat.
        weight: what it is the mean over.
        noise: its standard deviation in each number of the mean, ``[layers, 2, width]``; 0 for none.
        rounding: that of the error by which rows were made whole, likewise.
    """

    vector: Floats
    weight: float
    noise: Floats
    rounding: Floats

    def __repr__(self) -> str:
        """Show shape, never content."""
        return f"PrivateMean({self.vector.shape})"


Private = Callable[[DecodedFrame, int], PrivateMean | None]
"""Reads a frame of a private run, and how many clients are in it; None for frames that hold no vector to subtract."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sum:
    """One sum of context vectors that a server has, or a single upload.

    Attributes:
        recording: which it is from, from 0.
        round: number of the round.
        clients: whose uploads are in it, ascending.
        total: the sum, float64 ``[layers, 2, width]``.
        weight: the sum of the weights.
        counted: whether weights are numbers of examples; else every client counts 1.
        variance: of the error of each number of the total: rounding, grid and noise.
        noised: the part of it that is declared noise, likewise.
        colluding: clients whose uploads have been taken off, ascending.
    """

    recording: int
    round: int
    clients: tuple[int, ...]
    total: Floats
    weight: float
    counted: bool
    variance: Floats
    noised: Floats
    colluding: tuple[int, ...] = ()

    @property
    def noise(self) -> float:
        """Standard deviation of the declared noise in a number of the total, as a root mean square over numbers."""
        return float(np.sqrt(np.mean(self.noised)))

    def __repr__(self) -> str:
        """Show shape, never content."""
        return f"Sum(recording {self.recording}, {len(self.clients)} clients, {self.total.shape})"


def read_sums(
    view: ServerView, backbone: Backbone, recording: int, private: Private | None = None, noise: float = 0.0
) -> tuple[tuple[Sum, ...], str]:
    """Every sum of context vectors in a recording, or every upload where they are read one by one; or why none.

    Args:
        view: the recording.
        backbone: the public model.
        recording: its number, from 0.
        private: how the whole numbers of a private run are read, where it is one.
        noise: declared standard deviation in each number of a released mean, where ``private`` does not tell.
    """
    check_model(view, backbone)
    if compresses(view.facts.defense.compression, UploadKind.VECTOR):
        return (), "the vectors travelled through a public projection, which this attack does not turn back"
    shape = (backbone.n_layers, 2, backbone.width)
    if Computes.INDIVIDUAL_UPLOADS in view.facts.server_computes:
        if private is not None:
            means = [(frame, private(frame, 1)) for frame in view.uploads(UploadKind.VECTOR)]
            read = [(frame, mean) for frame, mean in means if mean is not None]
            # That a count is noised shows that examples are counted.
            counted = any(mean.weight != 1 for _, mean in read)
            singles = [
                _private_sum(mean, (frame.sender,), shape, recording, frame.upload.round, counted)
                for frame, mean in read
            ]
            return tuple(singles), "" if singles else _NONE
        frames = [f for f in view.uploads(UploadKind.VECTOR) if _vector(f, shape) is not None]
        counted = any(frame.upload.weight != 1 for frame in frames)
        singles = [_sum(f, (f.sender,), shape, recording, counted, noise) for f in frames]
        return tuple(singles), "" if singles else _NONE
    found: list[Sum] = []
    told = SumsInOrder(view)
    rosters = {e.number: e.roster for e in view.facts.rounds if e.kind is UploadKind.VECTOR}
    for frame in view.computed(UploadKind.VECTOR):
        number = frame.upload.round
        listed = told.next(number, UploadKind.VECTOR)
        clients = rosters.get(number, ()) if listed is None else listed.clients
        if listed is None and frame.upload.weight != len(clients):
            return (), "the recording does not say whose uploads are in its sums"
        if private is not None:
            mean = private(frame, len(clients))
            if mean is not None:
                counted = mean.weight > len(clients)
                found.append(_private_sum(mean, clients, shape, recording, number, counted))
        elif _vector(frame, shape) is not None:
            counted = frame.upload.weight > len(clients)
            one = _sum(frame, clients, shape, recording, counted, noise)
            found.append(_on_grid(one, view))
    return tuple(found), "" if found else "the recording holds no sum of vectors that can be subtracted"


def _vector(frame: DecodedFrame, shape: tuple[int, ...]) -> Floats | None:
    array = frame.upload.arrays.get("vector")
    return None if array is None or array.shape != shape else array.astype(np.float64)


def _sum(
    frame: DecodedFrame,
    clients: Sequence[int],
    shape: tuple[int, ...],
    recording: int,
    counted: bool,
    noise: float,
) -> Sum:
    vector, weight = _vector(frame, shape), frame.upload.weight
    assert vector is not None
    noised = np.full(shape, (weight * noise) ** 2)
    variance = weight**2 * rounding_variance(vector, frame.precision) + noised
    return Sum(
        recording,
        frame.upload.round,
        tuple(clients),
        vector * weight,
        weight,
        counted,
        variance,
        noised,
    )


def _private_sum(
    mean: PrivateMean,
    clients: Sequence[int],
    shape: tuple[int, ...],
    recording: int,
    number: int,
    counted: bool,
) -> Sum:
    units = mean.weight
    total = mean.vector.reshape(shape).astype(np.float64) * units
    noised = np.asarray((mean.noise * units) ** 2, dtype=np.float64)
    variance = noised + (mean.rounding * units) ** 2 + np.finfo(np.float64).tiny
    return Sum(recording, number, tuple(clients), total, units, counted, variance, noised)


def _on_grid(made: Sum, view: ServerView) -> Sum:
    """The same with the rounding of each client's upload, weighted as it is, to the defense's grid."""
    grid = getattr(view.facts.defense, "grid", None)
    if grid is None:
        return made
    step = grid.clip.for_kind(UploadKind.VECTOR) * grid.scale.get("vector", 1.0) / (2 ** (grid.bits - 1) - 1)
    return replace(made, variance=made.variance + len(made.clients) * step**2 / 6)
