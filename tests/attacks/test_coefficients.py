"""Coefficients: shadows do what clients do, what is fitted on them is found again, and what cannot be run says why."""

import json

import numpy as np
import pytest
from attacked import attacked_run, private_run
from program import called

from attacks import coefficients
from attacks._base.attack import Links, Scope, Who
from attacks._base.targets import read_targets
from attacks._judging.judge import score
from attacks._judging.random_moves import Draw, random_moves_view
from attacks._judging.score import Wishes, open_subject
from attacks._members.calibrations import (
    MOST_ROUNDS,
    ShadowClients,
    gradients,
    read_rounds,
    shadow_clients,
)
from attacks._members.coefficient_scores import (
    Movement,
    beside_shadows,
    inverse_covariance,
    label_shares,
    ridge,
    same_clients,
)
from attacks._program.launch import guess_and_judge
from attacks._statistics.roc import auc
from defenses.view import ServerView

WISHES = Wishes(pool=160, shadows=12)


def calibrated(folder, rounds=2, steps=3, **changes):
    plan = {"rounds": rounds, "steps": steps, "batch_size": 64, "rate": 0.05}
    return attacked_run(folder, method={"kind": "ifed_icl", "guard": False, "calibration": plan}, **changes)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return open_subject(calibrated(tmp_path_factory.mktemp("run")), WISHES)


def replaced(knowledge, **changes):
    from dataclasses import replace

    return replace(knowledge, **changes)


# ---- shadows are clients


def test_a_shadow_of_a_clients_own_texts_moves_as_the_client_did(tmp_path):
    """One step on all examples leaves no draw: but for rounding on the wire, the move is the same."""
    subject = open_subject(calibrated(tmp_path, steps=1), WISHES)
    recorded = read_rounds(subject.view, subject.backbone)
    assert [each.number for each in recorded.rounds] == [1, 2]
    held = subject.truth[0]
    knowledge = replaced(subject.knowledge, public=held, shadows=4)
    found = shadow_clients(subject.backbone, knowledge, recorded, len(held))
    for at, each in enumerate(recorded.rounds):
        for move in found.moves[at]:
            assert np.allclose(move, each.moves[0], atol=2e-3)
        assert not np.allclose(found.moves[at][0], each.moves[1], atol=2e-3)


def test_gradients_are_those_of_single_texts(subject):
    recorded = read_rounds(subject.view, subject.backbone)
    few = subject.knowledge.public[:7]
    together = gradients(subject.backbone, subject.knowledge, recorded, few, "")
    alone = gradients(subject.backbone, subject.knowledge, recorded, few[3:4], "")
    assert together.shape == (2, 7, recorded.rounds[0].start.size)
    assert np.allclose(together[:, 3], alone[:, 0], atol=1e-5)


def test_many_rounds_are_thinned_out(tmp_path):
    view = open_subject(calibrated(tmp_path, rounds=9), WISHES)
    numbers = [each.number for each in read_rounds(view.view, view.backbone).rounds]
    assert len(numbers) == MOST_ROUNDS
    assert (numbers[0], numbers[-1]) == (1, 9)


# ---- what is fitted


def test_a_linear_map_is_found_and_none_where_there_is_none():
    rng = np.random.default_rng(0)
    inputs, true = rng.normal(size=(60, 5)) * [1, 10, 0.1, 1, 1], rng.normal(size=(5, 3))
    centred = inputs - inputs.mean(axis=0)
    assert np.allclose(ridge(centred, centred @ true), true, atol=0.2 * np.abs(true).max())
    noise = rng.normal(size=(60, 3))
    assert np.abs(centred @ ridge(centred, noise - noise.mean(axis=0))).mean() < 0.3


def test_numbers_that_do_not_vary_count_nothing():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    rows[:, 1] = 2.0
    found = inverse_covariance(rows)
    assert not found[1].any() and not found[:, 1].any()
    assert found[0, 0] == pytest.approx(1 / rows[:, 0].var(), rel=0.2)


def test_moves_that_texts_make_are_told_from_those_of_strangers():
    """A linear world: moves are mean gradients through a fixed map, and noise. 40 clients; AUC 0.5 ± 0.03 by chance."""
    rng = np.random.default_rng(1)
    texts, size, examples = rng.normal(size=(400, 6)), 6, 5
    true = rng.normal(size=(size, size))

    def moved(chosen):
        return texts[chosen].mean(axis=1) @ true + 0.1 * rng.normal(size=(len(chosen), size))

    shadows = rng.integers(200, 400, size=(200, examples))
    fitted = Movement.of(moved(shadows), texts[shadows].mean(axis=1))
    clients = np.stack([rng.choice(200, examples, replace=False) for _ in range(40)])
    shifts = fitted.shifts(texts[:200], examples)
    beside = fitted.ratios(shifts, moved(shadows))
    seen = fitted.ratios(shifts, moved(clients))
    areas = []
    for i, held in enumerate(clients):
        scores, member = beside_shadows(seen[:, i], beside), np.isin(np.arange(200), held)
        areas.append(auc(scores[member], scores[~member]))
    assert np.mean(areas) > 0.65
    strangers = fitted.ratios(shifts, moved(rng.integers(200, 400, size=(40, examples))))
    by_chance = [
        auc(column[np.isin(np.arange(200), held)], column[~np.isin(np.arange(200), held)])
        for column, held in zip(strangers.T, clients, strict=True)
    ]
    assert abs(np.mean(by_chance) - 0.5) < 0.1


