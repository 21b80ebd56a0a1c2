"""Whole runs with frozen public coefficients: one round that releases one vector, and says so."""

import json

import numpy as np
import pytest
from explained import unexplained
from program import called
from tiny_public import all_members, finished, public, public_world, ready, sets, trial

from defenses.accounting.spent import ledger_bound
from defenses.frame import peek
from defenses.units import Neighbouring, Unit
from defenses.upload import UploadKind
from defenses.view import Direction, ServerView
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.experiment import baselines
from ifedpriv.experiment.facts import task_of
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.icl.choice import choose
from ifedpriv.icl.extract import extract
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.public_coefficients import PublicCoefficients
from ifedpriv.methods.method import SERVERS

DELTA = 1e-3
# All texts less the tenth that `data.validation_fraction` sets aside.
TEXTS = 54
WAYS = {
    "central": {"privacy": {"trust": "central"}},
    "masked": {"kind": "masked", "privacy": {"trust": "distributed"}},
    "encrypted": {"kind": "bfv", "privacy": {"trust": "distributed", "bits": 22}},
    "clients": {"privacy": {"trust": "central", "unit": "client"}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    public_world(folder)
    return folder


def file_of(world, name="one"):
    return PublicCoefficients.load(world / f"{name}.safetensors")


# ---- without privacy, by the program


@pytest.fixture(scope="module")
def frozen(world):
    out = world / "frozen"
    fine = {"vector": "fp32", "coefficients": "fp32", "scores": "fp32"}
    done = called(
        "run", world / "config.yaml", *sets(world, "public", **{"defense.wire": fine}), "--out", out
    )
    assert done.code == 0, done
    run = RunDirectory.open(out)
    return done, json.loads((out / "report.json").read_text("utf-8")), run, prepare(run.config())


def injection_of(run):
    return Injection.load(run.injection)


def ledger_of(run):
    from defenses.ledger import Ledger

    return Ledger.from_json(run.load_checkpoint()[1]["ledger"])


def test_there_is_one_round_with_one_event(frozen):
    _, report, run, setup = frozen
    assert report["totals"]["rounds"] == setup.method.rounds == 1
    assert [(event.round, event.kind) for event in ledger_of(run).events] == [(0, UploadKind.VECTOR)]
    (line,) = run.read_rounds()
    assert (line["round"], line["kind"]) == (0, "vector")
    # Nothing is sent to clients, neither before the round nor after it.
    assert line["down"] == {"payload": 0, "wire": 0}


def test_every_text_is_in_the_vector(frozen, world):
    """The guard is on and a fifth was to be held out: nothing is, and the mean is over all texts."""
    _, _, run, setup = frozen
    assert setup.config.method.guard
    assert setup.config.evaluation.validation_fraction == 0.2
    clients = [setup.clients[number] for number in range(5)]
    assert not any(client.validation for client in clients)
    assert sum(len(client.train) for client in clients) == TEXTS
    vectors = [extract(setup.backbone, setup.data.task, client.train).values for client in clients]
    expected = np.mean(vectors, axis=0, dtype=np.float64) - file_of(world).centre
    np.testing.assert_allclose(injection_of(run).vector.values, expected, atol=2e-5)


def test_the_coefficients_are_those_of_the_file(frozen, world):
    _, _, run, _ = frozen
    made = injection_of(run)
    assert np.array_equal(made.coefficients.values, file_of(world).members[0].coefficients.values)
    said = "public coefficients for tasks of kind 'only', calibrated with no noise"
    assert made.facts["coefficients"] == said


def test_the_ledger_says_that_they_are_public(frozen, world):
    _, report, run, _ = frozen
    told = {each.what: each.why for each in ledger_of(run).declarations}
    began = told["the coefficients that a run begins with, or keeps"]
    assert "calibrated on 2 public tasks, before any private text was read" in began
    assert file_of(world).digest[:16] in began
    which = told["which set of these coefficients is used"]
    assert which == "follows from the released vector and from public texts"
    assert "the coefficients that a run begins with" in json.dumps(report["privacy"])


def test_the_verdict_is_of_public_tasks(frozen):
    done, report, run, _ = frozen
    guard = report["guard"]
    assert (guard["accepted"], guard["injection"], guard["n"]) == (True, 0.8, 60)
    assert "60 queries of 3 public tasks that the coefficients were not calibrated on" in guard["text"]
    assert "nobody's own held-out examples were looked at" in guard["text"]
    assert "".join(guard["text"][1:].split()) in "".join(done.out.split())
    assert "On 60 held-out examples" not in " ".join(done.out.split())
    assert json.loads(injection_of(run).facts["guard"])["accepted"] is True
    page = " ".join((run.path / "report.html").read_text("utf-8").split())
    assert "those of public tasks" in page
    assert "examples that the clients kept out" not in page


def test_predict_and_fold_work_on_it(frozen, world, tmp_path):
    _, _, run, _ = frozen
    texts = ("a fine day 1", "a dull day 2")
    told = called("predict", run.path, "--json", *(part for text in texts for part in ("--text", text)))
    assert told.code == 0, told
    assert told.err == ""
    assert called("fold", run.path, "--out", tmp_path / "folded").code == 0
    folded, made = Backbone.load(tmp_path / "folded"), injection_of(run)
    scores = score_labels(folded, task_of(made.facts), texts)
    plain = score_labels(folded, task_of(made.facts), texts, injection=None)
    assert np.array_equal(scores, plain)
    for line, row in zip(map(json.loads, told.out.splitlines()), scores, strict=True):
        np.testing.assert_allclose(list(line["scores"].values()), row, atol=2e-3)
    bare = score_labels(Backbone.load(world / "model"), task_of(made.facts), texts)
    assert np.abs(bare - scores).max() > 0.01


def test_a_client_alone_uses_them_too(frozen, world):
    """That line of the table is what a client has without the others: its own vector, and the same strengths."""
    _, _, _, setup = frozen
    alone = baselines.train_alone(setup, setup.clients[1])
    own = extract(setup.backbone, setup.data.task, setup.clients[1].train).values
    np.testing.assert_allclose(alone.vector.values, own - file_of(world).centre, atol=1e-5)
    assert np.array_equal(alone.coefficients.values, file_of(world).members[0].coefficients.values)


# ---- the verdict of other files


def with_file(world, tmp_path, **changes):
    public(members=all_members(("only",)), **changes).save(tmp_path / "other.safetensors")
    return ready(world, "public", **{"method.coefficients_file": str(tmp_path / "other.safetensors")})


def test_without_a_trial_or_with_the_guard_off_there_is_no_verdict(world, tmp_path):
    _, report = finished(with_file(world, tmp_path, trials=()), tmp_path / "untried")
    assert report.guard is None
    _, report = finished(ready(world, "public", **{"method.guard": False}), tmp_path / "off")
    assert report.guard is None


def test_coefficients_that_failed_their_trial_are_warned_of(world, tmp_path):
    outcome, report = finished(with_file(world, tmp_path, trials=(trial(0.0, 0.4),)), tmp_path / "run")
    assert report.guard.accepted is False
    assert any("do NOT improve the model" in warning for warning in report.warnings)
    assert json.loads(outcome.injection.facts["guard"])["accepted"] is False
    told = called("predict", tmp_path / "run", "--text", "a fine day")
    assert told.code == 0, told
    assert "do NOT improve the model" in " ".join(told.err.split())


def test_a_share_to_hold_out_is_not_asked_for(world):
    """There is no round that would ask, so a run that holds nothing out may keep its guard."""
    none = {"evaluation.validation_fraction": 0}
    assert ready(world, "public", **none).method.rounds == 1
    more = called("run", world / "config.yaml", *sets(world, "public+rounds", **none))
    assert "validation_fraction is 0" in more.refusal()


# ---- with privacy


@pytest.fixture(scope="module", params=WAYS, ids=list(WAYS))
def private(request, world):
    way = WAYS[request.param]
    setup = ready(world, "public", way["privacy"], **{"defense.kind": way.get("kind", "none")})
    return (*finished(setup, world / request.param), way)


def test_the_whole_budget_is_the_vectors_and_is_kept(private):
    outcome, report, way = private
    unit = Unit(way["privacy"].get("unit", "example"))
    events = outcome.ledger.events
    assert [(event.round, event.kind) for event in events] == [(0, UploadKind.VECTOR)]
    bound = ledger_bound(outcome.ledger, DELTA, unit, Neighbouring.ADD_OR_REMOVE)
    assert 3.5 < bound.epsilon <= 4.0
    assert report.privacy.statement["epsilon"] == pytest.approx(bound.epsilon)
    assert set(outcome.setup.defense.releases) == {UploadKind.VECTOR}
    # Nobody holds anything out, and the ledger does not say so either.
    assert not any("held out" in each.what for each in outcome.ledger.declarations)


def test_every_frame_belongs_to_the_vectors_release(private, world):
    """All frames of the recording, both ways, and all that the server worked out: round 0, and nothing but vectors."""
    outcome, _, way = private
    size = 2 * 2 * 16 + (way["privacy"].get("unit") != "client")
    (folder,) = [world / name for name, each in WAYS.items() if each is way]
    view = ServerView.open(folder / "view")
    (info,) = view.facts.rounds
    assert (info.number, info.kind, dict(info.layout.to_dict())) == (
        0,
        UploadKind.VECTOR,
        {"release": [size]},
    )
    method = outcome.setup.method
    assert unexplained([view], outcome.ledger, {0: method.asks(0)}) == []
    frames = list(view.frames())
    assert {frame.round for frame in frames} == {0}
    worked_out = [peek(frame.frame) for frame in frames if frame.direction is Direction.COMPUTED]
    assert {header.kind for header in worked_out} == {UploadKind.VECTOR}
    assert len(worked_out) == (1 if way.get("kind") is None else 2)
    if way.get("kind") is None:
        # Five uploads and the mean: nothing is sent to anybody.
        assert len(frames) == 6
        up = [peek(frame.frame) for frame in frames if frame.direction is Direction.UP]
        assert [(header.kind, header.weight) for header in up] == [(UploadKind.VECTOR, 1.0)] * 5
    # Nothing but the layouts of the vector can be decoded from the recording at all.
    assert {tuple(layout.names) for layout in view.facts.layouts} == {("release",), ("vector",)}


def test_the_set_follows_from_what_the_recording_has(private, world):
    """Post-processing, shown: of the released vector, the noise and public texts anybody makes the same choice."""
    outcome, _, way = private
    setup, start = outcome.setup, outcome.setup.method.public
    (folder,) = [world / name for name, each in WAYS.items() if each is way]
    (released,) = [
        each.upload.arrays["vector"]
        for each in ServerView.open(folder / "view").computed(UploadKind.VECTOR)
        if "vector" in each.upload.arrays
    ]
    noise = float(outcome.state.arrays[f"{SERVERS}noise"][0])
    assert noise == pytest.approx(deviation(setup), rel=0.3)
    centred = (released - file_of(world, "two").centre).astype(np.float32)
    again = choose(start.public, setup.backbone, setup.data.task, centred, noise, start.texts)
    assert np.array_equal(again.member.coefficients.values, outcome.injection.coefficients.values)
    assert np.array_equal(centred, outcome.injection.vector.values)
    assert again.sentence() == outcome.injection.facts["coefficients"]
    assert dict(again.information).keys() == {"first", "second"}
    private_texts = {example.text for number in range(5) for example in setup.clients[number].train}
    assert len(start.texts) == 32
    assert not private_texts & set(start.texts)


def deviation(setup):
    """Of the noise in the mean, from the release itself; about so, since the count under it bears noise as well."""
    release = setup.defense.releases[UploadKind.VECTOR]
    terms, units = release.lattice(5), TEXTS if release.unit is Unit.EXAMPLE else 5
    return release.deviation(terms, 5) * terms.clip / terms.steps / units


def test_the_vectors_noise_is_smaller_than_where_rounds_follow(world):
    multipliers = {}
    for coefficients in ("public", "public+rounds", "federated"):
        releases = ready(world, coefficients, {"trust": "central"}).defense.releases
        multipliers[coefficients] = releases[UploadKind.VECTOR].multiplier
        three = {UploadKind.VECTOR, UploadKind.COEFFICIENTS, UploadKind.SCORES}
        assert set(releases) == ({UploadKind.VECTOR} if coefficients == "public" else three)
    assert multipliers["public"] < 0.95 * multipliers["federated"]
    assert multipliers["public+rounds"] == multipliers["federated"]
