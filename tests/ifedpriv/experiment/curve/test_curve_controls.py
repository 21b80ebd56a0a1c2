"""Controls beside the points of a curve: the same budget on another vector, resumable, in every file, and refusable."""

import csv
import json
import re

import numpy as np
import pytest
from controlled import controls_section
from program import called
from tiny import write_config
from tiny_curve import curve_config, settled
from tiny_public import all_members, public

from ifedpriv.experiment import baselines, controls
from ifedpriv.experiment.curve.bench import Bench
from ifedpriv.experiment.curve.config import load_curve
from ifedpriv.experiment.curve.keys import NO_PRIVACY, PRIVATE, ZERO_SHOT, Key
from ifedpriv.experiment.prepare import prepare
from ifedpriv.report.curve import Curve
from ifedpriv.report.curve_plot import draw
from ifedpriv.report.parts import CONTROL_ROWS, PUBLIC_MEAN, RANDOM_VECTOR


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = curve_config(folder, epsilons=[8, "inf"])
    # The texts of the public mean are those of the budget, also beside the runs that have none.
    config["run"]["controls"] = {"other": controls_section(folder)["other"]}
    write_config(folder / "curve.yaml", config)
    return folder


@pytest.fixture(scope="module")
def finished(world):
    done = called("curve", world / "curve.yaml", "--out", world / "whole")
    assert done.code == 0, done
    return done, world / "whole"


def curve_of(folder):
    return Curve.loads((folder / "curve.json").read_text("utf-8"))


def test_each_run_has_its_controls_and_zero_shot_has_none(finished):
    points = curve_of(finished[1]).points
    keys = [Key(p.kind, p.seed, p.unit, p.trust, p.epsilon, p.control) for p in points]
    beside = (None, *CONTROL_ROWS)
    assert keys == [
        *(Key(ZERO_SHOT, seed) for seed in (0, 1)),
        *(Key(NO_PRIVACY, seed, "example", control=c) for c in beside for seed in (0, 1)),
        *(Key(PRIVATE, seed, "example", "central", 8.0, c) for c in beside for seed in (0, 1)),
    ]
    runs = {(p.kind, p.seed): p for p in points if p.control is None}
    for point in points:
        if point.control is not None:
            run = runs[point.kind, point.seed]
            assert (point.noise, point.queries_hash) == (run.noise, run.queries_hash)
            # It releases nothing, has no guard, and plays the rounds in between.
            assert (point.spent_epsilon, point.spent_delta, point.guard) == (None, None, None)
            assert point.rounds == run.rounds - 1


def test_controls_are_those_of_the_run_that_ifedpriv_run_finds(finished, world, tmp_path):
    """A process that keeps activations and vectors between points finds what a run by itself finds."""
    config = load_curve(world / "curve.yaml")
    for key in (Key(PRIVATE, 1, "example", "central", 8.0), Key(NO_PRIVACY, 0, "example")):
        path = tmp_path / f"{key.seed}.yaml"
        path.write_text(config.run_of(key).to_yaml(), encoding="utf-8")
        done = called("run", path, "--out", tmp_path / f"run{key.seed}", "--json")
        assert done.code == 0, done
        rows = {row["key"]: row["figures"]["accuracy"]["value"] for row in json.loads(done.out)["rows"]}
        for point in curve_of(finished[1]).points:
            if (point.kind, point.seed) == (key.kind, key.seed):
                assert rows[point.control or "global_injection"] == point.metrics["accuracy"], point.control


