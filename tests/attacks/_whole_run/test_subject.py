"""Who knows what of a run, and what is attacked of it."""

from dataclasses import replace
from importlib import import_module

import pytest
from attacked import private_run

from attacks import ATTACKS
from attacks._base.attack import Capability, Scope
from attacks._readings.readings import told_of
from attacks._whole_run.request import Request
from attacks._whole_run.subject import knowledge_of, open_readings
from defenses.specs import defense_spec
from ifedpriv.errors import UserError
from ifedpriv.icl.prompts import Position


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return private_run(tmp_path_factory.mktemp("private"))


def test_uploads_and_release_of_a_private_run_are_read_apart(run, tmp_path):
    request = Request(run, pool=150)
    uploads, released = open_readings(request, tmp_path / "own", lambda *_: None)
    assert (uploads.scopes, released.scopes) == ((Scope.UPLOADS,), (Scope.AGGREGATE,))
    noise = [told["noise"] for told in told_of((uploads, released)).values()]
    assert noise[0] > noise[1] > 0
    assert len(list(uploads.subject.view.uploads())) == 6
    assert len(uploads.subject.knowledge.others) == 7
    told = {row["what"]: row for row in knowledge_of((uploads, released), request)}
    assert told["individual uploads"]["has"]
    assert "of single uploads" in told["declared noise"]["detail"]


def test_what_is_withheld_is_not_known(run, tmp_path):
    request = Request(run, pool=150, without=("pool", "public-texts"))
    readings = open_readings(request, tmp_path / "own", lambda *_: None)
    for reading in readings:
        knowledge = reading.subject.knowledge
        assert not (knowledge.pool or knowledge.public or knowledge.others)
    told = {row["what"]: row for row in knowledge_of(readings, request)}
    assert told["a pool of candidates"]["detail"] == "withheld by --without"
    assert not told["public texts"]["has"]


def test_who_lacks_the_label_words_reads_nothing_that_is_read_behind_them(run, tmp_path):
    readings = open_readings(
        Request(run, pool=150, without=("label-words",)), tmp_path / "own", lambda *_: None
    )
    knowledge = readings[0].subject.knowledge
    assert knowledge.lacks([Capability.CLASSES]) == "the attacker has no label words"
    assert knowledge.lacks([Capability.PUBLIC_TEXTS]) == "the attacker has no label words"
    before = replace(knowledge, position=Position.PROMPT_END)
    assert before.lacks([Capability.PUBLIC_TEXTS]) is None
    assert before.lacks([Capability.CLASSES, Capability.POOL]) == "the attacker has no label words"
    for name in ("labels", "attributes", "invert", "membership", "deployed"):
        subject = readings[0].subject
        guesses = import_module(ATTACKS[name]).guess(subject.view, subject.backbone, knowledge)
        assert all("no label words" in guess.refused or "holds no" in guess.refused for guess in guesses)
    told = {row["what"]: row for row in knowledge_of(readings, Request(run, without=("label-words",)))}
    assert (told["label words"]["has"], told["label words"]["detail"]) == (False, "withheld by --without")


def test_a_configuration_of_another_defense_is_refused(run, tmp_path):
    import shutil

    spoilt = shutil.copytree(run, tmp_path / "spoilt")
    text = (spoilt / "view" / "view.json").read_text()
    assert defense_spec({"kind": "none"}).kind == "none"
    (spoilt / "view" / "view.json").write_text(text.replace('"epsilon": 4.0', '"epsilon": 2.0'))
    with pytest.raises(UserError, match="another defense"):
        open_readings(Request(spoilt, pool=150), tmp_path / "own", lambda *_: None)
