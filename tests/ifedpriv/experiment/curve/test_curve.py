"""Whole curves of the program in miniature: the same twice, after a crash too, with files that agree, and refusals."""

import csv
import json
import os
import stat

import pytest
from killed_run import kill_run
from program import called
from runs import files
from tiny import write_config
from tiny_curve import settled, write_curve

from ifedpriv.experiment.curve.bench import Bench
from ifedpriv.experiment.curve.config import load_curve
from ifedpriv.experiment.curve.keys import NO_PRIVACY, PRIVATE, ZERO_SHOT, Key
from ifedpriv.experiment.curve.workers import _Queue
from ifedpriv.report.curve import Curve

OUTPUTS = {"config.yaml", "points.jsonl", "curve.csv", "curve.json", "curve.svg", "curve.pdf", "curve.png"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_curve(folder)
    return folder


@pytest.fixture(scope="module")
def finished(world):
    done = called("curve", world / "curve.yaml", "--out", world / "whole")
    assert done.code == 0, done
    return done, world / "whole"


def test_the_table_says_what_epsilon_means(finished):
    done, folder = finished
    assert files(folder) == OUTPUTS
    said = " ".join(done.out.split())
    for sentence in (
        "One example hidden; noise added by a trusted server (central)",
        "at delta 0.001: what it may tell about one example that is there or not (add or remove)",
        "Means over 2 seeds with 95% Student-t intervals",
        "and no other test texts, which are the same for all",
        "Simulated: noise is drawn from seeds, which protects nobody",
    ):
        assert sentence in said
    assert all(len(line) <= 80 for line in done.out.splitlines() if not line.startswith("Figure:"))
    assert done.err == ""


def test_points_are_those_of_the_configuration(finished, world):
    curve = Curve.loads((finished[1] / "curve.json").read_text("utf-8"))
    keys = [Key(p.kind, p.seed, p.unit, p.trust, p.epsilon) for p in curve.points]
    private = [Key(PRIVATE, seed, "example", "central", eps) for eps in (1.0, 8.0) for seed in (0, 1)]
    bare = [Key(ZERO_SHOT, seed) for seed in (0, 1)]
    assert keys == [*bare, *(Key(NO_PRIVACY, seed, "example") for seed in (0, 1)), *private]
    for point in curve.points:
        assert set(point.metrics) == {"accuracy", "macro_f1"}
        assert point.queries == 20
        assert (point.rounds, point.guard is None) == ((0, True) if point.kind == ZERO_SHOT else (4, False))
        if point.kind == PRIVATE:
            assert 0.9 * point.epsilon < point.spent_epsilon <= point.epsilon
            assert point.spent_delta == 1e-3
            assert set(point.noise) == {"vector", "coefficients", "scores"}
        else:
            assert (point.spent_epsilon, dict(point.noise)) == (None, {})
    noise = {point.epsilon: point.noise["vector"] for point in curve.points if point.kind == PRIVATE}
    assert noise[1.0] > noise[8.0]


def test_files_say_the_same(finished):
    _, folder = finished
    text = (folder / "curve.json").read_text("utf-8")
    curve = Curve.loads(text)
    assert curve.dumps() == text
    with (folder / "curve.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(curve.points) == 8
    for row, point in zip(rows, curve.points, strict=True):
        assert (row["kind"], int(row["seed"])) == (point.kind, point.seed)
        assert float(row["accuracy"]) == point.metrics["accuracy"]
        assert row["epsilon"] == {PRIVATE: str(point.epsilon), NO_PRIVACY: "inf", ZERO_SHOT: ""}[point.kind]
    for level in curve.summary:
        of = [
            p.metrics["accuracy"] for p in curve.points if (p.kind, p.epsilon) == (level.kind, level.epsilon)
        ]
        mean = level.means["accuracy"]
        assert mean.value == pytest.approx(sum(of) / 2)
        # Student's interval of two numbers reaches 12.706 half distances to both sides, and is cut at 0 and 1.
        reach = 12.7062 * abs(of[0] - of[1]) / 2
        assert mean.low == pytest.approx(max(mean.value - reach, 0), abs=1e-4)
        assert mean.high == pytest.approx(min(mean.value + reach, 1), abs=1e-4)


def test_figures_show_what_was_measured(finished):
    _, folder = finished
    svg = (folder / "curve.svg").read_text("utf-8")
    words = " ".join(svg.split())
    for text in (
        "one example hidden, central trust",
        "no privacy",
        "zero-shot",
        "privacy budget ε of the whole run (δ = 0.001), log scale",
        "test accuracy (0 to 1)",
        "Simulated",
    ):
        assert text in words
    assert ">1</text>" in words
    assert ">8</text>" in words
    assert (folder / "curve.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_point_is_the_run_that_its_configuration_makes(finished, world, tmp_path):
    """What a process keeps between points changes no digit: `ifedpriv run` finds the same answers."""
    _, folder = finished
    config = load_curve(world / "curve.yaml")
    key = Key(PRIVATE, 1, "example", "central", 8.0)
    path = tmp_path / "run.yaml"
    path.write_text(config.run_of(key).to_yaml(), encoding="utf-8")
    done = called("run", path, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done
    report = json.loads(done.out)
    row = next(row for row in report["rows"] if row["key"] == "global_injection")
    points = Curve.loads((folder / "curve.json").read_text("utf-8")).points
    point = next(p for p in points if (p.seed, p.epsilon) == (1, 8.0))
    assert row["figures"]["accuracy"]["value"] == point.metrics["accuracy"]
    assert report["privacy"]["statement"]["epsilon"] == point.spent_epsilon


def test_a_killed_curve_ends_as_if_it_had_not_been(finished, world, tmp_path):
    """Killed between curve.csv and curve.json, with a line of the points cut short on top of it."""
    kill_run(3, "curve", world / "curve.yaml", "--out", tmp_path / "curve")
    assert files(tmp_path / "curve") == {"config.yaml", "points.jsonl", "curve.csv", "curve.json.partial"}
    points = tmp_path / "curve" / "points.jsonl"
    whole = points.read_bytes().splitlines(keepends=True)
    assert len(whole) == 8
    # A crash in the middle of a write leaves half a line.
    points.write_bytes(b"".join(whole[:6]) + whole[6][:50])
    done = called("curve", "--resume", tmp_path / "curve")
    assert done.code == 0, done
    assert settled(tmp_path / "curve") == settled(finished[1])


def test_several_processes_find_the_same(finished, world, tmp_path):
    """A finished point is not measured again, and the others are, by processes of their own."""
    folder = tmp_path / "curve"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((finished[1] / "config.yaml").read_bytes())
    lines = (finished[1] / "points.jsonl").read_text("utf-8").splitlines(keepends=True)
    left_out = [line for line in lines if json.loads(line)["epsilon"] == 1.0]
    assert len(left_out) == 2
    (folder / "points.jsonl").write_text("".join(line for line in lines if line not in left_out), "utf-8")
    done = called("curve", world / "curve.yaml", "--set", "workers=2", "--resume", folder)
    assert done.code == 0, done
    assert settled(folder) == settled(finished[1])


def test_a_process_takes_points_that_share_work():
    keys = [Key(PRIVATE, seed, "example", "central", eps) for seed in (0, 1) for eps in (1.0, 2.0, 4.0)]
    queue = _Queue([Key(ZERO_SHOT, 0), *keys])
    one, first = queue.next(None, set())
    other, second = queue.next(None, {one})
    assert {first.seed, second.seed} == {0, 1}
    assert queue.next(one, {other})[1].seed == first.seed
    taken = [first, second]
    while found := queue.next(one, {other}):
        taken.append(found[1])
    assert len({*taken}) == 6


def test_json_is_the_file(finished, world):
    done = called("curve", "--resume", finished[1], "--json")
    assert done.code == 0
    assert json.loads(done.out) == json.loads((finished[1] / "curve.json").read_text("utf-8"))


def test_activations_are_computed_once_for_all_budgets(world, monkeypatch):
    from ifedpriv.methods import client_work

    calls = []
    real = client_work.activations
    monkeypatch.setattr(client_work, "activations", lambda *a, **k: calls.append(k) or real(*a, **k))
    bench = Bench(load_curve(world / "curve.yaml"))
    points = [bench.measure(Key(PRIVATE, 0, "example", "central", eps)) for eps in (1.0, 8.0)]
    assert len(calls) == 5
    assert points[0]["noise"] != points[1]["noise"]


REFUSED = {
    "epsilon of zero": ({"epsilons": [0]}, "epsilons.0 is 0: input should be greater than 0"),
    "negative epsilon": ({"epsilons": [1, -1]}, "epsilons.1 is -1"),
    "epsilon not a number": ({"epsilons": ["nan"]}, "epsilons.0"),
    "no epsilon": ({"epsilons": []}, "epsilons: the list is empty"),
    "no finite epsilon": ({"epsilons": ["inf"]}, "no budget is finite"),
    "an epsilon twice": ({"epsilons": [1, 1.0]}, "stands twice"),
    "huge epsilon": ({"epsilons": [5000]}, "run: defense.privacy.epsilon is 5000"),
    "unknown unit": ({"units": ["person"]}, "units.0 is 'person'"),
    "no unit": ({"units": []}, "units: the list is empty"),
    "unknown trust": ({"trusts": ["blind"]}, "trusts.0 is 'blind'"),
    "no hidden sum": (
        {"trusts": ["central", "distributed"]},
        "trust is 'distributed' and defense.kind is 'none'",
    ),
    "no repeat": ({"repeats": 0}, "repeats is 0"),
    "no seed": ({"seeds": []}, "seeds: the list is empty"),
    "misspelt": ({"epsilom": [1]}, "epsilom is not a field"),
    "no worker": ({"workers": 0}, "workers is 0"),
    "deployed": ({"run.simulation": False}, "run.simulation is false"),
    "no template": ({"run.defense": {"kind": "none"}}, "run.defense.privacy is missing"),
    "misspelt in the run": ({"run.defense.privacy.clipp": 1}, "defense.privacy.clipp is not a field"),
    "large delta": ({"run.defense.privacy.delta": 0.3}, "delta is 0.3, above 1/"),
    "no public texts": ({"run.defense.privacy.public": {}}, "defense.privacy.public.path is not set"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_curve_is_refused_in_one_sentence(world, tmp_path, case):
    changes, said = REFUSED[case]
    sets = [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    done = called("curve", world / "curve.yaml", *sets, "--out", tmp_path / "no")
    assert said in done.refusal()
    assert not (tmp_path / "no").exists()


def test_folders_of_others_are_refused(finished, world, tmp_path):
    _, folder = finished
    assert "holds a curve" in called("curve", world / "curve.yaml", "--out", folder).refusal()
    other = called("curve", world / "curve.yaml", "--set", "repeats=3", "--resume", folder)
    assert "is a curve of another configuration" in other.refusal()
    assert "is no curve" in called("curve", "--resume", tmp_path).refusal()
    assert "there is no configuration" in called("curve").refusal()
    assert "--set is given without" in called("curve", "--resume", folder, "--set", "repeats=1").refusal()
    copy = tmp_path / "mixed"
    copy.mkdir()
    (copy / "config.yaml").write_text((folder / "config.yaml").read_text("utf-8").replace("- 1.0", "- 2.0"))
    (copy / "points.jsonl").write_bytes((folder / "points.jsonl").read_bytes())
    assert "is a point of another configuration" in called("curve", "--resume", copy).refusal()
    (copy / "points.jsonl").write_text("what?\n")
    assert "line 1 is no point of a curve" in called("curve", "--resume", copy).refusal()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(world, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = called("curve", world / "curve.yaml", "--out", tmp_path / "no")
    tmp_path.chmod(stat.S_IRWXU)
    assert "cannot be written" in done.refusal()


def test_a_file_in_the_way_is_refused(world, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = called("curve", world / "curve.yaml", "--out", tmp_path / "file" / "curve")
    assert "cannot be written" in done.refusal()


def test_a_configuration_reads_back_and_can_extend_another(world, tmp_path):
    config = load_curve(world / "curve.yaml")
    path = tmp_path / "again.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load_curve(path) == config
    small = write_config(tmp_path / "small.yaml", {"extends": str(world / "curve.yaml"), "seeds": [4]})
    changed = load_curve(small, ["run.method.calibration.rounds=1", "epsilons=[.inf, 3]"])
    assert changed.all_seeds == (4,)
    assert changed.epsilons == (3.0, float("inf"))
    assert changed.run.method.calibration.rounds == 1
    assert changed.run.data == config.run.data
    masked = {
        "extends": str(world / "curve.yaml"),
        "run": {"defense": {"kind": "masked", "privacy": {"delta": 1e-4}}},
    }
    path = write_config(tmp_path / "masked.yaml", {**masked, "trusts": ["distributed"]})
    assert load_curve(path).run.defense.kind == "masked"


def test_what_belongs_to_distributed_noise_is_for_its_points_alone(tmp_path):
    """Tolerance of dropouts, and a chance of a wrap, which must fit into delta at the largest epsilon of all."""
    path = write_curve(tmp_path, trusts=["local", "distributed"], epsilons=[1, 4])
    privacy = {"trust": "distributed", "delta": 1e-3, "dropout": 0.2, "grid": {"wrap": 1e-6}}
    section = f"run.defense={json.dumps({'kind': 'masked', 'privacy': privacy})}"
    config = load_curve(path, [section])
    for trust, dropout, wrap in (("local", 0.0, 0.0), ("distributed", 0.2, 1e-6)):
        made = config.run_of(Key(PRIVATE, 0, "example", trust, 4.0)).defense.privacy
        assert (made.dropout, made.grid.wrap) == (dropout, wrap)
    more = ["--set", "run.defense.privacy.grid.wrap=1e-5", "--set", "epsilons=[1, 8]"]
    done = called("curve", path, "--set", section, *more, "--out", tmp_path / "out")
    assert "grid.wrap is 1e-05, which at epsilon 8 costs 0.0298 of a delta of 0.001" in done.refusal()
