"""Activations of public and candidate texts, and the metrics in which they are compared with a vector.

The invariant: a `Space` is made from public texts and from how coarsely the wire rounds, never from the vector that is
attacked, so that a guess made in it owes what it knows of that vector to the vector alone.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge
from attacks._base.declared import Declared
from attacks._base.sites import Sites
from attacks._base.targets import Floats, Target, level
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, TaskKind
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Position

DIRECTIONS = 800
"""The most principal directions that are kept."""

_KEPT: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
_KEPT_BYTES = 1 << 30


def read(
    backbone: Backbone, knowledge: Knowledge, examples: Sequence[Example], stage: str
) -> NDArray[np.float32]:
    """What each text adds to the residual stream at the agreed position, float32 ``[n, layers, 2, width]``.

    Computed once for each list of texts in this process: a guess, its controls and other methods ask for the same.
    """
    key = key_of_texts(backbone, knowledge, examples)
    if key not in _KEPT:
        found = np.empty((len(examples), backbone.n_layers, 2, backbone.width), dtype=np.float32)
        done = 0
        for chosen, values in activations(
            backbone,
            knowledge.task,
            examples,
            position=knowledge.position,
            batch_size=knowledge.batch_size,
        ):
            found[chosen] = values
            done += len(chosen)
            knowledge.progress(stage, done, len(examples))
        found.flags.writeable = False
        _KEPT[key] = found
        while len(_KEPT) > 1 and sum(each.nbytes for each in _KEPT.values()) > _KEPT_BYTES:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    if knowledge.sites.all:
        return _KEPT[key]
    # What is not read is nothing to a `Space`, in which a number that never varies has no direction.
    return np.where(knowledge.sites.mask(backbone.n_layers), _KEPT[key], np.float32(0))


def seen(
    backbone: Backbone, knowledge: Knowledge, examples: Sequence[Example], stage: str
) -> NDArray[np.float32]:
    """What each text adds to a vector, which is what is left of `read` once it is bounded as is declared."""
    if knowledge.declared.bounds is None:
        return read(backbone, knowledge, examples, stage)
    # What is bounded is the whole of it, whatever part of the vector is read.
    whole = read(backbone, replace(knowledge, sites=Sites()), examples, stage)
    bounded = clipped(whole, knowledge.declared)
    if knowledge.sites.all:
        return bounded
    return np.where(knowledge.sites.mask(backbone.n_layers), bounded, np.float32(0))


def key_of_texts(backbone: Backbone, knowledge: Knowledge, examples: Sequence[Example]) -> str:
    """What a cached reading depends on, as a hash."""
    digest = hashlib.sha256(f"{backbone.fingerprint} {knowledge.position} {knowledge.task!r}".encode())
    for example in examples:
        digest.update(f"\0{example.label}\0{example.answer}\0{example.text}".encode())
    return digest.hexdigest()


def clipped(values: NDArray[np.float32], declared: Declared) -> NDArray[np.float32]:
    """What is left of activations ``[n, layers, 2, width]``: by the declared release, or scaled down to the norm."""
    if declared.mechanism is not None:
        return declared.mechanism.left_of(values)
    if declared.clip is None:
        return values
    norms = np.sqrt(np.einsum("nlbd,nlbd->n", values, values, dtype=np.float64))
    factors = np.minimum(1.0, declared.clip / np.maximum(norms, 1e-30)).astype(np.float32)
    return np.asarray(values * factors[:, None, None, None], dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The principal directions of public texts' standardised activations.

    All vectors share a large mean, and a few directions hold most of the variance; in plain distance or cosine these
    hide everything else. Divided by the spread that remains, every direction counts for what it tells.

    Attributes:
        centre, spread: mean and standard deviation of each number over public texts, float64 ``[d]``.
        axes: float64 ``[d, directions]``, orthonormal.
        variance: of single public texts along each axis, ``[directions]``.
        rounding: variance of the recorded vectors' rounding error along each axis, ``[directions]``.
    """

    centre: Floats
    spread: Floats
    axes: Floats
    variance: Floats
    rounding: Floats

    @classmethod
    def of(cls, public: NDArray[np.float32], targets: Sequence[Target]) -> Space:
        """The space of public activations ``[n, layers, 2, width]``, with the mean rounding of some vectors.

        Where these come with noise that is known number by number, its size is what numbers are measured in.
        """
        flat = public.reshape(len(public), -1)
        centre = flat.mean(axis=0, dtype=np.float64)
        spread = flat.std(axis=0, dtype=np.float64)
        spread = np.where(spread > 1e-7 * (np.abs(centre).max() + 1e-30), spread, 1.0)
        noise = level(targets)
        spread = spread if noise is None else noise.reshape(-1)
        used = np.flatnonzero(np.any(flat != flat[0], axis=0))
        used = used if len(used) else np.arange(1)
        table = (flat[:, used] - centre[used]) / spread[used]
        kept = min(DIRECTIONS, max(1, int(0.8 * len(table))), table.shape[1])
        # The smaller of the two Gram matrices: texts are few where vectors are long.
        if table.shape[1] <= len(table):
            values, axes = np.linalg.eigh(table.T @ table)
            values, axes = values[::-1][:kept], axes[:, ::-1][:, :kept]
        else:
            values, left = np.linalg.eigh(table @ table.T)
            values, left = values[::-1][:kept], left[:, ::-1][:, :kept]
            axes = (table.T @ left) / np.sqrt(np.maximum(values, 1e-12 * values[0]))
        good = values > 1e-9 * values[0]
        rounding = np.mean([target.variance for target in targets], axis=0).reshape(-1) / spread**2
        whole = np.zeros((flat.shape[1], int(np.count_nonzero(good))))
        whole[used] = axes[:, good]
        axes = whole
        return cls(centre, spread, axes, values[good] / len(table), rounding @ axes**2)

    def told(self, target: Target) -> Space:
        """The same for one vector, where it is known how much noise is in that one."""
        if target.noise is None:
            return self
        own = target.variance.reshape(-1) / self.spread**2
        return replace(self, rounding=np.asarray(own @ self.axes**2, dtype=np.float64))

    def enter(self, vectors: NDArray[np.floating]) -> Floats:
        """Vectors ``[..., layers, 2, width]`` as coordinates ``[..., directions]``."""
        flat = vectors.reshape(*vectors.shape[:-3], -1)
        return np.asarray((flat - self.centre) / self.spread @ self.axes, dtype=np.float64)

    def weights(self, examples: float | None) -> Floats:
        """What each direction counts.

        Args:
            examples: the reciprocal of the share of the population's variance that cannot be explained, such as the
                number of examples where none of them is at hand; None where everything can be explained and
                rounding is all that is left.
        """
        left = self.rounding if examples is None else self.variance / examples + self.rounding
        return np.asarray(1 / np.sqrt(left), dtype=np.float64)


def relabelled(knowledge: Knowledge, at_most: int) -> list[Example]:
    """Public texts under every label in turn, as an attacker can write them, at most so many texts.

    Where the vector is taken before the answer, a label cannot show but through the text, and the texts keep theirs.
    """
    texts = knowledge.public[:at_most]
    if knowledge.task.kind is TaskKind.GENERATION or knowledge.position is Position.PROMPT_END:
        return list(texts)
    return [
        Example(example.text, label=label, attributes=example.attributes)
        for example in texts
        for label in range(knowledge.task.n_classes)
    ]
