"""Sums of gradients: the ratio is that of the densities, and what is told of noise is what is in the sums."""

from pathlib import Path

import numpy as np
import pytest
from attacked import private_run
from scipy.stats import multivariate_normal, norm

from attacks import coefficients
from attacks._base.attack import Scope, Who
from attacks._judging.random_gradients import random_gradients_view
from attacks._judging.score import Wishes, open_subject
from attacks._members.calibrations import gradients
from attacks._members.gradient_sums import (
    GradientRounds,
    GradientSum,
    Usual,
    _ratio,
    examples_of,
    ratios,
    read_gradient_sums,
    usual_sum,
)
from attacks._program.launch import guess_and_judge
from attacks._readings.readings import readings_of, told_of
from attacks._statistics.roc import auc
from defenses.upload import UploadKind
from ifedpriv.config import load_config
from ifedpriv.data.task import key_of

ROUNDS = 4
WHO = Who(None)


def calibrated(folder, kind, trust, *, epsilon=400.0, rate=1.0, rounds=ROUNDS, **changes):
    plan = {"rounds": rounds, "rate": 0.05}
    method = {"kind": "ifed_icl", "aggregation": "count", "guard": False, "calibration": plan}
    coefficients_of = {"coefficients": {"rate": rate}}
    return private_run(
        folder, kind, trust=trust, epsilon=epsilon, changes={"method": method, **changes}, **coefficients_of
    )


def opened(run: Path, folder, reads=UploadKind.COEFFICIENTS):
    subject = open_subject(run, Wishes(pool=160))
    return readings_of(subject, load_config(run / "config.yaml"), folder, strong=True, reads=reads)


RUNS = [("none", "local"), ("none", "central"), ("masked", "distributed"), ("masked", "central")]


@pytest.fixture(scope="module", params=RUNS, ids=[" ".join(each) for each in RUNS])
def readings(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return opened(calibrated(folder, *request.param), folder / "read")


def rounds_of(reading):
    subject = reading.subject
    return read_gradient_sums(subject.view, subject.backbone, subject.knowledge.declared.gradients)


# ---- the ratio


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_the_ratio_is_that_of_the_densities(rate):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    covariance, mean, less = root @ root.T + np.eye(5), rng.normal(size=5), rng.normal(size=5)
    total, candidates = rng.normal(size=5), rng.normal(size=(7, 5))
    without = multivariate_normal(mean, covariance).logpdf(total)
    found = _ratio(total - mean, candidates, Usual(mean, covariance, less), rate)
    for own, score in zip(candidates, found, strict=True):
        inside = multivariate_normal(mean - less + own, covariance).pdf(total)
        outside = multivariate_normal(mean - less, covariance).pdf(total)
        assert score == pytest.approx(np.log(rate * inside + (1 - rate) * outside) - without)


@pytest.mark.parametrize("readings", [("masked", "distributed")], indirect=True)
def test_whoever_knows_all_others_is_as_good_as_theory_says(readings):
    """Sums that are drawn as the model has them, and one candidate in half of 1,000: three standard errors."""
    rounds = rounds_of(readings[-1])
    told = next(iter(rounds.told.values()))
    rng = np.random.default_rng(1)
    size = told.noise.size
    noise = told.noise.reshape(-1)
    candidate = 0.3 * noise
    known = rng.normal(size=(len(rounds.points.rounds), 3, size)) * 0.01 * noise.mean()
    own = np.tile(candidate, (len(known), 1, 1))
    scores, inside = [], np.arange(1000) % 2 == 0
    for member in inside:
        sums = {
            number: GradientSum(
                rounds.at(known, number).sum(axis=0)
                + member * rounds.at(own, number)[0]
                + noise * rng.normal(size=size),
                4.0,
            )
            for number in rounds.told
        }
        scores.append(ratios(rounds, {WHO: sums}, own, known, {WHO: known})[WHO][0])
    moved = rounds.at(own, next(iter(rounds.told)))[0]
    distance = np.sqrt(len(rounds.told)) * np.linalg.norm(moved / noise)
    expected = norm.cdf(distance / np.sqrt(2))
    found = auc(np.array(scores)[inside], np.array(scores)[~inside])
    assert found == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / 500))
    assert 0.55 < expected < 0.95


# ---- what is read


def truth_of(reading, rounds, client):
    subject = reading.subject
    held = [e for n in subject.truth for e in subject.truth[n] if client in (None, n)]
    return gradients(subject.backbone, subject.knowledge, rounds.points, held, ""), len(held)


def test_sums_are_off_by_the_noise_that_is_told(readings):
    off = []
    for reading in readings:
        rounds = rounds_of(reading)
        about = {None: rounds.together} if Scope.AGGREGATE in reading.scopes else rounds.singles
        assert about
        for client, sums in about.items():
            own, count = truth_of(reading, rounds, client)
            assert sorted(sums) == list(range(1, ROUNDS + 1))
            for number, one in sums.items():
                told = rounds.told[number]
                variance = told.noise.reshape(-1) ** 2 + count * told.grain.reshape(-1) ** 2
                error = one.total - rounds.at(own, number).sum(axis=0)
                off.append(np.mean(error**2 / variance))
    # All rounds are points, so nothing is interpolated; a mean square of 32 numbers or more, and seeds are fixed.
    assert 0.6 < np.mean(off) < 1.6


