"""Killed at any moment and gone on with, a run finds what an uninterrupted one finds, to the digit and to the byte."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_run import kill_run
from program import called, environment
from runs import files, found
from tiny import tiny_config, write_config

from ifedpriv.errors import UserError
from ifedpriv.experiment.rundir import RunDirectory

# Clients fail, and not all are asked: what a round depends on besides its state must come back too.
COHORT = {"participation": 0.7, "failure_rate": 0.3}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Configuration, what an uninterrupted run of it finds, and how many files it puts in place."""
    folder = tmp_path_factory.mktemp("world")
    config = write_config(folder / "config.yaml", {**tiny_config(folder), "cohort": COHORT, "seed": 4})
    moves = 0
    move = Path.replace

    def counted(self, target):
        nonlocal moves
        moves += 1
        return move(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        done = called("run", config, "--out", folder / "whole")
    assert done.code == 0, done
    return config, found(folder / "whole"), moves


def whole_in(world, out):
    """The uninterrupted run's folder, copied."""
    return shutil.copytree(world[0].parent / "whole", out)


def go_on(out):
    done = called("run", "--resume", out)
    assert done.code == 0, done
    return found(out)


def test_the_uninterrupted_run_lost_clients(world):
    """Otherwise the tests below would show less than they say."""
    _, whole, moves = world
    assert any(line["dropped"] for line in whole["rounds"])
    assert any(len(line["took_part"]) < 3 for line in whole["rounds"])
    assert moves > 20


# Of the files in order: the recording's facts of the first round, the checkpoint after round 1, a comparison,
# and the page of the report. All of them in turn are tried by the slow test.
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
def test_killed_and_gone_on_with(world, tmp_path, share):
    config, whole, moves = world
    kill_run(max(2, round(share * moves)), "run", config, "--out", tmp_path / "run")
    assert go_on(tmp_path / "run") == whole


@pytest.mark.slow
def test_killed_at_every_single_file(world, tmp_path):
    config, whole, moves = world
    for number in range(2, moves + 1):
        out = tmp_path / str(number)
        kill_run(number, "run", config, "--out", out)
        assert go_on(out) == whole, number


def test_another_method_is_gone_on_with_as_well(world, tmp_path):
    """FedAvg over LoRA, killed after two of its three rounds, with the third in the recording already."""
    config, _, _ = world
    lora = "method={kind: fed_lora, rank: 2, rounds: 3, steps: 2, batch_size: 4}"
    begun = ["run", config, "--set", lora]
    assert called(*begun, "--out", tmp_path / "whole").code == 0
    whole = found(tmp_path / "whole")
    assert list(whole["artifacts"]) == ["adapter.safetensors"]
    assert len(whole["rounds"]) == 3
    kill_run(8, *begun, "--out", tmp_path / "run")
    assert go_on(tmp_path / "run") == whole


def test_killed_over_and_over(world, tmp_path):
    """The resumed runs are killed as well; each must get further than the one before."""
    config, whole, _ = world
    kill_run(6, "run", config, "--out", tmp_path / "run")
    kill_run(6, "run", "--resume", tmp_path / "run")
    assert go_on(tmp_path / "run") == whole


def test_killed_before_anything_is_there_it_is_begun_again(world, tmp_path):
    config, whole, _ = world
    kill_run(1, "run", config, "--out", tmp_path / "run")
    assert files(tmp_path / "run") == {"config.yaml.partial"}
    assert "is no run" in called("run", "--resume", tmp_path / "run").refusal()
    assert called("run", config, "--out", tmp_path / "run").code == 0
    assert found(tmp_path / "run") == whole


def test_killed_from_outside(world, tmp_path):
    """The program as it is, killed by its parent as soon as two rounds are written down."""
    config, whole, _ = world
    out = tmp_path / "run"
    started = subprocess.Popen(
        [sys.executable, "-m", "ifedpriv", "run", str(config), "--out", str(out)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    rounds = out / "rounds.jsonl"
    while started.poll() is None and not (rounds.exists() and rounds.read_bytes().count(b"\n") >= 2):
        time.sleep(0.001)
    started.kill()
    _, error = started.communicate()
    # On a fast machine it may have come to its end; then going on changes nothing, which is tried as well.
    assert started.returncode in (-signal.SIGKILL, 0), error.decode()
    assert go_on(out) == whole


def test_a_finished_run_can_be_gone_on_with(world, tmp_path):
    assert go_on(whole_in(world, tmp_path / "run")) == world[1]


def test_the_resolved_configuration_repeats_the_run(world, tmp_path):
    _, whole, _ = world
    (tmp_path / "again.yaml").write_text(whole["config"], encoding="utf-8")
    assert called("run", tmp_path / "again.yaml", "--out", tmp_path / "run").code == 0
    assert found(tmp_path / "run") == whole


def stopped(world, tmp_path, rounds):
    """A run's folder as a crash leaves it after so many rounds."""
    config, _, _ = world
    out = tmp_path / "run"
    save = RunDirectory.save_checkpoint

    def stop(self, state, facts):
        save(self, state, facts)
        if state.round == rounds:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "save_checkpoint", stop)
        done = called("run", config, "--out", out)
    assert done.code == 130
    assert "interrupted" in done.err
    return out


def test_interrupted_by_the_user(world, tmp_path):
    assert go_on(stopped(world, tmp_path, 2)) == world[1]


def test_a_resumed_run_began_when_it_began(world, tmp_path):
    out = stopped(world, tmp_path, 2)
    run = RunDirectory.open(out)
    state, facts = run.load_checkpoint()
    run.save_checkpoint(state, {**facts, "started": "2020-02-03T04:05:06+00:00"})
    go_on(out)
    assert json.loads((out / "report.json").read_text("utf-8"))["started"] == "2020-02-03T04:05:06+00:00"


def test_lines_and_frames_ahead_of_the_checkpoint_are_cut_back(world, tmp_path):
    """As after a crash in the middle of the round that follows."""
    later, earlier = stopped(world, tmp_path, 3), tmp_path / "earlier"
    earlier.mkdir()
    out = stopped(world, earlier, 2)
    for name in ("rounds.jsonl", "view/frames.bin", "view/view.json"):
        shutil.copy(later / name, out / name)
    with (out / "rounds.jsonl").open("a") as file:
        file.write('{"round": 3, "kin')
    with (out / "view" / "frames.bin").open("ab") as file:
        file.write(b"\x05\x00\x00\x00torn")
    assert go_on(out) == world[1]


def test_a_recording_that_lost_its_facts_or_was_never_begun(world, tmp_path):
    """A crash before the first round leaves frames.bin without view.json."""
    config, whole, _ = world
    out = tmp_path / "run"
    out.mkdir()
    RunDirectory.create(out, RunDirectory.open(Path(config).parent / "whole").config())
    (out / "view").mkdir()
    (out / "view" / "frames.bin").write_bytes(b"IFV")
    assert go_on(out) == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [("checkpoint/state.safetensors", b"nonsense"), ("rounds.jsonl", b""), ("config.yaml", b"seed: [")],
)
def test_damage_is_told_in_one_sentence(world, tmp_path, name, content):
    out = stopped(world, tmp_path, 2)
    (out / name).write_bytes(content)
    assert str(out) in called("run", "--resume", out).refusal()


def test_a_damaged_comparison_is_made_again(world, tmp_path):
    out = whole_in(world, tmp_path / "run")
    (out / "checkpoint" / "zero_shot.json").write_text("{")
    (out / "report.json").unlink()
    assert go_on(out) == world[1]


def test_resume_takes_no_other_configuration(world, tmp_path):
    for extra in (["--set", "seed=1"], ["--out", tmp_path], [world[0]]):
        assert "a run goes on as it was begun" in called("run", *extra, "--resume", tmp_path).refusal()


def test_a_second_run_into_the_same_folder_is_refused(world, tmp_path):
    config, out = world[0], whole_in(world, tmp_path / "run")
    before = {name: (out / name).read_bytes() for name in files(out)}
    assert "holds a run already" in called("run", config, "--out", out).refusal()
    assert {name: (out / name).read_bytes() for name in files(out)} == before


def test_threads_and_folder_names_do_not_show(world, tmp_path, monkeypatch):
    """Without --out, runs are numbered in the working folder."""
    config, whole, _ = world
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "tiny-2"):
        done = called("run", config)
        assert done.out.splitlines()[-1] == f"Report: {Path('runs') / name / 'report.html'}"
        assert found(tmp_path / "runs" / name) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_open_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UserError):
        RunDirectory.open(tmp_path)
