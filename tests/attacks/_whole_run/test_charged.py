"""What the recording shows to have been released is in the ledger, round by round, or the audit says which is not."""

import json
import shutil
from dataclasses import replace

import pytest
from attacked import private_run
from program import called

from attacks._whole_run.bound import bound_of
from attacks._whole_run.charged import left_out
from attacks._whole_run.document import VIOLATED
from attacks._whole_run.request import Request
from defenses.frame import SERVER
from defenses.ledger import Event, Ledger
from defenses.session import RoundInfo
from defenses.upload import UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter
from ifedpriv.experiment.rundir import RunDirectory

WAYS = {
    "central": {"kind": "none", "trust": "central"},
    "local": {"kind": "none", "trust": "local"},
    "distributed": {"kind": "masked", "trust": "distributed", "dropout": 0.2},
}

ROUND = {
    "method": {
        "kind": "ifed_icl",
        "aggregation": "count",
        "guard": False,
        "calibration": {"rounds": 1, "steps": 1},
    }
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {
        name: private_run(tmp_path_factory.mktemp(name), changes=ROUND, epsilon=8.0, **way)
        for name, way in WAYS.items()
    }


@pytest.fixture
def central(runs, tmp_path):
    return shutil.copytree(runs["central"], tmp_path / "spoilt")


def ledger_of(run):
    return Ledger.from_json(RunDirectory(run).load_checkpoint()[1]["ledger"])


def without(ledger, dropped):
    found = Ledger(ledger.simulation)
    for entry in ledger:
        if entry is not dropped:
            found.add(entry)
    return found


def saved(run, ledger, done=None):
    """The run with another ledger; ``done`` rounds are over, if that is given."""
    directory = RunDirectory(run)
    state, facts = directory.load_checkpoint()
    state = state if done is None else replace(state, round=done)
    directory.save_checkpoint(state, {**facts, "ledger": ledger.to_json()})
    return run


def looked_at(run):
    return bound_of(Request(run, trials=20, one_run=0), lambda *_: None)


@pytest.mark.parametrize("way", WAYS)
def test_every_release_of_a_run_is_in_its_ledger_and_none_can_be_left_out(runs, way):
    view, ledger = ServerView.open(runs[way] / "view"), ledger_of(runs[way])
    assert left_out(view, ledger) == {}
    assert {event.round for event in ledger.events} == {0, 1}
    for event in ledger.events:
        (number,) = left_out(view, without(ledger, event))
        assert number == event.round


def test_a_client_left_out_of_a_release_is_found(runs):
    view, ledger = ServerView.open(runs["central"] / "view"), ledger_of(runs["central"])
    short = Ledger(ledger.simulation)
    for entry in ledger:
        is_it = isinstance(entry, Event) and entry.round == 1
        short.add(replace(entry, by=entry.by[1:]) if is_it else entry)
    assert "client 0" in left_out(view, short)[1]


def test_each_sum_of_a_round_is_a_release_of_its_own(runs, tmp_path):
    run = shutil.copytree(runs["distributed"], tmp_path / "twice")
    summed = next(r for r in ServerView.open(run / "view").frames() if r.direction is Direction.COMPUTED)
    with ServerViewWriter.resume(run / "view") as writer:
        writer.append(Direction.COMPUTED, sender=SERVER, recipient=SERVER, round_number=0, frame=summed.frame)
    said = left_out(ServerView.open(run / "view"), ledger_of(run))
    assert "released 2 times, and the ledger charges client 0 1 time" in said[0]


def test_more_charges_than_rounds_are_fine(runs):
    """As of a round that was played again after an interruption, or that gave no sum."""
    view, ledger = ServerView.open(runs["local"] / "view"), ledger_of(runs["local"])
    for event in ledger.events[:3]:
        ledger.add(replace(event, round=event.round + 5))
        ledger.add(event)
    assert left_out(view, ledger) == {}


def test_a_round_in_which_nobody_sent_anything_need_not_be_charged(central):
    entry = ServerView.open(central / "view").facts.rounds[-1]
    with ServerViewWriter.resume(central / "view") as writer:
        writer.begin_round(RoundInfo(7, UploadKind.COEFFICIENTS, entry.roster, entry.layout))
        writer.append(Direction.DOWN, sender=SERVER, recipient=0, round_number=7, frame=b"hello")
    view, ledger = ServerView.open(central / "view"), ledger_of(central)
    assert left_out(view, ledger) == {}
    with ServerViewWriter.resume(central / "view") as writer:
        writer.append(Direction.UP, sender=3, recipient=SERVER, round_number=7, frame=b"hello")
    assert "1 client" in left_out(view, ledger)[7]


def test_a_round_of_another_kind_does_not_stand_for_one_that_was_left_out(runs):
    view, ledger = ServerView.open(runs["central"] / "view"), ledger_of(runs["central"])
    other = Ledger(ledger.simulation)
    for entry in ledger:
        is_it = isinstance(entry, Event) and entry.round == 1
        other.add(replace(entry, kind=UploadKind.SCORES) if is_it else entry)
    assert list(left_out(view, other)) == [1]


def test_an_audit_calls_it_a_violation_and_names_the_round(central):
    ledger = ledger_of(central)
    saved(central, without(ledger, ledger.events[1]))
    few = ("--pool", 50, "--trials", 20, "--one-run", 0, "--without", "pool", "--without", "public-texts")
    said = called("audit", central, *few)
    assert said.code == VIOLATED, said
    bound = json.loads((central / "audit_report.json").read_text())["bound"]
    assert bound["conclusion"] == "violation"
    assert "round 1 (coefficients)" in bound["why"] and "not in the ledger" in bound["why"]


def test_a_run_that_broke_off_in_a_round_is_not_accused_of_it(central):
    """Its checkpoint is from before the round, which is charged when the run goes on."""
    ledger = ledger_of(central)
    saved(central, without(ledger, ledger.events[1]), done=1)
    (central / "report.json").unlink(missing_ok=True)
    found = looked_at(central)
    assert (found["conclusion"], found["audited"]) == ("not evaluable", None)
    assert "broke off in round 1" in found["why"] and "--resume" in found["why"]
    saved(central, without(ledger, ledger.events[1]), done=2)
    assert looked_at(central)["conclusion"] == "violation"


def test_the_piece_is_made_anew_where_the_recording_has_changed(central):
    request = Request(central)
    before = request.key({}, bound=True)
    with ServerViewWriter.resume(central / "view") as writer:
        writer.append(Direction.UP, sender=3, recipient=SERVER, round_number=1, frame=b"again")
    assert request.key({}, bound=True) != before
