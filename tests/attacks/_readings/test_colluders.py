"""Colluding clients: what they told is in nothing that is attacked, and what is left is the others' own mean."""

import json
import shutil

import numpy as np
import pytest
from attacked import attacked_run, private_run
from program import called
from tiny import tiny_backbone

from attacks._base.attack import Scope
from attacks._base.targets import read_targets
from attacks._judging.score import Wishes, open_subject
from attacks._judging.truths import Truths
from attacks._readings.colluders import colluding, numbers_of, others_alone, setup_of
from attacks._readings.read_back import total_of, vector_release
from attacks._readings.readings import readings_of, told_of
from attacks._whole_run.differences import differences
from attacks._whole_run.request import Request
from attacks._whole_run.subject import knowledge_of, open_readings
from attacks.membership import guess
from defenses.dp.release import ARRAY
from defenses.upload import UploadKind
from defenses.view import Direction
from ifedpriv.config import load_config
from ifedpriv.data.task import key_of
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import extract

WISHES = Wishes(pool=150, strong=True)


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    method = {"kind": "ifed_icl", "guard": False, "aggregation": "count", "calibration": {"rounds": 0}}
    return attacked_run(tmp_path_factory.mktemp("run"), defense={"kind": "masked"}, method=method)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


def played(run, clients, folder, wishes=WISHES):
    subject = open_subject(run, wishes)
    config = load_config(run / "config.yaml")
    return subject, readings_of(subject, config, folder, strong=wishes.strong, clients=clients)[-1].subject


def mean_of(subject, clients):
    held = [example for client in clients for example in subject.truth[client]]
    return extract(subject.backbone, subject.knowledge.task, held).values


@pytest.mark.parametrize("clients", [(3, 4), (0, 1, 2, 3, 4)])
def test_what_is_left_of_a_sum_is_the_mean_of_the_others(masked, tmp_path, clients):
    whole, left = played(masked, clients, tmp_path)
    others = [number for number in whole.truth if number not in clients]
    (target,) = read_targets(left.view, left.backbone)[1].targets
    true = mean_of(whole, others)
    assert target.examples == sum(len(whole.truth[number]) for number in others)
    # Five deviations of 64 numbers are past by chance once in ten thousand such tests.
    assert np.abs(target.vector - true).max() < 5 * np.sqrt(target.variance.max())
    before = read_targets(whole.view, whole.backbone)[1].targets[0].vector
    assert np.abs(before - true).max() > 5 * np.sqrt(target.variance.max())
    assert left.view.facts.rounds[0].roster == tuple(others)
    assert left.view.facts.sums[0].clients == tuple(others)


def test_candidates_truth_and_known_examples_are_the_others_alone(masked, tmp_path):
    whole, left = played(masked, (3, 4), tmp_path)
    assert sorted(left.truth) == [0, 1, 2, 5]
    kept = {key_of(example) for held in left.truth.values() for example in held}
    gone = {key_of(example) for number in (3, 4) for example in whole.truth[number]} - kept
    assert gone <= {key_of(example) for example in whole.knowledge.pool}
    assert not gone & {key_of(example) for example in left.knowledge.pool}
    (about,) = [guess for guess in guess_of(left) if guess.answers]
    truth = Truths(left).of(about.answers[0].who)
    assert truth.examples == sum(map(len, left.truth.values()))
    (known,) = (others for who, others in left.knowledge.others.items() if who.client is None)
    assert {key_of(example) for example in known.examples} <= kept
    assert sum(known.weights) + known.left == pytest.approx(1)


def guess_of(subject):
    found = guess(subject.view, subject.backbone, subject.knowledge)
    return [one for one in found if one.scope is Scope.AGGREGATE and one.method == "likelihood ratio"]


def test_uploads_that_are_read_one_by_one_are_not_shown(opened, tmp_path):
    _, left = played(opened, (1,), tmp_path)
    singles, (aggregate,) = (each.targets for each in read_targets(left.view, left.backbone))
    assert [target.who.client for target in singles] == [0, 2, 3, 4, 5]
    assert np.allclose(aggregate.vector, np.mean([target.vector for target in singles], axis=0))
    assert not [r for r in left.view.frames() if r.direction is Direction.UP and r.sender == 1]


