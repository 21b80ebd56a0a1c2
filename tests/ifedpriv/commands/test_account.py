"""`ifedpriv account`: what it prints, that its numbers hold, and that every mistake is one sentence."""

import json
import math
import re
from fractions import Fraction

import pytest
from documents import blocks
from program import ROOT, called

from defenses.accounting import MECHANISMS, Composition, mechanism_from_json
from defenses.decimals import at_most
from defenses.dp.release import Bounded
from defenses.dp.transform import Transform
from defenses.noise.distributed import NoiseShare, modulus_bits
from defenses.privacy_specs import GridPrivacy
from defenses.units import Trust, Unit
from defenses.upload import UploadKind

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
    assert "0.239 % at 0.1 % false alarms, 1.98 % at 1 % false alarms" in text
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
        "the plan costs epsilon 1.9931"
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


def test_every_mechanism_is_in_the_help_and_in_the_table_of_the_documentation():
    told = re.sub(r"-\s+", "-", " ".join(account("--help").out.split()))
    page = (ROOT / "docs" / "accounting.md").read_text(encoding="utf-8")
    for name, kind in MECHANISMS.items():
        assert re.search(rf"(?<![-\w]){name}(?![-\w])", told), name
        assert f"| `{name}` |" in page
        assert kind.noise_field in told


@pytest.mark.parametrize("value", [0.99941, 1.0, 1e-300, 12.3456789, 7.0000001, 1 / 3, 1e-5, 123456.7])
@pytest.mark.parametrize("digits", [3, 4, 6])
def test_what_is_printed_of_a_bound_is_a_bound(value, digits):
    shown = at_most(value, digits)
    assert float(shown) >= value
    assert Fraction(shown) <= Fraction(value) * (1 + Fraction(10, 10**digits))
    assert at_most(math.inf, 3) == "inf"


@pytest.mark.parametrize("noise", [0.7, 1.1, 1.9, 3.1, 5.3, 29.0, 977.0])
def test_no_printed_epsilon_is_below_the_bound(noise):
    arguments = ("--delta", 1e-5, "--release", f"{GAUSSIAN},noise={noise}")
    text = " ".join(account(*arguments).out.split())
    document = json.loads(account(*arguments, "--json").out)
    (shown,) = re.findall(r"Together: epsilon (\S+) at", text)
    (alone,) = re.findall(rf"noise={noise:g} (\S+) Together", text)
    assert document["epsilon"] <= float(shown) <= float(alone) <= document["epsilon"] * 1.001
    reached = [float(share) for share in re.findall(r"([\d.]+) % at", text)]
    best = document["attacker"]["true_positives"].values()
    assert all(100 * true <= told for true, told in zip(best, reached, strict=True))


def test_a_budget_of_nearly_nothing_is_kept_and_not_rounded_to_it():
    """δ(0) ≤ δ is (0, δ)-differential privacy, in all digits: that is said, and less is not asked for."""
    done = account("--epsilon", 1e-300, "--delta", 1e-5, "--release", GAUSSIAN)
    text = " ".join(done.out.split())
    assert "epsilon 0 at delta 1e-05, by exact (Gaussian). That is no rounding" in text
    noise = float(re.search(r"noise=(\S+)", text)[1])
    assert math.erf(1 / noise / 2 / math.sqrt(2)) <= 1e-5
    small = account("--delta", 1e-5, "--release", f"{GAUSSIAN},noise=39892.3").out
    assert re.search(r"epsilon 9\.\d+e-10 at", small) and "no rounding" not in small


# ---- bits on the wire

SHARED = "distributed-discrete-gaussian:sensitivity=180,dimension=1280,shares=16,noise_share=250"


