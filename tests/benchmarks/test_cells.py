"""Measurements are kept line by line and gone on with; every part of FICPD's ablations is whole."""

import json
from pathlib import Path

import pytest
from benchmarked import benchmark

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.methods.specs import FicpdSpec

kept = benchmark("_cells")
runs = benchmark("_ficpd_runs")
ficpd = benchmark("ficpd")
drawn = benchmark("_ficpd_figures")
tables = benchmark("_ficpd_tables")


def counting(calls, name, **settings):
    def run(seed):
        calls.append((name, seed))
        return {"accuracy": 0.5 + seed / 10}

    return kept.Cell({"name": name, **settings}, run)


def test_a_sweep_goes_on_where_it_ended(tmp_path, capsys):
    calls = []
    cells = {name: counting(calls, name) for name in ("a", "b")}
    kept.measure("s", "model", cells, [0], tmp_path)
    path = kept.path_of("s", tmp_path)
    # Killed in the middle of a line.
    with path.open("a") as file:
        file.write('{"cell": "a", "se')
    found = kept.measure("s", "model", cells, [0, 1], tmp_path)
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert found == {name: {"0": {"accuracy": 0.5}, "1": {"accuracy": 0.6}} for name in ("a", "b")}
    assert [json.loads(line)["seed"] for line in path.read_text().splitlines()] == [0, 0, 1, 1]
    assert kept.measure("s", "model", cells, [0, 1], tmp_path) == found
    assert len(calls) == 4
    assert "a, seed 1: accuracy 0.6" in capsys.readouterr().out
    assert "0.550" in kept.text_table(found)


def test_cells_stand_in_the_order_of_their_numbers(tmp_path):
    """Whatever was measured first."""
    names = ["epsilon = inf", "epsilon = 2", "epsilon = 0.5", "20 of 3", "3 of 20", "3 of 4"]
    rows = [{"cell": name, "seed": seed, "figures": {}} for seed in (1, 0) for name in names]
    kept.path_of("some", tmp_path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = kept.by_cell("some", tmp_path)
    assert list(found) == ["3 of 4", "3 of 20", "20 of 3", "epsilon = 0.5", "epsilon = 2", "epsilon = inf"]
    assert all(list(seeds) == ["0", "1"] for seeds in found.values())


@pytest.mark.parametrize(("model", "steps"), [("another", 1), ("model", 2)])
def test_results_of_other_settings_or_another_model_are_refused(tmp_path, model, steps):
    calls = []
    kept.measure("s", "model", {"a": counting(calls, "a", steps=1)}, [0], tmp_path)
    before = kept.path_of("s", tmp_path).read_bytes()
    with pytest.raises(SystemExit, match="cell 'a' was measured on another model or with other settings"):
        kept.measure("s", model, {"a": counting(calls, "a", steps=steps)}, [1], tmp_path)
    assert kept.path_of("s", tmp_path).read_bytes() == before
    assert calls == [("a", 0)]


@pytest.fixture(scope="module")
def backbone():
    return Backbone.load(MODEL_PATH)


@pytest.mark.parametrize("scale", [runs.Scale(), runs.SMALL], ids=["full", "small"])
@pytest.mark.parametrize("part", ficpd.PARTS)
def test_every_cell_is_a_configuration_of_its_own(part, scale, backbone):
    cells = ficpd.PARTS[part](ficpd.Bench(scale, "domains", backbone))
    if scale is not runs.SMALL:
        assert len(cells) >= 2
        assert len({cell.digest for cell in cells.values()}) == len(cells)
    for cell in cells.values():
        config = runs.configured(cell.settings.get("federation", cell.settings), 3)
        assert isinstance(config.method, FicpdSpec)
        assert (config.seed, config.data.seed) == (3, 3)


def test_estimators_have_equal_queries(backbone):
    cells = ficpd.Bench(runs.Scale(), "domains", backbone).estimator()
    for budget in ficpd.BUDGETS:
        spent = []
        for name in ("gradient", "zeroth-order"):
            tuning = cells[f"{name}, {budget} queries"].settings["method"]["tuning"]
            losses = 2 * tuning["directions"] if name == "zeroth-order" else 1
            spent.append(tuning["steps"] * tuning["batch_size"] * losses)
        assert spent == [budget, budget]


def test_a_small_run_is_measured_drawn_and_tabled(backbone, tmp_path):
    """The whole way, with numbers that mean nothing."""
    ficpd.main(["clusters", "--small", "--seeds", "1", "--out", str(tmp_path), "--cells", "K = 2"])
    (figures,) = kept.by_cell("ficpd_clusters", tmp_path)["K = 2"].values()
    assert {"own cluster's prompt", "worst client", "MB up a client and round"} <= set(figures)
    assert figures["queries of a client"] > 0
    assert drawn.draw("length", tmp_path, tmp_path / "figures") is None
    path = drawn.draw("clusters", tmp_path, tmp_path / "figures")
    first = path.read_bytes()
    assert drawn.draw("clusters", tmp_path, tmp_path / "figures").read_bytes() == first
    text = tables.table("clusters", tmp_path, tmp_path / "figures")
    assert "| K = 2 | 1 |" in text and "figures/ficpd_clusters.svg" in text
    assert "Not measured yet" in tables.table("length", tmp_path, tmp_path / "figures")


def test_small_runs_are_not_kept_among_results():
    before = sorted(Path(kept.RESULTS).iterdir())
    with pytest.raises(SystemExit):
        ficpd.main(["clusters", "--small"])
    assert sorted(Path(kept.RESULTS).iterdir()) == before


def test_every_part_has_a_figure_and_a_table():
    assert set(drawn.PANELS) == set(ficpd.PARTS)
    assert {f"ficpd_{part}" for part in ficpd.PARTS} == set(tables.TABLES)
