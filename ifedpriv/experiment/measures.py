"""From a finished run to what its report says beside scores, the same for every method.

The one invariant: nothing here asks the model anything. All of it follows from answers, bytes and rounds that the run
has counted anyway, so that a method cannot have one of these measures and lack another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifedpriv.data.partition import holdings
from ifedpriv.data.task import TaskKind
from ifedpriv.experiment.figures import has_bleu, right
from ifedpriv.experiment.prepare import Setup
from ifedpriv.icl.evaluate import Answers
from ifedpriv.measure import bleu
from ifedpriv.measure.fairness import odds_difference, parity_difference, rates, spread, weights_of
from ifedpriv.measure.target import first_reached
from ifedpriv.report.measure_records import FairnessRecord, PerRound, TargetRecord

MB = 1e6
_DIGITS = 9

Labels = NDArray[np.int64]


def signatures(kind: TaskKind, lists: Sequence[Answers]) -> dict[str, str]:
    """How metrics that come in many kinds were computed, by metric name."""
    if kind is not TaskKind.GENERATION:
        return {}
    found = {"rouge_l": "F1, lower case, Unicode words, no stemming"}
    return {**found, "bleu": bleu.SIGNATURE} if has_bleu(lists) else found


# ---- fairness


def fairness(setup: Setup, lists: Sequence[Answers]) -> FairnessRecord | None:
    """How unequally one row's answers serve the clients; None where they say nothing about single clients.

    Args:
        setup: the run's parts.
        lists: one list over `Setup.all_queries`, or one for each client that takes part, over its group's queries.
    """
    found = _by_client(setup, lists)
    if found is None:
        return None
    kind, task = setup.data.task.kind, setup.data.task
    several = len(setup.groups) > 1
    if kind is TaskKind.GENERATION:
        if not several and len(lists) == 1:
            # One list for all, and no classes to weigh by: every client's score is the same number.
            return None
        scores = np.asarray([right(kind, answers).mean() for _, answers in found])
        return _record(scores, None, None, "groups", None)
    counts = holdings(setup.partition.clients, task.n_classes)
    scores = np.zeros(len(found))
    given, perfect = np.zeros((len(found), task.n_classes)), np.zeros((len(found), task.n_classes))
    for place, (client, answers) in enumerate(found):
        truth, predicted = _labels(answers)
        weights = weights_of(truth, counts[client])
        scores[place] = float(weights @ (truth == predicted))
        given[place] = rates(predicted, weights, task.n_classes)
        perfect[place] = rates(truth, weights, task.n_classes)
    if not several:
        return _record(scores, parity_difference(given), parity_difference(perfect), "clients", None)
    pooled = _by_group(setup, found)
    truths, answered = [truth for truth, _ in pooled], [predicted for _, predicted in pooled]
    given, perfect = (
        np.stack([np.bincount(each, minlength=task.n_classes) / len(each) for each in one])
        for one in (answered, truths)
    )
    odds = odds_difference(truths, answered, task.n_classes)
    return _record(scores, parity_difference(given), parity_difference(perfect), "groups", odds)


def by_text(setup: Setup, lists: Sequence[Answers]) -> NDArray[np.float64]:
    """The primary metric of each test text, float64 ``[texts]``, its mean over the clients that it is asked for.

    Args:
        setup: the run's parts.
        lists: one list over `Setup.all_queries`, or one for each client that takes part, over its group's queries.
    """
    found = _by_client(setup, lists)
    if found is None:
        raise ValueError(f"{len(lists)} lists are neither one for all nor one for each client")
    kind, taking_part = setup.data.task.kind, set(setup.clients.numbers(0))
    scores = [
        (setup.partition.groups[client], right(kind, answers))
        for client, answers in found
        if client in taking_part
    ]
    # Groups that rename classes are asked the same texts, groups of an attribute each their own.
    apart = () if not setup.partition.attribute else tuple(sorted({group for group, _ in scores}))
    parts = [np.stack([each for own, each in scores if own == group]).mean(axis=0) for group in apart]
    return np.concatenate(parts) if parts else np.stack([each for _, each in scores]).mean(axis=0)


def _by_client(setup: Setup, lists: Sequence[Answers]) -> list[tuple[int, Answers]] | None:
    """Each client's number with the answers to its own group's queries."""
    groups = setup.partition.groups
    numbers = setup.clients.numbers(0)
    sizes = {group: len(setup.queries(group)) for group in setup.groups}
    if len(lists) == 1 and len(lists[0]) == sum(sizes.values()):
        ends = np.cumsum([sizes[group] for group in setup.groups])
        parts = {
            group: Answers(
                lists[0].truth[end - sizes[group] : end], lists[0].predicted[end - sizes[group] : end]
            )
            for group, end in zip(setup.groups, ends.tolist(), strict=True)
        }
        return [(client, parts[groups[client]]) for client in range(len(setup.clients))]
    if len(lists) == len(numbers) and all(
        len(answers) == sizes[groups[client]] for client, answers in zip(numbers, lists, strict=True)
    ):
        return list(zip(numbers, lists, strict=True))
    return None


def _by_group(setup: Setup, found: Sequence[tuple[int, Answers]]) -> list[tuple[Labels, Labels]]:
    """Truth and answers of each group, those of its clients one after the other."""
    result = []
    for group in setup.groups:
        own = [_labels(answers) for client, answers in found if setup.partition.groups[client] == group]
        if own:
            truth, predicted = (np.concatenate(each) for each in zip(*own, strict=True))
            result.append((truth, predicted))
    return result


def _labels(answers: Answers) -> tuple[Labels, Labels]:
    return np.asarray(answers.truth, dtype=np.int64), np.asarray(answers.predicted, dtype=np.int64)


def _record(
    scores: NDArray[np.float64], parity: float | None, perfect: float | None, over: str, odds: float | None
) -> FairnessRecord:
    # Sums of weights end a rounding error away from 1.
    found = spread(np.clip(np.round(scores, _DIGITS), 0.0, 1.0))
    tidy = [None if each is None else min(1.0, round(each, _DIGITS)) for each in (parity, perfect, odds)]
    return FairnessRecord(
        clients=found.clients,
        mean=found.mean,
        worst=found.worst,
        best=found.best,
        bottom_decile=found.bottom_decile,
        std=found.std,
        variance=found.variance,
        parity=tidy[0],
        parity_perfect=tidy[1],
        parity_over=over,
        odds=tidy[2],
    )


# ---- bytes, queries and the target


def per_round(lines: Sequence[dict[str, Any]]) -> PerRound | None:
    """Traffic and queries of a round, from the lines of ``rounds.jsonl``; None where there was no round."""
    if not lines:
        return None
    asked = sum(len(set(line["took_part"]) | set(line["dropped"])) for line in lines)
    up, down = (sum(line[way]["wire"] for line in lines) for way in ("up", "down"))
    queries = _queries(lines)
    return PerRound(
        rounds=len(lines),
        up_mb=up / max(asked, 1) / MB,
        down_mb=down / max(asked, 1) / MB,
        all_up_mb=up / len(lines) / MB,
        all_down_mb=down / len(lines) / MB,
        most_up_mb=max(line["up"]["wire"] for line in lines) / MB,
        helpers_mb=sum(line["helpers"]["wire"] for line in lines) / len(lines) / MB,
        queries=None if queries is None else queries / max(asked, 1),
    )


def target(asked: float | None, lines: Sequence[dict[str, Any]]) -> TargetRecord | None:
    """When the run got to the target of its configuration; None where that has none."""
    if asked is None:
        return None
    scored = [place for place, line in enumerate(lines) if line.get("validation") is not None]
    scores = [float(lines[place]["validation"]["value"]) for place in scored]
    place = first_reached(scores, asked)
    until = lines if place is None else lines[: scored[place] + 1]
    return TargetRecord(
        target=asked,
        reached=place is not None,
        rounds=len(until),
        up_mb=sum(line["up"]["wire"] for line in until) / MB,
        down_mb=sum(line["down"]["wire"] for line in until) / MB,
        queries=_queries(until),
        scored=len(scores),
        last=scores[-1] if scores else None,
    )


def _queries(lines: Sequence[dict[str, Any]]) -> int | None:
    found = [line["queries"] for line in lines if line.get("queries") is not None]
    return sum(found) if len(found) == len(lines) else None