def test_of_a_client_with_one_example_there_are_no_others_to_know(readings):
    rounds = rounds_of(readings[-1])
    size = next(iter(rounds.told.values())).noise.size
    own = np.full((len(rounds.points.rounds), 3, size), 0.01)
    assert rounds.at(own[:, :0], 1).shape == (0, size)
    found = ratios(rounds, {WHO: rounds.together}, own, own, {WHO: own[:, :0]})[WHO]
    assert found.shape == (3,)
    assert np.isfinite(found).all()


def test_a_gradient_between_two_points_is_nearly_the_mean_of_theirs(tmp_path):
    (reading,) = opened(calibrated(tmp_path, "masked", "central", rounds=11), tmp_path / "read")
    rounds = rounds_of(reading)
    numbers = [each.number for each in rounds.points.rounds]
    assert numbers == [1, 3, 5, 7, 9, 11]
    subject = reading.subject
    few = subject.knowledge.public[:20]
    found = gradients(subject.backbone, subject.knowledge, rounds.points, few, "")
    assert np.allclose(
        rounds.at(found, 3), rounds.told[3].left_of(found[1].reshape(20, -1, 2, 2)).reshape(20, -1)
    )
    # The same at a coefficient that was really broadcast.
    others = {n: told for n, told in rounds.told.items() if n % 2 == 0}
    true = GradientRounds(
        read_gradient_sums(subject.view, subject.backbone, others).points, rounds.told, {}, rounds.together
    )
    own = gradients(subject.backbone, subject.knowledge, true.points, few, "")
    middle = true.points.rounds[2].number
    assert middle % 2 == 0
    error = np.linalg.norm(rounds.at(found, middle) - true.at(own, middle))
    assert error < 0.1 * np.linalg.norm(true.at(own, middle))


# ---- what is told


def test_noise_is_told_by_scope(readings):
    said = told_of(readings)
    assert set(said) == {"single uploads", "the aggregate"} if len(readings) > 1 else {"the aggregate"}
    for reading in readings:
        sums = reading.subject.knowledge.declared.gradients
        scope = "single uploads" if reading.scopes == (Scope.UPLOADS,) else "the aggregate"
        assert said[scope]["noise"] == pytest.approx(np.mean([one.noise.mean() for one in sums.values()]))
        assert said[scope]["clip"] == sums[1].release.clip


def test_members_of_a_run_are_told_by_whoever_knows_all_others(tmp_path):
    """At an epsilon that hides nothing: of each client's one unknown example the sum tells which it is."""
    readings = opened(calibrated(tmp_path, "none", "central", epsilon=50), tmp_path / "read")
    found = {}
    for number, reading in enumerate(readings):
        guesses, findings = guess_and_judge(
            coefficients, reading.subject, reading.scopes, tmp_path / f"random{number}"
        )
        found |= {(f.method, f.scope): f for f in findings if f.metric == "AUC"}
        refused = {guess.method for guess in guesses if guess.refused}
        assert refused == ({coefficients.LABELS, coefficients.LINKED} if number == 0 else set())
    strong = found[coefficients.STRONG, Scope.UPLOADS]
    assert strong.value > 0.95
    assert dict(strong.controls)["random vector"] < 0.9
    assert {scope for _, scope in found} == set(Scope)


def test_a_known_example_has_no_score(readings):
    for reading in readings:
        subject = reading.subject
        for guess in coefficients.guess(subject.view, subject.backbone, subject.knowledge):
            if guess.method != coefficients.STRONG or guess.scope not in reading.scopes:
                continue
            for answer in guess.answers:
                known = {key_of(e) for e in subject.knowledge.others[answer.who].examples}
                taken = [key_of(e) in known for e in subject.knowledge.pool]
                assert np.array_equal(np.isnan(answer.content.values), taken)


@pytest.mark.parametrize("readings", [("masked", "distributed")], indirect=True)
def test_the_control_holds_noise_and_nobodys_examples(readings, tmp_path):
    reading = readings[-1]
    subject, rounds = reading.subject, rounds_of(reading)
    drawn = random_gradients_view(subject.view, subject.backbone, subject.knowledge, tmp_path / "random")
    made = read_gradient_sums(drawn, subject.backbone, subject.knowledge.declared.gradients)
    public = gradients(subject.backbone, subject.knowledge, rounds.points, subject.knowledge.public, "")
    off = []
    for number, one in made.together.items():
        expected = examples_of(rounds, rounds.together)
        usual = usual_sum(rounds.told[number], rounds.at(public, number), expected)
        error = np.linalg.solve(np.linalg.cholesky(usual.covariance), one.total - usual.mean)
        off.append(np.mean(error**2))
        assert one.weight == rounds.together[number].weight
        assert not np.allclose(one.total, rounds.together[number].total)
    assert 0.5 < np.mean(off) < 2


def test_noise_that_nobody_describes_is_not_evaluable(tmp_path):
    run = calibrated(tmp_path, "masked", "central")
    subject = open_subject(run, Wishes(pool=160))
    found = coefficients.guess(subject.view, subject.backbone, subject.knowledge)
    assert all("recording whose configuration is known" in one.refused for one in found)
    lonely = opened(
        private_run(
            tmp_path / "clients",
            "masked",
            unit="client",
            trust="central",
            changes={
                "method": {
                    "kind": "ifed_icl",
                    "guard": False,
                    "aggregation": "uniform",
                    "calibration": {"rounds": 1, "steps": 1},
                }
            },
        ),
        tmp_path / "read",
    )
    (reading,) = lonely
    assert not reading.subject.knowledge.declared.gradients
    found = coefficients.guess(reading.subject.view, reading.subject.backbone, reading.subject.knowledge)
    assert all("only sums of examples' gradients are read" in one.refused for one in found)
    assert {answer.who for one in found for answer in one.answers} <= {Who(None)}
