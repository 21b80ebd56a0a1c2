"""Compression in whole runs: fewer bytes in the run's record, the same promises, and mistakes in one sentence."""

import json

import pytest
from program import called
from tiny import tiny_config, write_config

from defenses.view import ServerView
from ifedpriv.report.schema import Report

LORA = {"kind": "fed_lora", "rank": 2, "rounds": 2, "steps": 2, "batch_size": 4, "rate": 0.01}
PRIVATE = {"unit": "client", "trust": "local", "epsilon": 20, "delta": 0.1}


def run(folder, name, defense, method=None, **changes):
    config = {**tiny_config(folder), **changes, "defense": defense}
    if method is not None:
        config["method"] = {**method, "aggregation": "uniform"}
    path = write_config(folder / f"{name}.yaml", config)
    return called("run", path, "--out", folder / name)


def lines(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("kind", "keep", "numbers", "sent"),
    [("rows", 1, 64, 32), ("flat", 20, 64, 20)],
)
def test_a_run_sends_so_many_bytes_less(tmp_path, kind, keep, numbers, sent):
    compression = {"kind": kind, "keep": keep}
    assert run(tmp_path, "plain", {"kind": "none"}).code == 0
    done = run(tmp_path, "squeezed", {"kind": "none", "compression": compression})
    assert done.code == 0, done
    before, after = lines(tmp_path / "plain"), lines(tmp_path / "squeezed")
    # Three clients, two bytes a number: the vector's round is shorter and no other.
    assert before[0]["up"]["payload"] == 3 * 2 * numbers
    assert after[0]["up"]["payload"] == 3 * 2 * sent
    assert before[0]["up"]["wire"] - after[0]["up"]["wire"] == 3 * 2 * (numbers - sent)
    assert [line["up"] for line in before[1:]] == [line["up"] for line in after[1:]]
    assert [line["down"] for line in before] == [line["down"] for line in after]
    said = Report.load(tmp_path / "squeezed" / "report.json").privacy.text
    assert (
        "the random projection of vector (drawn from the configuration's seed and the round's number)" in said
    )
    assert "random projection" not in Report.load(tmp_path / "plain" / "report.json").privacy.text
    assert list(ServerView.open(tmp_path / "squeezed" / "view").uploads())


def test_attacks_say_that_they_do_not_turn_a_projection_back(tmp_path):
    compression = {"kind": "rows", "keep": 1}
    assert run(tmp_path, "run", {"kind": "none", "compression": compression}).code == 0
    done = called("attack", "labels", tmp_path / "run")
    assert done.code in (0, 2), done
    assert "public projection" in done.out + done.err
    assert "Traceback" not in done.err


def test_masked_private_adapters_are_compressed(tmp_path):
    pytest.importorskip("peft")
    compression = {"kind": "flat", "keep": 40}
    private = {"kind": "masked", "privacy": {**PRIVATE, "trust": "distributed"}}
    assert run(tmp_path, "plain", private, LORA).code == 0
    done = run(tmp_path, "squeezed", {**private, "compression": compression}, LORA)
    assert done.code == 0, done
    before, after = lines(tmp_path / "plain"), lines(tmp_path / "squeezed")
    assert all(b["up"]["wire"] > a["up"]["wire"] for b, a in zip(before, after, strict=True))
    reports = [
        Report.load(tmp_path / name / "report.json").privacy.statement for name in ("plain", "squeezed")
    ]
    # The whole budget is spent either way, and no more than that.
    assert all(15 < each["epsilon"] <= 20 for each in reports)


def test_examples_are_hidden_in_compressed_vectors_too(tmp_path):
    texts = (f"a {word} day number {n}" for n in range(20) for word in ("fine", "dull"))
    (tmp_path / "public.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    public = {"path": "public.jsonl", "texts": 32}
    privacy = {"epsilon": 6, "delta": 1e-3, "max_examples": 32, "public": public}
    method = {**tiny_config(tmp_path)["method"], "aggregation": "count"}
    sizes = {}
    for name, more in (("plain", {}), ("short", {"compression": {"kind": "flat", "keep": 20}})):
        defense = {"kind": "none", "privacy": privacy, **more}
        path = write_config(
            tmp_path / f"{name}.yaml",
            {**tiny_config(tmp_path), "data_root": str(tmp_path), "method": method, "defense": defense},
        )
        done = called("run", path, "--out", tmp_path / name)
        assert done.code == 0, done
        sizes[name] = [line["up"]["payload"] for line in lines(tmp_path / name)]
        statement = Report.load(tmp_path / name / "report.json").privacy.statement
        assert 3 < statement["epsilon"] <= 6 and statement["unit"] == "example"
    # Of three clients' 64 numbers and a count, four bytes each, 20 and a count are left.
    assert (sizes["plain"][0], sizes["short"][0]) == (3 * 4 * 65, 3 * 4 * 21)
    assert sizes["plain"][1:] == sizes["short"][1:]


@pytest.mark.parametrize(
    ("compression", "said"),
    [
        (
            {"kind": "rows", "keep": 3},
            "defense.compression.keep is 3, and array 'vector' has 2 rows\nifedpriv: hint: keep at most 2",
        ),
        (
            {"kind": "flat", "keep": 65},
            "defense.compression.keep is 65, and the upload has 64 numbers\nifedpriv: hint: keep at most 64",
        ),
        (
            {"kind": "flat", "keep": 6, "kinds": ["weights"]},
            "defense.compression.kinds is ['weights'], and clients upload ['vector', 'coefficients', 'scores']",
        ),
        (
            {"kind": "flat", "keep": 0},
            "defense.compression.keep is 0: input should be greater than or equal to 1",
        ),
        ({"kind": "flat", "kinds": ["scores"]}, "defense.compression.kinds.0 is 'scores'"),
        ({"kind": "cut"}, "defense.compression.kind is 'cut'; use one of 'rows', 'flat'"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, compression, said):
    refused = run(tmp_path, "run", {"kind": "none", "compression": compression})
    assert said in refused.refusal()
    assert not (tmp_path / "run").exists()
