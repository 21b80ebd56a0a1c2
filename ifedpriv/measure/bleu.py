"""Corpus BLEU with one reference a text, as papers that name a signature compute it.

The one invariant: the score is that of the whole corpus, counts added up before anything is divided, and never a
mean over sentences; to the digit it is sacrebleu's with the same signature, which the tests hold it to.

Written here since it is short: sacrebleu brings five further packages, one of them compiled, for this one number.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ORDER = 4
"""Longest n-gram that is counted."""

SIGNATURE = (
    "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0 (of the definition; computed by ifedpriv)"
)
"""What a reader needs to compare a BLEU with another paper's, in sacrebleu's notation."""

# mteval-v13a sets all ASCII punctuation apart but for the apostrophe, and full stop, comma and hyphen by their digits.
_APART = re.compile("([" + re.escape("".join(c for c in string.punctuation if c not in "',-.") + " ") + "])")
_AFTER_NO_DIGIT = re.compile(r"([^0-9])([.,])")
_BEFORE_NO_DIGIT = re.compile(r"([.,])([^0-9])")
_HYPHEN_AFTER_DIGIT = re.compile(r"([0-9])(-)")
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def tokens_13a(text: str) -> list[str]:
    """A text's tokens as NIST's mteval-v13a cuts them.

    Languages that put no space between words come out in long runs, so their BLEU needs another tokeniser.

    Example:
        >>> tokens_13a("It cost 3.50, he said.")
        ['It', 'cost', '3.50', ',', 'he', 'said', '.']
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, mark in _ENTITIES:
        text = text.replace(entity, mark)
    text = _APART.sub(r" \1 ", f" {text} ")
    text = _AFTER_NO_DIGIT.sub(r"\1 \2 ", text)
    text = _BEFORE_NO_DIGIT.sub(r" \1 \2", text)
    return _HYPHEN_AFTER_DIGIT.sub(r"\1 \2 ", text).split()


def is_defined(references: Sequence[str]) -> bool:
    """Whether any reference has a 4-gram: where none has, BLEU is 0 whatever is answered, and says nothing."""
    return any(len(tokens_13a(reference)) >= ORDER for reference in references)


def bleu_counts(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """What each text adds to a corpus: float64 ``[n, 10]``.

    The columns are matched 1- to 4-grams, counted 1- to 4-grams of the answer, its length and the reference's. Any
    weighted sum over rows is a corpus, so resampling is a matrix product.
    """
    if len(references) != len(answers) or not references:
        raise ValueError(f"{len(references)} references and {len(answers)} answers: give as many, not none")
    return np.asarray([_counts(r, a) for r, a in zip(references, answers, strict=True)], dtype=np.float64)


def _counts(reference: str, answer: str) -> list[int]:
    theirs, ours = tokens_13a(reference), tokens_13a(answer)
    matched, counted = [], []
    for n in range(1, ORDER + 1):
        grams, wanted = _grams(ours, n), _grams(theirs, n)
        matched.append(sum((grams & wanted).values()))
        counted.append(sum(grams.values()))
    return [*matched, *counted, len(ours), len(theirs)]


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def bleu_of(counts: Floats) -> Floats:
    """BLEU, 0 to 1, of corpora whose summed counts are ``[..., 10]``; sacrebleu prints a hundred times as much.

    Orders without any match are smoothed by halving (NIST's geometric sequence); an order that no answer is long enough
    for makes the score 0.

    Reference:
        Papineni et al., ACL 2002; the definition that Post, WMT 2018 (arXiv 1804.08771), made a standard.
    """
    flat = counts.reshape(-1, counts.shape[-1])
    found: Floats = np.asarray([_bleu(row) for row in flat]).reshape(counts.shape[:-1])
    return found


def _bleu(row: Floats) -> float:
    matched, counted = row[:ORDER], row[ORDER : 2 * ORDER]
    answer, reference = float(row[2 * ORDER]), float(row[2 * ORDER + 1])
    if not matched.any() or not counted.all():
        return 0.0
    total, halvings = 0.0, 0
    for hits, all_of_them in zip(matched.tolist(), counted.tolist(), strict=True):
        if hits == 0:
            halvings += 1
            hits = 0.5**halvings
        total += math.log(hits / all_of_them)
    brevity = 1.0 if answer >= reference else math.exp(1 - reference / answer)
    return brevity * math.exp(total / ORDER)


def corpus_bleu(references: Sequence[str], answers: Sequence[str]) -> float:
    """BLEU, 0 to 1, of all answers together.

    Example:
        >>> round(corpus_bleu(["the cat sat on the mat"], ["the cat sat on a mat"]), 4)
        0.5373
    """
    return float(bleu_of(bleu_counts(references, answers).sum(axis=0)))
