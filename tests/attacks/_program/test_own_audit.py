"""All that a run releases under audit, one kind of upload after the other; a fault in one alone is found and named."""

import json

import pytest
from attacked import attacked_config, private_config, private_run
from program import called
from tiny import write_config

import defenses.dp.release as releasing
from attacks._program.own_audit import FEWEST, NUMBERS, audited, often, together
from attacks._program.released import ONE_ARRAY, NotPlayed, OwnRelease, own_releases
from attacks._whole_run.bound import bound_of
from attacks._whole_run.document import UNDECIDED
from attacks._whole_run.request import Request
from defenses.accounting.composition import Composition
from defenses.dp.release import Bounded
from defenses.upload import UploadKind
from ifedpriv.config import load_config
from ifedpriv.experiment.prepare import prepare

FEW = ("--trials", 50, "--one-run", 0)
LATER = {"kind": "ifed_icl", "aggregation": "count", "calibration": {"rounds": 2, "steps": 1}}
CLIENTS = {"epsilon": 8.0, "delta": 1e-3, "unit": "client", "trust": "distributed", "dropout": 0.1}
METHODS = {
    "prototype_icl": {
        "kind": "prototype_icl",
        "clusters": {"number": 2, "min_members": 2},
        "guard": False,
        "calibration": {"rounds": 1, "steps": 1},
    },
    "ficpd": {
        "kind": "ficpd",
        "clusters": 2,
        "warmup": 1,
        "rounds": 1,
        "min_members": 2,
        "length": 2,
        "tuning": {"steps": 1},
        "meta": {"when": "never"},
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Vectors, coefficients of which a round takes some rows, and scores; the server adds the noise."""
    folder = tmp_path_factory.mktemp("run")
    scored = {"local_icl": False, "local_injection": False, "every_round": False, "validation_fraction": 0.2}
    made = private_config(folder, trust="central", changes={"method": LATER, "evaluation": scored})
    said = called("run", write_config(folder / "config.yaml", made), "--out", folder / "run")
    assert said.code == 0, said
    return folder / "run"


def releases_of(run, *more):
    said = called("attack", "audit", run, *FEW, *more, "--json")
    result = json.loads(said.out)
    return result, {each["release"]: each for each in result["releases"]}


def test_every_kind_of_upload_is_played_by_itself_and_named(run):
    result, releases = releases_of(run)
    assert {name: each["rounds"] for name, each in releases.items()} == {
        "vector": 1,
        "coefficients": 2,
        "scores": 1,
    }
    assert result["conclusion"] == "consistent", result["why"]
    assert "each with chance 0.1" in releases["coefficients"]["note"]
    assert releases["vector"]["note"] == releases["scores"]["note"] == ""
    setup = prepare(load_config(run / "config.yaml"))
    sampled = setup.defense.release(*setup.method.asks(1)).mechanism(4)
    assert releases["coefficients"]["claim"]["epsilon"] > Composition.of([sampled]).epsilon(1e-3)[0]
    shown = called("attack", "audit", run, *FEW).out
    for line in ("vector, its round: CONSISTENT", "coefficients, one of 2 rounds: CONSISTENT", "scores, its"):
        assert line in shown


def less(self, total, roster, entropy):
    terms = self.lattice(roster)
    sigma = terms.noise / (2 if self.kind is UploadKind.COEFFICIENTS else 1)
    noise = releasing.drawn(terms.kind, sigma, total.size, entropy)
    return total + noise.reshape(total.shape)


def exact(self, total, roster, entropy):
    found = REAL(self, total, roster, entropy)
    if self.kind is UploadKind.COEFFICIENTS:
        found[..., -1] = total[..., -1]
    return found


REAL = Bounded.noised


@pytest.mark.parametrize(
    ("fault", "found"), [(less, "less than is declared"), (exact, "nothing released exactly")]
)
def test_a_fault_in_the_release_of_coefficients_alone_is_found_and_named(run, monkeypatch, fault, found):
    monkeypatch.setattr(Bounded, "noised", fault)
    result, releases = releases_of(run)
    assert result["conclusion"] == "violation"
    assert result["why"].startswith("coefficients: ") and found in result["why"]
    assert {name: each["conclusion"] for name, each in releases.items()} == {
        "vector": "consistent",
        "coefficients": "violation",
        "scores": "consistent",
    }
    bound = bound_of(Request(run, trials=20, one_run=0), lambda *_: None)
    assert bound["conclusion"] == "violation" and bound["why"].startswith("coefficients: ")


# ---- noise that cannot be played


def test_steps_of_a_clients_own_are_not_played_and_never_called_consistent(tmp_path):
    coefficients = {"steps": "local"}
    run = private_run(tmp_path, coefficients=coefficients, changes={"method": {**LATER, "guard": False}})
    found = bound_of(Request(run, trials=100, one_run=0), lambda *_: None)
    vector, steps = found["audited"]["releases"]
    assert vector["conclusion"] == "consistent", vector["why"]
    assert (steps["release"], steps["rounds"], steps["conclusion"]) == ("coefficients", 2, "not evaluable")
    assert found["conclusion"] == "not evaluable" and "each client's own steps" in found["why"]
    few = ("--pool", 50, "--without", "pool", "--without", "public-texts")
    said = called("audit", run, *FEW, *few)
    assert said.code == UNDECIDED, said
    for name in ("audit_report.md", "audit_report.html"):
        shown = (run / name).read_text("utf-8").replace("\\", "")
        assert "vector, its round" in shown and "coefficients, one of 2 rounds" in shown
        assert "own steps" in shown


def test_the_worst_release_decides():
    def of(**each):
        return [{"release": name, "conclusion": value, "why": "so"} for name, value in each.items()]

    assert together(of(a="consistent", b="consistent")) == {
        "conclusion": "consistent",
        "why": "a: so; likewise 1 more",
    }
    assert together(of(a="consistent", b="not evaluable"))["conclusion"] == "not evaluable"
    assert together(of(a="not evaluable", b="inconclusive"))["conclusion"] == "inconclusive"
    assert together(of(a="violation", b="inconclusive", c="violation"))["why"] == "a: so; c: so"
    nothing = audited(
        [NotPlayed("a", 1, "so")], trials=20, alpha=0.1, seed=0, one_run=0, progress=lambda *_: None
    )
    assert nothing["conclusion"] == "not evaluable"


def test_long_releases_are_played_less_often():
    assert often(10_000, NUMBERS) == 10_000
    assert often(10_000, 2 * NUMBERS) == 5_000
    assert often(10_000, 10**6) == FEWEST
    assert often(50, 10**6) == 50
    assert often(10**6, 100 * NUMBERS) == 10_000


# ---- methods whose uploads are several arrays


@pytest.fixture(scope="module", params=METHODS)
def clustered(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    lines = [json.dumps({"text": f"a public text, number {i}"}) for i in range(40)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n")
    public = {"path": str(folder / "public.jsonl"), "texts": 32}
    method = METHODS[request.param]
    if request.param == "prototype_icl":
        method = {**method, "clusters": {**method["clusters"], "public": public}}
    made = attacked_config(
        folder,
        partition={"kind": "iid", "clients": 9, "examples_per_client": 4},
        method=method,
        defense={"kind": "masked", "privacy": {**CLIENTS, "public": public}},
        record_view=True,
    )
    said = called("run", write_config(folder / "config.yaml", made), "--out", folder / "run")
    assert said.code == 0, said
    return folder / "run"


def test_runs_of_clusters_are_audited_to_the_end(clustered):
    result, releases = releases_of(clustered)
    setup = prepare(load_config(clustered / "config.yaml"))
    asked = {setup.method.asks(number) for number in range(setup.method.rounds)}
    assert len(releases) == len(asked) and result["conclusion"] == "consistent", result["why"]
    several = [each for each in releases.values() if ONE_ARRAY in {game["canary"] for game in each["games"]}]
    assert several
    assert {each["claim"]["unit"] for each in releases.values()} == {"client"}
    out = clustered.parent / "audited"
    # What the bound's audit concludes stands above; here it only has to be in the report.
    quick = ("--trials", 20, "--one-run", 0, "--pool", 50, "--without", "public-texts")
    said = called("audit", clustered, *quick, "--out", out)
    assert said.code == 0, said
    document = json.loads((out / "audit_report.json").read_text())
    assert {each["release"] for each in document["bound"]["audited"]["releases"]} == set(releases)
    rosters = next(test for test in document["tests"] if test["method"] == "rosters")
    assert rosters["verdict"] == "not evaluable"


def test_all_releases_of_a_run_are_named_apart(clustered):
    setup = prepare(load_config(clustered / "config.yaml"))
    own = own_releases(setup, 1e-3, 3, 8, 0)
    assert len({each.name for each in own}) == len(own)
    assert sum(each.rounds for each in own) == setup.method.rounds
    assert all(isinstance(each, OwnRelease) for each in own)
