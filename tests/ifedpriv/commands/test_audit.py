"""`ifedpriv audit` as a user starts it: three files, exit codes, resuming, and one sentence for every mistake."""

import json
import shutil

import pytest
from attacked import attacked_config, attacked_run, private_run
from program import called
from tiny import save_checkpoint, write_config

import attacks.labels
import attacks.membership
from attacks import ATTACKS
from ifedpriv.report import canvas

SMALL = ("--pool", "150", "--trials", "60", "--one-run", "0")
FILES = ("audit_report.json", "audit_report.md", "audit_report.html")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def done(run):
    said = called("audit", run, *SMALL)
    assert said.code == 0, said
    return said


@pytest.fixture
def spoilt(run, tmp_path):
    return shutil.copytree(run, tmp_path / "spoilt", ignore=shutil.ignore_patterns("audit_*"))


def report(folder):
    return json.loads((folder / "audit_report.json").read_text("utf-8"))


def test_everything_is_tried_and_the_verdict_comes_first(run, done):
    assert done.err == ""
    document = report(run)
    assert document["schema_version"] == 1
    tested = {(test["attack"], test["scope"]) for test in document["tests"]}
    scopes = ("single uploads", "the aggregate")
    # Whoever only uses the injection has one thing to look at.
    expected = {(name, scope) for name in ATTACKS for scope in scopes} - {("deployed", scopes[0])}
    others = {("server", "the protocol"), ("layers", scopes[0]), ("diff", "sums of vectors")}
    assert tested == expected | others
    methods = {test["method"] for test in document["tests"]}
    assert {
        "unmix",
        "probe",
        "corpus",
        "class means",
        "likelihood ratio",
        "all others known",
        "search",
        "trained",
        "rosters",
    } <= methods
    first, second, *_ = [line for line in done.out.splitlines() if line]
    assert (
        first
        == f"ifedpriv audit tiny: attacks: {document['verdict']['attacks'].upper()}; bound: NONE DECLARED"
    )
    assert second.startswith("Attacks on the recording: ")
    assert document["verdict"]["attacks"] in ("works", "severe")
    assert document["bound"]["why"] == "there is no bound to audit"
    assert max(map(len, done.out.splitlines()[:-1])) <= 98


def test_every_number_stands_beside_its_controls(run, done):
    for test in report(run)["tests"]:
        assert test["findings"] or test["why"]
        for finding in test["findings"]:
            assert finding["controls"] or finding["value"] is None or finding["verdict"] is None, finding
            assert len(finding["by_vector"]) == finding["vectors"]


def test_texts_are_hashes_unless_they_are_asked_for(run, done, tmp_path):
    texts = [
        json.loads(line)["text"] for line in (run.parent / "data" / "train.jsonl").read_text().splitlines()
    ]
    for name in FILES:
        shown = (run / name).read_text("utf-8")
        assert not [text for text in texts if text in shown], name
    hashes = {text for vector in report(run)["vectors"] for text in vector["texts"]}
    assert len(hashes) > 50 and {len(each) for each in hashes} == {12}
    said = called("audit", run, *SMALL, "--reveal", "--out", tmp_path)
    assert said.code == 0, said
    for name in FILES:
        shown = (tmp_path / name).read_text("utf-8")
        assert any(text.replace(".", r"\.") in shown or text in shown for text in texts), name


def test_the_same_again_to_the_digit_piece_by_piece(run, done, tmp_path, monkeypatch):
    """An audit that is interrupted, and gone on with, is the one that was not."""
    real = attacks.membership.guess

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(attacks.membership, "guess", interrupted)
    assert called("audit", run, *SMALL, "--out", tmp_path).code == 130
    kept = {path.stem for path in (tmp_path / "audit_pieces").iterdir()}
    assert kept == {"subject", "attributes", "coefficients", "deployed", "invert", "labels"}
    assert not (tmp_path / "audit_report.json").exists()
    monkeypatch.setattr(attacks.membership, "guess", real)
    monkeypatch.setattr(attacks.labels, "guess", interrupted)
    assert called("audit", run, *SMALL, "--out", tmp_path).code == 0
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes(), name


def test_the_gate_closes(run, done):
    """From kept pieces: no attack is run again for another gate."""
    assert called("audit", run, *SMALL, "--fail-above", "works").code == 3
    said = called("audit", run, *SMALL, "--json")
    assert said.code == 0
    assert json.loads(said.out) == report(run)


def test_help_tells_the_exit_codes():
    said = called("audit", "--help").out
    assert "exit codes:" in said
    for line in ("3   with --fail-above", "4   the declared bound is violated", "5   the audit cannot say"):
        assert line in said


# ---- a bound


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    return private_run(tmp_path_factory.mktemp("private"))


