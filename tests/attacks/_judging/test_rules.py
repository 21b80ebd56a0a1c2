"""Every verdict with the least change that turns it."""

import pytest

from attacks._judging.finding import Verdict
from attacks._judging.rules import gain_of, judge

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
        # Whatever beats the best control works, where there is no threshold of its own.
        ("AUC", [0.54, 0.55, 0.56] * 2, {"prior only": [0.51] * 6}, {}, Verdict.WORKS),
        ("AUC", [0.54, 0.48, 0.56] * 2, {"prior only": [0.51] * 6}, {}, Verdict.INCONCLUSIVE),
        ("AUC", [0.51, 0.53] * 60, {"prior only": [0.51] * 120}, {}, Verdict.WORKS),
        ("AUC", [0.5, 0.52] * 60, {"prior only": [0.51] * 120}, {}, Verdict.RESISTED),
        ("AUC", [0.9], {"prior only": [0.5]}, {"chance": 1e-9}, Verdict.SEVERE),
        ("AUC", [0.9], {"prior only": [0.5]}, {"chance": 1e-9, "alone": (0.85, 0.95)}, Verdict.SEVERE),
        (
            "AUC",
            [0.56],
            {"prior only": [0.55]},
            {"chance": 1e-9, "alone": (0.54, 0.58)},
            Verdict.INCONCLUSIVE,
        ),
        ("AUC", [0.9], {"prior only": [0.5]}, {"chance": 1e-3}, Verdict.NOT_EVALUABLE),
        ("TPR at 0.1% FPR", HIGH, {"prior only": LOW}, {"pool": 2994}, Verdict.NOT_EVALUABLE),
        ("TPR at 0.1% FPR", HIGH, {"prior only": LOW}, {"pool": 2995}, Verdict.SEVERE),
        ("TPR at 1% FPR", [0.2] * 6, {"prior only": LOW}, {"pool": 299}, Verdict.WORKS),
        ("source accuracy", [0.5] * 6, {"prior only": LOW}, {}, Verdict.WORKS),
        ("source accuracy", [0.15] * 6, {"prior only": LOW}, {}, Verdict.WORKS),
        ("recall@S", [0.85] * 6, {"prior only": LOW}, {}, Verdict.SEVERE),
        ("recall@S", [0.79] * 6, {"prior only": LOW}, {}, Verdict.INCONCLUSIVE),
        ("recall@S", [0.85] * 6, {"prior only": [0.82] * 6}, {}, Verdict.WORKS),
        # A single string is severe, unless the best control finds as many.
        (
            "private strings",
            [0.05, 0.05, 0.0, 0.05, 0.05, 0.0],
            {"prior only": [0.0] * 6},
            {},
            Verdict.SEVERE,
        ),
        ("private strings", [0.05, 0, 0, 0, 0, 0], {"prior only": [0.0] * 6}, {}, Verdict.INCONCLUSIVE),
        ("private strings", [0.6] * 6, {"prior only": [0.6] * 6}, {}, Verdict.INCONCLUSIVE),
        ("private strings", [0.2] * 100, {"prior only": [0.2] * 100}, {}, Verdict.RESISTED),
        ("multiset F1", [0.5] * 6, {"prior only": LOW}, {}, Verdict.WORKS),
        ("exact match", [0.01] * 6, {"prior only": [0.0] * 6}, {}, Verdict.WORKS),
        ("exact match", [0.25] * 6, {"prior only": [0.0] * 6}, {}, Verdict.SEVERE),
        ("token F1", HIGH, {"prior only": HIGH}, {}, Verdict.INCONCLUSIVE),
        ("token F1", HIGH, {"prior only": [0.79] * 6}, {}, Verdict.SEVERE),
        # What is known without the vector is past the bar already, and the vector adds a little to it.
        ("token F1", HIGH, {"prior only": [0.85] * 6}, {}, Verdict.WORKS),
        ("token F1", HIGH, {}, {}, Verdict.NOT_EVALUABLE),
        ("token F1", HIGH[:4], {"prior only": LOW[:4]}, {}, Verdict.NOT_EVALUABLE),
        ("token F1", LOW * 20, {"prior only": LOW * 20}, {}, Verdict.RESISTED),
        ("token F1", [0.4] * 6, {"prior only": LOW}, {}, Verdict.INCONCLUSIVE),
        # Words that are guessed worse than without the vector are not found; an area below a half may be turned around.
        ("token F1", [0.3] * 100, {"prior only": [0.4] * 100}, {}, Verdict.RESISTED),
        ("multiset F1", [0.3] * 100, {"prior only": [0.4] * 100}, {}, Verdict.RESISTED),
        ("private strings", [0.3] * 100, {"prior only": [0.4] * 100}, {}, Verdict.RESISTED),
        ("token F1", [0.3] * 99, {"prior only": [0.4] * 99}, {}, Verdict.INCONCLUSIVE),
        ("token F1", [0.1, 0.9] * 60, {"prior only": [0.5] * 120}, {}, Verdict.INCONCLUSIVE),
        ("AUC", [0.4] * 100, {"prior only": [0.5] * 100}, {}, Verdict.INCONCLUSIVE),
        ("average precision", [0.3] * 6, {"prior only": LOW}, {}, Verdict.WORKS),
        ("average precision", [0.18] * 6, {"prior only": LOW}, {}, Verdict.INCONCLUSIVE),
        ("average precision", [0.3] * 6, {"random vector": LOW}, {}, Verdict.INCONCLUSIVE),
        ("average precision", [0.3] * 6, {"prior only": LOW, "nearest": [0.5] * 6}, {}, Verdict.INCONCLUSIVE),
        ("total variation", LOW, {"uniform": [0.4] * 6}, {}, Verdict.WORKS),
        ("total variation", [0.3] * 6, {"uniform": [0.4] * 6}, {}, Verdict.INCONCLUSIVE),
        ("total variation", HIGH, {"uniform": LOW}, {}, Verdict.INCONCLUSIVE),
        ("exact counts", HIGH, {"uniform": LOW}, {}, Verdict.SEVERE),
        ("exact counts", [0.4] * 6, {"uniform": LOW}, {}, Verdict.INCONCLUSIVE),
        # Above the control and short of the threshold, but by so little that it is resisted.
        ("average precision", [0.51] * 100, {"prior only": [0.5] * 100}, {}, Verdict.RESISTED),
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


def test_a_gain_that_falls_short_is_told_as_what_it_is():
    _, why = judge("token F1", [0.4] * 6, {"prior only": [0.1] * 6})
    assert why == "above the best control, prior only, by 0.3, and short of the threshold of 0.5"


def test_the_gain_of_a_single_vector_has_the_interval_of_its_value():
    found = gain_of("AUC", [0.9], {"prior only": [0.6]}, alone=(0.85, 0.95))
    assert found.interval == (pytest.approx(0.25), pytest.approx(0.35))
