"""The first attention's output for any sequence of tokens, by looking it up: no model is run.

The invariant: what is looked up is held against the model on real texts; a family whose first attention weighs a token
by more than what it is and how far off it stands is refused, not guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks._base.attack import Knowledge
from attacks._base.targets import Floats
from attacks._texts.layer0 import FirstAttention, NotLinearError
from attacks._texts.wording import Text, Wording

_TOLERANCE = 1e-3
_CHECKED = 4


class Looks:
    """Tables of one model and task: what each token gives, and how strongly it is looked at from how far off.

    The token that is read asks with one query for each answer. A softmax over logits is a ratio of sums, so a
    sequence's output is ``W_O [Σ_j w(t_j, d_j) v(t_j) / Σ_j w(t_j, d_j)]`` by head, with w the exponential of a logit,
    t a token and d its distance to the end of the text; both sums change by one term where one token changes.

    Args:
        first: the model's first attention.
        wording: what stands around texts.
        tokens: ids that can stand in a text, the most plausible first.
        longest: the most tokens of a text.
        knowledge: the attacker's.
    """

    def __init__(
        self,
        first: FirstAttention,
        wording: Wording,
        tokens: NDArray[np.int64],
        longest: int,
        knowledge: Knowledge,
    ) -> None:
        self.first, self.wording, self.tokens, self.longest = first, wording, tokens, longest
        self._batch = max(64, knowledge.batch_size)
        self.values: NDArray[np.float32] = first.values(tokens.tolist()).astype(np.float32)
        self.bias: Floats = np.zeros(first.backbone.width)
        self._columns = {int(token): column for column, token in enumerate(tokens)}
        self._weights: dict[int, NDArray[np.float32]] = {}
        self._around: dict[tuple[int, int], tuple[Floats, Floats]] = {}

    def columns(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """Where tokens are in the tables.

        Raises:
            KeyError: one is not in them.
        """
        return np.array([self._columns[token] for token in tokens], dtype=np.int64)

    def knows(self, tokens: Sequence[int]) -> bool:
        """Whether a text can be looked up."""
        return len(tokens) <= self.longest and all(token in self._columns for token in tokens)

    def weights(self, label: int) -> NDArray[np.float32]:
        """How strongly each token is looked at, ``[distance to the end of the text, tokens, heads]``.

        In units of the token that asks. Every sequence that is read fills one entry at every distance.
        """
        if label not in self._weights:
            size, longest = len(self.tokens), self.longest
            head, tail = len(self.wording.head), self.wording.tails[label]
            at = (np.arange(size)[:, None] + np.arange(longest) * max(1, size // longest)) % size
            found = np.empty((longest, size, self.first.n_heads), dtype=np.float32)
            for start in range(0, size, self._batch):
                rows = at[start : start + self._batch]
                sequences = [[*self.wording.head, *self.tokens[row].tolist(), *tail] for row in rows]
                attention = self.first.read(sequences, [len(sequences[0]) - 1] * len(rows)).attention
                inside = attention[:, :, head : head + longest] / attention[:, :, -1:]
                for place in range(longest):
                    found[longest - 1 - place, rows[:, place]] = inside[:, :, place]
            if not np.isfinite(found).all():
                raise NotLinearError("the model's first attention hardly looks at the token that asks")
            self._weights[label] = found
        return self._weights[label]

    def around(self, label: int, length: int) -> tuple[Floats, Floats]:
        """What template and answer add to both sums around a text of so many tokens: ``[heads, d]`` and ``[heads]``."""
        if (label, length) not in self._around:
            tail = self.wording.tails[label]
            filler = [int(self.tokens[0])] * length
            sequence = [*self.wording.head, *filler, *tail]
            attention = self.first.read([sequence], [len(sequence) - 1]).attention[0]
            fixed = [*range(len(self.wording.head)), *range(len(sequence) - len(tail), len(sequence))]
            weights = attention[:, fixed] / attention[:, -1:]
            values = self.first.values([sequence[i] for i in fixed])
            self._around[label, length] = (np.einsum("ht,thd->hd", weights, values), weights.sum(axis=1))
        return self._around[label, length]

    def sums(self, label: int, columns: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Numerator and denominator of each head for one text: ``[heads, d]`` and ``[heads]``."""
        numerator, denominator = self.around(label, len(columns))
        weights = self.weights(label)[np.arange(len(columns))[::-1], columns].astype(np.float64)
        return (
            numerator + np.einsum("th,thd->hd", weights, self.values[columns]),
            denominator + weights.sum(axis=0),
        )

    def outputs(self, label: int, texts: Sequence[NDArray[np.int64]]) -> Floats:
        """What the first attention adds to the residual stream at the token that is read, ``[texts, width]``."""
        sums = [self.sums(label, columns) for columns in texts]
        heads = np.stack([numerator / denominator[:, None] for numerator, denominator in sums])
        return np.asarray(self.first.outputs(heads).sum(axis=1) + self.bias, dtype=np.float64)

    def check(self, texts: Sequence[Text], read: Floats) -> None:
        """Take the output projection's bias from real texts, and refuse a model that cannot be looked up.

        Args:
            texts: a few that the tables know.
            read: what the model's first attention adds for them, ``[texts, width]``.

        Raises:
            NotLinearError: what is looked up is not what the model adds.
        """
        few = [(text, row) for text, row in zip(texts, read, strict=True) if self.knows(text.tokens)]
        if not few:
            raise NotLinearError("no public text is short enough to be looked up")
        found = np.concatenate([self.outputs(t.label, [self.columns(t.tokens)]) for t, _ in few[:_CHECKED]])
        rest = np.stack([row for _, row in few[:_CHECKED]]) - found
        self.bias = rest.mean(axis=0)
        if np.abs(rest - self.bias).max() > _TOLERANCE * np.abs(read).max():
            raise NotLinearError(
                "the model's first attention depends on more than tokens and their distances"
            )
