"""How many examples of each class are behind a vector: the one reader of both the number and the mix, for all attacks.

The invariant: what a vector is compared with comes from public texts, to which an attacker can add any label word of
the public task; and the axes in which they are compared come from other public texts than the spread along them, since
along axes that were fitted to some texts, all others are spread wider, and would be taken for fewer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Answer, Histogram, Knowledge
from attacks._base.space import Space, key_of_texts, relabelled, seen
from attacks._base.targets import Floats, Target, level
from attacks._mixes.shares import Expected, mix, tells, whole
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, TaskKind
from ifedpriv.icl.prompts import Position

_SIZES = np.unique([*range(1, 65), *np.geomspace(64, 1 << 14, 60).round()]).astype(int)
"""Numbers of examples that are tried."""
_FEWEST = 4
"""Texts of each class from which its mean and spread are taken as they are labelled."""
_EVERY = 600
"""Rows up to which each text is read under every label: of few texts, the same ones tell classes apart best."""


@dataclass(frozen=True, slots=True, eq=False)
class Behind:
    """What is behind one vector.

    Attributes:
        examples: how many, told or the likeliest number.
        shares: of each class, ``[classes]``; whole counts over that number, but where few public texts tell it.
    """

    examples: int
    shares: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Half:
    """Public texts of each class, in coordinates where what a text adds and rounding are both independent.

    Attributes:
        space: its axes are the other half's.
        turn: from the space to the coordinates, ``[axes, directions]``; rounding has variance 1 in each of them.
        means: of each class, ``[classes, directions]``.
        spread: variance of one text about its class, ``[directions]``.
        held: texts of each class, ``[classes]``.
    """

    space: Space
    turn: Floats
    means: Floats
    spread: Floats
    held: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        others: NDArray[np.float32],
        own: NDArray[np.float32],
        labels: NDArray[np.int64],
        classes: int,
        repeated: int,
        targets: Sequence[Target],
    ) -> _Half:
        space = Space.of(others, targets)
        held = np.bincount(labels, minlength=classes)
        # A text that is read under several labels varies but once.
        freedom = max(1, len(own) // repeated - (1 if repeated > 1 else int(np.count_nonzero(held))))
        kept = space.axes.shape[1] if repeated > 1 else max(1, min(freedom // 2, space.axes.shape[1]))
        points = space.enter(own)[:, :kept]
        means = np.stack(
            [points[labels == c].mean(axis=0) if held[c] else points.mean(axis=0) for c in range(classes)]
        )
        rest = points - means[labels]
        covariance = rest.T @ rest / repeated
        # Few texts say little of how directions vary together. Of many, a sample's inverse covariance is too large by a
        # factor that is known (the inverse Wishart law's mean).
        covariance = (
            np.diag(np.diag(covariance)) / freedom
            if repeated > 1
            else covariance / max(1, freedom - kept - 1)
        )
        rounding = np.mean([target.variance for target in targets], axis=0).reshape(-1) / space.spread**2
        axes = space.axes[:, :kept]
        lower = np.linalg.cholesky((axes.T * rounding) @ axes + 1e-12 * float(rounding.mean()) * np.eye(kept))
        white = np.linalg.inv(lower)
        values, turned = np.linalg.eigh(white @ covariance @ white.T)
        turn = white.T @ turned
        return cls(space, turn, means @ turn, np.maximum(values, 0.0), held)

    def enter(self, vector: Floats) -> Floats:
        return self.space.enter(vector)[: len(self.turn)] @ self.turn

    def unlikely(self, point: Floats, shares: Floats, examples: int, loud: float) -> float:
        """Twice the negative logarithm of the vector's density, but for a constant; with so much variance of noise."""
        # Class means are means of so many texts, and off by as much.
        texts = 1 / examples + float(np.sum(shares**2 / np.maximum(self.held, 1)))
        variance = self.spread * texts + loud
        return float(np.sum((point - shares @ self.means) ** 2 / variance + np.log(variance)))


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Public texts made ready to read vectors with.

    A vector is the mix of its classes' mean activations; what its texts add has the covariance within a class over
    their number. For each number that may be, shares by generalised least squares, not negative and in whole counts,
    and then the number under which the vector is likeliest. The whole covariance is used: along a few combinations of
    numbers, labels show and texts hardly do, and there shares are exact enough to tell 7 examples from 8. Where noise
    hides the counts, shares are answered as they are, drawn toward what is expected.

    Attributes:
        telling: what tells the shares.
        halves: what tells the number.
        classes: how many are told apart.
        expected: of the shares, where noise is declared that may hide them; else None.
        repeated: whether few texts stand there under every label.
        overlap: how much larger noise in what tells the shares is than if every part of it saw noise of its own.
        ordinary: mean square of the noise in one number, for which it was made; None where it is not known by number.
    """

    telling: tuple[_Half, ...]
    halves: tuple[_Half, ...]
    classes: int
    expected: Expected | None
    repeated: bool
    overlap: float = 1.0
    ordinary: float | None = None

    @classmethod
    def of(cls, backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target], classes: int) -> Reader:
        """A reader of vectors that are rounded and noised as some are on average.

        Args:
            backbone: the public model.
            knowledge: the attacker's.
            targets: the vectors.
            classes: how many are told apart; 1 for the number of examples alone.
        """
        texts, labels, repeated = _shown(knowledge, classes)
        values = seen(backbone, knowledge, texts, "reading public texts")
        mean = _public_mix(knowledge, classes) if knowledge.declared.noisy else None
        return cls.fit(values, labels, repeated, classes, mean, targets)

    @classmethod
    def fit(
        cls,
        values: NDArray[np.float32],
        labels: NDArray[np.int64],
        repeated: int,
        classes: int,
        mean: Floats | None,
        targets: Sequence[Target],
    ) -> Reader:
        """A reader that is made from activations.

        Args:
            values: of public texts, ``[n, layers, 2, width]``.
            labels: class of each, ``[n]``.
            repeated: in how many rows each text stands, one behind the other.
            classes: how many there are.
            mean: expected shares, ``[classes]``; None where no noise is declared.
            targets: the vectors.
        """
        first, every = _alternate(labels), np.ones(len(values), dtype=bool)
        apart = len(values) >= 2 * _FEWEST * repeated
        sides = [(first, ~first), (~first, first)] if apart else [(every, every)]
        halves = tuple(
            _Half.of(values[a], values[b], labels[b], classes, repeated, targets) for a, b in sides
        )
        # Few texts tell classes apart best all together; how far the vector is from their mix is seen from the halves.
        telling = (_Half.of(values, values, labels, classes, repeated, targets),) if repeated > 1 else halves
        noise = level(targets)
        ordinary = None if noise is None else float(np.mean(noise**2))
        made = cls(telling, halves, classes, None, repeated > 1, ordinary=ordinary)
        if mean is None or classes == 1 or not made._directions:
            return made
        made = replace(made, overlap=_overlap(telling, mean, targets))
        points = [made._enter(target.vector) for target in targets]
        # What texts vary is left out: then shares look as unequal as they can, and nothing is drawn but out of noise.
        unsure = [made._variance(np.inf, made._loud(target)) for target in targets]
        return replace(made, expected=Expected.seen(mean, points, unsure, made._means))

    def read(self, target: Target) -> Behind:
        """How many examples a vector is the mean of, and how many of each class: the likeliest whole numbers."""
        if not self._directions:
            # One text, or texts that are all alike, have no directions in which anything could show.
            return Behind(target.examples or 1, np.full(self.classes, 1 / self.classes))
        points = [half.enter(target.vector) for half in self.halves]
        aim, means, loud = self._enter(target.vector), self._means, self._loud(target)
        best, least = None, np.inf
        for examples in [target.examples] if target.examples else _SIZES.tolist():
            shares = np.ones(1)
            if self.classes > 1:
                shares = whole(mix(aim, means, self._variance(examples, loud), self.expected), examples)
            score = sum(
                half.unlikely(point, shares, examples, loud)
                for half, point in zip(self.halves, points, strict=True)
            )
            if best is None or score < least:
                best, least = Behind(examples, shares), score
        assert best is not None
        variance = self._variance(best.examples, loud)
        # Of few texts the number is a guess, and whole counts of a wrong number are worse than shares as they are; and
        # so are whole counts that noise hides.
        guessed = self.repeated and not target.examples and self.classes > 1
        hidden = self.expected is not None and not tells(means, variance, self.expected, best.examples)
        if guessed or hidden:
            return Behind(best.examples, mix(aim, means, variance, self.expected))
        return best

    @property
    def _directions(self) -> int:
        return sum(each.means.shape[1] for each in self.telling)

    @property
    def _means(self) -> Floats:
        return np.concatenate([each.means for each in self.telling], axis=1)

    def _enter(self, vector: Floats) -> Floats:
        return np.concatenate([each.enter(vector) for each in self.telling])

    def _loud(self, target: Target) -> float:
        """The variance of a vector's noise over that of the noise for which this was made."""
        if target.noise is None or self.ordinary is None:
            return 1.0
        return float(np.mean(target.noise**2)) / self.ordinary

    def _variance(self, examples: float, loud: float) -> Floats:
        """Of a vector of so many examples, along the directions of all that tells shares."""
        spread = np.concatenate([each.spread for each in self.telling])
        return np.asarray((spread / examples + loud) * self.overlap, dtype=np.float64)


