"""Controls: each vector is what it is said to be, a control differs from its run in nothing else, none leaks out."""

import json
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
from controlled import PUBLIC, controlled_config
from killed_run import kill_run
from program import called
from runs import found
from tiny import tiny_config, write_config

from ifedpriv.config import load_config, parse_config
from ifedpriv.data.shipped import recipes, task_names
from ifedpriv.experiment import baselines, control_plan, controls
from ifedpriv.experiment.play import play
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.extract import extract
from ifedpriv.icl.injection import Injection
from ifedpriv.report.schema import CONTROL_ROWS, OTHER_TASK, PUBLIC_MEAN, RANDOM_VECTOR, ZERO_VECTOR, Report

PRIVATE = {"kind": "none", "privacy": {"epsilon": 4.0, "delta": 1e-3, "max_examples": 16}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_config(folder / "config.yaml", controlled_config(folder))
    return folder


@pytest.fixture(scope="module")
def setup(world):
    return prepare(load_config(world / "config.yaml"))


@pytest.fixture(scope="module")
def off(world):
    """The same run without controls, what it said, and the names of the files it put in place, in order."""
    moved, move = [], Path.replace

    def seen(self, target):
        moved.append(Path(target).name)
        return move(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", seen)
        done = called("run", world / "config.yaml", "--no-controls", "--out", world / "off")
    assert done.code == 0, done
    return done, world / "off", moved


@pytest.fixture(scope="module")
def finished(world):
    """A whole run of the program with its controls."""
    done = called("run", world / "config.yaml", "--out", world / "whole")
    assert done.code == 0, done
    return done, world / "whole"


def vector(setup, control, own=None):
    return controls.stand_in(control, setup, controls.sources(setup), lambda: own)


def norms(values):
    return np.linalg.norm(values, axis=-1)


# ---- the four vectors


def test_no_vector_is_zero(setup):
    found_ = vector(setup, ZERO_VECTOR)
    assert found_.shape == (2, 2, 16) and found_.dtype == np.float32
    assert not found_.any()


def test_a_random_vector_has_the_runs_norm_in_each_block(setup):
    own = np.random.default_rng(3).normal(size=(2, 2, 16)).astype(np.float32) * np.array(
        [1, 5, 0.1, 0]
    ).reshape(2, 2, 1)
    one = vector(setup, RANDOM_VECTOR, own.astype(np.float32))
    assert norms(one) == pytest.approx(norms(own), rel=1e-5)
    assert one.dtype == np.float32
    # Of other directions, in every block that has one.
    cosines = (one * own).sum(axis=-1).reshape(-1)[:3] / (norms(one) * norms(own)).reshape(-1)[:3]
    assert (np.abs(cosines) < 0.9).all()


def test_a_random_vector_is_the_runs_seeds(setup):
    own = np.ones((2, 2, 16), dtype=np.float32)
    again = vector(setup, RANDOM_VECTOR, own)
    assert (vector(setup, RANDOM_VECTOR, own) == again).all()
    other = replace(setup, config=setup.config.model_copy(update={"seed": setup.config.seed + 1}))
    assert (vector(other, RANDOM_VECTOR, own) != again).any()


def test_the_public_mean_is_that_of_public_texts_in_the_tasks_wording(setup):
    source = controls.sources(setup)[PUBLIC_MEAN]
    assert source.task == setup.data.task
    assert len(source.examples) == PUBLIC
    held = {example.text for client in range(3) for example in setup.clients[client].train}
    assert not held & {example.text for example in source.examples}
    expected = extract(setup.backbone, setup.data.task, source.examples).values
    assert (vector(setup, PUBLIC_MEAN) == expected).all()
    assert "public texts with random labels" in source.note


def test_the_other_task_has_as_many_examples_as_the_clients_hold(setup):
    source = controls.sources(setup)[OTHER_TASK]
    assert source.task.label_words == ("C", "D")
    held = sum(len(setup.clients[number].train) for number in range(3))
    assert len(source.examples) == min(held, 45)
    assert source.note == f"vector of {len(source.examples)} examples of task another"
    assert repr(source) == f"Source('another', {len(source.examples)} examples)"


def test_a_few_hundred_examples_are_enough(setup, monkeypatch):
    monkeypatch.setattr(control_plan, "MOST_EXAMPLES", 7)
    assert len(controls.sources(setup)[OTHER_TASK].examples) == 7


@pytest.mark.parametrize("name", task_names())
def test_the_other_shipped_task_sorts_by_something_else(name):
    own, other = recipes()[name], recipes()[control_plan.another_task(name)]
    attributes = {convention.attribute for convention in own.conventions}
    assert len(other.conventions) == 1
    assert other.conventions[0].attribute not in attributes
    assert other.conventions[0].labels and not other.conventions[0].fields
    assert not {c.labels for c in own.conventions} & {c.labels for c in other.conventions}
    assert control_plan.another_task(name) == control_plan.another_task(name)


def test_the_other_shipped_tasks_texts_follow_the_data_seed():
    config = parse_config({"data": {"name": "mood", "seed": 5}}, "test")
    spec = control_plan.other_spec(config)
    assert (spec.source, spec.seed, spec.name) == ("embedded", 5, control_plan.another_task("mood"))
    assert spec.train == control_plan.MOST_EXAMPLES


# ---- what can be had


def test_what_a_configuration_cannot_have_is_said(tmp_path):
    config = {**tiny_config(tmp_path), "controls": {}}
    bare = parse_config(config, "test")
    assert control_plan.evaluable(bare) == (ZERO_VECTOR, RANDOM_VECTOR)
    assert set(control_plan.lacking(bare)) == {PUBLIC_MEAN, OTHER_TASK}
    public = {"path": "public.jsonl", "texts": 32}
    private = {**PRIVATE, "privacy": {**PRIVATE["privacy"], "public": public}}
    method = {**config["method"], "aggregation": "count"}
    assert PUBLIC_MEAN in control_plan.evaluable(
        parse_config({**config, "defense": private, "method": method}, "test")
    )
    assert control_plan.evaluable(parse_config({}, "test")) == CONTROL_ROWS
    assert control_plan.lacking(parse_config({}, "test")) == {}


def test_controls_do_not_apply_to_a_method_without_a_vector():
    lora = parse_config({"method": {"kind": "fed_lora"}}, "test")
    assert lora.controls.enabled
    assert control_plan.evaluable(lora) == ()
    assert control_plan.lacking(lora) == {}


def test_public_texts_are_those_of_the_budget_unless_others_are_named():
    def spec(**more):
        public = {"texts": 20, "seed": 3}
        defense = {**PRIVATE, "privacy": {**PRIVATE["privacy"], "public": public}}
        data = {"defense": defense, "method": {"aggregation": "count"}, **more}
        return control_plan.public_field(parse_config(data, "test"))

    assert spec()[1].texts == 20 and spec()[0] == "defense.privacy.public"
    field, named = spec(controls={"public": {"texts": 40}})
    assert (field, named.texts, named.seed) == ("controls.public", 40, 0)
    assert control_plan.public_field(parse_config({}, "test"))[1].texts == 512


# ---- a control is its run but for the vector


def test_with_its_own_vector_a_control_is_the_run(setup):
    """So that whatever differs is the vector's."""
    state, _ = play(setup)
    again = controls.calibrated(setup, state.arrays["vector"])
    assert (again.arrays["coefficients"] == state.arrays["coefficients"]).all()
    assert (again.arrays["vector"] == state.arrays["vector"]).all()
    assert "guard" in state.arrays and "guard" not in again.arrays
    assert again.round == state.round - 1


@pytest.mark.parametrize(
    ("defense", "aggregation"),
    [
        ({"kind": "masked", "ratchet": True}, "uniform"),
        ({"kind": "none", "privacy": {"trust": "central"}}, "count"),
        ({"kind": "none", "privacy": {"trust": "local", "coefficients": {"steps": "local"}}}, "count"),
        ({"kind": "masked", "privacy": {"trust": "distributed", "unit": "client"}}, "uniform"),
    ],
    ids=str,
)
def test_behind_every_defense_with_failing_clients(world, defense, aggregation):
    """The same noise, draws and failures, and clients that drop out in the middle of a masked round."""
    config = json.loads((world / "config.yaml").read_text("utf-8"))
    if "privacy" in defense:
        public = config["controls"]["public"]
        defense = {**defense, "privacy": {**PRIVATE["privacy"], "public": public, **defense["privacy"]}}
    config |= {"defense": defense, "partition": {"kind": "iid", "clients": 5}, "seed": 6}
    config["method"] = {**config["method"], "aggregation": aggregation}
    config["cohort"] = {"failure_rate": 0.1, "failure_point": "any" if defense["kind"] == "masked" else 0}
    setup = prepare(parse_config(config, "test"))
    state, _ = play(setup)
    again = controls.calibrated(setup, state.arrays["vector"])
    assert (again.arrays["coefficients"] == state.arrays["coefficients"]).all()
    assert (controls.own_vector(setup) == state.arrays["vector"]).all()


def test_another_vector_gives_other_coefficients(setup):
    state, _ = play(setup)
    other = controls.calibrated(setup, vector(setup, RANDOM_VECTOR, state.arrays["vector"]))
    assert (other.arrays["coefficients"] != state.arrays["coefficients"]).any()


def test_without_rounds_a_control_is_the_vector_with_the_coefficients_start(setup):
    config = json.loads(setup.config.model_dump_json())
    config["method"] |= {"guard": False, "calibration": {"rounds": 0}}
    bare = prepare(parse_config(config, "test"))
    state = controls.calibrated(bare, np.ones((2, 2, 16), dtype=np.float32))
    assert (state.arrays["vector"] == 1).all()
    assert (controls.own_vector(bare) == play(bare)[0].arrays["vector"]).all()


# ---- in a run


def test_rows_come_after_the_methods_and_cost_nothing(finished):
    done, out = finished
    report = Report.load(out / "report.json")
    assert [row.key for row in report.rows] == ["zero_shot", "global_injection", *CONTROL_ROWS]
    for row in report.rows[2:]:
        assert row.name.startswith("control: ")
        costs = (row.up_bytes_per_client, row.down_bytes_per_client, row.client_seconds)
        assert (*costs, row.inference_tokens_per_query) == (None,) * 4
        assert row.figures["accuracy"].n == 20
        assert "calibrated as in the run" in row.notes
        assert row.name in done.out
        assert escape(row.name) in (out / "report.html").read_text("utf-8")
    assert report.controls.enabled and report.controls.share is not None
    assert "The vector's share of the gain" in done.out
    assert not [w for w in report.warnings if "evaluable" in w]


def test_rows_are_what_the_python_functions_find(finished, setup):
    _, out = finished
    own = Injection.load(out / "injection.safetensors").vector.values
    rows = {row.key: row.figures["accuracy"].value for row in Report.load(out / "report.json").rows}
    for control in CONTROL_ROWS:
        state = controls.calibrated(setup, vector(setup, control, own))
        answers = baselines.global_injection(setup, setup.method.artifact(state))
        assert rows[control] == pytest.approx(float(np.mean(answers.right)))


def test_nothing_of_the_run_itself_changes(finished, off):
    """Ledger, traffic, rounds, recording, statement and artifact are those of a run without controls."""
    done, out, _ = off
    assert "switched off, so nothing is known of what the vector adds" in " ".join(done.out.split())
    assert "switched off" in (out / "report.html").read_text("utf-8")
    with_, without = found(finished[1]), found(out)
    assert without["report"]["controls"] == {"enabled": False, "share": None}
    kept = [row for row in with_["report"]["rows"] if row["key"] not in CONTROL_ROWS]
    assert without["report"]["rows"] == kept
    for name in ("rounds", "artifacts", "frames", "view"):
        assert with_[name] == without[name]
    for name in ("privacy", "totals", "rounds", "guard", "coefficients", "warnings"):
        assert with_["report"][name] == without["report"][name]
    ledgers = [RunDirectory(each).load_checkpoint()[1]["ledger"] for each in (finished[1], out)]
    assert ledgers[0] == ledgers[1]


def test_the_flag_is_the_field(world, off):
    asked = load_config(world / "config.yaml", ["controls.enabled=false"])
    assert RunDirectory.open(off[1]).config() == asked
    assert "a run goes on as it was begun" in called("run", "--resume", off[1], "--no-controls").refusal()


@pytest.mark.parametrize("control", [RANDOM_VECTOR, OTHER_TASK])
def test_killed_in_the_middle_of_the_controls(finished, off, world, tmp_path, control):
    """Killed as the control is to be put down: those before it are not repeated, and the numbers are the same."""
    pieces = [f"{name}.json" for name in ("zero_shot", "global_injection", *CONTROL_ROWS)]
    out = tmp_path / "run"
    place = pieces.index(f"{control}.json")
    # Up to the controls, a run puts the same files in place with them and without.
    kill_run(off[2].index(pieces[0]) + place + 1, "run", world / "config.yaml", "--out", out)

    def kept():
        return {path.name: path.stat().st_mtime_ns for path in (out / "checkpoint").glob("*.json")}

    before = kept()
    assert set(before) == set(pieces[:place])
    done = called("run", "--resume", out)
    assert done.code == 0, done
    assert found(out) == found(finished[1])
    assert before.items() <= kept().items()


def test_what_is_missing_is_a_warning_and_no_row(tmp_path):
    config = {**controlled_config(tmp_path), "controls": {}}
    done = called("run", write_config(tmp_path / "config.yaml", config), "--out", tmp_path / "run", "--json")
    assert done.code == 0, done
    report = json.loads(done.out)
    assert [row["key"] for row in report["rows"]][2:] == [ZERO_VECTOR, RANDOM_VECTOR]
    said = [warning for warning in report["warnings"] if "not evaluable" in warning]
    assert len(said) == 2
    assert "controls.public names none" in said[0] and "controls.other names no task" in said[1]
    assert report["controls"] == {"enabled": True, "share": None}
    table = " ".join(called("report", tmp_path / "run").out.split())
    assert "The vector's share of the gain is not known, since there is no public mean" in table


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("controls.public.texts=50", "controls.public.texts is 50, and"),
        ("controls.public.path=nowhere.jsonl", "nowhere.jsonl"),
        ("controls.other.path=nowhere", "is not a directory"),
        ("controls.other={source: embedded, name: nothing}", "'nothing', which is not shipped"),
        ("controls.other={source: embedded}", "controls.other.name"),
        ("controls.other.name.more=1", "controls.other.name"),
        ("controls.other={name: mood}", "controls.other is {'name': 'mood'}"),
        ("controls.nothing=1", "controls.nothing is not a field"),
        ("controls.enabled=perhaps", "controls.enabled is 'perhaps'"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_written(world, tmp_path, change, said):
    done = called("run", world / "config.yaml", "--set", change, "--out", tmp_path / "no")
    assert said in done.refusal()
    assert not (tmp_path / "no").exists()


def test_texts_of_another_task_that_do_not_fit_the_model_are_refused(world, tmp_path):
    long = json.loads((world / "config.yaml").read_text("utf-8"))
    long["controls"]["other"]["template"] = "so " * 300 + "{text}:"
    done = called("run", write_config(tmp_path / "c.yaml", long), "--out", tmp_path / "no")
    assert "context is 256" in done.refusal()
    assert not (tmp_path / "no").exists()
