"""What every report says beside scores, from a run in miniature and from answers worked by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from program import called
from tiny import tiny_backbone, tiny_config, write_config

from ifedpriv.config import parse_config
from ifedpriv.data.task import Example, Task, TaskData, TaskKind
from ifedpriv.experiment import measures, membership
from ifedpriv.experiment.figures import BLEU, figures, has_bleu, number_error
from ifedpriv.experiment.prepare import prepare
from ifedpriv.icl.evaluate import Answers
from ifedpriv.measure.bleu import corpus_bleu
from ifedpriv.report.schema import Report


def line(kind="coefficients", up=1000, validation=None, queries=10, took_part=(0, 1), dropped=()):
    score = None if validation is None else {"value": validation}
    return {
        "kind": kind,
        "up": {"payload": 0, "wire": up},
        "down": {"payload": 0, "wire": 2 * up},
        "helpers": {"payload": 0, "wire": 0},
        "validation": score,
        "queries": queries,
        "took_part": list(took_part),
        "dropped": list(dropped),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three clients with a target, and its report."""
    folder = tmp_path_factory.mktemp("world")
    config = tiny_config(folder)
    config["evaluation"] |= {"target": 0.05, "batch_size": 32}
    config["data"]["label_values"] = [1.0, 4.0]
    done = called("run", write_config(folder / "config.yaml", config), "--out", folder / "run")
    assert done.code == 0, done
    return folder / "run", Report.load(folder / "run" / "report.json"), done


def test_every_row_has_what_the_answers_give(run):
    _, report, _ = run
    for row in report.rows:
        assert row.fairness is not None and row.fairness.clients == 3
        assert row.fairness.parity_over == "clients"
        # Labels that stand for 1 and 4: every wrong answer is off by 3.
        wrong = 1 - row.figures["accuracy"].value
        assert 0 <= row.numbers.rmse <= 3
        if row.key in ("zero_shot", "global_injection"):
            assert row.numbers.rmse == pytest.approx(3 * np.sqrt(wrong))
    assert report.membership.measured and report.membership.members == 10
    assert report.per_round.rounds == len(report.rounds)
    assert report.per_round.all_up_mb * report.per_round.rounds == pytest.approx(
        report.totals.up_bytes.wire / 1e6
    )


def test_queries_are_counted_for_every_round_of_a_method_that_does_not_count_itself(run):
    _, report, _ = run
    found = [record.queries for record in report.rounds]
    # Each client has 18 examples, of which it holds 3 out; a round of coefficients shows it 2 batches of 4.
    assert found[0] == 3 * 15
    assert found[1:4] == [3 * 2 * 4] * 3
    # The guard asks every example that was held out twice, with the injection and without.
    assert found[4] >= 3 * 2 * 3
    assert report.per_round.queries == pytest.approx(sum(found) / (3 * len(found)))


def test_a_target_is_judged_on_validation_texts_in_the_rounds_that_train(run):
    folder, report, done = run
    lines = [json.loads(text) for text in (folder / "rounds.jsonl").read_text().splitlines()]
    scored = [each["validation"] for each in lines if each["validation"] is not None]
    assert len(scored) == report.target.scored == 3
    # A tenth of the 60 training rows is set aside.
    assert {each["n"] for each in scored} == {6}
    assert report.target.reached == (np.median([each["value"] for each in scored]) >= 0.05)
    assert "Target accuracy 0.05" in " ".join(done.out.split())


def test_the_first_round_whose_median_of_three_is_there_is_told_with_what_it_took():
    lines = [line("vector")] + [line(validation=value) for value in (0.2, 0.8, 0.3, 0.7, 0.8, 0.9)]
    found = measures.target(0.7, lines)
    assert (found.reached, found.rounds, found.queries) == (True, 5, 50)
    assert (found.up_mb, found.down_mb) == (0.005, 0.01)
    missed = measures.target(0.95, lines)
    assert (missed.reached, missed.rounds, missed.scored, missed.last) == (False, 7, 6, 0.9)
    assert measures.target(None, lines) is None


def test_traffic_is_of_those_who_were_asked():
    lines = [line(up=4000, took_part=(0, 1, 2), dropped=(3,)), line(up=1000, took_part=(0,), queries=None)]
    found = measures.per_round(lines)
    assert (found.up_mb, found.down_mb) == (5000 / 5 / 1e6, 10000 / 5 / 1e6)
    assert (found.all_up_mb, found.most_up_mb, found.queries) == (0.0025, 0.004, None)
    assert measures.per_round([]) is None


# ---- fairness and membership on parts put together by hand


def world(groups=False, **changes):
    """Three clients of 20 texts; client 0 of the last group where there are two."""
    train = [Example(f"t{i}", i % 2, attributes={"of": "a" if i < 40 else "b"}) for i in range(60)]
    test = [Example(f"q{i}", i % 2, attributes={"of": "a" if i < 30 else "b"}) for i in range(40)]
    task = Task("hand", "Text: {text}\nLabel:", ("A", "B"), gap="")
    kind = (
        {"kind": "attribute", "name": "of"} if groups else {"kind": "pathological", "classes_per_client": 1}
    )
    config = parse_config(
        {
            "threads": 1,
            "partition": {**kind, "clients": 3},
            "evaluation": {"validation_fraction": 0.0},
            "method": {"kind": "ifed_icl", "guard": False},
            **changes,
        },
        "test",
    )
    return prepare(config, backbone=tiny_backbone(), data=TaskData(task, train, test[:4], test))


