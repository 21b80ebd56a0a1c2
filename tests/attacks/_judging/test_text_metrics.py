"""Texts beside texts: assignments and scores worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks._judging.text_metrics import assign, edit_similarity, text_metrics

WORDS = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "far", "off"]


def decode(ids):
    return " ".join(WORDS[i] for i in ids)


TRUE = [(0, 1, 2, 3, 0, 5), (4, 6, 7, 8, 9)]
TOKENS = st.lists(st.integers(0, 9), min_size=1, max_size=7).map(tuple)
SETS = st.lists(TOKENS, min_size=1, max_size=4)


def test_the_right_texts_in_another_order_are_exact():
    found = text_metrics(TRUE[::-1], TRUE, decode)
    assert found == {"exact match": 1.0, "BLEU-4": 1.0, "ROUGE-L": 1.0, "edit similarity": 1.0}


def test_a_missing_text_counts_as_missed():
    found = text_metrics(TRUE[:1], TRUE, decode)
    assert found["exact match"] == found["ROUGE-L"] == found["edit similarity"] == 0.5
    assert 0 < found["BLEU-4"] < 1
    assert text_metrics([], TRUE, decode) == {
        "exact match": 0.0,
        "BLEU-4": 0.0,
        "ROUGE-L": 0.0,
        "edit similarity": 0.0,
    }
    assert text_metrics(TRUE, [], decode) == {}


def test_one_wrong_token():
    found = text_metrics([(0, 1, 2, 3, 4, 5)], TRUE[:1], decode)
    assert found["exact match"] == 0.0
    assert found["edit similarity"] == pytest.approx(5 / 6)
    assert found["ROUGE-L"] == pytest.approx(5 / 6)
    # "the cat sat on a mat" against "the cat sat on the mat", as in the definition's example.
    assert found["BLEU-4"] == pytest.approx(0.5373, abs=1e-4)


def test_an_exact_guess_keeps_its_truth_among_texts_of_the_same_words():
    true = [(1, 2, 3), (3, 2, 1)]
    assert sorted(assign([(3, 2, 1), (1, 2, 3)], true)) == [(0, 1), (1, 0)]


def test_edit_similarity():
    assert edit_similarity((), ()) == 1.0
    assert edit_similarity((1, 2, 3), ()) == 0.0
    assert edit_similarity((1, 2, 3), (2, 3)) == pytest.approx(2 / 3)
    assert edit_similarity((1, 2, 3, 4), (1, 3, 2, 4)) == 0.5


@given(SETS, SETS)
def test_scores_are_shares_and_the_truth_has_the_best(guessed, true):
    found = text_metrics(guessed, true, decode)
    assert all(0.0 <= value <= 1.0 + 1e-9 for value in found.values())
    assert text_metrics(true, true, decode)["exact match"] == 1.0
    pairs = assign(guessed, true)
    assert len(pairs) == min(len(guessed), len(true))
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    exact = found["exact match"] * len(true)
    assert exact == pytest.approx(sum(min(guessed.count(t), true.count(t)) for t in set(true)))
