"""Audits as a user starts them: of a callable by its name, of a run by its folder, and what can be given wrongly."""

import json

import numpy as np
import pytest
from attacked import attacked_config, private_run
from mechanisms import BUGS, DELTA
from program import called
from tiny import examples, generation_task, task, tiny_backbone, write_config

from attacks._base.attack import Knowledge
from attacks._base.space import read
from attacks._mechanisms.text_canaries import text_canaries
from attacks._program.launch import LEAKS
from attacks._statistics.gaussian import epsilon_of
from attacks._whole_run.document import UNDECIDED
from ifedpriv.icl.prompts import Position

SOUND = ("--epsilon", epsilon_of(1.0, DELTA), "--delta", DELTA, "--sensitivity", 1, "--noise", 1)
QUICK = ("--shape", "4,8", "--trials", 100, "--one-run", 20)


def test_a_named_mechanism_is_audited_and_the_gate_closes(tmp_path):
    said = called("attack", "audit", "--mechanism", "mechanisms:released", *SOUND, *QUICK, "--fail-on-leak")
    assert said.code == 0, said
    assert "CONSISTENT" in said.out
    out = tmp_path / "found.json"
    said = called(
        "attack",
        "audit",
        "--mechanism",
        "mechanisms:halved",
        *SOUND,
        *QUICK,
        "--fail-on-leak",
        "--json",
        "--out",
        out,
    )
    assert said.code == LEAKS, said
    result = json.loads(said.out)
    assert result == json.loads(out.read_text())
    assert result["conclusion"] == "violation"
    assert "less than is declared" in result["why"]


@pytest.mark.parametrize("bug", BUGS)
def test_every_planted_bug_closes_the_gate(bug):
    said = called(
        *("attack", "audit", "--mechanism", f"mechanisms:{bug.replace(' ', '_')}", *SOUND),
        *("--rounds", 2 if bug == "rounds share a seed" else 1, "--shape", "4,8"),
        *("--trials", 20, "--one-run", 0, "--fail-on-leak"),
    )
    assert said.code == LEAKS, said
    assert "VIOLATION" in said.out.splitlines()[0]


def test_too_few_trials_are_inconclusive_and_say_how_many_would_do():
    """Of a sound mechanism whose noise is not declared: what assumes nothing proves less than is declared."""
    said = called(
        *("attack", "audit", "--mechanism", "mechanisms:released", *SOUND[:6], *QUICK, "--fail-on-leak")
    )
    assert said.code == 0, said
    assert said.out.startswith("ifedpriv attack audit: INCONCLUSIVE")
    words = " ".join(said.out.split())
    assert "so few trials prove at most" in words
    assert "a side would do" in words


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """A private run with so large a bound that a few trials cannot test it."""
    made = private_run(tmp_path_factory.mktemp("loose"), epsilon=200.0)
    whole = made.parent / "whole"
    assert called("run", made.parent / "config.yaml", "--out", whole).code == 0
    return whole


def test_a_runs_own_release_is_inconclusive_where_trials_are_few(loose):
    few = ("--trials", 20, "--one-run", 0)
    said = called("attack", "audit", loose, *few, "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert result["conclusion"] == "inconclusive", result["why"]
    (release,) = result["releases"]
    assert release["claim"]["epsilon"] > max(game["bounds"][0]["ceiling"] for game in release["games"])
    assert called("audit", loose, *few, "--pool", 50, "--without", "public-texts").code == UNDECIDED


def test_a_runs_own_release_is_played_with_four_kinds_of_canaries(loose):
    said = called("attack", "audit", loose, "--trials", 20, "--one-run", 0, "--json")
    (release,) = json.loads(said.out)["releases"]
    names = {game["canary"] for game in release["games"]}
    assert {"random direction", "farthest", "random tokens", "ordinary"} <= names


def test_text_canaries_are_what_the_model_makes_of_texts():
    public = examples(30, 5)
    made = text_canaries(tiny_backbone(), task(), Position.LABEL, public, 0)
    known = Knowledge(task(), Position.LABEL)
    assert np.array_equal(made.natural, read(tiny_backbone(), known, public, "").astype(np.float64))
    record = made.crafted["random tokens"]
    assert record.shape == made.natural.shape[1:]
    away = np.linalg.norm((made.natural - made.natural.mean(axis=0)).reshape(30, -1), axis=1)
    assert np.linalg.norm(record - made.natural.mean(axis=0)) > np.median(away)
    other = text_canaries(tiny_backbone(), task(), Position.LABEL, public, 1)
    assert not np.array_equal(record, other.crafted["random tokens"])
    assert text_canaries(tiny_backbone(), generation_task(), Position.LAST, (), 0).natural is None


def test_a_run_without_a_bound_is_not_evaluable(tmp_path):
    config, run = write_config(tmp_path / "config.yaml", attacked_config(tmp_path)), tmp_path / "run"
    assert called("run", config, "--out", run).code == 0
    said = called("attack", "audit", run, "--fail-on-leak")
    assert said.code == 0, said
    assert said.out.strip() == "ifedpriv attack audit: not evaluable, there is no bound to audit"
    report = json.loads((run / "report.json").read_text())
    report["privacy"]["statement"] |= {
        "epsilon": 2.0,
        "delta": 1e-5,
        "unit": "example",
        "neighbouring": "add or remove",
    }
    (run / "report.json").write_text(json.dumps(report))
    assert "no round of the run can be played alone" in called("attack", "audit", run).out
    said = called("attack", "audit", run, "--mechanism", "mechanisms:halved", "--noise", 3, *QUICK, "--json")
    (release,) = json.loads(said.out)["releases"]
    claim = release["claim"]
    assert (claim["epsilon"], claim["noise"], claim["sensitivity"]) == (2.0, 3.0, None)


def test_what_can_be_given_wrongly():
    def refusal(*words):
        return called("attack", "audit", *words).refusal()

    assert called("attack", "audit").out.strip().endswith("there is no bound to audit")
    assert "--delta is missing" in refusal("--epsilon", 1)
    assert "there is no mechanism to audit" in refusal(*SOUND)
    assert "write it as module:name" in refusal(*SOUND, "--mechanism", "mechanisms")
    assert "cannot be imported" in refusal(*SOUND, "--mechanism", "mechanisms:nothing")
    assert "is no callable" in refusal(*SOUND, "--mechanism", "mechanisms:BUGS")
    assert "write whole numbers" in refusal(*SOUND, "--mechanism", "mechanisms:released", "--shape", "4x8")
    assert "hold a 0" in refusal(*SOUND, "--mechanism", "mechanisms:released", "--clients", 0)
    assert "trials is 3" in refusal(*SOUND, "--mechanism", "mechanisms:released", "--trials", 3)
    assert "one_run is 3" in refusal(*SOUND, "--mechanism", "mechanisms:released", "--one-run", 3)
    assert "alpha is 0.7" in refusal(*SOUND, "--mechanism", "mechanisms:released", "--alpha", 0.7)
    assert "claim.delta is 2.0" in refusal("--epsilon", 1, "--delta", 2)
    # Two arrays in, one name out: what a mechanism raises is told, without a traceback.
    assert "failed on records of shape" in refusal(*SOUND, "--mechanism", "mechanisms:base")
