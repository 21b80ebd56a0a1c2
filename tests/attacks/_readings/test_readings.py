"""What of a private run is attacked: the same by every program, with the mechanism that made it known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attacked import private_run
from program import called

from attacks import membership
from attacks._base.attack import Scope
from attacks._base.declared import Declared
from attacks._base.targets import read_told
from attacks._judging.judge import score
from attacks._judging.score import Wishes, open_subject
from attacks._readings.read_back import released_sum
from attacks._readings.readings import readings_of, told_of
from attacks._whole_run.pieces import on_recordings
from attacks._whole_run.request import Request
from attacks._whole_run.subject import open_readings
from defenses.upload import UploadKind
from defenses.view import ServerView
from ifedpriv.config import load_config
from ifedpriv.errors import UserError
from ifedpriv.experiment.prepare import prepare

POOL = ("--pool", "150")
FINDING = ("method", "scope", "metric", "value", "interval", "vectors", "controls", "gain", "verdict", "why")


def quiet(*_):
    """A progress that shows nothing."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return private_run(tmp_path_factory.mktemp("private"))


@pytest.fixture(scope="module")
def readings(run, tmp_path_factory):
    return open_readings(Request(run, pool=150), tmp_path_factory.mktemp("made"), quiet)


def told(said):
    assert said.code == 0, said
    return json.loads(said.out)


def findings(document):
    return [{name: found[name] for name in FINDING} for found in document["findings"]]


@pytest.mark.parametrize("name", ["membership", "labels"])
def test_an_attack_and_an_audit_find_the_same_to_the_digit(run, readings, tmp_path, name):
    alone = told(called("attack", name, run, *POOL, "--strong", "--json"))
    piece = json.loads(json.dumps(on_recordings(name, readings, tmp_path, str, quiet)))
    audited = [found for test in piece["tests"] for found in test["findings"]]
    ours = {(f["method"], f["scope"], f["metric"]): f for f in findings(alone) if f["metric"]}
    assert ours == {
        (f["method"], f["scope"], f["metric"]): {n: f[n] for n in FINDING} for f in audited if f["metric"]
    }
    assert {scope for _, scope, _ in ours} == {str(scope) for scope in Scope}
    assert alone["curves"] == piece["curves"]
    assert alone["knowledge"]["declared"] == told_of(readings)


def test_layers_reads_what_the_others_read(run):
    """All of the vector, as the other attacks see it."""
    whole = told(called("attack", "layers", run, *POOL, "--measure", "membership", "--json"))
    assert whole["scope"] == "single uploads"
    assert whole["declared"]["single uploads"]["by_number"]
    area = next(part["measured"]["membership"]["value"] for part in whole["parts"] if part["group"] == "all")
    one = told(called("attack", "membership", run, *POOL, "--json"))
    same = next(f for f in findings(one) if (f["method"], f["metric"]) == ("likelihood ratio", "AUC"))
    assert same["scope"] == "single uploads"
    assert area == pytest.approx(same["value"], abs=1e-9)


def test_what_is_given_takes_the_place_of_what_is_declared(run):
    given = told(called("attack", "labels", run, *POOL, "--noise", "0.5", "--json"))["knowledge"]["declared"]
    # Of the released mean there is one, and in it the noise that is given.
    assert given == {str(scope): {"noise": 0.5, "clip": None, "by_number": False} for scope in Scope}
    none = told(called("attack", "labels", run, *POOL, "--noise", "0", "--json"))["knowledge"]["declared"]
    assert {one["noise"] for one in none.values()} == {0.0}
    clip = told(called("attack", "labels", run, *POOL, "--clip", "2", "--json"))["knowledge"]["declared"]
    assert {(one["noise"], one["clip"], one["by_number"]) for one in clip.values()} == {(0.0, 2.0, False)}


def test_a_bare_recording_is_read_back_where_its_configuration_is_given(run):
    config = run / "config.yaml"
    bare = told(called("attack", "labels", run / "view", "--config", config, "--json"))
    assert (
        bare["knowledge"]["declared"]
        == told(called("attack", "labels", run, *POOL, "--json"))["knowledge"]["declared"]
    )
    assert len(bare["guesses"][0]["answers"]) == 6