def noised_run(folder, **changes):
    return private_run(folder, kind="masked", trust="distributed", epsilon=500, changes=changes)


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    return noised_run(tmp_path_factory.mktemp("run"))


def test_of_a_noised_mean_the_others_share_is_left_with_more_noise(tmp_path):
    # Outside of a simulation nobody here can say what noise a client drew.
    run = noised_run(tmp_path / "run", simulation=False)
    request = Request(run, pool=150, colluding=(0, 1, 2))
    (reading,) = open_readings(request, tmp_path / "own", lambda *_: None)
    (before,) = open_readings(Request(run, pool=150), tmp_path / "before", lambda *_: None)
    noise, once = (told_of((one,))["the aggregate"]["noise"] for one in (reading, before))
    assert 1.5 < noise / once < 3
    (target,) = read_targets(reading.subject.view, reading.subject.backbone)[1].targets
    (all_of,) = read_targets(before.subject.view, before.subject.backbone)[1].targets
    # What the others send is clipped, as what colluding clients tell is.
    subject = open_subject(run, WISHES)
    others = colluding(subject, (3, 4, 5), setup_of(run / "config.yaml", subject)).told.values()
    assert not any(upload.noise for upload in others)
    true = sum(upload.total for upload in others) / sum(upload.weight for upload in others)
    # Of 64 numbers: a mean square half as large again is past by chance once in 250 tests, and here seeds are fixed.
    assert np.sqrt(np.mean((target.vector - true) ** 2)) < 1.25 * noise
    assert np.sqrt(np.mean((all_of.vector - true) ** 2)) > 1.25 * noise
    told = {row["what"]: row for row in knowledge_of((reading,), request)}["uploads of colluding clients"]
    assert told["has"]
    assert "clients 0, 1, 2" in told["detail"]
    assert "their own noise stays in" in told["detail"]


def test_clients_of_a_simulation_tell_their_own_noise_to_the_digit(private, tmp_path):
    subject = open_subject(private, WISHES)
    setup = setup_of(private / "config.yaml", subject)
    told = colluding(subject, (0, 1, 2, 3, 4, 5)[:5], setup).told | colluding(subject, (5,), setup).told
    assert all(upload.noise for upload in told.values())
    (frame,) = (f for f in subject.view.computed(UploadKind.VECTOR) if ARRAY in f.upload.arrays)
    sums = frame.upload.arrays[ARRAY].astype(float) * frame.upload.weight
    release = vector_release(setup)
    total, units = total_of(sums, release, 6, 0)
    # A mean of six in single precision is off by less than a step in a sum of six times as much; noise has hundreds.
    step = (release.clip / release.lattice(6).steps) * release.transform.scale.max()
    assert release.lattice(6).share > 100
    centre = release.transform.centre.reshape(-1) * (units - 1)
    assert (
        np.abs(sum(one.total.reshape(-1) for one in told.values()) - total).max()
        < 4 * step + 1e-6 * np.abs(centre).max()
    )


def test_what_colluding_clients_tell_of_their_noise_is_in_nothing_that_is_left(private, tmp_path):
    request = Request(private, pool=150, colluding=(0, 1, 2))
    (reading,) = open_readings(request, tmp_path / "own", lambda *_: None)
    (before,) = open_readings(Request(private, pool=150), tmp_path / "before", lambda *_: None)
    noise, once = (told_of((one,))["the aggregate"]["noise"] for one in (reading, before))
    (left,) = read_targets(reading.subject.view, reading.subject.backbone)[1].targets
    (whole,) = read_targets(before.subject.view, before.subject.backbone)[1].targets
    # Of half the clients' noise the root of a half is left, in a mean over fewer.
    assert noise / once == pytest.approx(np.sqrt(0.5) * whole.weight / left.weight, rel=1e-3)
    told = {row["what"]: row for row in knowledge_of((reading,), request)}["uploads of colluding clients"]
    assert "their own noise is taken off, too" in told["detail"]


