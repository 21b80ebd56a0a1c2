"""Answers to figures: the interval that each kind of answer gets."""

import pytest

from ifedpriv.data.task import TaskKind
from ifedpriv.experiment.figures import ACCURACY, EXACT_MATCH, figures
from ifedpriv.icl.evaluate import Answers
from ifedpriv.measure.intervals import wilson


@pytest.mark.parametrize(
    ("kind", "metric", "truth", "wrong"),
    [
        (TaskKind.GENERATION, EXACT_MATCH, "Sanna Holm", "Olu Berg"),
        (TaskKind.CLASSIFICATION, ACCURACY, 0, 1),
    ],
)
@pytest.mark.parametrize("hits", [0, 3, 20])
def test_a_share_of_right_answers_is_a_proportion(kind, metric, truth, wrong, hits):
    """None right in 20 does not mean that none ever will be: the interval keeps its width at the ends."""
    answers = Answers((truth,) * 20, (truth,) * hits + (wrong,) * (20 - hits))
    figure = figures(kind, [answers])[metric]
    expected = wilson(hits, 20)
    assert figure.value == hits / 20
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high))
    assert figure.high - figure.low > 0.1


@pytest.mark.parametrize(
    "lengths", [(20, 20, 20), (20, 12, 8)], ids=["the same queries", "queries of their own"]
)
def test_a_mean_over_clients_says_clients(lengths):
    """A reader would take "8 seeds" for eight runs of the whole experiment, which nobody made."""
    lists = [Answers((0, 1) * (n // 2), (0, 0) * (n // 2)) for n in lengths]
    for figure in figures(TaskKind.CLASSIFICATION, lists).values():
        assert "3 clients" in figure.method and "seed" not in figure.method
