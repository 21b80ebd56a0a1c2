"""How alike two texts are by their words: an encoder that owes nothing to the model that is attacked.

TF-IDF weights of words, fitted on public texts and reduced to the directions that hold most of them by a truncated
singular value decomposition (latent semantic analysis). It is a plain encoder: it needs no download, and what it calls
alike uses the same words, or words that stand in the same public texts.

The invariant: it is fitted on public texts alone, and encodes a guess exactly as it encodes the truth.

Reference:
    Deerwester et al., Indexing by latent semantic analysis, JASIS 41 (1990).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from attacks._base.targets import Floats
from attacks._judging.text_metrics import assign

_WORD = re.compile(r"\w+")
_DIRECTIONS = 100


@dataclass(frozen=True, slots=True, eq=False)
class WordSpace:
    """The fitted encoder.

    Attributes:
        column: of each word that public texts hold.
        weights: inverse document frequency of each, ``[v]``.
        axes: ``[v, directions]``, orthonormal.
    """

    column: Mapping[str, int]
    weights: Floats
    axes: Floats

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordSpace | None:
        """Fitted on public texts; None for fewer than three, or where they hold fewer than three words."""
        column = {word: i for i, word in enumerate(sorted({w for text in texts for w in _words(text)}))}
        if len(texts) < 3 or len(column) < 3:
            return None
        counts = _counts(texts, column)
        held = np.asarray((counts > 0).sum(axis=0)).reshape(-1)
        weights = np.log((1 + len(texts)) / (1 + held)) + 1
        rows = _unit(counts.multiply(weights).toarray())
        # The singular vectors, from the smaller table of products: texts are few.
        values, left = np.linalg.eigh(rows @ rows.T)
        kept = np.argsort(-values, kind="stable")[:_DIRECTIONS]
        kept = kept[values[kept] > 1e-9 * values.max()]
        return cls(
            column, weights, np.asarray(rows.T @ left[:, kept] / np.sqrt(values[kept]), dtype=np.float64)
        )

    def encode(self, texts: Sequence[str]) -> Floats:
        """Points of unit length ``[n, directions]``; 0 for a text without a public word."""
        rows = _unit(_counts(texts, self.column).multiply(self.weights).toarray())
        return _unit(rows @ self.axes)

    def alike(
        self,
        guessed: Sequence[Sequence[int]],
        true: Sequence[Sequence[int]],
        decode: Callable[[Sequence[int]], str],
    ) -> float:
        """Mean over true texts of the cosine with the guess that `assign` gives it; 0 for one without a guess."""
        pairs = assign(guessed, true)
        if not pairs:
            return 0.0
        said = self.encode([str(decode(guessed[i])) for i, _ in pairs])
        meant = self.encode([str(decode(true[j])) for _, j in pairs])
        return float(np.sum(said * meant) / len(true))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _counts(texts: Sequence[str], column: Mapping[str, int]) -> sparse.csr_array:
    found = [Counter(column[w] for w in _words(text) if w in column) for text in texts]
    rows = np.repeat(np.arange(len(texts)), [len(each) for each in found])
    columns = np.array([c for each in found for c in each], dtype=np.int64)
    values = np.array([n for each in found for n in each.values()], dtype=np.float64)
    return sparse.csr_array((values, (rows, columns)), shape=(len(texts), len(column)))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30), dtype=np.float64)
