"""How near guessed texts come to true ones, word for word: what a bag of words cannot say.

The invariant: a set of guesses is compared with the set of truths under the one assignment that suits the guesses best,
and a true text without a guess counts as missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from ifedpriv.measure.bleu import corpus_bleu
from ifedpriv.measure.metrics import rouge_l

Tokens = Sequence[int]


def text_metrics(
    guessed: Sequence[Tokens], true: Sequence[Tokens], decode: Callable[[Sequence[int]], str]
) -> dict[str, float]:
    """Metrics of a set of texts against the true set, all from 0 to 1, larger for better.

    - ``exact match``: share of the true texts that were guessed to the last token.
    - ``BLEU-4``: of all assigned pairs together.
    - ``ROUGE-L``, ``edit similarity``: mean over true texts, 0 for one that nothing is assigned to. The second is
      1 minus the Levenshtein distance of tokens over the longer text's length.

    Args:
        guessed: token ids of each guessed text.
        true: token ids of each true text.
        decode: tokens as text.
    """
    if not true:
        return {}
    pairs = assign(guessed, true)
    written = {j: str(decode(list(true[j]))).strip() for j in range(len(true))}
    said = {j: str(decode(list(guessed[i]))).strip() for i, j in pairs}
    answers = [said.get(j, "") for j in written]
    return {
        "exact match": sum(tuple(guessed[i]) == tuple(true[j]) for i, j in pairs) / len(true),
        "BLEU-4": corpus_bleu(list(written.values()), answers),
        "ROUGE-L": sum(rouge_l(written[j], said[j]) for j in said) / len(true),
        "edit similarity": sum(edit_similarity(guessed[i], true[j]) for i, j in pairs) / len(true),
    }


def assign(guessed: Sequence[Tokens], true: Sequence[Tokens]) -> list[tuple[int, int]]:
    """Pairs of a guess and a truth, each in one pair at most, that share the most tokens (Hungarian algorithm).

    Identical texts are paired first, so that an exact guess is never assigned elsewhere.

    Reference: Kuhn, The Hungarian Method for the Assignment Problem, 1955.
    """
    if not guessed or not true:
        return []
    size = 1 + max((token for text in (*guessed, *true) for token in text), default=0)
    first, second = _bags(guessed, size), _bags(true, size)
    shared = (first @ second.T).toarray()
    sizes = first.sum(axis=1)[:, None] + second.sum(axis=1)[None, :]
    alike: NDArray[np.float64] = 2 * shared / np.maximum(sizes, 1)
    index: dict[tuple[int, ...], list[int]] = {}
    for j, text in enumerate(true):
        index.setdefault(tuple(text), []).append(j)
    for i, text in enumerate(guessed):
        for j in index.get(tuple(text), ()):
            alike[i, j] = 1.0 + len(true)
    rows, columns = linear_sum_assignment(alike, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True)]


def edit_similarity(one: Tokens, other: Tokens) -> float:
    """1 minus the Levenshtein distance over the longer length; 1 for two empty texts."""
    longest = max(len(one), len(other))
    if not longest:
        return 1.0
    above = list(range(len(other) + 1))
    for i, token in enumerate(one, 1):
        row = [i]
        for j, each in enumerate(other, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (token != each)))
        above = row
    return 1 - above[-1] / longest


def _bags(texts: Sequence[Tokens], size: int) -> sparse.csr_array:
    """Which tokens each text holds, as 0 and 1, ``[texts, size]``."""
    rows = np.repeat(np.arange(len(texts)), [len(set(text)) for text in texts])
    columns = np.array([token for text in texts for token in sorted(set(text))], dtype=np.int64)
    return sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(texts), size))