def answers(setup, wrong):
    truth = [query.label for query in setup.all_queries]
    return Answers(tuple(truth), tuple(1 - t if wrong(i, t) else t for i, t in enumerate(truth)))


def test_a_client_is_judged_by_the_classes_that_it_holds():
    """Class 1 is always answered wrong: whoever holds it alone has nothing, whoever holds class 0 alone everything."""
    setup = world()
    found = measures.fairness(setup, [answers(setup, lambda _, truth: truth == 1)])
    held = [{e.label for e in setup.partition.clients[i]} for i in range(3)]
    assert all(len(labels) == 1 for labels in held)
    alone = sum(labels == {0} for labels in held) / 3
    assert (found.worst, found.best, found.mean) == (0.0, 1.0, pytest.approx(alone))
    # Everybody is answered 0 always, which is equal, and no sign of a good model.
    assert (found.parity, found.parity_perfect, found.parity_over) == (0.0, 1.0, "clients")
    assert found.odds is None


def test_groups_are_compared_where_there_are_some():
    setup = world(groups=True)
    assert setup.groups == ("a", "b")
    found = measures.fairness(setup, [answers(setup, lambda place, truth: place >= 30 and truth == 1)])
    assert (found.parity, found.parity_perfect, found.odds) == (0.5, 0.0, 1.0)
    assert found.worst == 0.5


def test_lists_of_single_clients_are_theirs():
    setup = world(groups=True)
    lists = []
    for place, group in enumerate(setup.partition.groups):
        truth = tuple(query.label for query in setup.queries(group))
        lists.append(Answers(truth, truth if place else (0,) * len(truth)))
    found = measures.fairness(setup, lists)
    of_class_0 = np.mean([example.label == 0 for example in setup.partition.clients[0]])
    assert (found.clients, found.worst, found.best) == (3, pytest.approx(of_class_0), 1.0)
    assert measures.fairness(setup, lists[:2]) is None


@pytest.mark.parametrize("groups", [False, True])
def test_members_and_others_are_drawn_as_equals(groups):
    setup = world(groups=groups)
    found = membership.balanced(setup)
    sizes = [len(getattr(found, name)) for name in type(found).__slots__]
    assert len(set(sizes)) == 1 and sizes[0] >= 10
    kinds = [
        sorted((e.label, e.attributes["of"] if groups else "") for e in getattr(found, name))
        for name in type(found).__slots__
    ]
    assert all(each == kinds[0] for each in kinds)
    texts = [e.text for name in type(found).__slots__ for e in getattr(found, name)]
    assert len(set(texts)) == len(texts)
    trained = {e.text for i in range(3) for e in setup.clients[i].train}
    assert {e.text for e in (*found.members, *found.shadow_members)} <= trained
    assert not {e.text for e in (*found.others, *found.shadow_others)} & trained
    assert membership.balanced(setup) == found


def test_it_is_measured_in_a_simulation_and_not_otherwise_unless_asked_for():
    assert membership.wanted(world())
    assert not membership.wanted(world(simulation=False))
    asked = {"evaluation": {"validation_fraction": 0.0, "membership": True}}
    assert membership.wanted(world(simulation=False, **asked))
    asked["evaluation"]["membership"] = False
    assert not membership.wanted(world(**asked))
    assert "evaluation.membership is off" in membership.record(None).why


def test_too_few_examples_are_said_to_be_too_few():
    setup = world(partition={"kind": "iid", "clients": 3, "examples_per_client": 4})
    found = membership.losses(setup, None)
    assert found["members"] == []
    assert "fewer than 20" in membership.record(found).why


# ---- metrics of texts and numbers

LONG = ("police killed the gunman at noon", "rain fell over the hills today")


def test_bleu_stands_where_references_are_long_enough_for_it():
    lists = [Answers(LONG, (LONG[0], "rain fell on the hills today"))]
    figure = figures(TaskKind.GENERATION, lists)[BLEU]
    assert figure.value == pytest.approx(corpus_bleu(*(getattr(lists[0], n) for n in ("truth", "predicted"))))
    assert figure.low <= figure.value <= figure.high
    assert "bleu" in measures.signatures(TaskKind.GENERATION, lists)
    short = [Answers(("4021 Holm",), ("4021 Holm",))]
    assert not has_bleu(short)
    assert BLEU not in figures(TaskKind.GENERATION, short)
    assert "bleu" not in measures.signatures(TaskKind.GENERATION, short)
    assert measures.signatures(TaskKind.CLASSIFICATION, lists) == {}


def test_errors_of_generated_numbers_count_what_is_none():
    task = Task("n", "{text}", kind=TaskKind.GENERATION, answer_range=(0.0, 10.0))
    one = Answers(("2", "4", "6"), ("2", "none", "16"))
    found = number_error(task, [one])
    assert found.rmse == pytest.approx(np.sqrt((0 + 36 + 16) / 3))
    assert (found.unread, found.outside, found.n) == (1, 1, 3)
    assert found.low <= found.rmse <= found.high
    several = number_error(task, [one, Answers(("2",), ("3",))])
    assert several.rmse == pytest.approx((found.rmse + 1) / 2)
    assert "2 clients" in several.method
    assert number_error(replace(task, answer_range=()), [one]) is None
