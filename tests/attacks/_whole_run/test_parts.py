"""Pieces that look at parts: bounded, the same for the same seed, and open about what they left out."""

import pytest
from attacked import attacked_run

from attacks._base.attack import Scope
from attacks._base.targets import read_targets
from attacks._texts import trained
from attacks._texts.decoder import Effort
from attacks._whole_run import whole_texts as texts
from attacks._whole_run.by_layer import by_layer
from attacks._whole_run.differences import differences
from attacks._whole_run.request import Request
from attacks._whole_run.subject import open_readings
from defenses.upload import UploadKind

METHOD = {"kind": "ifed_icl", "guard": False, "calibration": {"rounds": 0}}


def silent(*_):
    pass


def shown(text):
    return f"<{len(text)}>"


def opened(folder, request=None, **changes):
    run = attacked_run(folder / "made", method=METHOD, **changes)
    asked = request or Request(run, pool=150)
    return asked, open_readings(asked, folder / "own", silent)


# ---- differences


def test_sums_of_groups_are_read_and_the_algebra_stands_apart(tmp_path):
    defense = {"kind": "masked", "groups": 3, "collusion": 0.1}
    request, readings = opened(tmp_path, defense=defense, partition={"kind": "iid", "clients": 9})
    found = differences(request, readings, tmp_path / "diff", shown, silent)
    algebra, *read = found["tests"]
    assert (algebra["method"], algebra["verdict"], algebra["findings"]) == ("rosters", "resisted", [])
    assert "fewer than 3 clients" in algebra["why"]
    assert [len(one["clients"]) for one in found["sums"]] == [3, 3, 3]
    assert {test["scope"] for test in read} == {"single sums of one round"}
    assert {test["method"] for test in read} >= {"labels, class means", "invert, corpus"}
    assert all(finding["vectors"] == 3 for test in read for finding in test["findings"])
    assert all("seconds" not in guess for guess in found["guesses"])


@pytest.mark.parametrize(
    ("defense", "why"),
    [
        ({"kind": "masked"}, "there is one sum, over 6 clients, and no second one to subtract"),
        ({"kind": "none"}, "the server reads single uploads, and no second one of any client differs"),
    ],
)
def test_where_there_is_nothing_to_subtract_it_is_said(tmp_path, defense, why):
    request, readings = opened(tmp_path, defense=defense)
    found = differences(request, readings, tmp_path / "diff", shown, silent)
    (algebra,) = found["tests"]
    assert (algebra["verdict"], algebra["why"]) == ("not evaluable", why)
    assert len(found["sums"]) == (defense["kind"] == "masked")


# ---- whole texts


@pytest.fixture
def looked_at(monkeypatch):
    """What would be searched, without a search."""
    found = []

    def kept(name, readings, *_):
        found.extend(readings)
        return {"attack": name, "tests": []}

    monkeypatch.setattr(texts, "on_recordings", kept)
    return found


def test_so_many_vectors_are_searched_and_no_more(tmp_path, looked_at):
    partition = {"kind": "iid", "clients": 9, "examples_per_client": 1}
    _, readings = opened(tmp_path, partition=partition)
    found = texts.whole_texts(texts.SEARCH, readings, tmp_path / "a", shown, silent)
    assert found["left_out"][0].startswith("whole texts: all but 5 of 9 uploads of 4 examples at most")
    (reading,) = looked_at
    assert (reading.scopes, reading.subject.knowledge.methods) == ((Scope.UPLOADS,), ("search",))
    singles = read_targets(reading.subject.view, reading.subject.backbone)[0].targets
    whose = [target.who for target in singles]
    assert len(set(whose)) == texts.MOST_VECTORS
    real = read_targets(readings[0].subject.view, reading.subject.backbone)[0].targets
    for target in singles:
        assert any(target.who == each.who and (target.vector == each.vector).all() for each in real)
    assert {entry.kind for entry in reading.subject.view.facts.rounds} == {UploadKind.VECTOR}
    texts.whole_texts(texts.SEARCH, readings, tmp_path / "b", shown, silent)
    again = read_targets(looked_at[1].subject.view, reading.subject.backbone)[0].targets
    assert [target.who for target in again] == whose


def test_vectors_of_many_examples_are_left_to_the_search_to_refuse(tmp_path, looked_at):
    _, readings = opened(tmp_path)
    assert texts.whole_texts(texts.SEARCH, readings, tmp_path / "a", shown, silent)["left_out"] == []
    (reading,) = looked_at
    assert reading.subject.view is readings[0].subject.view
    assert reading.scopes == readings[0].scopes


