"""Answers to figures with intervals: one list of answers, or one for each client."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ifedpriv.data.task import Task, TaskKind
from ifedpriv.icl.evaluate import Answers
from ifedpriv.measure import bleu, intervals, metrics, numbers
from ifedpriv.measure.share import Share
from ifedpriv.report.measure_records import NumberError
from ifedpriv.report.schema import Figure, VectorShare

ACCURACY, MACRO_F1 = "accuracy", "macro_f1"
EXACT_MATCH, ROUGE_L, BLEU = "exact_match", "rouge_l", "bleu"
LEVEL = 0.95


def primary_metric(kind: TaskKind) -> str:
    """The metric that rounds, guard and table go by."""
    return EXACT_MATCH if kind is TaskKind.GENERATION else ACCURACY


def score(kind: TaskKind, answers: Answers) -> float:
    """The primary metric of one list of answers."""
    if kind is TaskKind.GENERATION:
        return float(np.mean(_texts(metrics.exact_match, answers)))
    return metrics.accuracy(answers.truth, answers.predicted)


def right(kind: TaskKind, answers: Answers) -> NDArray[np.float64]:
    """The primary metric of each answer, float64 ``[queries]``: 1 where it is right, 0 where it is not."""
    if kind is TaskKind.GENERATION:
        return _texts(metrics.exact_match, answers)
    found: NDArray[np.float64] = (np.asarray(answers.truth) == np.asarray(answers.predicted)).astype(
        np.float64
    )
    return found


def vector_share(found: Share) -> VectorShare:
    """The vector's share as it stands in a report."""
    if found.value is None or found.interval is None:
        return VectorShare(None, None, None, LEVEL, "", found.why)
    within = found.interval
    return VectorShare(found.value, within.low, within.high, within.level, within.method, "")


def figures(kind: TaskKind, lists: Sequence[Answers]) -> dict[str, Figure]:
    """All metrics of a row, each the mean over the lists.

    Args:
        kind: classification or generation.
        lists: one list of answers, or one for each client that was judged by itself.

    Returns:
        Metric name to figure. One list: intervals cover other queries. Several lists over the same queries: they
        cover other queries and other clients. Several lists over different queries: Student's over clients.
    """
    if kind is TaskKind.GENERATION:
        found = {
            EXACT_MATCH: _accuracy([_texts(metrics.exact_match, a) == 1 for a in lists]),
            ROUGE_L: _mean_figure([_texts(metrics.rouge_l, a) for a in lists]),
        }
        # Where no reference has four words, BLEU is 0 whatever is answered.
        return found | ({BLEU: _bleu(lists)} if has_bleu(lists) else {})
    right = [np.asarray(a.truth) == np.asarray(a.predicted) for a in lists]
    return {ACCURACY: _accuracy(right), MACRO_F1: _macro_f1(lists)}


def single(kind: TaskKind, answers: Answers) -> Figure:
    """The primary metric of one list of answers, with its interval."""
    return figures(kind, [answers])[primary_metric(kind)]


def _accuracy(right: list[NDArray[np.bool_]]) -> Figure:
    if len(right) == 1:
        hits, n = int(right[0].sum()), len(right[0])
        return _figure(hits / n, intervals.wilson(hits, n), n)
    return _mean_figure([r.astype(np.float64) for r in right])


def _macro_f1(lists: Sequence[Answers]) -> Figure:
    value = float(np.mean([metrics.macro_f1(a.truth, a.predicted) for a in lists]))
    n = sum(len(a) for a in lists)
    if len(lists) == 1:
        return _figure(value, intervals.bootstrap_macro_f1(lists[0].truth, lists[0].predicted), n)
    if all(a.truth == lists[0].truth for a in lists):
        interval = intervals.cluster_bootstrap_macro_f1(lists[0].truth, [a.predicted for a in lists])
    else:
        interval = intervals.t_interval([metrics.macro_f1(a.truth, a.predicted) for a in lists])
    return _figure(value, interval, n)


def has_bleu(lists: Sequence[Answers]) -> bool:
    """Whether BLEU can tell answers apart: in every list some reference is long enough."""
    return all(bleu.is_defined([str(truth) for truth in a.truth]) for a in lists)


def _bleu(lists: Sequence[Answers]) -> Figure:
    counts = [bleu.bleu_counts([str(t) for t in a.truth], [str(p) for p in a.predicted]) for a in lists]
    values = [float(bleu.bleu_of(each.sum(axis=0))) for each in counts]
    n = sum(map(len, lists))
    if len(lists) == 1:
        return _figure(values[0], intervals.bootstrap_counts(counts[0], bleu.bleu_of), n)
    return _figure(float(np.mean(values)), intervals.t_interval(values), n)


def number_error(task: Task, lists: Sequence[Answers]) -> NumberError | None:
    """The RMSE of a task whose answers are numbers, the mean over the lists; None for other tasks.

    One list: the interval covers other queries. Several lists: Student's over clients.
    """
    if not task.numeric:
        return None
    each = [_errors(task, answers) for answers in lists]
    values = [numbers.rmse(found.errors) for found in each]
    value = float(np.mean(values))
    if len(each) == 1:
        squares = np.stack([each[0].errors ** 2, np.ones(len(each[0].errors))], axis=1)
        interval = intervals.bootstrap_counts(squares, _root)
    else:
        interval = intervals.t_interval(values)
    return NumberError(
        rmse=value,
        low=max(0.0, min(interval.low, value)),
        high=max(interval.high, value),
        level=interval.level,
        method=interval.method.replace(" seeds", " clients"),
        n=sum(map(len, lists)),
        unread=sum(found.unread for found in each),
        outside=sum(found.outside for found in each),
    )


def _errors(task: Task, answers: Answers) -> numbers.NumberErrors:
    if task.kind is TaskKind.GENERATION:
        truth, predicted = ([str(text) for text in texts] for texts in (answers.truth, answers.predicted))
        return numbers.number_errors(truth, predicted, *task.answer_range)
    true, given = (np.asarray(each, dtype=np.int64).tolist() for each in (answers.truth, answers.predicted))
    return numbers.label_errors(true, given, task.label_values)


def _root(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(sums[:, 0] / sums[:, 1])
    return found


def _mean_figure(scores: list[NDArray[np.float64]]) -> Figure:
    value = float(np.mean([s.mean() for s in scores]))
    n = sum(len(s) for s in scores)
    if len(scores) == 1:
        return _figure(value, intervals.bootstrap_mean(scores[0]), n)
    if len({len(s) for s in scores}) == 1:
        return _figure(value, intervals.clustered_mean(np.stack(scores)), n)
    return _figure(value, intervals.t_interval([float(s.mean()) for s in scores]), n)


def _texts(metric: Callable[[str, str], float], answers: Answers) -> NDArray[np.float64]:
    return np.asarray([metric(str(t), str(p)) for t, p in zip(answers.truth, answers.predicted, strict=True)])


def _figure(value: float, interval: intervals.Interval, n: int) -> Figure:
    # A mean can leave its own resamples' range by a rounding error.
    low, high = min(interval.low, value), max(interval.high, value)
    # The intervals speak of seeds, their usual unit; here each list is a client's.
    method = interval.method.replace(" seeds", " clients")
    return Figure(value, max(low, 0.0), min(high, 1.0), interval.level, method, n)
