"""Metrics against answers by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.measure.metrics import accuracy, exact_match, macro_f1, rouge_l, token_f1, words

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60)
SENTENCES = st.lists(st.sampled_from(["the", "cat", "sat", "on", "mat", "dog"]), max_size=12).map(" ".join)


# ---- labels


@pytest.mark.parametrize(
    ("truth", "prediction", "right", "f1"),
    [
        # Class 0: TP 1, FN 1 -> 2/3. Class 1: TP 1, FP 2 -> 1/2. Class 2: FN 1 -> 0.
        ([0, 0, 1, 2], [0, 1, 1, 1], 0.5, 7 / 18),
        ([0, 1], [0, 1], 1.0, 1.0),
        ([0, 1], [1, 0], 0.0, 0.0),
        # Predicting the majority: F1 of class 0 is 2*8/(2*8+2), of class 1 it is 0.
        ([0] * 8 + [1] * 2, [0] * 10, 0.8, 4 / 9),
        # Class 7 is predicted and never true: it counts, with 0.
        ([0, 0], [0, 7], 0.5, 1 / 3),
        # Classes 1 to 4 occur in neither: they do not count.
        ([0, 5], [0, 5], 1.0, 1.0),
    ],
)
def test_known_scores(truth, prediction, right, f1):
    assert accuracy(truth, prediction) == pytest.approx(right, abs=1e-15)
    assert macro_f1(truth, prediction) == pytest.approx(f1, abs=1e-15)


@given(PAIRS)
def test_macro_f1_equals_scikit_learns(pairs):
    learned = pytest.importorskip("sklearn.metrics")
    truth, prediction = zip(*pairs, strict=True)
    theirs = learned.f1_score(truth, prediction, average="macro", zero_division=0)
    assert macro_f1(truth, prediction) == pytest.approx(theirs, abs=1e-12)


@given(PAIRS, st.permutations(range(6)))
def test_names_of_classes_do_not_matter(pairs, names):
    truth, prediction = np.array(pairs).T
    renamed = np.array(names)
    assert macro_f1(renamed[truth], renamed[prediction]) == pytest.approx(
        macro_f1(truth, prediction), abs=1e-12
    )


@pytest.mark.parametrize(
    ("truth", "prediction", "says"),
    [
        ([], [], "not empty"),
        ([0, 1], [0], "of one length"),
        ([[0, 1]], [[0, 1]], "lists"),
        ([0.5, 1.0], [0, 1], "whole numbers, not float64"),
        ([True, False], [True, False], "whole numbers, not bool"),
    ],
)
def test_labels_that_are_none(truth, prediction, says):
    for score in (accuracy, macro_f1):
        with pytest.raises(ValueError, match=says):
            score(truth, prediction)


# ---- texts


@pytest.mark.parametrize(
    ("reference", "answer", "exact", "bag", "sequence"),
    [
        ("Oslo", "oslo.", 1, 1, 1),
        ("Oslo", "Bergen", 0, 0, 0),
        # Bags share the, gunman, police: 2*3/(4+4). In order only "the gunman": 2*2/(4+4).
        ("police killed the gunman", "the gunman kill police", 0, 0.75, 0.5),
        # "police the gunman" is in order: 2*3/(4+4).
        ("police killed the gunman", "police kill the gunman", 0, 0.75, 0.75),
        # A word that occurs twice is shared at most as often as in both: 2*2/(3+2).
        ("a a b", "a a", 0, 0.8, 0.8),
        ("a b c d", "d c b a", 0, 1, 0.25),
        ("a b c d e", "b d", 0, 4 / 7, 4 / 7),
        ("A", "", 0, 0, 0),
        ("the", "a", 0, 0, 0),
        ("", "", 1, 1, 1),
        (":-)", ":-(", 0, 1, 1),
        ("größer", "GRÖSSER", 1, 1, 1),
        ("café", "cafe", 0, 0, 0),
        ("Straße", "STRASSE", 1, 1, 1),
        ("हिन्दी भाषा", "हिन्दी", 0, 2 / 3, 2 / 3),
    ],
)
def test_known_text_scores(reference, answer, exact, bag, sequence):
    assert exact_match(reference, answer) == exact
    assert token_f1(reference, answer) == pytest.approx(bag, abs=1e-15)
    assert rouge_l(reference, answer) == pytest.approx(sequence, abs=1e-15)


def test_words():
    assert words("It's 3.5 km -- to ﬁnd कि!") == ["it", "s", "3", "5", "km", "to", "find", "कि"]


@given(SENTENCES, SENTENCES)
def test_rouge_equals_the_rouge_package(reference, answer):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    if reference or answer:
        theirs = scorer.score(reference, answer)["rougeL"].fmeasure
        assert rouge_l(reference, answer) == pytest.approx(theirs, abs=1e-12)


@given(SENTENCES, SENTENCES)
def test_text_scores_are_symmetric_ordered_and_bounded(first, second):
    for score in (exact_match, token_f1, rouge_l):
        assert score(first, second) == score(second, first)
        assert score(first, first) == 1
    assert 0 <= exact_match(first, second) <= rouge_l(first, second) <= token_f1(first, second) <= 1
