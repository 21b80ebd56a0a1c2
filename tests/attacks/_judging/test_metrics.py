"""Scores worked out by hand."""

import numpy as np
import pytest

from attacks._base.attack import (
    Bag,
    Fillers,
    Histogram,
    Members,
    Scores,
    Source,
    Texts,
)
from attacks._judging.metrics import Truth, average_precision, measure, private_strings


def truth(**changes):
    content = np.ones(20, dtype=bool)
    content[0] = False
    given = {
        "tokens": frozenset({1, 2, 3, 4}),
        "strings": frozenset({"Ines", "Arkwell"}),
        "members": frozenset({5, 6}),
        "examples": 4,
        "shares": np.array([0.5, 0.5]),
        "content": content,
        "pool_strings": [frozenset({"Ines"}) if i == 5 else frozenset({"Zora"}) for i in range(10)],
        "pool_tokens": [frozenset({i}) for i in range(10)],
        "decode": lambda ids: " Ines" if list(ids) == [1] else "else",
    }
    return Truth(**{**given, **changes})


def test_private_strings():
    text = "Review of order 7185 by Ines Vance, Arkwell: 12 of them, clumsy shop"
    assert private_strings(text) == {"7185", "Ines", "Vance", "Arkwell"}
    assert private_strings("nothing here, Patient", frozenset({"patient"})) == frozenset()


def test_names_that_no_list_has_are_private_strings_too():
    text = "Tünde Hoffmann wrote to Radovan Ltd about form 20785"
    assert private_strings(text, frozenset({"wrote"})) == {"Tünde", "Hoffmann", "Radovan", "Ltd", "20785"}


def test_average_precision():
    assert average_precision([1, 9, 2], frozenset({1, 2})) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([9, 8], frozenset({1})) == 0.0
    assert average_precision([1], frozenset({1, 2})) == 0.5
    assert average_precision([], frozenset()) == 0.0


def test_a_bag():
    found = measure(Bag((0, 1, 9, 2, 3), 3), truth())
    # Token 0 does not count and takes no place: 1, 9 and 2 were said.
    assert found["token precision"] == pytest.approx(2 / 3)
    assert found["token recall"] == pytest.approx(2 / 4)
    assert found["token F1"] == pytest.approx(4 / 7)
    assert found["average precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    assert found["private strings"] == 0.5
    # Of the first four that count, as many as are true: 1, 2 and 3.
    assert found["recall@S"] == pytest.approx(3 / 4)
    assert measure(Bag((9, 8, 7, 6, 1), 5), truth())["recall@S"] == 0.0


def test_members():
    found = measure(Members((5, 7, 6), 2, False, ""), truth())
    assert found["corpus recall"] == 0.5
    assert found["corpus precision"] == 0.5
    assert found["private strings"] == 0.5
    assert found["token F1"] == 0.0
    assert "private strings" not in measure(Members((5,), 1, False, ""), truth(strings=frozenset()))


def test_of_whole_texts_repeats_count_in_the_multiset_alone():
    given = truth(texts=((1, 1, 2, 0), (3, 4)))
    found = measure(Texts(((1, 2, 2, 9), (0, 1)), False), given)
    # Said: 1 twice, 2 twice, 9; true: 1 twice, 2, 3, 4. Both have 1 twice and 2 once.
    assert found["multiset precision"] == pytest.approx(3 / 5)
    assert found["multiset recall"] == pytest.approx(3 / 5)
    assert found["multiset F1"] == pytest.approx(3 / 5)
    # As sets: {1, 2, 9} and {1, 2, 3, 4}.
    assert found["token F1"] == pytest.approx(4 / 7)


def test_strings_of_a_text_are_found_wherever_it_has_them():
    given = truth(texts=((1,),), strings=frozenset({"Zoltan", "7185"}), decode=lambda ids: "Zoltan, 7185")
    assert measure(Texts(((1,),), False), given)["private strings"] == 1.0


def test_fillers_of_slots():
    said = Fillers(("first", "last"), (("Ines", "Zora"), ("Vance", "Arkwell")), (1, 2))
    assert measure(said, truth()) == {
        "private strings": 1.0,
        "string precision": pytest.approx(2 / 3),
        "slot accuracy": 0.5,
    }
    assert measure(said, truth(strings=frozenset())) == {}


def test_texts_and_histograms():
    assert measure(Texts(((0, 1), (1, 9)), False), truth())["token precision"] == 0.5
    assert measure(Histogram((0.25, 0.75), 4), truth()) == {"total variation": 0.25, "exact counts": 0.0}
    assert measure(Histogram((0.48, 0.52), 4), truth()) == {
        "total variation": pytest.approx(0.02),
        "exact counts": 1.0,
    }


def test_scores_and_sources():
    found = measure(Scores((9.0, 1.0, 2.0, np.nan, 0.0, 8.0, 3.0, 4.0, 5.0, 2.0)), truth())
    # Members 5 and 6 have 8 and 3; the others 9, 1, 2, 0, 4, 5, 2, and candidate 3 is not judged.
    assert found["AUC"] == pytest.approx((6 + 4) / 14)
    assert found["TPR at 1% FPR"] == 0.0
    assert found["balanced accuracy"] == pytest.approx((1 + 4 / 7) / 2)
    assert measure(Scores((1.0, 2.0)), truth(members=frozenset())) == {}
    assert measure(Source(frozenset({5, 9}), 3), truth()) == {"source accuracy": 0.5}
    assert measure(Source(frozenset({5}), 3), truth(members=frozenset())) == {}