_FOUND: OrderedDict[str, tuple[Behind, ...]] = OrderedDict()
_MOST_FOUND = 64
"""Methods and controls ask for the same vectors."""


def behind(
    backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target], classes: int
) -> tuple[Behind, ...]:
    """How many examples each vector is the mean of, and how many of each class (see `Reader`)."""
    key = _key(backbone, knowledge, targets, classes)
    if key not in _FOUND:
        reader = Reader.of(backbone, knowledge, targets, classes)
        _FOUND[key] = tuple(reader.read(target) for target in targets)
        while len(_FOUND) > _MOST_FOUND:
            _FOUND.popitem(last=False)
    _FOUND.move_to_end(key)
    return _FOUND[key]


def counted(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets, each with the number of examples that it is the mean of: told, or read off the vector."""
    if all(target.examples for target in targets):
        return tuple(targets)
    found = behind(backbone, knowledge, targets, classes_of(knowledge))
    return tuple(replace(target, examples=each.examples) for target, each in zip(targets, found, strict=True))


def classes_of(knowledge: Knowledge) -> int:
    """Into how many classes the texts behind a vector can be told apart; 1 where labels neither show nor are known."""
    written = knowledge.position is Position.LABEL
    return max(1, knowledge.task.n_classes) if written or knowledge.labelled else 1


def _key(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target], classes: int) -> str:
    """What `behind` depends on, as a hash."""
    digest = hashlib.sha256(key_of_texts(backbone, knowledge, knowledge.public).encode())
    declared = knowledge.declared
    told = f"{knowledge.labelled} {knowledge.sites} {declared.bounds} {declared.noisy} {classes}"
    digest.update(told.encode())
    for target in targets:
        digest.update(f"{target.examples} {target.vector.shape}".encode())
        digest.update(np.ascontiguousarray(target.vector).tobytes())
        digest.update(np.ascontiguousarray(target.variance).tobytes())
    return digest.hexdigest()


def label_mixes(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> tuple[Answer, ...]:
    """Guess the shares of all classes in each vector, and how many examples it is the mean of."""
    found = behind(backbone, knowledge, targets, knowledge.task.n_classes)
    return tuple(
        Answer(target.who, Histogram(tuple(map(float, each.shares)), each.examples))
        for target, each in zip(targets, found, strict=True)
    )


def _shown(knowledge: Knowledge, classes: int) -> tuple[tuple[Example, ...], NDArray[np.int64], int]:
    """Public texts, the class that each stands for, and under how many labels each text stands there.

    Many texts under their own labels, where they have any. Where not, or where a class has next to none, each label
    word in turn is written behind a text, if it stands before what is read; the text behind it is then of another
    class, as often. Few texts take every label word in turn.
    """
    texts = knowledge.public
    if classes == 1:
        return texts, np.zeros(len(texts), dtype=np.int64), 1
    own = np.array([max(example.label, 0) for example in texts])
    writes = knowledge.task.kind is not TaskKind.GENERATION and knowledge.position is not Position.PROMPT_END
    if writes and len(texts) * classes <= _EVERY:
        shown = tuple(relabelled(knowledge, len(texts)))
        return shown, np.tile(np.arange(classes), len(texts)), classes
    if knowledge.labelled and (np.bincount(own, minlength=classes).min() >= _FEWEST or not writes):
        return texts, own, 1
    turns = np.arange(len(texts)) % classes
    shown = tuple(
        Example(example.text, label=int(label), attributes=example.attributes)
        for example, label in zip(texts, turns, strict=True)
    )
    return shown, turns, 1


def _alternate(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Every other text of each class."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[::2]] = True
    return chosen


def _overlap(telling: Sequence[_Half], mean: Floats, targets: Sequence[Target]) -> float:
    """Variance of the noise in the products with differences of class means, over that of independent noises."""
    noise = np.mean([target.variance for target in targets], axis=0).reshape(-1, 1)
    seen, apart = np.zeros((len(noise), len(mean))), 0.0
    for half in telling:
        contrast = half.means - mean @ half.means
        axes = half.space.axes[:, : len(half.turn)]
        seen += axes @ (half.turn @ contrast.T) / half.space.spread[:, None]
        apart += float(np.sum(contrast**2))
    return float(np.sum(noise * seen**2)) / apart if apart else 1.0


def _public_mix(knowledge: Knowledge, classes: int) -> Floats:
    """The label mix of public texts, one more of each class; even where their labels are not known."""
    counts = np.ones(classes)
    if knowledge.labelled and classes > 1:
        counts += np.bincount([max(example.label, 0) for example in knowledge.public], minlength=classes)
    return np.asarray(counts / counts.sum(), dtype=np.float64)
