"""The document and its exit codes: what was not tried is never called withstood."""

import pytest

from attacks._judging.finding import Verdict
from attacks._whole_run.document import OPEN, UNDECIDED, VIOLATED, exit_code
from attacks._whole_run.kept import Kept
from attacks._whole_run.pieces import cheating, worst
from defenses.specs import ClearSpec
from ifedpriv.errors import InputError


def document(bound="not evaluable", declared=False, protocol="not evaluable", **counts):
    every = {str(each): counts.get(str(each).replace(" ", "_"), 0) for each in Verdict}
    return {"verdict": {"bound": bound, "declared": declared, "protocol": protocol, "counts": every}}


@pytest.mark.parametrize(
    ("given", "gate", "code"),
    [
        (document(severe=1), None, 0),
        (document(severe=1), "severe", OPEN),
        (document(severe=1), "works", OPEN),
        (document(works=1), "works", OPEN),
        (document(works=1), "severe", 0),
        (document(works=1, bound="violation", declared=True), "works", VIOLATED),
        (document(bound="violation", declared=True), None, VIOLATED),
        (document(resisted=2, protocol="works"), "works", OPEN),
        (document(inconclusive=1, not_evaluable=3), "works", 0),
        (document(not_evaluable=3), None, 0),
        (document(not_evaluable=3), "severe", UNDECIDED),
        (document(not_evaluable=3, protocol="resisted"), "severe", UNDECIDED),
        (document(resisted=1, bound="inconclusive", declared=True), None, UNDECIDED),
        (document(resisted=1, bound="not evaluable", declared=True), None, UNDECIDED),
        (document(works=1, bound="inconclusive", declared=True), "works", OPEN),
        (document(resisted=1, bound="consistent", declared=True), "works", 0),
    ],
)
def test_exit_codes(given, gate, code):
    assert exit_code(given, gate) == code


def test_the_worst_verdict_comes_first():
    assert worst([Verdict.RESISTED, Verdict.WORKS, Verdict.NOT_EVALUABLE]) is Verdict.WORKS
    assert worst([Verdict.RESISTED, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert worst([]) is Verdict.NOT_EVALUABLE


def test_without_a_protocol_no_server_need_cheat():
    (test,) = cheating(ClearSpec(), lambda *_: None)["tests"]
    assert (test["verdict"], test["findings"]) == ("not evaluable", [])


# ---- pieces


def never():
    raise AssertionError("it was made again")


def test_a_kept_piece_is_not_made_again(tmp_path):
    first = Kept(tmp_path / "a").get("x", "key", lambda: {"pairs": [(1, 0.1)]})
    assert first == {"pairs": [[1, 0.1]]}
    assert Kept(tmp_path / "a").get("x", "key", never) == first


@pytest.mark.parametrize("spoil", [lambda t: t.replace("0.1", "0.2"), lambda t: t[:-5], lambda _: "[]"])
def test_a_piece_that_is_not_as_it_was_written_is_made_again(tmp_path, spoil):
    Kept(tmp_path).get("x", "key", lambda: {"a": 0.1})
    path = tmp_path / "x.json"
    path.write_text(spoil(path.read_text()))
    assert Kept(tmp_path).get("x", "key", lambda: {"a": 0.3}) == {"a": 0.3}


def test_a_piece_of_another_request_is_made_again(tmp_path):
    Kept(tmp_path).get("x", "key", lambda: {"a": 1})
    assert Kept(tmp_path).get("x", "other", lambda: {"a": 2}) == {"a": 2}


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Kept(tmp_path / "file").get("x", "key", lambda: {"a": 1})
