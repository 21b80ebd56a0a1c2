"""Every file under configs/ loads, and what can run without other people's data runs to its report."""

import json
from pathlib import Path

import pytest

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig, load_config
from ifedpriv.data.presets import PRESETS
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.curve.config import load_curve
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.reporting import build_report
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

CONFIGS = Path(__file__).parents[2] / "configs"
# What `ifedpriv curve` reads is no run's configuration.
CURVES = sorted(CONFIGS.glob("*curve*.yaml"))
FILES = sorted(set(CONFIGS.glob("*.yaml")) - set(CURVES))
EMBEDDED = [path for path in FILES if load_config(path).data.source == "embedded"]
PAPER = [path for path in FILES if path.stem.startswith("paper_")]
SMALL = (
    "threads=1",
    "data.train=48",
    "data.validation=4",
    "data.test=16",
    "partition.clients=3",
    "evaluation.shots=2",
    "controls.enabled=false",
)
SMALL_METHOD = {
    "ifed_icl": ("method.calibration.rounds=1", "method.calibration.steps=1"),
    "prototype_icl": (
        "method.calibration.rounds=1",
        "method.calibration.steps=1",
        "method.clusters.min_members=1",
        "method.clusters.public.texts=64",
    ),
    "ficpd": (
        "method.clusters=2",
        "method.warmup=1",
        "method.splits=1",
        "method.rounds=1",
        "method.tuning.steps=1",
        "method.meta.steps=1",
        "method.meta.public.texts=16",
    ),
}
ROWS = {
    "ifed_icl": ["zero_shot", "local_icl", "local_injection", "global_injection"],
    "prototype_icl": ["zero_shot", "local_icl", "local_injection", "prototype_injection"],
    "ficpd": ["zero_shot", "local_icl", "local_prompt", "meta_prompt", "prototype_prompt"],
}
ROUNDS = {"one_shot": 1, "ficpd": 5, "prototypes": 8}

OTHERWISE = {
    "groups": ("partition.clients=9",),
    "domains": ("partition.clients=4",),
    "private": (
        "partition.examples_per_client=16",
        "evaluation.local_icl=true",
        "evaluation.local_injection=true",
    ),
    "one_shot": (
        "partition.examples_per_client=16",
        "method.public_steps=2",
        "defense.privacy.public.texts=96",
        "evaluation.local_icl=true",
        "evaluation.local_injection=true",
    ),
}
"""What some need beside: three clients a group; one a domain; as many examples as there are; the lines that are left
out; few steps and few texts to fit public coefficients, which each client's own line does anew."""


def by_name(path):
    return path.stem


@pytest.fixture(scope="module")
def backbone():
    return Backbone.load(MODEL_PATH)


def test_the_files_are_where_this_test_looks():
    assert len(FILES) >= 12
    assert {path.stem for path in EMBEDDED} == {
        "quickstart",
        "contradictory",
        "generation",
        "dropouts",
        "masked",
        "encrypted",
        "groups",
        "private",
        "hundred",
        "one_shot",
        "dialects",
        "domains",
        "ficpd",
        "prototypes",
    }


@pytest.mark.parametrize("path", CURVES, ids=by_name)
def test_curves_load(path):
    config = load_curve(path)
    assert config.run.backbone.path == "embedded"
    assert len(config.all_keys()) >= 20


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_loads_and_is_called_like_its_file(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.backbone.path == "embedded"


def test_quickstart_is_the_defaults_written_out():
    assert load_config(CONFIGS / "quickstart.yaml") == RunConfig()


@pytest.mark.parametrize("path", PAPER, ids=by_name)
def test_paper_configs_share_the_papers_protocol(path):
    config = load_config(path)
    assert config.data.name == path.stem.removeprefix("paper_")
    assert (config.data.max_train, config.data.max_test, config.data.balance_test) == (5000, 500, True)
    assert (config.partition.kind, config.partition.alpha, config.partition.clients) == ("dirichlet", 0.5, 10)
    assert (config.method.calibration.rounds, config.method.aggregation) == (30, "uniform")


@pytest.mark.parametrize("path", PAPER, ids=by_name)
def test_paper_configs_find_their_files_and_fit_the_embedded_tokenizer(path, backbone, tmp_path, monkeypatch):
    preset = PRESETS[path.stem.removeprefix("paper_")]
    folder = tmp_path / preset.path
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({"label_names": preset.label_names}))
    classes = len(preset.label_names)
    for split, size in (("train", 30), ("test", 4)):
        rows = ({"text": f"A {split} text, number {i}.", "label": i % classes} for i in range(size * classes))
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("IFEDPRIV_DATA", str(tmp_path))
    setup = prepare(load_config(path, ["threads=1"]), backbone=backbone)
    assert len(setup.clients) == 10
    assert all(setup.clients[number].validation for number in range(10))
    assert len(setup.data.test) == 4 * classes


def test_the_languages_of_sib200_are_held_apart(backbone, tmp_path, monkeypatch):
    preset = PRESETS["sib200"]
    folder = tmp_path / preset.path
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({"label_names": preset.label_names}))
    languages, classes = [f"lang_{i}" for i in range(10)], len(preset.label_names)
    for split, size in (("train", 60), ("test", 10)):
        rows = (
            {"text": f"A {split} text, number {i}.", "label": i % classes, "lang": languages[i % 10]}
            for i in range(size * classes)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("IFEDPRIV_DATA", str(tmp_path))
    setup = prepare(load_config(CONFIGS / "sib200.yaml", ["threads=1"]), backbone=backbone)
    assert sorted(setup.partition.groups) == sorted(2 * languages)
    for number, group in enumerate(setup.partition.groups):
        assert {e.attributes["lang"] for e in setup.clients[number].train} == {group}
        assert {e.attributes["lang"] for e in setup.queries(group)} == {group}


@pytest.mark.parametrize("path", EMBEDDED, ids=by_name)
def test_embedded_configs_run_to_their_report(path, backbone, tmp_path):
    kind = load_config(path).method.kind
    config = load_config(path, (*SMALL, *SMALL_METHOD[kind], *OTHERWISE.get(path.stem, ())))
    setup = prepare(config, backbone=backbone)
    report = build_report(execute(setup, RunDirectory.create(tmp_path / "run", config)))
    assert [row.key for row in report.rows] == ROWS[kind]
    assert report.totals.rounds == ROUNDS.get(path.stem, 3)
    held = sum(sum(counts) for counts in report.task.holdings.counts)
    assert 8 <= held <= 48
    if path.stem == "contradictory":
        assert set(report.task.holdings.groups) == {"group 0", "group 1"}
    if path.stem == "dialects":
        assert set(report.task.holdings.groups) == {"upland", "lowland"}
        assert (report.target.target, report.target.reached, report.target.scored) == (0.8, False, 1)
    if path.stem == "domains":
        assert sorted(report.task.holdings.groups) == ["bank", "clinic", "shop", "support"]
        assert report.rows[0].fairness.parity_over == "groups"
    if path.stem == "generation":
        assert report.primary_metric == "exact_match"
        assert report.task.holdings.classes == ("examples",)
