"""From a recording to vectors to attack: what each one is the mean of, and how coarsely it was rounded.

The invariant: every target was computed from frames in the recording and from nothing else, so what the server could
not compute is not attacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Capability, Knowledge, Scope, Who
from attacks._base.declared import Declared
from defenses.codec import Precision
from defenses.compression import compresses
from defenses.frame import DecodedFrame
from defenses.prototypes.slots import MEMBERS
from defenses.upload import UploadKind
from defenses.view import ServerView
from defenses.view_facts import Computes
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import UserError

Floats = NDArray[np.float64]

VARIANCE = "variance"
"""Array beside a vector that was made of recorded ones: the variance of its error, flat."""
_BLOCKS = "prototype"
"""Array of the vectors of clustered runs, a block for each cluster."""
_BY_CLUSTER = "the sums are of clusters, and the recording does not say whose texts are in which"
_ARITHMETIC = 1e-6
"""Relative error of activations in float32: batches of another shape round differently."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Target:
    """One vector to attack.

    Attributes:
        who: whose it is.
        vector: float64 ``[layers, 2, width]``, as the server reads it.
        variance: of its error, same shape: of rounding, and of noise that is declared.
        examples: how many examples it is the mean of, where the recording says so.
        weight: what the recording says that it was divided by.
        noise: standard deviation of the noise in it, number by number and along the directions that a private release
            keeps, same shape; None where no such release is known.
    """

    who: Who
    vector: Floats
    variance: Floats
    examples: int | None
    weight: float = 1.0
    noise: Floats | None = None

    @property
    def number(self) -> int:
        """How many examples it is the mean of, once that is told or read off."""
        if self.examples is None:
            raise ValueError(
                f"how many examples the vector of {self.who} is the mean of has to be read first"
            )
        return self.examples

    def __repr__(self) -> str:
        """Show shape, never content."""
        return f"Target({self.who}, {self.vector.shape})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OwnUpload:
    """What a colluding client says that it has added to a sum.

    Attributes:
        total: what it has added, float64 ``[layers, 2, width]``.
        weight: what that counts in a sum.
        noise: whether its own share of the noise is in what it tells, to the digit.
    """

    total: Floats
    weight: float
    noise: bool = False

    def __repr__(self) -> str:
        """Show shape, never content."""
        return f"OwnUpload({self.total.shape})"


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """All that can be attacked in one scope.

    Attributes:
        scope: single uploads or the aggregate.
        targets: the vectors; empty if there are none.
        refused: why there are none; empty if there are some.
    """

    scope: Scope
    targets: tuple[Target, ...]
    refused: str = ""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Which of an attack's needs the recording meets in this scope."""
        return frozenset() if self.refused else frozenset({self.scope.capability})

    def lacks(self, knowledge: Knowledge, needs: Sequence[Capability]) -> str:
        """Why an attack with these needs cannot be run on this scope, which it needs as well; empty if it can."""
        if self.scope.capability not in self.capabilities:
            return self.refused
        return knowledge.lacks([need for need in needs if need not in self.capabilities]) or ""


def read_targets(view: ServerView, backbone: Backbone) -> tuple[Targets, Targets]:
    """The single uploads and the aggregate of a recording.

    Raises:
        UserError: the recording is of another model, or its vectors are of another shape than the model's.
    """
    check_model(view, backbone)
    rounds = [entry for entry in view.facts.rounds if entry.kind is UploadKind.VECTOR]
    if not rounds:
        why = "the recording holds no round of context vectors"
        return Targets(Scope.UPLOADS, (), why), Targets(Scope.AGGREGATE, (), why)
    if compresses(view.facts.defense.compression, UploadKind.VECTOR):
        why = "the vectors travelled through a public projection, which this attack does not turn back"
        return Targets(Scope.UPLOADS, (), why), Targets(Scope.AGGREGATE, (), why)
    if Computes.INDIVIDUAL_UPLOADS not in view.facts.server_computes:
        why = f"the view holds only sums over {len(rounds[0].roster)} clients"
        return Targets(Scope.UPLOADS, (), why), _sum(view, backbone, len(rounds[0].roster))
    frames = [frame for frame in view.uploads(UploadKind.VECTOR) if _carries_vector(frame)]
    # Where noise is added to a sum that somebody trusted has, the mean that is released is another than that sum's.
    released = any(_carries_vector(frame) for frame in view.computed(UploadKind.VECTOR))
    if not frames:
        why = "the recording holds no context vector that decodes"
        if not released:
            return Targets(Scope.UPLOADS, (), why), Targets(Scope.AGGREGATE, (), why)
        return Targets(Scope.UPLOADS, (), why), _sum(view, backbone, len(rounds[0].roster))
    counted = any(frame.upload.weight != 1.0 for frame in frames)
    singles = tuple(target for frame in frames for target in _of_frame(frame, backbone, counted))
    if any(_BLOCKS in frame.upload.arrays for frame in frames):
        return Targets(Scope.UPLOADS, singles), Targets(Scope.AGGREGATE, (), _BY_CLUSTER)
    if released:
        return Targets(Scope.UPLOADS, singles), _sum(view, backbone, len(rounds[0].roster))
    return Targets(Scope.UPLOADS, singles), Targets(Scope.AGGREGATE, (_mean(frames, backbone, counted),))