def test_a_configuration_of_another_defense_tells_model_and_task_alone(run, tmp_path):
    """And an audit, which needs the run's own, refuses it."""
    other = tmp_path / "config.yaml"
    other.write_text((run / "config.yaml").read_text().replace("epsilon: 4.0", "epsilon: 2.0"))
    bare = told(called("attack", "labels", run / "view", "--config", other, "--json"))
    assert not any(one["by_number"] for one in bare["knowledge"]["declared"].values())
    subject = open_subject(run / "view", Wishes(config=other))
    with pytest.raises(UserError, match="another defense"):
        readings_of(subject, load_config(other), tmp_path / "own")


def test_uploads_have_noise_of_their_own(readings):
    """Each is divided by a count that comes with noise, and what is left in it is told for each."""
    uploads = readings[0].subject
    singles, _ = read_told(uploads.view, uploads.backbone, uploads.knowledge.declared)
    release = uploads.knowledge.declared.mechanism
    for target in singles.targets:
        assert np.allclose(target.noise * target.weight, release.noise)
        assert target.examples == max(1, round(target.weight))
    assert len({target.weight for target in singles.targets}) > 1


def test_noise_is_counted_over_those_that_contributed(tmp_path):
    """Each of those that did brings its share of the noise, and those that were lost bring none."""
    lost = private_run(tmp_path / "lost", trust="local", changes={"cohort": {"failure_rate": 0.4}})
    view, setup = ServerView.open(lost / "view"), prepare(load_config(lost / "config.yaml"))
    release = setup.defense.release(*setup.method.asks(0))
    (entry,) = (each for each in view.facts.rounds if each.kind is UploadKind.VECTOR)
    came = len(view.facts.sums[0].clients)
    assert came < len(entry.roster)
    shape = (setup.backbone.n_layers, 2, setup.backbone.width)
    found = released_sum(view, release, shape)
    terms = release.lattice(len(entry.roster))
    step = release.transform.scale.reshape(shape) * terms.clip / terms.steps
    assert np.allclose(found.noise, step * terms.share * np.sqrt(came))


@pytest.mark.parametrize(
    "how", [{"unit": "client"}, {"vector": {"rank": 12}}, {"kind": "masked", "trust": "distributed"}]
)
def test_every_kind_of_release_is_read(tmp_path, how):
    """Each gives answers in the scopes that there are, told by number, and others with the texts alone known."""
    made = private_run(tmp_path / "made", **how)
    found = told(called("attack", "membership", made, *POOL, "--strong", "--json"))
    scopes = found["knowledge"]["declared"]
    assert all(one["by_number"] and one["noise"] > 0 for one in scopes.values())
    assert ("single uploads" in scopes) == ("kind" not in how)
    areas = [f["value"] for f in findings(found) if f["metric"] == "AUC"]
    assert len(areas) == 9 * len(scopes)
    assert np.isfinite(areas).all()


def test_a_clip_that_cuts_does_not_blind_the_likelihood_ratio(tmp_path):
    """Where nearly every example is clipped, who knows the mechanism finds members, and who knows the noise alone none.

    One seeded run, of which nothing is drawn anew: 0.81 and 0.52.
    """
    tight = private_run(tmp_path / "tight", epsilon=50.0, vector={"clip": 0.2})
    uploads = open_readings(Request(tight, pool=150), tmp_path / "own", quiet)[0]
    known = uploads.subject.knowledge.declared
    noise = told_of([uploads])["single uploads"]["noise"]
    aware, unaware = (area(uploads.subject, declared) for declared in (known, Declared(noise)))
    assert aware > unaware + 0.1
    assert aware > 0.7


def area(subject, declared):
    """The mean area of the likelihood ratio over single uploads."""
    knowledge = replace(subject.knowledge, declared=declared)
    told_apart = replace(subject, knowledge=knowledge)
    made = [
        guess
        for guess in membership.guess(subject.view, subject.backbone, knowledge)
        if (guess.method, guess.scope) == ("likelihood ratio", Scope.UPLOADS)
    ]
    targets = {each.scope: each.targets for each in read_told(subject.view, subject.backbone, declared)}
    found = score(told_apart, made, targets, ())
    return next(f.value for f in found if f.metric == "AUC")


def test_no_folder_of_the_run_is_written_to(run):
    before = sorted(path.name for path in Path(run).rglob("*"))
    assert called("attack", "labels", run, *POOL).code == 0
    assert sorted(path.name for path in Path(run).rglob("*")) == before
