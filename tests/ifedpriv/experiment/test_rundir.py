"""A run's folder is never overwritten, never half a file, and says in one sentence what it lacks."""

import json

import numpy as np
import pytest

from ifedpriv.config import RunConfig
from ifedpriv.errors import UserError
from ifedpriv.experiment.rundir import RunDirectory, fresh_path, write_whole
from ifedpriv.methods.method import State

CONFIG = RunConfig(name="tiny")


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "run", CONFIG)


def said(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def test_the_configuration_is_kept_as_resolved(run):
    assert run.config() == CONFIG
    assert RunDirectory.open(run.path).config() == CONFIG


@pytest.mark.parametrize("left", ["config.yaml", "checkpoint", "rounds.jsonl", "view"])
def test_a_folder_with_anything_of_a_run_is_not_begun_anew(tmp_path, left):
    """A checkpoint without its configuration would be gone on from, under another configuration."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / left).mkdir() if "." not in left else (tmp_path / "run" / left).write_text("")
    assert "holds a run already; give --out another folder" in said(
        RunDirectory.create, tmp_path / "run", CONFIG
    )


def test_an_empty_folder_and_what_a_crash_leaves_first_are_begun(tmp_path):
    (tmp_path / "config.yaml.partial").write_text("na")
    assert RunDirectory.create(tmp_path, CONFIG).config() == CONFIG


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        assert f"--out {path} cannot be written" in said(RunDirectory.create, path, CONFIG)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_a_run(tmp_path):
    assert "is no run: it has no config.yaml" in said(RunDirectory.open, tmp_path)
    assert "is no run" in said(RunDirectory.open, tmp_path / "none")


def test_rounds_are_read_as_far_as_they_are_whole(run):
    for number in range(3):
        run.append_round({"round": number})
    with run.rounds.open("a") as file:
        file.write('{"round": 3, "lo')
    assert [line["round"] for line in run.read_rounds()] == [0, 1, 2]
    assert run.cut_rounds(2) == [{"round": 0}, {"round": 1}]
    run.append_round({"round": 2})
    assert [line["round"] for line in run.read_rounds()] == [0, 1, 2]


@pytest.mark.parametrize(
    "content", ['{"round": 0}\n', '{"round": 0}\nnonsense\n{"round": 1}\n', '{"round": 1}\n' * 2, "3\n", ""]
)
def test_rounds_that_the_checkpoint_counts_must_be_there(run, content):
    run.rounds.write_text(content)
    assert "does not hold rounds 0 to 1" in said(run.cut_rounds, 2)


def test_no_checkpoint_yet(run):
    assert run.load_checkpoint() is None


def test_a_checkpoint_round_trip(run):
    state = State(3, {"a": np.arange(6).reshape(2, 3), "b": np.float32(2.5)})
    facts = {"ledger": "[]", "nested": {"1": 2.5}, "text": "ünï"}
    run.save_checkpoint(State(2, {"a": np.zeros(1)}), {})
    run.save_checkpoint(state, facts)
    loaded = run.load_checkpoint()
    assert loaded is not None
    again, said_again = loaded
    assert said_again == facts
    assert again.round == 3
    for name in state.arrays:
        assert np.array_equal(again.arrays[name], state.arrays[name])
    assert [path.name for path in (run.path / "checkpoint").iterdir()] == ["state.safetensors"]


def test_a_transposed_array_is_saved_as_it_reads(run):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    run.save_checkpoint(State(1, {"a": turned}), {})
    assert np.array_equal(run.load_checkpoint()[0].arrays["a"], turned)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_damaged_checkpoint(run, keep):
    run.save_checkpoint(State(1, {"a": np.zeros(9)}), {"x": 1})
    path = run.path / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "delete its checkpoint folder" in said(run.load_checkpoint)


def test_parts_are_kept_and_a_damaged_one_counts_as_none(run):
    assert run.load_part("zero_shot") is None
    run.save_part("zero_shot", {"truth": [1, 2]})
    assert run.load_part("zero_shot") == {"truth": [1, 2]}
    (run.path / "checkpoint" / "zero_shot.json").write_text('{"tru')
    assert run.load_part("zero_shot") is None


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_whole(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "tw\ud800o")
    assert path.read_text() == "one"
    write_whole(path, json.dumps("ünï"))
    assert json.loads(path.read_text("utf-8")) == "ünï"


def test_fresh_names_are_numbered(tmp_path):
    assert fresh_path(tmp_path, "run") == tmp_path / "run"
    for name in ("run", "run-2", "run-3"):
        (tmp_path / name).mkdir()
    assert fresh_path(tmp_path, "run") == tmp_path / "run-4"
    assert fresh_path(tmp_path, "new", ["new"]) == tmp_path / "new-2"