def check_model(view: ServerView, backbone: Backbone) -> None:
    """Refuse a backbone that the recorded vectors were not made with."""
    if view.facts.backbone != backbone.fingerprint:
        raise UserError(
            f"the view was recorded with model {view.facts.backbone[:12]}, and the backbone given is "
            f"{backbone.fingerprint[:12]}",
            "give the configuration of the run that was recorded",
        )


def rounding_variance(vector: Floats, precision: Precision) -> Floats:
    """Variance of the rounding error of numbers that travelled at a precision, from the numbers themselves.

    fp16 rounds to 11 bits, so the step follows from each number. int8's step is its row's largest magnitude over
    127, and int4's is the least distance between two different magnitudes of a row. A uniform error over a step s
    has variance s²/12.

    Args:
        vector: ``[layers, 2, width]`` as decoded.
        precision: how it travelled.
    """
    magnitude = np.abs(vector)
    floor = _ARITHMETIC * np.sqrt(np.mean(vector**2, axis=-1, keepdims=True))
    match precision:
        case Precision.FP32:
            step = np.spacing(magnitude.astype(np.float32)).astype(np.float64)
        case Precision.FP16:
            step = np.spacing(magnitude.astype(np.float16)).astype(np.float64)
        case Precision.INT8:
            step = np.broadcast_to(magnitude.max(axis=-1, keepdims=True) / 127, vector.shape)
        case Precision.INT4:
            steps = [_least_gap(row) for row in magnitude.reshape(-1, vector.shape[-1])]
            step = np.broadcast_to(np.reshape(steps, (*vector.shape[:-1], 1)), vector.shape)
    variance: Floats = step**2 / 12 + floor**2 + np.finfo(np.float64).tiny
    return variance


def _least_gap(magnitudes: Floats) -> float:
    levels = np.unique(np.append(magnitudes, 0.0))
    return float(np.diff(levels).min()) if len(levels) > 1 else 0.0


def _carries_vector(frame: DecodedFrame) -> bool:
    return bool({"vector", "by_class", _BLOCKS} & set(frame.upload.arrays))


def _of_frame(frame: DecodedFrame, backbone: Backbone, counted: bool) -> list[Target]:
    arrays = frame.upload.arrays
    if "by_class" in arrays:
        return [
            _target(Who(frame.sender, label), arrays["by_class"][label], frame, backbone, None)
            for label in np.flatnonzero(arrays["present"] > 0).tolist()
        ]
    examples = round(frame.upload.weight) if counted else None
    if _BLOCKS in arrays:
        return [_target(Who(frame.sender), own_block(arrays), frame, backbone, examples)]
    return [_target(Who(frame.sender), arrays["vector"], frame, backbone, examples)]