@pytest.mark.parametrize(
    ("release", "needed", "sent"),
    [
        # 20 clients of 2^15 - 1 steps: a sum of 655,340, 20 bits and a sign, sent in words of 32.
        (f"{SHARED},clients=20,bits=16", 21, 32),
        (f"{SHARED},clients=20,bits=14", 19, 32),
        ("skellam:sensitivity_l2=9,sensitivity_l1=9,mu=400,dimension=16,clients=4,bits=12", 14, 16),
    ],
)
def test_bits_where_no_sum_may_wrap(release, needed, sent):
    arguments = ("--delta", 1e-6, "--release", release)
    (wire,) = json.loads(account(*arguments, "--json").out)["wire"]
    numbers = 1281 if "1280" in release else 17
    assert wire == {"bits_per_value": sent, "needed_bits": needed, "bytes_per_upload": numbers * sent // 8}
    text = " ".join(account(*arguments).out.split())
    assert (
        f"{sent} bits a value on the wire under masks (the sum needs {needed}), {wire['bytes_per_upload']:,}"
        in text
    )


def test_bits_with_a_chance_of_a_wrap_are_those_of_the_modulus_and_it_is_charged():
    arguments = ("--delta", 1e-6, "--release", f"{SHARED},clients=20,bits=16,wrap=1e-9", "--json")
    document = json.loads(account(*arguments).out)
    share = NoiseShare("discrete-gaussian", 1000.0, 20, dropouts=4)
    reach = 2**15 - 1 - 12 * 250
    expected = modulus_bits(share, reach, 1280, 1e-9)
    assert document["wire"][0]["bits_per_value"] == document["wire"][0]["needed_bits"] == expected
    assert document["wire"][0]["bytes_per_upload"] == -(-1281 * expected // 8)
    assert document["releases"][0]["delta"] == 1e-9
    plain = json.loads(account("--delta", 1e-6, "--release", SHARED, "--json").out)
    assert plain["wire"] == [None]
    assert plain["epsilon"] < document["epsilon"]


@pytest.mark.parametrize("noise", ["gaussian", "skellam"])
@pytest.mark.parametrize("wrap", [0.0, 1e-9])
def test_bits_are_those_of_a_run(noise, wrap):
    """A release as a run makes it, and its own mechanism given to the calculator."""
    release = Bounded(
        UploadKind.VECTOR,
        Unit.CLIENT,
        Trust.DISTRIBUTED,
        Transform.identity(64),
        1.0,
        multiplier=1.3,
        bits=14,
        honest=lambda roster: roster - 2,
        grid=GridPrivacy(noise=noise),
        wrap=wrap,
    )
    mechanism = release.mechanism(10)
    facts = {**mechanism.parameters, "clients": 10, "bits": 14, "wrap": wrap, "delta": 0.0}
    if noise == "skellam":
        facts |= {"dimension": 64, "shares": 8}
    given = ",".join(f"{key}={value}" for key, value in facts.items() if value is not None)
    arguments = ("--delta", 1e-4, "--release", f"{mechanism.name}:{given}", "--json")
    (wire,) = json.loads(account(*arguments).out)["wire"]
    hard = (10 * release.lattice(10).levels).bit_length() + 1
    assert wire["needed_bits"] == (release.ring(10) or hard)
    assert wire["bits_per_value"] == (release.ring(10) or 32)


@pytest.mark.parametrize(
    ("release", "sentence"),
    [
        (f"{SHARED},clients=20", "lacks 'bits'"),
        (f"{SHARED},clients=10,bits=16", "the noise of 16 is counted on"),
        (f"{SHARED},clients=20,bits=12", "has room for 0 more"),
        (f"{SHARED},clients=20,bits=40", "bits is 40"),
        (f"{SHARED},clients=20,bits=16,wrap=2", "wrap is 2"),
        ("skellam:sensitivity_l2=9,sensitivity_l1=9,mu=400,clients=4,bits=12", "lacks 'dimension'"),
        (f"{GAUSSIAN},clients=20,bits=16", "no parameter 'bits'"),
    ],
)
def test_mistakes_about_the_wire_are_one_sentence(release, sentence):
    assert sentence in account("--delta", 1e-5, "--epsilon", 100, "--release", release).refusal()
