"""A LoRA run goes the road of every run: rounds, report with rows of its own, artifact; resumable to the byte."""

import json

import numpy as np
import pytest
from killed_run import kill_run
from program import called
from tiny import tiny_config, write_config

from ifedpriv.methods.lora_adapter import LoraAdapter
from ifedpriv.report.schema import Report

pytest.importorskip("peft")

METHOD = {"kind": "fed_lora", "rank": 2, "rounds": 2, "steps": 2, "batch_size": 4, "rate": 0.01}


@pytest.fixture(scope="module", autouse=True)
def pictures():
    """Pages with their pictures, as the reports of these runs lack some numbers."""


def configured(folder):
    return write_config(folder / "config.yaml", {**tiny_config(folder), "method": METHOD})


def test_a_lora_run_reports_global_and_local_lora(tmp_path):
    out = tmp_path / "run"
    done = called("run", configured(tmp_path), "--out", out)
    assert done.code == 0, done
    report = Report.load(out / "report.json")
    assert [row.key for row in report.rows] == ["zero_shot", "local_icl", "local_lora", "global_lora"]
    assert report.coefficients is None and report.guard is None
    assert "global LoRA (FedAvg)" in done.out
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text("utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["weights", "weights"]
    assert all(line["test"] and line["loss"] for line in lines)
    adapter = LoraAdapter.load(out / "adapter.safetensors")
    assert any(np.abs(array).max() > 0 for name, array in adapter.arrays.items() if name.endswith("/B"))
    assert adapter.backbone == report.backbone.fingerprint
    assert not (out / "injection.safetensors").exists()
    assert 'id="coefficients"' not in (out / "report.html").read_text("utf-8")
    for verb in (("predict", out, "--text", "x"), ("fold", out, "--out", tmp_path / "folded")):
        refused = called(*verb)
        assert refused.code == 2
        assert "is a run of method 'fed_lora', which has no injection" in refused.err


def test_a_killed_lora_run_ends_as_an_uninterrupted_one(tmp_path):
    config = configured(tmp_path)
    assert called("run", config, "--out", tmp_path / "whole").code == 0
    kill_run(8, "run", config, "--out", tmp_path / "cut")
    assert not (tmp_path / "cut" / "report.json").exists()
    assert called("run", "--resume", tmp_path / "cut").code == 0
    assert (tmp_path / "whole" / "adapter.safetensors").read_bytes() == (
        tmp_path / "cut" / "adapter.safetensors"
    ).read_bytes()
