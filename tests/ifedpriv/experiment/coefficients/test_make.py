"""From public tasks to a file: the same bytes after any interruption, tasks kept apart, and trials by hand."""

import json

import numpy as np
import pytest
from program import called, started
from safetensors.numpy import load_file
from tiny import task, tiny_backbone
from tiny_public import WORDING, finished, public_world, ready, save_tasks

from ifedpriv.data.task import TaskKind
from ifedpriv.errors import UserError
from ifedpriv.experiment.coefficients.config import load_coefficients_config
from ifedpriv.experiment.coefficients.make import _apart, make_coefficients
from ifedpriv.icl.public_coefficients import PublicCoefficients


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return save_tasks(tmp_path_factory.mktemp("tasks"))


def config_of(tasks, *changes):
    return load_coefficients_config(str(tasks.parent / "model"), str(tasks), changes)


@pytest.fixture(scope="module")
def whole(tasks):
    """What an uninterrupted attempt makes, and what it reported."""
    out, told = tasks.parent / "made" / "whole.safetensors", []
    made = make_coefficients(config_of(tasks), out, lambda *stage: told.append(stage))
    return made, out, told


def test_what_is_made_is_what_is_written(whole, tasks):
    made, out, _ = whole
    again = PublicCoefficients.load(out)
    assert again.digest == made.digest
    assert [(m.kind, m.task_kind, m.noise) for m in again.members] == [
        (kind, TaskKind.CLASSIFICATION, noise) for kind in ("first", "second") for noise in (0.0, 0.05)
    ]
    values = load_file(out)["coefficients"]
    assert len(np.unique(values.reshape(4, -1), axis=0)) == 4
    assert again.backbone == tiny_backbone().fingerprint
    assert (str(again.position), again.wordings, again.seed) == ("label", (WORDING,), 2)
    assert json.loads(again.facts["settings"])["steps"] == 3
    assert "version of torch" in again.facts
    again.check(tiny_backbone(), task(), again.position)
    # The folder of work is gone, and nothing is left but the file.
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_tasks_kept_apart_are_not_calibrated_on(whole):
    """Half of three and of two, rounded down: one of each kind."""
    made, _, _ = whole
    assert [said.partition(" (")[0] for said in made.tasks] == [
        "first: plain-0",
        "first: plain-2",
        "second: turned-0",
    ]
    assert made.facts["kept_apart"] == "first: plain-1 (A, B); second: turned-1 (A, B)"


def test_those_kept_apart_are_spaced_evenly_in_each_kind():
    assert _apart(["a"] * 8, 0.25) == {2, 6}
    assert _apart(["a", "b"] * 4, 0.5) == {2, 6, 3, 7}
    assert _apart(["a"] * 7, 0.125) == _apart(["a"], 0.99) == set()
    for share in (0.1, 0.4, 0.9):
        kept = _apart(["a"] * 10 + ["b"] * 3, share)
        assert len([n for n in kept if n < 10]) == int(share * 10)
        assert len([n for n in kept if n >= 10]) == int(share * 3)


