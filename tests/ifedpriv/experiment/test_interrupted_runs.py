"""Real private runs that stopped inside a round: what may have been sent is charged, or the run does not go on."""

import json
import re
import shutil
from contextlib import contextmanager

import pytest
from explained import unexplained
from program import called
from tiny_public import public_world, sets

from defenses.accounting.spent import ledger_bound
from defenses.ledger import Ledger
from defenses.units import Neighbouring, Unit
from defenses.view import Direction, ServerView
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.federation.federation import Federation

LOCAL = {"trust": "local", "coefficients": {"steps": "local"}}
# Two of five clients are asked in each later round, so the busiest is in fewer than the budget is for.
DRAWN = {"cohort.participation": 0.4, "method.calibration.rounds": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    # What a run finds is not looked at here.
    quick = {"local_icl": False, "local_injection": False, "every_round": False}
    public_world(folder, simulation=False, seed=6, evaluation=quick)
    return folder


def begin(world, out, privacy=LOCAL, **more):
    return called("run", world / "config.yaml", *sets(world, "federated", privacy, **more), "--out", out)


@contextmanager
def stopped(round_number, frames):
    """The program is interrupted in a round when so many frames of it have arrived; yields what was sent, by round."""
    sent = {}
    up = Federation._up

    def spied(self, client, frame, number, record):
        up(self, client, frame, number, record)
        sent.setdefault(number, []).append((client, frame))
        if number == round_number and len(sent[number]) == frames:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Federation, "_up", spied)
        yield sent


@contextmanager
def watched():
    with stopped(None, 0) as sent:
        yield sent


def ledger_of(out):
    return Ledger.from_json(RunDirectory(out).load_checkpoint()[1]["ledger"])


def bound_of(ledger):
    return ledger_bound(ledger, 1e-3, Unit.EXAMPLE, Neighbouring.ADD_OR_REMOVE).epsilon


@pytest.fixture(scope="module")
def halted(world):
    """A run's folder as it is when round 1 was interrupted with all uploads sent, and what was sent."""
    out = world / "halted"
    with stopped(1, 5) as sent:
        assert begin(world, out).code == 130
    return out, sent


@pytest.fixture
def copied(halted, tmp_path):
    shutil.copytree(halted[0], tmp_path / "run")
    return tmp_path / "run", halted[1]


def test_a_round_that_may_have_been_sent_is_not_sent_again_without_a_budget(copied):
    out, sent = copied
    before = ledger_of(out)
    assert {event.round for event in before.events} == {0}
    with watched() as again:
        said = called("run", "--resume", out).refusal()
    assert again == {}
    assert "round 1 of this run stopped in the middle and counts as spent" in said
    cost, budget, spent = map(
        float,
        re.search(
            r"epsilon to (\S+) at delta 0.001, and the budget is (\S+), of which (\S+) is", said
        ).groups(),
    )
    assert spent < 4 == budget < cost
    # Noise of its own is in both answers, so the two of them cost more than one.
    assert spent > bound_of(before)
    assert len({frame for _, frame in sent[1]}) == 5
    # One charge for each answer that was sent, in the ledger of a run that does not go on as well.
    after = ledger_of(out)
    assert [event.by for event in after.events if event.round == 1] == [(client,) for client, _ in sent[1]]
    assert bound_of(after) == pytest.approx(spent, rel=1e-3)
    assert called("run", "--resume", out).refusal() == said


def test_frames_of_an_interrupted_round_stay_in_the_record(copied):
    out, sent = copied
    called("run", "--resume", out).refusal()
    called("run", "--resume", out).refusal()
    (kept,) = (out / "interrupted").iterdir()
    assert kept.name == "round-1"
    frames = [each for each in ServerView.open(kept).frames() if each.direction is Direction.UP]
    assert [(each.sender, each.frame) for each in frames] == sent[1]
    assert len(list(ServerView.open(kept).uploads())) == 5
    main = [each for each in ServerView.open(out / "view").frames() if each.direction is Direction.UP]
    assert [(each.sender, each.frame) for each in main] == sent[0]


def ledger_without_interrupted(ledger):
    shorter = Ledger()
    for event in ledger.events:
        if "interrupted" not in event.released:
            shorter.add(event)
    return shorter