def test_the_share_is_in_every_file(finished):
    done, folder = finished
    curve = curve_of(folder)
    assert curve.controls() == CONTROL_ROWS
    for level in curve.summary:
        assert (level.share is None) == (level.kind == ZERO_SHOT or level.control is not None)
    with (folder / "curve.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["control"] for row in rows] == [point.control or "" for point in curve.points]
    shares = {(level.kind, level.control): level.share for level in curve.summary}
    for row, point in zip(rows, curve.points, strict=True):
        share = shares[point.kind, point.control]
        value = "" if share is None or share.value is None else str(share.value)
        assert row["share"] == value
    words = " ".join(done.out.split())
    assert "Controls there, mean accuracy, and the vector's share of the gain" in words
    assert "no vector random public mean other task share [95%]" in words
    assert (
        "Share: what is lost of the gain over zero-shot with the public mean in the vector's place" in words
    )
    assert all(len(line) <= 80 for line in done.out.splitlines() if not line.startswith("Figure:"))
    svg = (folder / "curve.svg").read_text("utf-8")
    for name in ("control: no vector", "control: random", "control: public mean", "control: other task", "∞"):
        assert name in svg


def test_a_curve_goes_on_among_its_controls(finished, tmp_path):
    """As after a crash in the middle of a write; what is there is not measured again."""
    folder = tmp_path / "curve"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((finished[1] / "config.yaml").read_bytes())
    lines = (finished[1] / "points.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 22

    def left_out(line):
        point = json.loads(line)
        return point["kind"] == PRIVATE and point["control"] in (RANDOM_VECTOR, PUBLIC_MEAN)

    kept, lost = [line for line in lines if not left_out(line)], next(filter(left_out, lines))
    (folder / "points.jsonl").write_bytes(b"".join(kept) + lost[:40])
    done = called("curve", "--resume", folder)
    assert done.code == 0, done
    assert settled(folder) == settled(finished[1])


def test_a_controls_key_goes_through_a_pipe():
    for key in (Key(PRIVATE, 1, "client", "local", 0.5, PUBLIC_MEAN), Key(NO_PRIVACY, 0, "example")):
        assert Key.of(json.loads(json.dumps(key.to_json()))) == key


def test_some_controls_or_none(world):
    path = world / "curve.yaml"
    whole = load_curve(path)
    assert len(whole.all_keys()) == 2 + 2 * 2 * 5
    mean = load_curve(path, ["controls=[public_mean]"])
    assert mean.all_controls == (PUBLIC_MEAN,)
    assert len(mean.all_keys()) == 2 + 2 * 2 * 2
    for off in ("controls=[]", "run.controls.enabled=false"):
        assert len(load_curve(path, [off]).all_keys()) == 2 + 2 * 2
    without = load_curve(path, ["run.controls.other=null"])
    assert "other_task" not in without.all_controls
    assert "controls.other names no task" in without.lacking()[0]
    assert load_curve(path, ["run.controls.other=null", "controls=[zero_vector]"]).lacking() == ()
    lora = ["run.method={kind: fed_lora, aggregation: uniform}", "run.defense.privacy.unit=client"]
    assert load_curve(path, [*lora, "units=[client]", "run.controls={}"]).all_controls == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("controls=[nobody]", "controls.0 is 'nobody'"),
        ("controls=[public_mean, public_mean]", "a value stands twice in the list"),
        ("run.controls.other.path=nowhere", "is not a directory"),
    ],
)
def test_controls_that_cannot_be_had_are_refused(world, tmp_path, change, said):
    done = called("curve", world / "curve.yaml", "--set", change, "--out", tmp_path / "no")
    assert said in done.refusal()
    assert not (tmp_path / "no").exists()


def test_without_controls_it_is_said(world, tmp_path):
    done = called(
        "curve", world / "curve.yaml", "--no-controls", "--set", "repeats=1", "--out", tmp_path / "c"
    )
    assert done.code == 0, done
    assert "No controls were measured, so nothing is known of what the vector adds" in " ".join(
        done.out.split()
    )
    assert "share" not in done.out.lower()
    assert "control:" not in (tmp_path / "c" / "curve.svg").read_text("utf-8")
    assert (
        "--no-controls is given without"
        in called("curve", "--resume", tmp_path / "c", "--no-controls").refusal()
    )


def test_a_curve_that_was_written_before_there_were_controls_is_read(finished):
    old = json.loads((finished[1] / "curve.json").read_text("utf-8"))
    del old["remarks"]
    for part in (*old["points"], *old["summary"]):
        part.pop("share", None)
    old["points"] = [point for point in old["points"] if point.pop("control") is None]
    old["summary"] = [level for level in old["summary"] if level.pop("control") is None]
    curve = Curve.loads(json.dumps(old))
    assert curve.controls() == ()
    assert b"control:" not in draw(curve, "svg")


def test_of_several_lines_the_figure_shows_the_public_mean_alone(finished):
    """Four controls for each of several lines could not be told apart; the files have them all."""
    curve = json.loads((finished[1] / "curve.json").read_text("utf-8"))
    more = [{**level, "trust": "local"} for level in curve["summary"] if level["kind"] == PRIVATE]
    two = Curve.loads(json.dumps({**curve, "summary": curve["summary"] + more}))
    svg = draw(two, "svg").decode()
    for trust in ("central", "local"):
        assert f"control: public mean (example, {trust})" in svg
    assert "control: random" not in svg
    # The caption is wrapped, and each of its lines is an element of its own.
    written = " ".join(re.sub(r"<!--.*?-->|<[^>]+>", " ", svg, flags=re.DOTALL).split())
    assert "The other controls are in curve.csv." in written


def test_beside_public_coefficients_a_mean_is_without_the_public_centre(tmp_path):
    """As the run's own vector is; a mean that kept it would be a weaker control."""
    public(members=all_members(("only",))).save(tmp_path / "one.safetensors")
    config = curve_config(tmp_path, epsilons=[8, "inf"])
    config["run"]["controls"] = {"other": controls_section(tmp_path)["other"]}
    config["run"]["method"] |= {
        "coefficients": "public",
        "coefficients_file": str(tmp_path / "one.safetensors"),
        "public_steps": 0,
    }
    curve = load_curve(write_config(tmp_path / "curve.yaml", config))
    key = Key(NO_PRIVACY, 0, "example", control=PUBLIC_MEAN)
    setup = prepare(curve.run_of(key))
    vector = controls.stand_in(PUBLIC_MEAN, setup, controls.sources(setup), lambda: None)
    answers = baselines.global_injection(setup, setup.method.artifact(controls.calibrated(setup, vector)))
    used, calibrated = [], controls.calibrated

    def seen(given, chosen):
        used.append(chosen)
        return calibrated(given, chosen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "calibrated", seen)
        line = Bench(curve).measure(key)
    assert np.array_equal(used[0], vector)
    assert line["metrics"]["accuracy"] == pytest.approx(float(np.mean(answers.right)))
