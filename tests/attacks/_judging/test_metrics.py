"""Scores worked out by hand, and every verdict with the least change that turns it."""

import numpy as np
import pytest

from attacks._base.attack import (
    Bag,
    Histogram,
    Members,
    Scores,
    Source,
    Texts,
)
from attacks._judging.finding import Verdict
from attacks._judging.metrics import Truth, average_precision, gain_of, judge, measure, private_strings


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
    assert private_strings("nothing here, Patient") == frozenset()


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


def test_members():
    found = measure(Members((5, 7, 6), 2, False, ""), truth())
    assert found["corpus recall"] == 0.5
    assert found["corpus precision"] == 0.5
    assert found["private strings"] == 0.5
    assert found["token F1"] == 0.0
    assert "private strings" not in measure(Members((5,), 1, False, ""), truth(strings=frozenset()))


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


HIGH, LOW = [0.95, 0.99, 0.97, 0.96, 0.98, 1.0], [0.1, 0.12, 0.1, 0.08, 0.1, 0.11]


@pytest.mark.parametrize(
    ("metric", "values", "controls", "options", "verdict"),
    [
        ("corpus recall", HIGH, {"prior only": LOW}, {"pool": 1000, "precision": 0.95}, Verdict.SEVERE),
        ("corpus recall", [v - 0.2 for v in HIGH], {"prior only": LOW}, {"pool": 1000}, Verdict.WORKS),
        ("corpus recall", HIGH, {"prior only": LOW}, {"pool": 1000, "precision": 0.8}, Verdict.INCONCLUSIVE),
        ("corpus recall", HIGH, {"prior only": LOW}, {"pool": 999}, Verdict.NOT_EVALUABLE),
        ("corpus recall", [1.0], {"prior only": [0.1]}, {"pool": 1000}, Verdict.NOT_EVALUABLE),
        ("corpus recall", [1.0], {"prior only": [0.1]}, {"pool": 1000, "chance": 1e-9}, Verdict.SEVERE),
        (
            "corpus recall",
            [1.0],
            {"prior only": [0.1]},
            {"pool": 1000, "chance": 1e-3},
            Verdict.NOT_EVALUABLE,
        ),
        ("AUC", HIGH, {"prior only": LOW}, {}, Verdict.SEVERE),
        ("AUC", [0.55] * 6, {"prior only": LOW}, {}, Verdict.INCONCLUSIVE),
        ("AUC", [0.9], {"prior only": [0.5]}, {"chance": 1e-9}, Verdict.SEVERE),
        ("AUC", [0.9], {"prior only": [0.5]}, {"chance": 1e-3}, Verdict.NOT_EVALUABLE),
        ("TPR at 0.1% FPR", HIGH, {"prior only": LOW}, {"pool": 2994}, Verdict.NOT_EVALUABLE),
        ("TPR at 0.1% FPR", HIGH, {"prior only": LOW}, {"pool": 2995}, Verdict.SEVERE),
        ("TPR at 1% FPR", [0.2] * 6, {"prior only": LOW}, {"pool": 299}, Verdict.WORKS),
        ("source accuracy", [0.5] * 6, {"prior only": LOW}, {}, Verdict.WORKS),
        ("source accuracy", HIGH, {"random vector": LOW}, {}, Verdict.INCONCLUSIVE),
        ("token F1", HIGH, {"prior only": HIGH}, {}, Verdict.INCONCLUSIVE),
        ("token F1", HIGH, {"prior only": [0.79] * 6}, {}, Verdict.SEVERE),
        # What is known without the vector is past the bar already, and the vector adds a little to it.
        ("token F1", HIGH, {"prior only": [0.85] * 6}, {}, Verdict.WORKS),
        ("token F1", HIGH, {}, {}, Verdict.NOT_EVALUABLE),
        ("token F1", HIGH[:4], {"prior only": LOW[:4]}, {}, Verdict.NOT_EVALUABLE),
        ("token F1", LOW * 20, {"prior only": LOW * 20}, {}, Verdict.RESISTED),
        ("token F1", [0.4] * 6, {"prior only": LOW}, {}, Verdict.INCONCLUSIVE),
        ("average precision", [0.3] * 6, {"prior only": LOW}, {}, Verdict.WORKS),
        ("average precision", [0.18] * 6, {"prior only": LOW}, {}, Verdict.INCONCLUSIVE),
        ("average precision", [0.3] * 6, {"random vector": LOW}, {}, Verdict.INCONCLUSIVE),
        ("average precision", [0.3] * 6, {"prior only": LOW, "nearest": [0.5] * 6}, {}, Verdict.INCONCLUSIVE),
        ("total variation", LOW, {"uniform": [0.4] * 6}, {}, Verdict.WORKS),
        ("total variation", [0.3] * 6, {"uniform": [0.4] * 6}, {}, Verdict.INCONCLUSIVE),
        ("total variation", HIGH, {"uniform": LOW}, {}, Verdict.INCONCLUSIVE),
        ("exact counts", HIGH, {"uniform": LOW}, {}, Verdict.SEVERE),
    ],
)
def test_verdicts(metric, values, controls, options, verdict):
    found, why = judge(metric, values, controls, **options)
    assert found is verdict, why
    assert why
    assert found.leaks == (verdict in (Verdict.WORKS, Verdict.SEVERE))


def test_the_gain_is_over_the_best_control_and_positive_where_the_attack_is_better():
    controls = {"prior only": [0.5, 0.5], "uniform": [0.2, 0.4]}
    far = gain_of("total variation", [0.1, 0.1], controls)
    assert (far.control, far.value) == ("uniform", pytest.approx(0.2))
    assert far.interval[0] >= 0.1 - 1e-9
    near = gain_of("AUC", [0.6, 0.4], controls)
    assert (near.control, near.value) == ("prior only", pytest.approx(0.0))
    assert gain_of("AUC", [0.6], {}) is None