def test_a_run_with_room_in_its_budget_goes_on_and_is_charged_twice(world, tmp_path):
    out = tmp_path / "run"
    with stopped(2, 2) as first:
        assert begin(world, out, **DRAWN).code == 130
    with watched() as second:
        done = called("run", "--resume", out)
    assert done.code == 0, done
    ledger = ledger_of(out)
    twice = [event for event in ledger.events if event.round == 2]
    assert len(first[2]) + len(second[2]) == len(twice) == 4
    assert [event.released.endswith("in a round that was interrupted") for event in twice] == [True] * 2 + [
        False
    ] * 2
    assert {client for event in twice for client in event.by} == {client for client, _ in first[2]}
    report = json.loads((out / "report.json").read_text("utf-8"))
    told = report["privacy"]["statement"]
    assert told["epsilon"] == pytest.approx(bound_of(ledger))
    once = [event for event in ledger.events if "interrupted" not in event.released]
    assert bound_of(once) < told["epsilon"] <= 4.0
    assert not {frame for _, frame in first[2]} & {frame for _, frame in second[2]}
    # Both answers are on record, each paid for, and nothing else is.
    assert [folder.name for folder in (out / "interrupted").iterdir()] == ["round-2"]
    method = prepare(RunDirectory.open(out).config()).method
    asks = {number: method.asks(number) for number in range(method.rounds)}
    views = [ServerView.open(out / folder) for folder in ("view", "interrupted/round-2")]
    assert unexplained(views, ledger, asks) == []
    assert unexplained(views, ledger_without_interrupted(ledger), asks)
    # What was settled is not charged again.
    assert called("run", "--resume", out).code == 0
    assert ledger_of(out).to_json() == ledger.to_json()


@pytest.mark.parametrize("privacy", [LOCAL, {"trust": "central"}], ids=["local", "central"])
def test_the_first_round_has_no_checkpoint_and_is_charged_all_the_same(world, tmp_path, privacy):
    out = tmp_path / "run"
    with stopped(0, 1):
        assert begin(world, out, privacy).code == 130
    assert not (out / "checkpoint").exists()
    assert "round 0 of this run stopped in the middle" in called("run", "--resume", out).refusal()


def test_a_round_without_a_sum_that_ends_the_run_is_charged_if_it_is_gone_on_with(world, tmp_path):
    """Round 0 fails for the protocol: nobody is left to make a sum, though frames were sent."""
    out = tmp_path / "run"
    lost = {"cohort.failure_rate": 0.9, "cohort.failure_point": 4, "defense.kind": "masked"}
    assert "round 0 gave no sum" in begin(world, out, {"trust": "distributed"}, **lost).refusal()
    assert "round 0 of this run stopped in the middle" in called("run", "--resume", out).refusal()


def test_a_lost_checkpoint_brings_no_budget_back(copied):
    out, _ = copied
    shutil.rmtree(out / "checkpoint")
    said = called("run", "--resume", out).refusal()
    assert "round 0 and round 1 of this run stopped in the middle" in said


def test_between_two_rounds_nothing_is_lost(world, tmp_path):
    out = tmp_path / "run"
    save = RunDirectory.save_checkpoint

    def stop(self, state, facts):
        save(self, state, facts)
        if state.round == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "save_checkpoint", stop)
        assert begin(world, out).code == 130
    # A line that a crash cut off is of a round that had sent nothing.
    with (out / "releases.jsonl").open("a") as file:
        file.write('{"round": 2, "led')
    done = called("run", "--resume", out)
    assert done.code == 0, done
    assert not (out / "interrupted").exists()
    events = ledger_of(out).events
    assert not any("interrupted" in event.released for event in events)
    assert len({(event.round, event.by) for event in events}) == len(events)
    assert bound_of(ledger_of(out)) <= 4.0
    lines = [json.loads(line) for line in (out / "releases.jsonl").read_text("utf-8").splitlines()]
    assert [line["round"] for line in lines] == list(range(5))


def test_a_round_is_on_disk_before_its_first_frame_is_sent(world, tmp_path):
    out = tmp_path / "run"
    begun = []

    def looking(before):
        def spied(self, client, frame, number, record):
            lines = (out / "releases.jsonl").read_bytes().splitlines()
            begun.append((number, json.loads(lines[-1])["round"], len(lines) - 1))
            before(self, client, frame, number, record)

        return spied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Federation, "_up", looking(Federation._up))
        patch.setattr(Federation, "_down", looking(Federation._down))
        assert begin(world, out).code == 0
    assert {number for number, _, _ in begun} == set(range(5))
    assert all(number == last == place for number, last, place in begun)


def test_damage_to_the_file_is_refused_in_one_sentence(copied):
    out, _ = copied
    (out / "releases.jsonl").write_text("{}\n{}\n", encoding="utf-8")
    assert "releases.jsonl does not hold" in called("run", "--resume", out).refusal()


def test_a_simulation_writes_no_such_file(world, tmp_path):
    out = tmp_path / "run"
    with stopped(0, 5):
        assert begin(world, out, simulation=True).code == 130
    assert not (out / "releases.jsonl").exists()
