"""Attacks as a user starts them: tables, JSON, exit codes, and one sentence for every mistake."""

import json
import shutil
import subprocess
import sys

import pytest
from attacked import attacked_config, attacked_run
from program import ROOT, called, environment
from tiny import save_checkpoint, write_config

import attacks
from attacks import ATTACKS
from attacks._program.launch import LEAKS, check_home
from attacks._texts import trained
from attacks._texts.decoder import Effort
from ifedpriv.errors import UserError

POOL = ("--pool", "150")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def spoilt(run, tmp_path):
    return shutil.copytree(run, tmp_path / "spoilt")


def test_labels_leak_and_the_gate_closes(run):
    said = called("attack", "labels", run, "--fail-on-leak")
    assert said.code == LEAKS, said
    assert "total variation" in said.out
    assert "WORKS" in said.out or "SEVERE" in said.out
    assert "uniform" in said.out
    assert said.err == ""
    assert called("attack", "labels", run).code == 0


def test_json_has_controls_and_hides_texts(run, tmp_path):
    said = called("attack", "invert", run, *POOL, "--json", "--out", tmp_path / "a" / "found.json")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert json.loads((tmp_path / "a" / "found.json").read_text()) == result
    by_name = {(f["method"], f["scope"], f["metric"]): f for f in result["findings"]}
    recall = by_name["corpus", "single uploads", "corpus recall"]
    assert recall["vectors"] == 6
    assert recall["verdict"] == "not evaluable"
    assert "candidates, and a claim needs 1000" in recall["why"]
    assert {"prior only", "random vector", "another client's vector"} <= set(recall["controls"])
    assert "lovely" not in said.out
    assert "good" not in json.dumps(result["guesses"])
    revealed = json.loads(called("attack", "invert", run, *POOL, "--json", "--reveal").out)
    texts = [
        t for g in revealed["guesses"] if g["method"] == "corpus" for a in g["answers"] for t in a["texts"]
    ]
    assert any("good" in text or "bad" in text or "one" in text for text in texts)


def test_equal_words_have_equal_hashes_within_a_report_only(run):
    first, second = (json.loads(called("attack", "invert", run, *POOL, "--json").out) for _ in range(2))
    words = [
        [a["words"] for g in r["guesses"] if g["method"] == "unmix" for a in g["answers"]]
        for r in (first, second)
    ]
    assert {len(word) for words_ in words[0] for word in words_} == {12}
    assert not set(words[0][0]) & set(words[1][0])