# ---- by a trained inverter


def test_without_a_folder_no_inverter_is_trained_and_it_is_said(tmp_path, looked_at):
    _, readings = opened(tmp_path)
    found = texts.by_inverter(readings, None, tmp_path / "a", shown, silent)
    assert looked_at == []
    assert [(test["method"], test["scope"]) for test in found["tests"]] == [
        ("trained", "single uploads"),
        ("trained", "the aggregate"),
    ]
    told = {(test["attack"], test["verdict"], test["why"]) for test in found["tests"]}
    assert told == {
        ("invert", "not evaluable", "no folder for trained inverters is given (--inverters FOLDER)")
    }
    assert "by a trained inverter" in found["left_out"][0]


def test_with_a_folder_so_many_vectors_are_written_as_are_searched(tmp_path, looked_at):
    partition = {"kind": "iid", "clients": 9, "examples_per_client": 1}
    _, readings = opened(tmp_path, partition=partition)
    found = texts.by_inverter(readings, tmp_path / "kept", tmp_path / "a", shown, silent)
    assert found["left_out"][0].startswith("whole texts by a trained inverter: all but 5 of 9 uploads of 16")
    (reading,) = looked_at
    knowledge = reading.subject.knowledge
    assert (reading.scopes, knowledge.methods) == ((Scope.UPLOADS,), ("trained",))
    assert knowledge.shelf.folder == tmp_path / "kept"
    assert not (tmp_path / "kept").exists()


def test_an_inverter_is_trained_into_the_folder_and_taken_from_there(tmp_path, monkeypatch):
    for name, value in {
        "EFFORT": Effort(recombined=1, steps=4, batch=8, every=2, width=16, layers=1),
        "_INVERTERS": {},
        "_PAIRS": {},
        "_SAMPLES": 4,
        "_SWEEPS": 1,
    }.items():
        monkeypatch.setattr(trained, name, value)
    partition = {"kind": "iid", "clients": 6, "examples_per_client": 2}
    _, readings = opened(tmp_path, partition=partition)
    first = texts.by_inverter(readings, tmp_path / "kept", tmp_path / "a", shown, silent)
    assert {test["method"] for test in first["tests"]} == {"trained"}
    singles = next(test for test in first["tests"] if test["scope"] == "single uploads")
    assert any(finding["metric"] == "exact match" for finding in singles["findings"])
    assert list((tmp_path / "kept").iterdir())
    monkeypatch.setattr(trained, "_INVERTERS", {})
    monkeypatch.setattr(trained, "train", never)
    assert texts.by_inverter(readings, tmp_path / "kept", tmp_path / "b", shown, silent) == first


def never(*_):
    raise AssertionError("an inverter was trained again")


# ---- layer by layer


def test_the_worst_part_of_each_measure_decides(tmp_path):
    _, readings = opened(tmp_path, partition={"kind": "iid", "clients": 9})
    found = by_layer(readings, tmp_path / "layers", silent)
    named = [test["method"].partition(" by ") for test in found["tests"]]
    assert [measure for measure, *_ in named] == ["labels", "attributes", "probe", "corpus", "membership"]
    assert {part for *_, part in named} <= {part["what"] for part in found["parts"]}
    assert found["left_out"] == ["layer by layer: all but the first 8 of 9 uploads"]
    for test, (measure, *_) in zip(found["tests"], named, strict=True):
        rows = [part for part in found["parts"] if part["measure"] == measure]
        assert len(rows) == 5
        assert all("random vector" in part["controls"] for part in rows)
        (finding,) = test["findings"]
        assert finding["value"] in [part["value"] for part in rows if part["verdict"] == test["verdict"]]
        assert test["why"].startswith("the worst of 5 parts: ")
        assert len(finding["by_vector"]) == finding["vectors"] == 8


def test_without_public_texts_no_part_is_read(tmp_path):
    run = attacked_run(tmp_path / "made", method=METHOD)
    asked = Request(run, pool=150, without=("public-texts",))
    found = by_layer(open_readings(asked, tmp_path / "own", silent), tmp_path / "layers", silent)
    assert {(test["verdict"], test["why"]) for test in found["tests"]} >= {
        ("not evaluable", "the attacker has no public texts")
    }
    assert found["parts"] == []
    assert [test["method"] for test in found["tests"]] == [
        "labels",
        "attributes",
        "probe",
        "corpus",
        "membership",
    ]