def own_block(arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The vector of an upload that holds a block for each cluster: that of the sender's own."""
    block: NDArray[np.float32] = arrays[_BLOCKS][int(arrays[MEMBERS].argmax())]
    return block


def _target(
    who: Who, values: NDArray[np.float32], frame: DecodedFrame, backbone: Backbone, examples: int | None
) -> Target:
    vector = values.astype(np.float64)
    expected = (backbone.n_layers, 2, backbone.width)
    if vector.shape != expected:
        raise UserError(
            f"the view's vectors have shape {vector.shape}, and this backbone's are {expected}",
            "give the configuration of the run that was recorded",
        )
    variance = rounding_variance(vector, frame.precision)
    if VARIANCE in frame.upload.arrays:
        variance = variance + frame.upload.arrays[VARIANCE].astype(np.float64).reshape(expected)
    return Target(who, vector, variance, examples, frame.upload.weight)


def _mean(frames: list[DecodedFrame], backbone: Backbone, counted: bool) -> Target:
    """What the server makes of all uploads: their weighted mean, or the mean over classes of such means."""
    parts = [_of_frame(frame, backbone, counted) for frame in frames]
    weights = np.array([frame.upload.weight for frame in frames])
    by_class: dict[int | None, list[tuple[float, Target]]] = {}
    for weight, targets in zip(weights, parts, strict=True):
        for target in targets:
            by_class.setdefault(target.who.label, []).append((float(weight), target))
    means, variances = [], []
    for members in by_class.values():
        share = np.array([weight for weight, _ in members]) / sum(weight for weight, _ in members)
        means.append(sum(s * target.vector for s, (_, target) in zip(share, members, strict=True)))
        variances.append(sum(s**2 * target.variance for s, (_, target) in zip(share, members, strict=True)))
    examples = round(float(weights.sum())) if counted else None
    return Target(
        Who(None),
        np.asarray(np.mean(means, axis=0), dtype=np.float64),
        np.asarray(np.mean(variances, axis=0) / len(variances), dtype=np.float64),
        examples,
        float(weights.sum()),
    )


def _sum(view: ServerView, backbone: Backbone, clients: int) -> Targets:
    """The mean that the server worked out of protected uploads; over all groups, where they sum in groups."""
    frames = [frame for frame in view.computed(UploadKind.VECTOR) if "vector" in frame.upload.arrays]
    if frames:
        found = _mean(
            [frame for frame in frames if frame.upload.round == frames[0].upload.round], backbone, True
        )
        # A total weight above the number of clients is a number of examples.
        examples = found.examples if found.examples is not None and found.examples > clients else None
        variance = found.variance + grid_variance(view, clients)
        return Targets(Scope.AGGREGATE, (replace(found, variance=variance, examples=examples),))
    if any(_BLOCKS in frame.upload.arrays for frame in view.computed(UploadKind.VECTOR)):
        return Targets(Scope.AGGREGATE, (), _BY_CLUSTER)
    return Targets(Scope.AGGREGATE, (), "the recording ends before a sum of context vectors was worked out")


def grid_variance(view: ServerView, clients: int) -> float:
    """Variance of a mean of uploads that were each rounded to the defense's grid, up or down so that the mean is right.

    A number at a share f of its step is off by f or 1 - f steps; f(1 - f) is a sixth on average.
    """
    grid = getattr(view.facts.defense, "grid", None)
    if grid is None:
        return 0.0
    step = grid.clip.for_kind(UploadKind.VECTOR) * grid.scale.get("vector", 1.0) / (2 ** (grid.bits - 1) - 1)
    return float(step**2 / 6 / max(clients, 1))


def read_told(view: ServerView, backbone: Backbone, declared: Declared) -> tuple[Targets, Targets]:
    """What `read_targets` reads, the declared noise counted in the variance of each vector."""
    singles, aggregate = read_targets(view, backbone)
    uploads = max(1, len(singles.targets))
    return (
        replace(singles, targets=tuple(noisy(each, declared, 1) for each in singles.targets)),
        replace(aggregate, targets=tuple(noisy(each, declared, uploads) for each in aggregate.targets)),
    )


def noisy(target: Target, declared: Declared, uploads: int) -> Target:
    """The target with the declared noise in its variance; a mean of several uploads has less of it."""
    release = declared.mechanism
    if release is None:
        if not declared.noise:
            return target
        return replace(target, variance=target.variance + declared.noise**2 / uploads)
    noise = release.noise_over(target.weight, uploads)
    # The count of examples came with the sum, noise and all: by that they were divided.
    counted = max(1, round(target.weight)) if release.counts_examples else target.examples
    return replace(
        target,
        variance=target.variance + noise**2 + release.grain**2 / target.weight,
        examples=counted,
        noise=noise if release.noisy else None,
    )


def level(targets: Sequence[Target]) -> Floats | None:
    """Standard deviation of the noise in each number of some targets on average; None where it is not known of all."""
    known = [target.noise**2 for target in targets if target.noise is not None]
    return np.sqrt(np.mean(known, axis=0)) if known and len(known) == len(targets) else None