def test_a_script_is_the_same_program(run):
    done = subprocess.run(
        [sys.executable, "attacks/labels.py", str(run)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == called("attack", "labels", run).out


def test_a_checkouts_script_does_not_run_another_installation(tmp_path):
    (tmp_path / "labels.py").write_text((ROOT / "attacks" / "labels.py").read_text())
    done = subprocess.run(
        [sys.executable, str(tmp_path / "labels.py")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "was started, and the attack that is installed is" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_strangers_package_is_refused(monkeypatch, tmp_path):
    check_home()
    monkeypatch.setattr(attacks, "__file__", str(tmp_path / "attacks" / "__init__.py"))
    with pytest.raises(UserError, match="the package attacks was found in"):
        check_home()


def test_naming_attacks_imports_none():
    code = "import sys, attacks; sys.exit(bool({m for m in sys.modules if m.startswith('attacks.')}))"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=False).returncode == 0
    )
    assert set(ATTACKS.values()) == {f"attacks.{name}" for name in ATTACKS}


# ---- what can be given wrongly


def test_no_such_folder(tmp_path):
    assert "holds no frames.bin" in called("attack", "labels", tmp_path).refusal()


def test_a_run_without_a_recording(spoilt):
    shutil.rmtree(spoilt / "view")
    assert "has no recording" in called("attack", "labels", spoilt).refusal()


def test_another_model(spoilt, tmp_path):
    text = (spoilt / "config.yaml").read_text()
    other = save_checkpoint(tmp_path / "other", seed=9)
    old = next(line for line in text.splitlines() if "path:" in line and "model" in line)
    (spoilt / "config.yaml").write_text(text.replace(old, f"  path: {other}"))
    assert "was recorded with model" in called("attack", "labels", spoilt).refusal()


def test_another_template(spoilt):
    facts = json.loads((spoilt / "view" / "view.json").read_text())
    (spoilt / "view" / "view.json").write_text(json.dumps({**facts, "task": "0" * 64}))
    assert "another template" in called("attack", "labels", spoilt).refusal()


def test_another_version(spoilt):
    facts = json.loads((spoilt / "view" / "view.json").read_text())
    (spoilt / "view" / "view.json").write_text(json.dumps({**facts, "schema": 99}))
    assert "view has schema 99" in called("attack", "labels", spoilt).refusal()


@pytest.mark.parametrize("name", ["labels", "layers", "diff"])
def test_a_truncated_recording_is_what_is_left_of_it_and_says_so(spoilt, tmp_path, name):
    """As after a server's crash, so it is read; and nobody takes it for the whole."""
    out = tmp_path / "found.json"
    more = ("--measure", "labels") if name == "layers" else ()
    frames = spoilt / "view" / "frames.bin"
    assert "NOTE" not in called("attack", name, spoilt, *POOL, *more).out
    frames.write_bytes(frames.read_bytes()[: 8 + 3 * 200])
    said = called("attack", name, spoilt, *POOL, *more, "--out", out)
    assert said.code == 0, said
    assert "NOTE: the recording ends early, within a record, and lacks 3 of 6 uploads of round 0" in " ".join(
        said.out.split()
    )
    found = json.loads(out.read_text())
    places = {"layers": found, "diff": (found.get("recordings") or [{}])[0]}
    assert "lacks 3 of 6 uploads" in places.get(name, found.get("view", {}))["lacks"]


def test_a_damaged_recording(spoilt):
    frames = spoilt / "view" / "frames.bin"
    data = bytearray(frames.read_bytes())
    data[100] ^= 1
    frames.write_bytes(data)
    said = called("attack", "labels", spoilt)
    assert said.code != 0
    assert "frames.bin is damaged" in said.err
    assert "Traceback" not in said.err


def test_other_texts_than_the_recordings(run, spoilt):
    text = (spoilt / "config.yaml").read_text()
    assert "\nseed: 0\n" in text
    (spoilt / "config.yaml").write_text(text.replace("\nseed: 0\n", "\nseed: 1\n"))
    assert (
        "is not that of the texts that the configuration gives it"
        in called("attack", "labels", spoilt).refusal()
    )


def test_a_pool_without_a_member(run, tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"text": "nobody wrote this", "label": "A"}\n')
    assert "holds no text of any client" in called("attack", "invert", run, "--pool-file", pool).refusal()
    pool.write_text('{"text": "nobody wrote this", "label": "C"}\n')
    assert "which is no label word" in called("attack", "invert", run, "--pool-file", pool).refusal()
    assert "does not exist" in called("attack", "invert", run, "--pool-file", tmp_path / "none").refusal()


def test_a_senseless_pool(run):
    assert "--pool is 1" in called("attack", "invert", run, "--pool", "1").refusal()
    assert "--covered is 0" in called("attack", "invert", run, "--covered", "0").refusal()


def test_methods_are_named_or_refused(run):
    said = called("attack", "invert", run, *POOL, "--methods", "unmix", "--json")
    assert {finding["method"] for finding in json.loads(said.out)["findings"]} == {"unmix"}
    assert "--methods names 'guess'" in called("attack", "invert", run, "--methods", "guess").refusal()
    assert "it has no choice of methods" in called("attack", "labels", run, "--methods", "unmix").refusal()


def test_whole_texts_are_looked_for_behind_few_examples_only(run):
    result = json.loads(called("attack", "invert", run, *POOL, "--methods", "search,soft", "--json").out)
    single = [f for f in result["findings"] if f["scope"] == "single uploads"]
    assert {f["method"] for f in single} == {"search", "soft"}
    assert {f["verdict"] for f in single} == {"not evaluable"}
    assert all("texts are looked for behind 4 at most" in f["why"] for f in single)
    assert {guess["forwards"] for guess in result["guesses"]} == {0}


def test_an_inverter_is_trained_once_where_a_folder_is_given(tmp_path, monkeypatch):
    effort = Effort(recombined=1, steps=4, batch=8, every=2, width=16, layers=1)
    for name, value in {
        "EFFORT": effort,
        "_INVERTERS": {},
        "_PAIRS": {},
        "_SAMPLES": 4,
        "_SWEEPS": 1,
    }.items():
        monkeypatch.setattr(trained, name, value)
    few = attacked_run(tmp_path / "few", partition={"kind": "iid", "clients": 6, "examples_per_client": 2})
    command = ("attack", "invert", few, *POOL, "--methods", "trained", "--inverters", tmp_path / "kept")
    first = json.loads(called(*command, "--json").out)
    f1 = next(f for f in first["findings"] if (f["metric"], f["scope"]) == ("token F1", "single uploads"))
    controls = {"prior only", "random vector", "another client's vector", "nearest public texts"}
    assert controls <= set(f1["controls"])
    assert f1["verdict"] is not None
    assert {"exact match", "BLEU-4", "ROUGE-L", "edit similarity", "cosine, re-encoded"} <= {
        f["metric"] for f in first["findings"]
    }
    singles = first["guesses"][0]
    assert singles["facts"]["held-out loss"] > 0
    assert singles["forwards"] > 6
    assert len(list((tmp_path / "kept").iterdir())) >= 1
    monkeypatch.setattr(trained, "_INVERTERS", {})
    monkeypatch.setattr(trained, "train", None)
    said = called(*command)
    assert said.code == 0, said
    assert "trained, single uploads: held-out loss" in said.out
    spoilt = next((tmp_path / "kept").iterdir())
    spoilt.write_bytes(b"no tensors")
    monkeypatch.setattr(trained, "_INVERTERS", {})
    assert "the inverter" in called(*command).refusal()


@pytest.mark.slow
def test_without_a_run_an_open_one_and_a_defended_one_are_attacked(tmp_path):
    said = called("attack", "labels", "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    defended = result["defended"]
    assert result["view"]["defense"]["privacy"] is None
    assert defended["view"]["defense"]["privacy"]["epsilon"] == 1

    def variation(document):
        return next(
            f["value"]
            for f in document["findings"]
            if (f["scope"], f["metric"]) == ("single uploads", "total variation")
        )

    assert variation(defended) > 2 * variation(result)
    assert defended["knowledge"]["declared"]["single uploads"]["noise"] > 0


def test_a_bare_recording(run, tmp_path):
    bare = shutil.copytree(run / "view", tmp_path / "bare")
    assert "the one that ships with the package" in called("attack", "labels", bare).refusal()
    config = write_config(tmp_path / "config.yaml", attacked_config(tmp_path))
    said = called("attack", "labels", bare, "--config", config)
    assert said.code == 0, said
    assert "guessed and not scored" in " ".join(said.out.split())
    listed = json.loads(called("attack", "labels", bare, "--config", config, "--json").out)
    assert listed["scored"] is False
    assert len(listed["guesses"][0]["answers"]) == 6
    assert sum(listed["guesses"][0]["answers"][0]["shares"]) == pytest.approx(1)


# ---- what a defense leaves


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("masked"), defense={"kind": "masked"})


# The other two have tests of their own: one reads later rounds, the other no upload at all.
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"coefficients", "deployed"}))
def test_under_masks_only_the_sum_is_attacked(masked, name):
    said = called("attack", name, masked, *POOL, "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    singles = [f for f in result["findings"] if f["scope"] == "single uploads"]
    assert singles
    assert {(f["verdict"], f["why"]) for f in singles} == {
        ("not evaluable", "the view holds only sums over 6 clients")
    }
    whole = [f for f in result["findings"] if f["scope"] == "the aggregate"]
    assert all(f["vectors"] == 1 for f in whole if f["metric"])
    assert any(f["controls"] for f in whole)
