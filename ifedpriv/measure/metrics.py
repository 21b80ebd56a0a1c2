"""Scores of predictions: for label indices, and for free texts.

The one invariant: every score is between 0 and 1, larger is better, and an empty list has no score but an
error.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# ---- labels


def accuracy(truth: ArrayLike, prediction: ArrayLike) -> float:
    """The share of predictions that are right; both arguments are whole numbers of shape ``[n]``."""
    true, predicted = label_arrays(truth, prediction)
    return float((true == predicted).mean())


def macro_f1(truth: ArrayLike, prediction: ArrayLike) -> float:
    """The unweighted mean of the classes' F1, over the classes that occur in truth or prediction.

    F1 of a class is 2TP / (2TP + FP + FN). For a class that occurs the denominator is at least 1, so nothing
    is ever divided by zero: a class that is never predicted, or predicted but never true, scores 0. Classes
    that occur in neither do not count. It equals scikit-learn's ``f1_score(average="macro")``.

    Example:
        >>> round(macro_f1([0, 0, 1, 2], [0, 1, 1, 1]), 3)  # F1 is 2/3, 1/2 and 0
        0.389
    """
    true, predicted = label_arrays(truth, prediction)
    hits, total = f1_parts(true, predicted)
    return float(mean_f1(hits.sum(axis=0), total.sum(axis=0)))


def label_arrays(*labels: ArrayLike) -> list[NDArray[np.int64]]:
    """Label lists as int64 arrays ``[n]`` of one length, checked.

    Raises:
        ValueError: they are empty, of different lengths, not one-dimensional or not whole numbers.
    """
    arrays = [np.asarray(values) for values in labels]
    for array in arrays:
        if array.ndim != 1 or array.size == 0 or array.shape != arrays[0].shape:
            raise ValueError(f"labels must be lists of one length, not empty: {[a.shape for a in arrays]}")
        if array.dtype.kind not in "iu":
            raise ValueError(f"labels must be whole numbers, not {array.dtype}")
    return [array.astype(np.int64) for array in arrays]


def f1_parts(
    truth: NDArray[np.int64], prediction: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each row's share in 2TP and in 2TP + FP + FN of every class: two arrays ``[n, classes]``.

    Any weighted sum over rows gives the F1 parts of the rows so weighted; resampling is a matrix product.
    """
    classes = np.union1d(truth, prediction)
    is_true = (truth[:, None] == classes).astype(np.float64)
    is_predicted = (prediction[:, None] == classes).astype(np.float64)
    return 2 * is_true * is_predicted, is_true + is_predicted


def mean_f1(hits: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Macro-F1 from 2TP and 2TP + FP + FN ``[..., classes]``, over the classes with a total above 0."""
    occurs = total > 0
    f1 = np.divide(hits, total, out=np.zeros_like(hits), where=occurs)
    score: NDArray[np.float64] = f1.sum(axis=-1) / occurs.sum(axis=-1)
    return score


# ---- texts


def words(text: str) -> list[str]:
    """A text's words: runs of letters, marks and digits, in lower case.

    Languages that put no space between words (Chinese, Thai) come out in long runs, so overlap scores are
    coarse there.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split()


def exact_match(reference: str, answer: str) -> float:
    """1 if both texts have the same words in the same order, else 0.

    Articles count, unlike in SQuAD's definition: without them the answer "A" would equal no answer at all.
    Texts without any word, such as ":-)", are compared as they are.
    """
    theirs, ours = words(reference), words(answer)
    return float(theirs == ours if theirs or ours else reference.strip() == answer.strip())


def token_f1(reference: str, answer: str) -> float:
    """F1 of the words as bags: twice the shared words over all words of both; 1 if neither text has a word.

    Reference:
        Rajpurkar et al., EMNLP 2016 (arXiv 1606.05250), but with articles kept.
    """
    theirs, ours = words(reference), words(answer)
    shared = sum((Counter(theirs) & Counter(ours)).values())
    return _f1(shared, len(theirs), len(ours))


def rouge_l(reference: str, answer: str) -> float:
    """ROUGE-L F: F1 of the longest common subsequence of words; 1 if neither text has a word.

    Precision and recall weigh the same, and no stemming is done.

    Reference:
        Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004, section 3.

    Example:
        >>> rouge_l("police killed the gunman", "the gunman kill police")  # "the gunman": 2 of 4 and 4
        0.5
    """
    theirs, ours = words(reference), words(answer)
    return _f1(_common_subsequence(theirs, ours), len(theirs), len(ours))


def _f1(shared: int, first: int, second: int) -> float:
    return 2 * shared / (first + second) if first + second else 1.0


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row of the usual table."""
    above = [0] * (len(second) + 1)
    for word in first:
        row = [0]
        for j, other in enumerate(second):
            row.append(above[j] + 1 if word == other else max(row[j], above[j + 1]))
        above = row
    return above[-1]