def test_a_declared_bound_is_accounted_and_audited(private, pictures, monkeypatch):
    # The curve of what is allowed is looked at.
    monkeypatch.setattr(canvas, "_rendered", pictures)
    said = called("audit", private, *SMALL)
    document = report(private)
    bound = document["bound"]
    assert (said.code, bound["conclusion"]) == (0, "consistent"), said
    assert bound["accounted"]["epsilon"] <= bound["declared"]["epsilon"] == 4.0
    (release,) = bound["audited"]["releases"]
    assert (release["release"], release["rounds"]) == ("vector", 1)
    assert 0 < release["lower_bound"] <= release["claim"]["epsilon"]
    assert "the declared bound: CONSISTENT" in said.out
    singles = [t for t in document["tests"] if t["scope"] == "single uploads" and t["attack"] == "membership"]
    # Of texts that the shipped writer has not written, no paraphrase is known.
    assert all(test["findings"] for test in singles if test["method"] != "paraphrases")
    assert "allowed, ε = 4" in (private / "audit_report.html").read_text("utf-8")


def test_a_bound_below_what_was_spent_is_a_violation(private, tmp_path):
    spoilt = shutil.copytree(private, tmp_path / "spoilt", ignore=shutil.ignore_patterns("audit_*"))
    config, view = spoilt / "config.yaml", spoilt / "view" / "view.json"
    assert "epsilon: 4.0" in config.read_text()
    config.write_text(config.read_text().replace("epsilon: 4.0", "epsilon: 1.0"))
    view.write_text(view.read_text().replace('"epsilon": 4.0', '"epsilon": 1.0'))
    said = called("audit", spoilt, *SMALL, "--without", "pool", "--without", "public-texts")
    assert said.code == 4, said
    assert "VIOLATION" in said.out
    assert "1 is declared, and the releases in the ledger come to" in " ".join(said.out.split())


# ---- what can be given wrongly


def test_a_recording_that_ends_early_is_audited_and_the_report_says_so(run, done, spoilt):
    assert report(run)["lacks"] == "" and "NOTE" not in done.out
    frames = spoilt / "view" / "frames.bin"
    frames.write_bytes(frames.read_bytes()[: frames.stat().st_size // 3])
    said = called("audit", spoilt, *SMALL, "--without", "pool", "--without", "public-texts")
    assert said.code == 0, said
    assert "ends early, within a record, and lacks" in report(spoilt)["lacks"]
    for shown in (said.out, *((spoilt / name).read_text("utf-8") for name in FILES[1:])):
        plain = " ".join(shown.replace("\\", "").split())
        assert "NOTE: the recording ends early, within a record, and lacks" in plain


def test_a_bare_recording_needs_a_folder_and_is_scored_with_its_configuration(run, tmp_path):
    bare = shutil.copytree(run / "view", tmp_path / "bare")
    assert "no folder for the report" in called("audit", bare).refusal()
    config = write_config(tmp_path / "config.yaml", attacked_config(tmp_path))
    out = tmp_path / "out"
    said = called("audit", bare, "--config", config, "--out", out, *SMALL, "--without", "pool")
    assert said.code == 0, said
    assert sorted(path.name for path in bare.iterdir()) == ["frames.bin", "view.json"]
    document = report(out)
    assert document["scored"] is True
    told = {(test["attack"], test["method"]): test for test in document["tests"]}
    assert told["membership", "cosine"]["why"] == "the attacker has no pool of candidates"


def test_what_is_no_run(tmp_path):
    assert "is no folder" in called("audit", tmp_path / "none").refusal()
    assert "neither a run nor a recording" in called("audit", tmp_path).refusal()


def test_a_run_without_a_recording(spoilt):
    shutil.rmtree(spoilt / "view")
    assert "has no recording" in called("audit", spoilt).refusal()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--pool", "1", "--pool is 1"),
        ("--covered", "0", "--covered is 0"),
        ("--trials", "5", "--trials is 5"),
        ("--one-run", "3", "--one-run is 3"),
        ("--alpha", "1", "--alpha is 1"),
        ("--shadows", "3", "--shadows is 3"),
        ("--seed", "-1", "--seed is -1"),
        ("--public", "nothing.jsonl", "--public nothing.jsonl is no file"),
        ("--inverters", "pyproject.toml", "--inverters pyproject.toml is no folder"),
        ("--config", "pyproject.toml", "has a config.yaml of its own"),
    ],
)
def test_a_senseless_request(run, option, value, said):
    assert said in called("audit", run, option, value).refusal()


def test_another_model(spoilt, tmp_path):
    text = (spoilt / "config.yaml").read_text()
    other = save_checkpoint(tmp_path / "other", seed=9)
    old = next(line for line in text.splitlines() if "path:" in line and "model" in line)
    (spoilt / "config.yaml").write_text(text.replace(old, f"  path: {other}"))
    assert "was recorded with model" in called("audit", spoilt).refusal()


@pytest.mark.parametrize(
    ("file", "spoil", "said"),
    [
        ("view/view.json", lambda _: b"{}", "view.json is not one this program wrote"),
        (
            "view/frames.bin",
            lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
            "frames.bin is damaged",
        ),
        ("checkpoint/state.safetensors", lambda data: data[:50], "cannot be read"),
        ("config.yaml", lambda _: b"name: [", "config.yaml"),
        ("report.json", lambda _: b"{}", "is not a report"),
    ],
)
def test_tampered_files(spoilt, file, spoil, said):
    path = spoilt / file
    path.write_bytes(spoil(path.read_bytes() if path.exists() else b""))
    done = called("audit", spoilt, *SMALL, "--without", "pool", "--without", "public-texts")
    assert done.code in (1, 2), done
    assert said in done.err
    assert "Traceback" not in done.err and done.out == ""