def test_a_task_that_is_kept_apart_changes_no_number(tasks, whole, tmp_path):
    """Its texts are others; centre and coefficients stay, and trials are of it."""
    config = json.loads(tasks.read_text())
    other = tmp_path / "other"
    other.mkdir()
    for split in ("train", "test"):
        rows = [{"text": f"{split} of another sort {i}", "label": i % 2} for i in range(14)]
        (other / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config["tasks"][1]["data"]["path"] = str(other)
    path = tmp_path / "tasks.yaml"
    path.write_text(json.dumps(config))
    changed = load_coefficients_config(str(tasks.parent / "model"), str(path))
    made = make_coefficients(changed, tmp_path / "made.safetensors")
    for name, array in load_file(whole[1]).items():
        assert np.array_equal(load_file(tmp_path / "made.safetensors")[name], array)
    assert made.digest != whole[0].digest


def test_trials_are_recorded_level_by_level(whole):
    made, _, _ = whole
    assert [(t.task_kind, t.noise) for t in made.trials] == [
        (TaskKind.CLASSIFICATION, 0.0),
        (TaskKind.CLASSIFICATION, 0.05),
    ]
    for trial in made.trials:
        assert (trial.examples, trial.tasks, trial.queries) == (8, 2, 12)
        assert (trial.injected * 12) % 1 == pytest.approx(0, abs=1e-9)
    assert made.trials[0].plain == made.trials[1].plain


def test_the_bare_models_share_is_the_bare_models(whole, tasks):
    from ifedpriv.icl.predict import predict_labels

    right = []
    for name in ("plain-1", "turned-1"):
        lines = (tasks.parent / name / "test.jsonl").read_text().splitlines()[:6]
        rows = [json.loads(line) for line in lines]
        answers = predict_labels(tiny_backbone(), task(), [row["text"] for row in rows])
        right += [int(answer) == row["label"] for answer, row in zip(answers, rows, strict=True)]
    assert whole[0].trials[0].plain == pytest.approx(sum(right) / 12)


def test_nothing_is_kept_apart_where_that_is_not_asked_for(tasks, tmp_path):
    made = make_coefficients(
        config_of(tasks, "kept_apart=0", "noise=[0]", "steps=1"), tmp_path / "made.safetensors"
    )
    assert (len(made.tasks), made.trials, made.facts["kept_apart"]) == (5, (), "")
    assert len(made.members) == 2


# ---- going on after an interruption


class Stop(Exception):
    """Stands for a crash."""


def stop_at(wanted):
    """A reporter that raises at the first report of the n-th stage."""
    stages = []

    def report(stage, _done, _total):
        if stage not in stages:
            stages.append(stage)
        if len(stages) > wanted:
            raise Stop

    return report


MOMENTS = {
    "in the first step of calibration, after the extraction": 1,
    "after the first member": 2,
    "after the third": 4,
    "in the trial": 5,
}


def test_stages_are_those_that_the_moments_mean(whole):
    assert list(dict.fromkeys(stage for stage, _, _ in whole[2])) == [
        "activations of public tasks",
        "coefficients for first, noise 0",
        "coefficients for first, noise 0.05",
        "coefficients for second, noise 0",
        "coefficients for second, noise 0.05",
        "trial with noise 0",
        "trial with noise 0.05",
    ]
    # As many steps for the first level of a kind, and half of them, rounded up, for the next.
    totals = {stage: total for stage, _, total in whole[2]}
    assert [totals[f"coefficients for first, noise {level}"] for level in ("0", "0.05")] == [3, 2]


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_cut_off_and_gone_on_with_it_writes_the_same_bytes(whole, tasks, tmp_path, moment):
    out = tmp_path / "made.safetensors"
    with pytest.raises(Stop):
        make_coefficients(config_of(tasks), out, stop_at(moment))
    assert not out.exists()
    work = tmp_path / "made.safetensors.work"
    kept = {path.name for path in work.iterdir()}
    assert {f"rows-{n}.npy" for n in range(5)} <= kept
    assert len([name for name in kept if name.startswith("member-")]) == max(moment - 1, 0)
    before = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    seen = {}

    def report(stage, *_):
        seen.setdefault(stage, {path.name: path.stat().st_mtime_ns for path in work.iterdir()})

    make_coefficients(config_of(tasks), out, report)
    # What was there was used, not made anew.
    assert {name: time for name, time in seen["trial with noise 0"].items() if name in before} == before
    assert out.read_bytes() == whole[1].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_cut_off_in_the_middle_of_the_extraction(whole, tasks, tmp_path):
    def report(stage, done, _total):
        if done == 3:
            raise Stop

    out = tmp_path / "made.safetensors"
    with pytest.raises(Stop):
        make_coefficients(config_of(tasks), out, report)
    kept = {path.name for path in (tmp_path / "made.safetensors.work").iterdir()}
    assert "rows-2.npy" in kept and "rows-3.npy" not in kept
    # As a crash between the two files of a task would leave it, and one in the middle of a write.
    (tmp_path / "made.safetensors.work" / "rows-2.npy").unlink()
    (tmp_path / "made.safetensors.work" / "rows-3.npy.partial").write_bytes(b"half")
    make_coefficients(config_of(tasks), out)
    assert out.read_bytes() == whole[1].read_bytes()


def test_the_seed_decides(whole, tasks, tmp_path):
    again = make_coefficients(config_of(tasks), tmp_path / "again.safetensors")
    other = make_coefficients(config_of(tasks, "seed=3"), tmp_path / "other.safetensors")
    assert again.digest == whole[0].digest
    assert not np.array_equal(other.members[0].coefficients.values, whole[0].members[0].coefficients.values)
    # Files' texts do not depend on the seed, so neither does what they have in common.
    assert np.array_equal(other.centre, whole[0].centre)


def test_work_with_other_settings_texts_or_model_is_not_gone_on_with(tasks, tmp_path):
    own = save_tasks(tmp_path / "own")
    out = tmp_path / "made.safetensors"
    with pytest.raises(Stop):
        make_coefficients(config_of(own), out, stop_at(1))
    with pytest.raises(UserError, match="holds work with other settings") as caught:
        make_coefficients(config_of(own, "seed=8"), out)
    assert "remove it" in caught.value.hint
    # The very same settings, and one text changed in a file that they name.
    path = tmp_path / "own" / "plain-0" / "train.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[3])
    path.write_text("".join([*lines[:3], json.dumps({**row, "text": "another text"}) + "\n", *lines[4:]]))
    with pytest.raises(UserError, match="other settings, texts or another model"):
        make_coefficients(config_of(own), out)
    path.write_text("".join(lines))
    note = tmp_path / "made.safetensors.work" / "made_from.json"
    note.write_text("{")
    with pytest.raises(UserError, match="holds work with other settings"):
        make_coefficients(config_of(own), out)


# ---- generation


def test_generation_tasks_make_a_set_of_their_own(tmp_path):
    path = save_tasks(tmp_path / "tasks")
    config = json.loads(path.read_text())
    for each in config["tasks"]:
        if each["kind"] == "second":
            data = {k: v for k, v in each["data"].items() if k != "label_words"}
            each["data"] = {**data, "kind": "generation", "answer_column": "text", "max_new_tokens": 2}
    config["kept_apart"] = 0.5
    path.write_text(json.dumps(config))
    changed = load_coefficients_config(str(tmp_path / "tasks" / "model"), str(path), ["noise=[0]", "steps=2"])
    made = make_coefficients(changed, tmp_path / "made.safetensors")
    assert {(m.kind, m.task_kind) for m in made.members} == {
        ("first", TaskKind.CLASSIFICATION),
        ("second", TaskKind.GENERATION),
    }
    assert made.tasks[-1] == "second: turned-0 (an answer in words)"
    assert {trial.task_kind for trial in made.trials} == {TaskKind.CLASSIFICATION, TaskKind.GENERATION}
    assert all(trial.tasks == 1 for trial in made.trials)


# ---- the program


def test_the_program_makes_them_and_tells_a_mistake(tasks, whole, tmp_path):
    out = tmp_path / "made.safetensors"
    arguments = ("coefficients", tasks.parent / "model", "--tasks", tasks, "--out", out)
    mistake = called(*arguments, "--set", "stepz=3")
    assert "stepz is not a field of the configuration" in mistake.refusal()
    assert not any(tmp_path.iterdir())
    done = started(*arguments, "--json")
    assert (done.code, done.err) == (0, ""), done
    assert out.read_bytes() == whole[1].read_bytes()
    said = json.loads(done.out)
    assert (said["file"], said["digest"], said["seed"]) == (str(out), whole[0].digest, 2)
    assert said["members"][1] == {"kind": "first", "task_kind": "classification", "noise": 0.05}
    assert said["trials"][0]["queries"] == 12


def test_a_run_uses_what_was_made(whole, tmp_path):
    public_world(tmp_path)
    file = {"method.coefficients_file": str(whole[1])}
    outcome, report = finished(ready(tmp_path, "public", {"trust": "central"}, **file), tmp_path / "run")
    assert report.guard.n == 12
    assert "of 2 public tasks" in report.guard.text
    sets = [member.coefficients.values for member in whole[0].members]
    assert any(np.array_equal(outcome.injection.coefficients.values, each) for each in sets)


def test_the_program_tells_a_person_what_was_made(tasks, tmp_path):
    quick = ("--set", "noise=[0]", "--set", "steps=1")
    arguments = ("coefficients", tasks.parent / "model", "--tasks", tasks, *quick)
    done = called(*arguments, "--out", tmp_path / "one.safetensors")
    assert done.code == 0, done
    said = " ".join(done.out.split())
    assert "2 sets: kinds first, second; levels of noise 0" in said
    assert "calibrated on 3 public tasks, seed 2" in said
    assert "tried on 2 public classification tasks that were kept apart (12 queries" in said
    done = called(*arguments, "--set", "kept_apart=0", "--out", tmp_path / "two.safetensors")
    assert "no public task was kept apart, so runs that use them have no guard" in " ".join(done.out.split())
