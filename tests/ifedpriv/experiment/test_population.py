"""What the configuration tells of the number of units: never too many, and enough to refuse a delta at once."""

import pytest
from tiny_curve import curve_config

from ifedpriv.config import parse_config
from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.partition import partition
from ifedpriv.errors import UserError
from ifedpriv.experiment.curve import bench
from ifedpriv.experiment.curve.config import parse_curve
from ifedpriv.experiment.population import check_delta, fewest_units
from ifedpriv.experiment.prepare import prepare

IID = {"kind": "iid", "clients": 7}
PARTITIONS = {
    "iid": (IID, "all"),
    "iid, capped": ({**IID, "examples_per_client": 5}, "all"),
    "iid, capped above what there is": ({**IID, "examples_per_client": 500}, "nearly"),
    "dirichlet": ({"kind": "dirichlet", "clients": 7, "alpha": 0.3}, "all"),
    "dirichlet, capped": ({"kind": "dirichlet", "clients": 7, "examples_per_client": 5}, "some"),
    "pathological": ({"kind": "pathological", "clients": 8, "min_examples": 3}, "some"),
    "contradictory": ({"kind": "contradictory", "clients": 6}, "some"),
}


def config_of(dealt, **privacy):
    data = {"source": "embedded", "name": "mood", "train": 123, "test": 20}
    defense = {"kind": "none", "privacy": {"epsilon": 1, **privacy}}
    method = {"kind": "ifed_icl", "aggregation": "uniform" if "unit" in privacy else "count"}
    whole = {"data": data, "partition": dealt, "defense": defense, "method": method}
    return parse_config(whole, "test")


@pytest.mark.parametrize("name", PARTITIONS)
def test_never_more_units_than_there_are(name):
    dealt, close = PARTITIONS[name]
    config = config_of(dealt)
    data = load_task_data(config.data)
    held = partition(data.train, data.task.n_classes, config.partition, config.seed)
    true, told = sum(map(len, held.clients)), fewest_units(config, "example")
    assert (
        {"all": true, "nearly": true - dealt["clients"] + 1, "some": dealt["clients"]}[close] <= told <= true
    )
    assert fewest_units(config, "client") == len(held.clients)


def test_a_delta_for_fewer_units_than_there_are_is_refused_and_no_smaller_one():
    check_delta(config_of(IID, delta=1 / 123))
    with pytest.raises(UserError, match="above 1/123, where publishing one unit as it is would do"):
        check_delta(config_of(IID, delta=1 / 122))
    check_delta(config_of({**IID, "clients": 20}, unit="client", delta=0.05))
    with pytest.raises(UserError, match="above 1/20"):
        check_delta(config_of({**IID, "clients": 20}, unit="client", delta=0.051))


def test_runs_and_curves_are_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    def loaded(*_):
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr(bench, "load_backbone", loaded)
    monkeypatch.setattr("ifedpriv.experiment.prepare.load_backbone", loaded)
    given = curve_config(tmp_path, epsilons=[1, 2], units=["example", "client"])
    given["run"]["defense"]["privacy"]["delta"] = 0.25
    curve = parse_curve(given, "test")
    with pytest.raises(UserError, match=r"delta is 0\.25, above 1/5"):
        bench.Bench(curve).check()
    with pytest.raises(UserError, match=r"delta is 0\.25, above 1/5"):
        prepare(curve.run)
