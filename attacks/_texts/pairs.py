"""Public texts, and texts put together from them, as what an inverter learns from: activations and what they are of.

The invariant: nothing but public texts goes in, and texts that are held out go into no other text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge, Who
from attacks._base.space import Space
from attacks._base.targets import Floats, Target
from attacks._texts.phrases import ALIKE
from attacks._texts.wording import Encoder, Text, Wording

OTHER, END = 0, 1
"""Columns of the vocabulary: a token beyond it, and the end of a text."""
_FIRST = 2
MOST_TOKENS, MOST_LENGTH = 8192, 128
_EXCHANGED = 0.5
"""Share of places that take what another text, worded alike, has there."""
_REPLACED = 0.1
_REPLACED_ALONE = 0.25
"""Share of places that take any public token: where there are texts worded alike, and where there are none."""
_HELD_OUT, _FEWEST_HELD, _MOST_HELD = 0.1, 4, 100
_SPACE_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pairs:
    """Single texts with their activations, of which mixtures are sums.

    Attributes:
        space: of public texts and of those put together from them.
        points: of each text, bounded as is declared, about the mean of its class, float32 ``[n, directions]``.
        means: of each class, float64 ``[classes, directions]``.
        variance: of ``points`` along each direction, ``[directions]``.
        labels: class of each text, int64 ``[n]``.
        rank: of each text in the order in which a set of texts is told, int64 ``[n]``.
        tokens: columns of the vocabulary, filled up with `END`, at least one of which is behind every whole text,
            int64 ``[n, longest + 1]``.
        lengths: columns of each text with its `END`, int64 ``[n]``.
        vocabulary: token ids from column 2 on, the most frequent first, int64.
        held: so many texts from the first on are trained with; the others are held out.
    """

    space: Space
    points: NDArray[np.float32]
    means: Floats
    variance: Floats
    labels: NDArray[np.int64]
    rank: NDArray[np.int64]
    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    vocabulary: NDArray[np.int64]
    held: int

    def __repr__(self) -> str:
        return f"Pairs(<{len(self.points)} texts>, <{len(self.vocabulary)} tokens>)"

    @classmethod
    def of(cls, encoder: Encoder, wording: Wording, recombined: int) -> Pairs:
        """Public texts and recombinations of them through the model, of vectors that are not even rounded.

        Args:
            encoder: of the public model.
            wording: of the task.
            recombined: how many texts are put together for each public one.
        """
        knowledge = encoder.knowledge
        rng = np.random.default_rng([knowledge.seed, 31])
        public = _shown(knowledge, wording, rng)
        order = rng.permutation(len(public))
        aside = min(_MOST_HELD, max(_FEWEST_HELD, int(_HELD_OUT * len(public))), len(public) - 1)
        kept, held = [public[i] for i in order[aside:]], [public[i] for i in order[:aside]]
        texts = [*kept, *Recombiner(kept, rng).texts(recombined * len(kept)), *held]
        seen, counts = np.unique(
            np.concatenate([np.asarray(text.tokens, dtype=np.int64) for text in public]), return_counts=True
        )
        vocabulary = seen[np.lexsort((seen, -counts))][:MOST_TOKENS]
        tokens, lengths = _columns(texts, vocabulary)
        labels = np.array([text.label for text in texts])
        space, points = _points(encoder, texts, len(texts) - aside)
        learned = points[: len(texts) - aside]
        overall = learned.mean(axis=0)
        classes = len(wording.tails)
        means = np.stack(
            [
                learned[labels[: len(learned)] == c].mean(axis=0)
                if (labels[: len(learned)] == c).any()
                else overall
                for c in range(classes)
            ]
        )
        centred = (points - means[labels]).astype(np.float32)
        rank = np.argsort(np.lexsort((*tokens.T[::-1], labels)), kind="stable")
        spread = np.maximum(centred[: len(learned)].var(axis=0, dtype=np.float64), 1e-12)
        return cls(
            space, centred, means, spread, labels, rank, tokens, lengths, vocabulary, len(texts) - aside
        )

    def under(self, variance: Floats) -> Pairs:
        """The same for vectors with rounding and noise of this variance in each number, ``[layers, 2, width]``."""
        rounding = (variance.reshape(-1) / self.space.spread**2) @ self.space.axes**2
        return replace(self, space=replace(self.space, rounding=rounding))

    def scale(self, count: NDArray[np.int64], total: NDArray[np.int64]) -> Floats:
        """What each direction of a mean of ``count`` texts is multiplied by, ``[rows, directions]``.

        Its best linear estimate without noise, in units of its spread. The mean is what is left of one of ``total``
        texts when the others are taken off, so that the noise counts the more the fewer are left.
        """
        signal = self.variance / count[:, None]
        noise = self.space.rounding * (total / count)[:, None] ** 2
        return np.asarray(np.sqrt(signal) / (signal + noise))

    def ids(self, columns: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the model, of columns up to the first `END`."""
        found = []
        for column in columns:
            if column == END:
                break
            found.append(int(self.vocabulary[column - _FIRST]))
        return tuple(found)

    def columns_of(self, tokens: Sequence[int]) -> list[int]:
        """The other way round, without an `END`."""
        order = np.argsort(self.vocabulary, kind="stable")
        found = _to_columns(np.asarray(tokens, dtype=np.int64), self.vocabulary[order], order)
        return [int(column) for column in found]


