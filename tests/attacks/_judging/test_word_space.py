"""The encoder of words: near what is worded alike, far from what is not, and the same every time."""

import numpy as np
import pytest

from attacks._judging.word_space import WordSpace

PUBLIC = [
    *(f"the parcel of order {n} went wrong, says the courier" for n in range(6)),
    *(f"my password and login failed, case {n}" for n in range(6)),
    *(f"the battery of the printer is dead, ticket {n}" for n in range(6)),
]
WORDS = ["the parcel went wrong", "the courier lost the order", "my login failed", "battery dead", "zzz"]


def decode(ids):
    return " ".join(WORDS[i] for i in ids)


def test_texts_of_one_kind_are_alike_and_others_are_not():
    space = WordSpace.of(PUBLIC)
    parcel, courier, login, _, strange = space.encode(WORDS)
    assert parcel @ courier > 0.3 > abs(parcel @ login) + 0.1
    assert np.linalg.norm(parcel) == pytest.approx(1.0)
    assert not strange.any()
    assert np.allclose(WordSpace.of(PUBLIC).encode(WORDS), space.encode(WORDS))


def test_a_set_of_texts_is_compared_pair_by_pair_and_a_missing_one_counts_as_missed():
    space = WordSpace.of(PUBLIC)
    assert space.alike([(2,), (0,)], [(0,), (2,)], decode) == pytest.approx(1.0)
    assert space.alike([(0,)], [(0,), (2,)], decode) == pytest.approx(0.5)
    assert space.alike([], [(0,)], decode) == 0.0
    assert space.alike([(3,)], [(2,)], decode) < 0.3


def test_too_few_texts_fit_none():
    assert WordSpace.of(["one text", "two"]) is None