def test_of_a_bare_recording_nothing_is_evaluable_and_the_reason_is_told(masked, tmp_path):
    shutil.copytree(masked / "view", tmp_path / "view")
    config = str(masked / "config.yaml")
    options = ["--config", config, "--colluding", "3", "--pool", "100", "--json"]
    said = called("attack", "labels", str(tmp_path / "view"), *options)
    assert said.code == 0
    found = json.loads(said.out)["findings"]
    assert {finding["verdict"] for finding in found} == {"not evaluable"}
    assert any(
        "what colluding clients have uploaded is not known here" in finding["why"] for finding in found
    )
    document = json.loads(called("attack", "diff", str(tmp_path / "view"), *options).out)
    assert document["verdict"] == "not evaluable"
    assert "not known here" in document["why"]


def test_all_but_one_isolate_that_one_and_an_attack_on_the_sum_finds_its_texts(masked):
    options = ["--colluding", "0,1,2,3,4", "--pool", "150", "--json"]
    document = json.loads(called("attack", "diff", str(masked), *options, "--read-with", "invert").out)
    assert document["verdict"] == "severe"
    assert "clients 0, 1, 2, 3, 4 have told" in document["why"]
    (one,) = document["isolated"]
    assert one["clients"] == [5]
    assert one["squared_deviation_from_truth"] < 3
    (sums,) = document["recordings"][0]["sums"]
    assert (sums["clients"], sums["colluding"]) == ([5], [0, 1, 2, 3, 4])
    document = json.loads(called("attack", "invert", str(masked), *options).out)
    assert document["knowledge"]["colluding"] == [0, 1, 2, 3, 4]
    recall = [f for f in document["findings"] if f["metric"] == "corpus recall"]
    assert [f["value"] for f in recall] == [1.0]


def test_an_audit_subtracts_what_was_told_from_the_sums_themselves(masked, tmp_path):
    request = Request(masked, pool=150, without=("pool",), colluding=(0, 1, 2, 3, 4))
    readings = open_readings(request, tmp_path / "own", lambda *_: None)
    found = differences(request, readings, tmp_path / "diff", str, lambda *_: None)
    assert found["tests"][0]["verdict"] == "severe"
    assert [(one["clients"], one["colluding"]) for one in found["sums"]] == [([5], [0, 1, 2, 3, 4])]
    assert [one["clients"] for one in found["isolated"]] == [[5]]


def test_an_audit_of_a_private_run_knows_whose_uploads_are_in_its_sum(private, tmp_path):
    request = Request(private, pool=150)
    readings = open_readings(request, tmp_path / "own", lambda *_: None)
    found = differences(request, readings, tmp_path / "diff", str, lambda *_: None)
    assert found["tests"][0]["why"] == "there is one sum, over 6 clients, and no second one to subtract"
    assert [one["clients"] for one in found["sums"]] == [list(range(6))]


def test_who_is_named_wrongly_is_told(masked, tmp_path):
    subject = open_subject(masked, WISHES)
    setup = setup_of(masked / "config.yaml", subject)
    for text in ("", "3;4", "-1", "3,"):
        with pytest.raises(InputError, match="--colluding is"):
            numbers_of(text)
    assert numbers_of(" 4,3, 4") == (3, 4)
    with pytest.raises(InputError, match="client 9, and the run's are 0 to 5"):
        colluding(subject, (3, 9), setup)
    with pytest.raises(InputError, match="names every client"):
        colluding(subject, tuple(range(6)), setup)
    assert others_alone(subject, tmp_path) is subject


def test_sums_of_coefficients_are_refused(tmp_path):
    method = {"kind": "ifed_icl", "guard": False, "calibration": {"rounds": 1, "steps": 1, "batch_size": 4}}
    run = attacked_run(tmp_path / "run", defense={"kind": "masked"}, method=method)
    _, left = played(run, (1,), tmp_path / "played")
    from attacks.coefficients import guess as of_coefficients

    refused = {one.refused for one in of_coefficients(left.view, tiny_backbone(), left.knowledge)}
    assert any("added to sums of coefficients" in why for why in refused)
    (kept,) = [entry for entry in left.view.facts.rounds if entry.kind is UploadKind.COEFFICIENTS]
    assert 1 in kept.roster