def _shown(knowledge: Knowledge, wording: Wording, rng: np.random.Generator) -> list[Text]:
    """Public texts under their own labels, or under any where these are not known."""
    classes = len(wording.tails)
    any_label = rng.integers(classes, size=len(wording.inner)).tolist()
    known = knowledge.labelled and classes > 1
    return [
        Text(ids[:MOST_LENGTH], example.label if known else drawn)
        for ids, example, drawn in zip(wording.inner, knowledge.public, any_label, strict=True)
    ]


class Recombiner:
    """New texts out of given ones: in some places stands what a text that is worded alike has there, or any token.

    A public list holds few of the texts that could be written with its words. Where only those are learned from, what
    a word adds to activations cannot be told from what its neighbours do.

    Args:
        texts: to begin with and to take from.
        rng: of all choices.
    """

    def __init__(self, texts: Sequence[Text], rng: np.random.Generator) -> None:
        self._texts, self._rng = texts, rng
        self._arrays = [np.asarray(text.tokens, dtype=np.int64) for text in texts]
        self._any = np.unique(np.concatenate(self._arrays))
        lengths: dict[int, list[NDArray[np.int64]]] = {}
        for array in self._arrays:
            lengths.setdefault(len(array), []).append(array)
        self._by_length = {length: np.stack(arrays) for length, arrays in lengths.items()}

    def texts(self, count: int) -> list[Text]:
        """So many, the given ones in turn as their beginnings, with their labels."""
        return [self._one(number % len(self._texts)) for number in range(count)]

    def _one(self, index: int) -> Text:
        text, rng = self._arrays[index], self._rng
        peers = self._by_length[len(text)]
        alike = peers[np.count_nonzero(peers == text, axis=1) >= max(1, ALIKE * len(text))]
        places = np.arange(len(text))
        made = text
        if len(alike) > 1:
            taken = alike[rng.integers(len(alike), size=len(text)), places]
            made = np.where(rng.random(len(text)) < _EXCHANGED, taken, text)
        share = _REPLACED if len(alike) > 1 else _REPLACED_ALONE
        drawn = self._any[rng.integers(len(self._any), size=len(text))]
        # A first token may hold characters of the template.
        replaced = np.where((rng.random(len(text)) < share) & (places > 0), drawn, made)
        return Text(tuple(replaced.tolist()), self._texts[index].label)


def _points(encoder: Encoder, texts: Sequence[Text], learned: int) -> tuple[Space, NDArray[np.float32]]:
    """The space of the first texts, as many as memory allows for, and all texts in it."""
    knowledge = encoder.knowledge
    mask = knowledge.sites.mask(encoder.backbone.n_layers)
    exact = np.zeros((encoder.backbone.n_layers, 2, encoder.backbone.width))
    size = max(64, knowledge.batch_size)
    rows: list[NDArray[np.float32]] = []
    entered: list[Floats] = []
    most = min(learned, max(1000, _SPACE_BYTES // (4 * exact.size)))
    space: Space | None = None
    for start in range(0, len(texts), size):
        encoder.forget()
        rows.append(np.where(mask, encoder(texts[start : start + size]), 0.0).astype(np.float32))
        done = min(start + size, len(texts))
        if space is None and done >= most:
            first = np.concatenate(rows)
            release = knowledge.declared.mechanism
            noise = release.noise if release is not None and release.noisy else None
            space = Space.of(first[:most], [Target(Who(None), exact, exact, None, noise=noise)])
        if space is not None:
            entered += [space.enter(each) for each in rows]
            rows = []
        knowledge.progress("reading recombined texts", done, len(texts))
    encoder.forget()
    assert space is not None
    return space, np.concatenate(entered).astype(np.float32)


def _columns(
    texts: Sequence[Text], vocabulary: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    longest = max(len(text.tokens) for text in texts)
    tokens = np.full((len(texts), longest + 1), END)
    order = np.argsort(vocabulary, kind="stable")
    for row, text in enumerate(texts):
        ids = np.asarray(text.tokens, dtype=np.int64)
        tokens[row, : len(ids)] = _to_columns(ids, vocabulary[order], order)
    return tokens, np.array([len(text.tokens) + 1 for text in texts])


def _to_columns(
    ids: NDArray[np.int64], ordered: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    at = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
    return np.where(ordered[at] == ids, order[at] + _FIRST, OTHER)
