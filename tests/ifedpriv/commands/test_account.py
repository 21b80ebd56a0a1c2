"""`ifedpriv account`: what it prints, that its numbers hold, and that every mistake is one sentence."""

import json
import re

import pytest
from documents import blocks
from program import ROOT, called

from defenses.accounting import Composition, mechanism_from_json

GAUSSIAN = "gaussian:sensitivity=1"
SAMPLED = "sampled-gaussian:rate=0.01,steps=80"


def account(*arguments):
    return called("account", *arguments)


def recomposed(document):
    releases = [dict(release) for release in document["releases"]]
    counts = [release.pop("count") for release in releases]
    parts = zip(map(mechanism_from_json, releases), counts, strict=True)
    return Composition.of(parts).epsilon(document["delta"])[0]


def test_noise_from_a_budget():
    done = account("--epsilon", 1, "--delta", 1e-5, "--release", GAUSSIAN)
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    assert "Plan for one example (add or remove)" in text
    assert "noise=3.73064" in text
    assert "epsilon 0.999998 at delta 1e-05, by exact (Gaussian)" in text
    assert "0.238 % at 0.1 % false alarms, 1.98 % at 1 % false alarms" in text
    assert "Balle and Wang 2018" in text
    assert max(map(len, done.out.splitlines())) <= 110


def test_a_plan_of_two_releases_in_one_line_with_either_mark():
    """The worked example of the documentation: its output is what this prints."""
    arguments = ("--epsilon", 1, "--delta", 1e-5, "--release", GAUSSIAN, "--release", f"{SAMPLED}:share=0.2")
    done = account(*arguments)
    assert done.code == 0
    (shown,) = blocks((ROOT / "docs" / "accounting.md").read_text(encoding="utf-8"), "text")
    number = re.compile(r"\d+(?:\.\d+)?(?:e-\d+)?")
    assert re.sub(r"[\s-]+", " ", number.sub("#", done.out)) == re.sub(r"[\s-]+", " ", number.sub("#", shown))
    # The last digits may differ with another version of the Fourier transform.
    printed = [float(found) for found in number.findall(done.out)]
    assert printed == pytest.approx([float(found) for found in number.findall(shown)], rel=5e-3)
    document = json.loads(account(*arguments, "--json").out)
    assert 0.999 <= document["epsilon"] <= 1
    assert recomposed(document) == document["epsilon"]
    assert [release["mechanism"] for release in document["releases"]] == ["gaussian", "sampled-gaussian"]
    assert set(document["attacker"]["true_positives"]) == {"0.001", "0.01", "0.1"}


def test_epsilon_from_noise_for_clients_under_replace():
    release = "distributed-discrete-gaussian:sensitivity=180,dimension=1280,shares=16,noise_share=250,count=2"
    arguments = ("--delta", 1e-6, "--unit", "client", "--neighbouring", "replace", "--release", release)
    document = json.loads(account(*arguments, "--json").out)
    assert (document["unit"], document["neighbouring"]) == ("client", "replace")
    assert recomposed(document) == document["epsilon"]
    assert "so many clients add their share" in " ".join(account(*arguments).out.split())


@pytest.mark.parametrize("write", [json.dumps, str])
def test_a_plan_in_a_file_and_the_command_line_over_it(tmp_path, write):
    path = tmp_path / "plan.yaml"
    releases = [{"mechanism": "gaussian", "sensitivity": 1.0, "count": 2}]
    path.write_text(write({"delta": 1e-5, "epsilon": 2.0, "unit": "client", "releases": releases}))
    document = json.loads(account("--plan", path, "--json").out)
    assert document["unit"] == "client"
    assert document["epsilon"] == pytest.approx(2, abs=1e-4)
    other = json.loads(account("--plan", path, "--epsilon", 1, "--json").out)
    assert other["epsilon"] == pytest.approx(1, abs=1e-4)


def test_given_noise_within_and_beyond_a_budget():
    arguments = ("--delta", 1e-5, "--release", f"{GAUSSIAN},noise=4")
    assert account(*arguments, "--epsilon", 1).code == 0
    assert (
        "the plan costs epsilon 1.99309"
        in account("--delta", 1e-5, "--release", f"{GAUSSIAN},noise=2", "--epsilon", 1).refusal()
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "there is no release to account for"),
        (["--release", GAUSSIAN, "--epsilon", 1], "the plan lacks 'delta'"),
        (["--release", GAUSSIAN, "--delta", 1e-5], "names no epsilon"),
        (["--release", GAUSSIAN, "--delta", 1e-5, "--epsilon", 0], "epsilon is 0"),
        (["--release", GAUSSIAN, "--delta", 1e-5, "--epsilon", "nan"], "epsilon is nan"),
        (["--release", GAUSSIAN, "--delta", 2, "--epsilon", 1], "delta is 2"),
        (["--release", GAUSSIAN, "--delta", 1e-3, "--epsilon", 1, "--population", 5000], "above 1/5000"),
        (["--release", "laplace:sensitivity=1", "--delta", 1e-5, "--epsilon", 1], "'laplace' is unknown"),
        (["--release", "gaussian", "--delta", 1e-5, "--epsilon", 1], "lacks 'sensitivity'"),
        (["--release", "gaussian:sensitivity", "--delta", 1e-5], "name:key=value"),
        (["--release", "gaussian:sensitivity=1,sensitivity=2", "--delta", 1e-5], "each key once"),
        (["--release", "gaussian:sensitivity=one", "--delta", 1e-5], "sensitivity at 'one'"),
        (["--release", "gaussian:sensitivity=0", "--delta", 1e-5, "--epsilon", 1], "sensitivity is 0"),
        (["--release", "gaussian:sensitivity=1,noise=0", "--delta", 1e-5], "noise is 0"),
        (["--release", f"{SAMPLED},noise=1", "--delta", 1e-5], "no parameter 'noise'"),
        (
            ["--release", SAMPLED, "--delta", 1e-5, "--epsilon", 1, "--neighbouring", "replace"],
            "add or remove only",
        ),
        (["--plan", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["--plan", "x.yaml", "--release", GAUSSIAN], "--plan is given with --release"),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence):
    assert sentence in account(*arguments).refusal()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no plan"),
        (b"- 1", "holds no plan"),
        (b"1: 2", "holds no plan"),
        (b"a: [", "is no YAML"),
        (b"\xff\xff", "is not UTF-8"),
        (b"releases: [1]\ndelta: 1e-5", "is no mapping"),
        (b"releases: []\ndelta: 1e-5", "has no releases"),
        (b"releases: []\ndelta: yes", "delta is 'yes'"),
        (b"releases: [{mechanism: gaussian, sensitivity: 1}]\ndelta: 1e-5\nsigma: 1", "no field 'sigma'"),
        (b"releases: [{mechanism: [], sensitivity: 1}]\ndelta: 1e-5", "is unknown"),
    ],
)
def test_files_that_hold_no_plan(tmp_path, content, sentence):
    path = tmp_path / "plan.yaml"
    path.write_bytes(content)
    assert sentence in account("--plan", path).refusal()
