"""What is found in a curve's noised vectors: beside every private run, in every file, and not where nobody asked."""

import csv
import json

import pytest
from program import called
from tiny_curve import curve_config, settled, write_curve

from attacks._judging.released_vectors import attack_release
from defenses.accounting.tradeoff import pair_tpr
from ifedpriv.experiment.curve.config import parse_curve
from ifedpriv.experiment.curve.keys import PRIVATE, Key
from ifedpriv.experiment.prepare import prepare
from ifedpriv.report.attack_points import AttackPoint
from ifedpriv.report.curve import Curve
from ifedpriv.report.curve_plot import draw
from ifedpriv.report.records import FieldError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    done = called("curve", write_curve(folder), "--out", folder / "out")
    assert done.code == 0, done
    return done, folder / "out", folder


def curve_of(folder):
    return Curve.loads((folder / "curve.json").read_text("utf-8"))


def test_every_private_run_is_attacked_and_nothing_else(finished):
    for point in curve_of(finished[1]).points:
        assert (point.attack is not None) == (point.kind == PRIVATE)


def test_a_points_numbers_are_those_of_its_run(finished):
    curve = parse_curve(curve_config(finished[2]), "test")
    setup = prepare(curve.run_of(Key(PRIVATE, 1, "example", "central", 8.0)))
    (point,) = [p for p in curve_of(finished[1]).points if (p.seed, p.epsilon) == (1, 8.0)]
    assert point.attack == AttackPoint(**attack_release(setup))


def test_levels_have_means_and_what_epsilon_allows(finished):
    curve = curve_of(finished[1])
    for level in curve.levels("private", "example", "central"):
        points = [p.attack for p in curve.points if p.epsilon == level.epsilon]
        assert level.attack.found.value == pytest.approx(sum(p.found for p in points) / 2)
        assert level.attack.allowed == pair_tpr(0.01, level.epsilon, curve.delta)
        assert level.attack.loudest.low <= level.attack.loudest.value <= level.attack.loudest.high
    assert all(level.attack is None for level in curve.summary if level.kind != PRIVATE)


def test_it_is_in_the_table_the_csv_and_the_figure(finished):
    done, out, _ = finished
    words = " ".join(done.out.split())
    assert "Found in the noised vectors at 1% false alarms, by whoever knows all else" in words
    assert "how often whoever knows everything but one unit finds it" in words
    with (out / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, point in zip(rows, curve_of(out).points, strict=True):
        assert row["found"] == ("" if point.attack is None else str(point.attack.found))
        assert (row["allowed"] != "") == (point.kind == PRIVATE)
    svg = draw(curve_of(out), "svg").decode()
    for name in ("found at 1%", "below: loudest unit", "below: allowed by ε"):
        assert name in svg


def test_without_it_nothing_is_said_of_it(finished):
    folder = finished[2]
    bare = curve_config(folder, attack=False, epsilons=[8])
    (folder / "bare.yaml").write_text(json.dumps(bare), encoding="utf-8")
    done = called("curve", folder / "bare.yaml", "--out", folder / "bare")
    assert done.code == 0, done
    assert "noised vectors" not in done.out
    assert all(point.attack is None for point in curve_of(folder / "bare").points)
    assert "found" not in (folder / "bare" / "curve.csv").read_text("utf-8").splitlines()[0]
    assert "below:" not in draw(curve_of(folder / "bare"), "svg").decode()


# In the default suite, two processes go on with such a curve (test_curve.py).
@pytest.mark.slow
def test_several_processes_find_the_same(finished):
    folder = finished[2]
    two = curve_config(folder, workers=2)
    (folder / "two.yaml").write_text(json.dumps(two), encoding="utf-8")
    assert called("curve", folder / "two.yaml", "--out", folder / "two").code == 0
    ours, theirs = settled(finished[1]), settled(folder / "two")
    assert (ours["csv"], ours["svg"], ours["json"]) == (theirs["csv"], theirs["svg"], theirs["json"])


@pytest.mark.parametrize(
    ("change", "said"),
    [({"found": 1.2}, "found is 1.2, outside 0 to 1"), ({"members": 0}, "members and trials are at least 1")],
)
def test_a_record_that_cannot_be_is_refused(change, said):
    whole = {
        "members": 2,
        "trials": 2,
        "found": 0.1,
        "area": 0.5,
        "loudest_found": 0.1,
        "loudest_area": 0.5,
    }
    with pytest.raises(FieldError, match=said):
        AttackPoint(**{**whole, **change})
