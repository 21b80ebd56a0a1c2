"""What cannot be told is said to be so: a test without anybody to tell members from is no test that was passed."""

import json

import pytest
from attacked import attacked_run, private_run

from attacks import membership
from attacks._base.attack import Scope
from attacks._judging.finding import Verdict
from attacks._judging.score import Wishes, open_subject
from attacks._program.launch import guess_and_judge
from attacks._whole_run.by_layer import by_layer
from attacks._whole_run.request import Request
from attacks._whole_run.subject import open_readings
from ifedpriv.data.task import key_of


def members_alone(run, path):
    """A file with the texts of all clients, and no other candidate."""
    subject = open_subject(run, Wishes())
    words = subject.knowledge.task.label_words
    held = {key_of(example) for examples in subject.truth.values() for example in examples}
    rows = [json.dumps({"text": text, "label": words[label]}) for text, label, _ in sorted(held)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


def test_a_drawn_pool_has_others_beside_the_members_however_few_candidates_are_asked_for(run):
    subject = open_subject(run, Wishes(pool=2))
    held = {key_of(example) for examples in subject.truth.values() for example in examples}
    assert held < {key_of(example) for example in subject.knowledge.pool}


def test_membership_among_members_alone_is_not_evaluable(run, tmp_path):
    subject = open_subject(run, Wishes(pool_file=members_alone(run, tmp_path / "pool.jsonl")))
    _, findings = guess_and_judge(membership, subject, (Scope.AGGREGATE,), tmp_path / "random")
    ratio = [finding for finding in findings if finding.method == "likelihood ratio"]
    assert [(finding.verdict, finding.value) for finding in ratio] == [(Verdict.NOT_EVALUABLE, None)]
    assert "give a pool with both" in ratio[0].why


def test_so_it_is_layer_by_layer_in_an_audit_of_a_sum(tmp_path):
    run = private_run(tmp_path / "run", kind="masked", trust="distributed")
    request = Request(run, pool_file=members_alone(run, tmp_path / "pool.jsonl"))
    readings = open_readings(request, tmp_path / "own", lambda *_: None)
    piece = by_layer(readings, tmp_path / "random", lambda *_: None)
    told = next(test for test in piece["tests"] if test["method"].startswith("membership"))
    assert told["verdict"] == "not evaluable"
    assert "give a pool with both" in told["why"]
