"""Who knows what of a run, and what is attacked of it."""

import pytest
from attacked import private_run

from attacks._base.attack import Scope
from attacks._readings.readings import told_of
from attacks._whole_run.request import Request
from attacks._whole_run.subject import knowledge_of, open_readings
from defenses.specs import defense_spec
from ifedpriv.errors import UserError


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


def test_a_configuration_of_another_defense_is_refused(run, tmp_path):
    import shutil

    spoilt = shutil.copytree(run, tmp_path / "spoilt")
    text = (spoilt / "view" / "view.json").read_text()
    assert defense_spec({"kind": "none"}).kind == "none"
    (spoilt / "view" / "view.json").write_text(text.replace('"epsilon": 4.0', '"epsilon": 2.0'))
    with pytest.raises(UserError, match="another defense"):
        open_readings(Request(spoilt, pool=150), tmp_path / "own", lambda *_: None)