def test_label_mixes_are_read_off_moves():
    rng = np.random.default_rng(2)
    true = rng.normal(size=(3, 8))

    def moves_of(mixes):
        return np.stack([mixes @ true + 0.02 * rng.normal(size=(len(mixes), 8)) for _ in range(2)])

    mixes = rng.dirichlet(np.ones(3), size=60)
    asked = rng.dirichlet(np.ones(3), size=20)
    shadows = ShadowClients(np.zeros((60, 4), dtype=np.int64), moves_of(mixes))
    found = label_shares(shadows, mixes, moves_of(asked))
    assert np.allclose(found.sum(axis=1), 1) and (found >= 0).all()
    assert np.abs(found - asked).sum(axis=1).mean() < 0.2


def test_moves_of_one_client_are_linked_whatever_their_order():
    rng = np.random.default_rng(3)
    own = rng.normal(size=(12, 10))
    first, second = (own + 0.2 * rng.normal(size=own.shape) + rng.normal(size=10) for _ in range(2))
    shadows = rng.normal(size=(50, 10)), rng.normal(size=(50, 10))
    order = rng.permutation(12)
    found = same_clients(first, second[order], shadows)
    assert np.mean(order[found] == np.arange(12)) > 0.8
    assert np.mean(np.array(same_clients(first, rng.normal(size=(12, 10)), shadows)) == np.arange(12)) < 0.5


# ---- on recordings


def test_every_method_answers_and_is_judged(subject):
    found = coefficients.guess(subject.view, subject.backbone, subject.knowledge)
    said = {(guess.method, guess.scope): guess for guess in found}
    assert not [guess.refused for guess in found if guess.refused]
    assert len(said[coefficients.MEMBERSHIP, Scope.UPLOADS].answers) == 6
    assert len(said[coefficients.MEMBERSHIP, Scope.AGGREGATE].answers) == 1
    for answer in said[coefficients.LABELS, Scope.UPLOADS].answers:
        assert sum(answer.content.shares) == pytest.approx(1)
    for answer in said[coefficients.LINKED, Scope.UPLOADS].answers:
        assert isinstance(answer.content, Links)
        assert (len(answer.content.named), answer.content.clients) == (1, 6)
    targets = {each.scope: each.targets for each in read_targets(subject.view, subject.backbone)}
    findings = {(f.method, f.scope, f.metric): f for f in score(subject, found, targets)}
    linked = findings[coefficients.LINKED, Scope.UPLOADS, "re-identification"]
    assert {"prior only", "another client's vector"} <= set(dict(linked.controls))
    assert "nearest public texts" not in dict(linked.controls)
    assert findings[coefficients.MEMBERSHIP, Scope.UPLOADS, "AUC"].value > 0.5
    assert {"words alone", "prior only"} <= set(
        dict(findings[coefficients.MEMBERSHIP, Scope.AGGREGATE, "AUC"].controls)
    )


def test_links_use_no_senders_number(subject):
    """Every link is judged under the name that the truth knows, and another order of clients gives the same links."""
    recorded = read_rounds(subject.view, subject.backbone)
    shadows = shadow_clients(subject.backbone, subject.knowledge, recorded, 8)
    named = {answer.who: answer.content.named for answer in coefficients._links(recorded, shadows)}
    first, second = (np.stack([each.moves[n] for n in range(6)]) for each in recorded.rounds)
    told = same_clients(first, second, (shadows.moves[0], shadows.moves[1]))
    assert named == {Who(n): (told[n],) for n in range(6)}


