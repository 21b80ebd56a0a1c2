"""Whole runs of the program under every defense: the clear run's result, whatever drops out, killed or not."""

import json

import pytest
from killed_run import kill_run
from program import called
from runs import found
from tiny import tiny_config, write_config

from defenses.view import Direction, ServerView

FINE = {"vector": "fp32", "coefficients": "fp32", "scores": "fp32"}
PROTECTED = [{"kind": "masked"}, {"kind": "masked", "ratchet": True}, {"kind": "bfv"}, {"kind": "ckks"}]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    config = {**tiny_config(folder), "partition": {"kind": "iid", "clients": 5}, "seed": 3}
    write_config(folder / "config.yaml", config)
    return folder


def run(world, out, defense, **more):
    sets = [
        part
        for name, value in {"defense": {"wire": FINE, **defense}, **more}.items()
        for part in ("--set", f"{name}={json.dumps(value)}")
    ]
    done = called("run", world / "config.yaml", *sets, "--out", out)
    assert done.code == 0, done
    return done, json.loads((out / "report.json").read_text("utf-8"))


@pytest.mark.parametrize("defense", PROTECTED, ids=lambda d: " ".join(map(str, d.values())))
def test_a_protected_run_ends_as_the_clear_one(world, tmp_path, defense):
    """The grid is fine enough here that no answer changes; the loss is equal to what the grid rounds off."""
    _, clear = run(world, tmp_path / "clear", {"kind": "none"})
    done, protected = run(world, tmp_path / "protected", defense)
    for one, other in zip(clear["rows"], protected["rows"], strict=True):
        for metric, figure in one["figures"].items():
            assert figure["value"] == pytest.approx(other["figures"][metric]["value"], abs=0.05)
    for one, other in zip(clear["rounds"], protected["rounds"], strict=True):
        assert one["took_part"] == other["took_part"]
        assert (one["loss"] is None) == (other["loss"] is None)
        if one["loss"] is not None:
            assert one["loss"] == pytest.approx(other["loss"], abs=2e-3)
    assert "No mechanism protects the uploads" not in " ".join(done.out.split())


@pytest.mark.parametrize("seed", range(4))
def test_clients_that_fail_anywhere_in_a_masked_round_are_told_apart(world, tmp_path, seed):
    """One that fails after its input is in the sum, and the report says so."""
    cohort = {"failure_rate": 0.3, "failure_point": "any"}
    done = called(
        "run",
        world / "config.yaml",
        *(
            "--set",
            "defense={kind: masked}",
            "--set",
            f"cohort={json.dumps(cohort)}",
            "--set",
            f"seed={seed}",
        ),
        *("--set", "partition.clients=6", "--out", tmp_path / "run"),
    )
    if done.code == 2:
        assert "round 0 gave no sum" in done.refusal()
        return
    assert done.code == 0, done
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text("utf-8").splitlines()]
    late = sum(len(set(line["dropped"]) & set(line["took_part"])) for line in lines)
    assert any("failed after their upload was in" in w for w in report["warnings"]) is (late > 0)
    assert any("gave no aggregate" in w for w in report["warnings"]) is any(
        not line["took_part"] for line in lines
    )


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_masked_run_killed_and_gone_on_with_ends_alike(world, tmp_path, share):
    sets = ("--set", "defense={kind: masked}")
    assert called("run", world / "config.yaml", *sets, "--out", tmp_path / "whole").code == 0
    kill_run(round(share * 25), "run", world / "config.yaml", *sets, "--out", tmp_path / "run")
    assert called("run", "--resume", tmp_path / "run").code == 0
    assert found(tmp_path / "run") == found(tmp_path / "whole")
    # Whose uploads are in each sum is whole, too: a line for every sum, in the order of the sums.
    view = ServerView.open(tmp_path / "run" / "view")
    summed = [record.round for record in view.frames() if record.direction is Direction.COMPUTED]
    assert summed and [entry.round for entry in view.facts.sums] == summed
