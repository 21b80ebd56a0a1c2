"""A run of clustered injections goes the road of every run: rounds, report, prototypes, predictions, resumption."""

import json

import pytest
from killed_run import kill_run
from program import called
from runs import found
from tiny import tiny_config, write_config

from defenses.ledger import Ledger
from defenses.view import ServerView
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.prototypes import PrototypeBank
from ifedpriv.report.schema import Report

CLUSTERS = {"number": 2, "min_members": 1, "rank": 4, "public": {"path": "public.jsonl", "texts": 20}}
METHOD = {
    "kind": "prototype_icl",
    "clusters": CLUSTERS,
    "calibration": {"rounds": 2, "steps": 2, "batch_size": 4},
}
KINDS = [
    "clusters",
    "clusters",
    "counts",
    "clusters",
    "counts",
    "vector",
    "coefficients",
    "coefficients",
    "scores",
]


def configured(folder, name="config", clusters=None, method=None, **changes):
    texts = (f"a {word} day number {n}" for n in range(10) for word in ("fine", "dull"))
    (folder / "public.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = {
        **tiny_config(folder),
        "data_root": str(folder),
        "method": {**METHOD, "clusters": {**CLUSTERS, **(clusters or {})}, **(method or {})},
        **changes,
    }
    return write_config(folder / f"{name}.yaml", config)


def lines(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text("utf-8").splitlines()]


def test_a_run_reports_prototypes_and_writes_them(tmp_path):
    out = tmp_path / "run"
    partition = {"kind": "contradictory", "clients": 4, "groups": 2}
    done = called("run", configured(tmp_path, partition=partition), "--out", out)
    assert done.code == 0, done
    report = Report.load(out / "report.json")
    keys = ["zero_shot", "local_icl", "local_injection", "prototype_injection"]
    assert [row.key for row in report.rows] == keys
    assert [line["kind"] for line in lines(out)] == KINDS
    assert [line["test"] is not None for line in lines(out)] == [kind == "coefficients" for kind in KINDS]
    assert report.guard is not None and report.coefficients is None and not report.controls.enabled
    assert "own cluster's injection" in done.out and "adjusted Rand index" in done.out
    bank = PrototypeBank.load(out / "prototypes.safetensors")
    assert bank.backbone == report.backbone.fingerprint and "ifedpriv.privacy" in bank.facts
    assert not (out / "injection.safetensors").exists()
    assert len(list(ServerView.open(out / "view").uploads())) == 4 * len(KINDS)
    again = called("report", out)
    assert again.code == 0 and "own cluster's injection" in again.out


def test_predictions_with_a_prototype(tmp_path):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path), "--out", out).code == 0
    count = len(PrototypeBank.load(out / "prototypes.safetensors"))
    (tmp_path / "few.jsonl").write_text(
        '{"text": "a lovely one", "label": "A"}\n{"text": "sunny", "label": 0}\n'
    )
    for more in ((), ("--prototype", 1), ("--examples", tmp_path / "few.jsonl")):
        done = called("predict", out, "--text", "sunny", "--json", *more)
        assert done.code == 0, done
        assert ("fits the labelled texts best" in done.err) is ("--examples" in more)
    refused = called("predict", out, "--text", "x", "--prototype", count + 1)
    assert f"--prototype is {count + 1}, and the run has {count}" in refused.refusal()
    folded = called("fold", out, "--out", tmp_path / "folded")
    assert "has an injection for each cluster" in folded.refusal()


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path):
    config = configured(tmp_path)
    assert called("run", config, "--out", tmp_path / "whole").code == 0
    kill_run(7, "run", config, "--out", tmp_path / "cut")
    assert not (tmp_path / "cut" / "report.json").exists()
    assert called("run", "--resume", tmp_path / "cut").code == 0
    assert found(tmp_path / "whole") == found(tmp_path / "cut")


@pytest.mark.parametrize("trust", ["central", "distributed"])
def test_every_release_of_a_private_run_is_in_the_ledger(tmp_path, trust):
    public = {"path": "public.jsonl", "texts": 20}
    privacy = {"unit": "client", "trust": trust, "epsilon": 40, "delta": 0.1, "public": public}
    defense = {"kind": "masked" if trust == "distributed" else "none", "privacy": privacy}
    done = called("run", configured(tmp_path, defense=defense), "--out", tmp_path / "run")
    assert done.code == 0, done
    statement = Report.load(tmp_path / "run" / "report.json").privacy.statement
    assert 20 < statement["epsilon"] <= 40 and statement["unit"] == "client"
    assert statement["releases"] == len(KINDS)
    _, facts = RunDirectory.open(tmp_path / "run").load_checkpoint()
    assert [event.kind for event in Ledger.from_json(facts["ledger"]).events] == KINDS


def test_attacks_on_vectors_say_that_there_are_none(tmp_path):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path), "--out", out).code == 0
    for attack in ("labels", "invert", "membership"):
        done = called("attack", attack, out)
        assert done.code in (0, 2) and "Traceback" not in done.err
        assert done.out + done.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"clusters": {"number": 4}},
            "method.clusters.number is 4, and a round asks 3 of 3 clients; use at most 3",
        ),
        (
            {"clusters": {"min_members": 5}},
            "method.clusters.min_members is 5, and a round asks 3 of 3 clients",
        ),
        ({"clusters": {"found_by": "oracle", "number": "auto"}}, "found_by is 'oracle' and number is 'auto'"),
        (
            {"clusters": {"found_by": "oracle"}, "simulation": False},
            "found_by is 'oracle' and simulation is false",
        ),
        ({"clusters": {"public": {"texts": 20}}}, "method.clusters.public.path is not set"),
        ({"clusters": {"rank": 60}}, "method.clusters.rank is 60, and 20 public texts span 18 directions"),
        ({"clusters": {"temperature": 0}}, "method.clusters.temperature is 0"),
        (
            {"defense": {"kind": "none", "privacy": {"epsilon": 1.0}}},
            "defense.privacy.unit is 'example', and method.kind 'prototype_icl' does not bound what one example does",
        ),
        (
            {"defense": {"kind": "none", "compression": {"kind": "flat", "keep": 5}}},
            "defense.compression is on and method.kind is 'prototype_icl'",
        ),
        (
            {
                "defense": {
                    "kind": "none",
                    "privacy": {"unit": "client", "epsilon": 1.0, "vector": {"rank": 3}},
                }
            },
            "defense.privacy.vector.rank is 3 and method.kind is 'prototype_icl'",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_sentence(tmp_path, changes, said):
    done = called("run", configured(tmp_path, **changes), "--out", tmp_path / "run")
    assert said in done.refusal()
