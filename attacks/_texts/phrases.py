"""Which token follows which, and what stands where, in public texts: what a guess owes to language alone.

The invariant: nothing but public texts is counted, and no pair of tokens is impossible.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from attacks._base.targets import Floats

_SMOOTHING = 1.0
_UNSEEN = 1e-3
ALIKE = 0.25
"""Share of places in which a text must agree with one that is worded alike."""
_IN_PLACE = 0.7
"""Share of trust in what such texts have in a place, beside how often a token occurs anywhere."""


class Phrases:
    """Logarithms of bigram probabilities, with the ends of a text as a token of their own.

    A pair's probability is its count among what follows the first token, mixed with how often the second one occurs,
    as one more text would weigh it.

    Args:
        texts: public texts, as columns of a table of ``size`` tokens.
        size: of the table; ``size`` itself stands for both ends of a text.
    """

    def __init__(self, texts: Sequence[NDArray[np.int64]], size: int) -> None:
        self.end = size
        ends = np.array([size])
        first = np.concatenate([np.concatenate([ends, text]) for text in texts])
        second = np.concatenate([np.concatenate([text, ends]) for text in texts])
        ones = np.ones(len(first))
        self._follow = sparse.csr_array((ones, (first, second)), shape=(size + 1, size + 1))
        self._precede = sparse.csr_array(self._follow.T)
        often = np.bincount(second, minlength=size + 1) + _UNSEEN
        share = often / often.sum()
        self._share: Floats = share
        self._total: Floats = np.bincount(first, minlength=size + 1).astype(np.float64) + _SMOOTHING
        self._plain: Floats = np.log(_SMOOTHING * self._share)
        self._by_length: dict[int, NDArray[np.int64]] = {}
        for length in {len(text) for text in texts}:
            self._by_length[length] = np.stack([text for text in texts if len(text) == length])

    def after(self, token: int) -> Floats:
        """Log-probability of every token behind this one, ``[size + 1]``."""
        found = self._plain.copy()
        columns, counts = _row(self._follow, token)
        found[columns] = np.log(counts + _SMOOTHING * self._share[columns])
        return np.asarray(found - np.log(self._total[token]))

    def before(self, token: int) -> Floats:
        """Log-probability of this token behind every other, ``[size + 1]``."""
        found = np.full(len(self._total), self._plain[token])
        columns, counts = _row(self._precede, token)
        found[columns] = np.log(counts + _SMOOTHING * self._share[token])
        return np.asarray(found - np.log(self._total))

    def alike(self, text: NDArray[np.int64]) -> Floats | None:
        """What public texts that are worded alike have in each place, ``[length, size + 1]``; None without such texts.

        Logarithm of how much likelier a token is there than anywhere. Alike are texts of the same length that agree
        with this one in nearly as many places as any does.
        """
        texts = self._by_length.get(len(text))
        if texts is None:
            return None
        same = np.count_nonzero(texts == text, axis=1)
        if same.max() < ALIKE * len(text):
            return None
        near = texts[same >= max(ALIKE * len(text), 0.6 * same.max())]
        found = np.zeros((len(text), len(self._share)))
        np.add.at(found, (np.arange(len(text)), near), 1.0 / len(near))
        return np.asarray(np.log(1 - _IN_PLACE + _IN_PLACE * found / self._share))

    def of(self, text: NDArray[np.int64]) -> float:
        """Log-probability of a whole text."""
        path = [self.end, *text.tolist(), self.end]
        return float(sum(self.after(one)[other] for one, other in pairwise(path)))


def _row(table: sparse.csr_array, row: int) -> tuple[NDArray[np.int64], Floats]:
    part = slice(table.indptr[row], table.indptr[row + 1])
    return np.asarray(table.indices[part], dtype=np.int64), np.asarray(table.data[part], dtype=np.float64)