def test_every_method_stands_beside_random_moves(subject, tmp_path):
    """The control has all of the attacker's knowledge, the same broadcasts, and no client's coefficients."""
    _, findings = guess_and_judge(coefficients, subject, tuple(Scope), tmp_path / "random")
    judged = [finding for finding in findings if finding.metric and finding.verdict is not None]
    assert {finding.method for finding in judged} == {
        coefficients.MEMBERSHIP,
        coefficients.LABELS,
        coefficients.LINKED,
    }
    assert all("random vector" in dict(finding.controls) for finding in judged)
    control = ServerView.open(tmp_path / "random")
    real, drawn = (read_rounds(view, subject.backbone) for view in (subject.view, control))
    for one, other in zip(real.rounds, drawn.rounds, strict=True):
        assert np.array_equal(one.start, other.start)
        assert sorted(one.moves) == sorted(other.moves)
        assert not any(np.allclose(one.moves[n], other.moves[n], rtol=0.01) for n in one.moves)


@pytest.mark.parametrize("clients", [1, 9])
def test_random_moves_have_the_mean_and_the_covariance_of_shadows(clients):
    """Over 4000 draws: a mean within 6 standard errors, a covariance within a tenth of its largest number."""
    rng = np.random.default_rng(0)
    moves, start = rng.normal(size=(12, 8)) * np.arange(1, 9) + 3, rng.normal(size=(2, 2, 2))
    draw = Draw(start.astype(np.float32), moves, clients, rng)
    made = [np.stack((each["lambda"], each["beta"]), axis=-1) for each in (draw() for _ in range(4000))]
    drawn = (np.stack(made) - start).reshape(4000, 8)
    spread = moves.std(axis=0) / np.sqrt(clients)
    assert (np.abs(drawn.mean(axis=0) - moves.mean(axis=0)) < 6 * spread / np.sqrt(4000)).all()
    expected = np.cov(moves.T, bias=True) / clients
    assert np.abs(np.cov(drawn.T) - expected).max() < 0.1 * expected.max()


def test_a_sum_is_drawn_as_a_sum(tmp_path):
    summed = open_subject(calibrated(tmp_path, defense={"kind": "masked"}), WISHES)
    control = random_moves_view(summed.view, summed.backbone, summed.knowledge, tmp_path / "random")
    for one, other in zip(
        *(read_rounds(view, summed.backbone).rounds for view in (summed.view, control)), strict=True
    ):
        assert not (one.moves or other.moves)
        assert np.array_equal(one.start, other.start)
        assert not np.allclose(one.mean, other.mean, rtol=0.01)


def test_shadows_and_gradients_are_made_once(subject):
    recorded = read_rounds(subject.view, subject.backbone)
    first = shadow_clients(subject.backbone, subject.knowledge, recorded, 8)
    assert shadow_clients(subject.backbone, subject.knowledge, recorded, 8) is first
    other = shadow_clients(subject.backbone, replaced(subject.knowledge, seed=1), recorded, 8)
    assert not np.array_equal(other.texts, first.texts)
    assert not (first.moves.flags.writeable or first.texts.flags.writeable)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pool": ()}, "no pool of candidates"),
        ({"public": ()}, "no public texts"),
        ({"labelled": False}, "no labelled public texts"),
        ({"plans": {}}, "nothing says how clients calibrate"),
    ],
)
def test_what_is_lacking_is_said(subject, changes, why):
    found = coefficients.guess(subject.view, subject.backbone, replaced(subject.knowledge, **changes))
    assert why in found[0].refused
    assert why in found[1].refused


def test_runs_without_coefficients_and_with_noise_are_refused(tmp_path):
    bare = open_subject(attacked_run(tmp_path / "bare"), WISHES)
    told = coefficients.guess(bare.view, bare.backbone, bare.knowledge)
    assert {guess.refused for guess in told} == {"the recording holds no round of coefficients"}
    noised = open_subject(private_run(tmp_path / "noised"), WISHES)
    assert coefficients.guess(noised.view, noised.backbone, noised.knowledge)[0].refused


def test_sums_are_attacked_as_sums(tmp_path):
    summed = open_subject(calibrated(tmp_path, defense={"kind": "masked"}), WISHES)
    found = {
        (g.method, g.scope): g for g in coefficients.guess(summed.view, summed.backbone, summed.knowledge)
    }
    assert "only sums over 6 clients" in found[coefficients.MEMBERSHIP, Scope.UPLOADS].refused
    assert "only sums over 6 clients" in found[coefficients.LINKED, Scope.UPLOADS].refused
    assert found[coefficients.MEMBERSHIP, Scope.AGGREGATE].answers


def test_from_the_command_line(subject):
    run = subject.view.folder.parent
    said = called("attack", "coefficients", run, "--pool", 160, "--shadows", 6, "--json")
    assert said.code == 0, said
    result = json.loads(said.out)
    assert result["knowledge"]["shadows"] == 6
    assert {finding["metric"] for finding in result["findings"]} >= {
        "AUC",
        "re-identification",
        "total variation",
    }
    assert all(guess["seconds"] >= 0 for guess in result["guesses"])
    assert "--shadows is 3" in called("attack", "membership", run, "--shadows", 3).refusal()
