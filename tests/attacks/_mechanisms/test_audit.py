"""Audits of mechanisms: a sound one passes, and every planted bug is flagged by the lane that is made for it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mechanisms import BUGS, CLIP, DELTA, ClippedSum, base, normal

from attacks._mechanisms.canaries import LOUD, pair, pairs
from attacks._mechanisms.games import play, sides
from attacks._mechanisms.mechanism import Claim, flatten
from attacks._mechanisms.replay import replay
from attacks._statistics.epsilon import Conclusion, Estimator
from attacks.audit import audit
from defenses.ledger import Event, Ledger
from defenses.statement import PrivacyStatement
from defenses.units import Neighbouring, Trust, Unit
from ifedpriv.errors import InputError

TRIALS, REPEATS = 100, 40


def run(mechanism, claim=None, **options):
    options = {"trials": TRIALS, "repeats": REPEATS, "one_run": 0, **options}
    return audit(mechanism, base(), claim or mechanism.claim, **options)


def broken(made):
    return {check.name for check in made.checks if check.holds is False}


def check_of(bug, name):
    mechanism = ClippedSum(bug=bug)
    found = replay(mechanism, pairs(base(), mechanism.claim, 0), mechanism.claim, repeats=60)
    return next(check for check in found.checks if check.name == name)


# ---- what is sound passes


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_sound_mechanism_is_consistent(rounds):
    made = run(ClippedSum(rounds=rounds), trials=400, one_run=100)
    assert made.conclusion is Conclusion.CONSISTENT, made.why
    assert not broken(made)
    assert 0.5 < made.tightness <= 1.0
    assert made.one_run.epsilon <= made.claim.epsilon
    assert all(game.bounds[0].estimator is Estimator.GAUSSIAN for game in made.games)
    assert json.loads(json.dumps(made.to_dict()))["decided_by"] == "gaussian"


@pytest.mark.slow
def test_sound_mechanisms_are_rarely_accused():
    """25 seeds at a level of 0.05 for the games and 0.002 for the checks: more than 5 have a probability of 0.002."""
    accused = sum(
        run(ClippedSum(multiplier=2.0), trials=60, repeats=20, seed=seed).conclusion is Conclusion.VIOLATION
        for seed in range(25)
    )
    assert accused <= 5


def test_without_declared_noise_no_bound_that_assumes_it_decides():
    sound = ClippedSum()
    made = run(sound, Claim(sound.claim.epsilon, DELTA))
    assert all(game.bounds[0].estimator is Estimator.BONFERRONI for game in made.games)
    assert made.conclusion is Conclusion.INCONCLUSIVE
    assert "a side would do" in made.why
    assert {check.name for check in made.checks if check.holds is None} >= {"sensitivity", "noise"}


# ---- planted bugs

FLAGGED_BY = {
    "noise halved": {"noise"},
    "clip missing": {"sensitivity"},
    "clip by block": {"sensitivity"},
    "seed reused": {"fresh noise", "nothing released exactly"},
    "rounds share a seed": {"independent noise"},
    "clients share a seed": {"noise"},
    "share left out": {"noise"},
    "count released": {"nothing released exactly"},
    "one round more": {"rounds"},
    "one block without noise": {"noise", "nothing released exactly"},
}


@pytest.mark.parametrize("bug", BUGS)
def test_every_planted_bug_is_flagged(bug):
    made = run(ClippedSum(rounds=2 if bug == "rounds share a seed" else 1, bug=bug), trials=20)
    assert made.conclusion is Conclusion.VIOLATION
    assert FLAGGED_BY[bug] <= broken(made), made.why


@pytest.mark.parametrize(
    "bug", ["", "noise halved", "clip missing", "clip by block", "count released", "one round more"]
)
def test_bugs_that_cost_privacy_are_proved_by_the_games_alone(bug):
    """One canary in all numbers; the seed is fixed, and a sound mechanism is accused with probability 0.05."""
    mechanism = ClippedSum(multiplier=2.0, bug=bug)
    claim = mechanism.claim
    given = pairs(base(), claim, 0)[:1]
    found = replay(mechanism, given, claim, repeats=20)
    (game,) = play(mechanism, given[:1], claim, found, trials=500, alpha=0.05, seed=0)
    assert game.conclusion is (Conclusion.VIOLATION if bug else Conclusion.CONSISTENT), game.why
    assert not bug or "is accounted" in game.why


def test_the_bugs_are_told_from_each_other_by_what_is_measured():
    halved = check_of("noise halved", "noise")
    assert halved.measured == pytest.approx(0.5, abs=0.05)
    assert halved.declared == 1.0
    joint = check_of("clip by block", "sensitivity")
    # Four blocks at the clip each are twice the clip together.
    assert joint.measured == pytest.approx(2 * CLIP, rel=1e-6)
    left = check_of("share left out", "noise")
    assert left.measured == pytest.approx(np.sqrt(2 / 3), abs=0.06)


# ---- what cannot be measured says so


def test_noise_from_elsewhere_is_not_replayed():
    rng = np.random.default_rng(0)

    def release(records, entropy):
        clipped = ClippedSum()._clip(np.concatenate(records)).sum(axis=0)
        return clipped + rng.normal(size=clipped.shape)

    made = audit(release, base(), ClippedSum().claim, trials=TRIALS, repeats=REPEATS)
    sensitivity = next(check for check in made.checks if check.name == "sensitivity")
    assert sensitivity.holds is None
    assert "draws from somewhere else" in sensitivity.why
    assert made.one_run is None
    # The games need no frozen noise.
    assert max(game.bounds[0].epsilon for game in made.games) > 0


def test_noise_that_changes_with_the_data_is_not_taken_for_sensitivity():
    def release(records, entropy):
        clipped = ClippedSum()._clip(np.concatenate(records)).sum(axis=0)
        size = sum(map(len, records))
        return clipped + normal(entropy.branch(str(size)), clipped.size).reshape(clipped.shape)

    claim = ClippedSum().claim
    found = replay(release, pairs(base(), claim, 0), claim, repeats=30)
    sensitivity = next(check for check in found.checks if check.name == "sensitivity")
    assert sensitivity.holds is None
    assert "changes with the data" in sensitivity.why


def test_releases_of_another_length_are_refused_with_a_sentence():
    def release(records, entropy):
        return normal(entropy, sum(map(len, records)))

    with pytest.raises(InputError, match="differ in length"):
        audit(release, base(), ClippedSum().claim, trials=20, repeats=10)


# ---- neighbours


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("relation", list(Neighbouring))
def test_neighbours_differ_by_one_unit(unit, relation):
    held = base()
    claim = Claim(1.0, DELTA, unit=unit, neighbouring=relation)
    record = np.ones((4, 8))
    made = pair("x", held, record, claim)
    without, inside = ([list(map(bytes, each)) for each in side] for side in (made.without, made.inside))
    if unit is Unit.EXAMPLE:
        assert len(without) == len(inside) == 3
        assert without[1:] == inside[1:]
        assert len(inside[0]) == len(held[0]) + 1
        assert len(without[0]) == len(held[0]) + (relation is Neighbouring.REPLACE)
    else:
        assert without[:3] == inside[:3]
        assert len(inside) == 4
        assert len(without) == 3 + (relation is Neighbouring.REPLACE)


def test_replacing_moves_twice_as_far():
    claim = Claim(1.0, DELTA, CLIP, 1.0, neighbouring=Neighbouring.REPLACE)
    found = replay(ClippedSum(), pairs(base(), claim, 0), claim, repeats=20)
    sensitivity = next(check for check in found.checks if check.name == "sensitivity")
    assert sensitivity.holds is False
    assert sensitivity.measured == pytest.approx(2 * CLIP, rel=1e-6)


def test_canaries_are_what_they_are_named():
    held = base()
    names = {
        each.name: each.inside[0][-1]
        for each in pairs(held, ClippedSum().claim, 0, crafted={"mine": np.eye(4, 8)})
    }
    longest = max(np.linalg.norm(r) for each in held for r in each)
    assert np.linalg.norm(names["random direction"]) == pytest.approx(LOUD * longest)
    assert not names["one block"][1:].any()
    assert np.ptp(names["same everywhere"]) == 0
    assert any(np.array_equal(names["ordinary"], r) for each in held for r in each)
    assert np.array_equal(names["mine"], np.eye(4, 8))
    with pytest.raises(InputError, match="records have shape"):
        pairs(held, ClippedSum().claim, 0, crafted={"mine": np.eye(3)})
    outlier = [*held[:2], np.concatenate([held[2], np.full((1, 4, 8), 5.0)])]
    assert pairs(outlier, ClippedSum().claim, 0)[3].inside[0][-1][0, 0] == 5.0


def test_releases_are_read_in_every_form():
    array = np.arange(6.0).reshape(2, 3)
    for release in (array, {"": array}, [array], [{"": array}]):
        flat, segments = flatten(release)
        assert flat.tolist() == [0, 1, 2, 3, 4, 5]
        assert [(s.round, s.name, s.shape) for s in segments] == [(0, "", (2, 3))]
    flat, segments = flatten([{"sum": array, "count": np.array(3.0)}, array])
    assert len(flat) == 13
    assert [(s.round, s.name, s.start, s.stop) for s in segments] == [
        (0, "sum", 0, 6),
        (0, "count", 6, 7),
        (1, "", 7, 13),
    ]
    assert [(b.start, b.stop) for b in segments[2].blocks()] == [(7, 10), (10, 13)]


# ---- what a run declares


def statement(**changes):
    given = {"epsilon": 2.0, "delta": 1e-5, "unit": Unit.CLIENT, "neighbouring": Neighbouring.REPLACE}
    return PrivacyStatement(Trust.CENTRAL, 2, "a sum", **{**given, **changes})


def test_a_claim_is_what_statement_and_ledger_say():
    nothing = dict.fromkeys(("epsilon", "delta", "unit", "neighbouring"))
    assert Claim.of_run(statement(**nothing)) is None
    ledger = Ledger()
    for number in range(3):
        ledger.add(Event("a sum", number, (0, 1), None, "gaussian", Unit.CLIENT, 0.5, 2.0))
    claim = Claim.of_run(statement(), ledger)
    assert claim == Claim(2.0, 1e-5, 0.5, 2.0, Unit.CLIENT, Neighbouring.REPLACE, rounds=3)
    ledger.add(Event("another", 3, (0, 1), None, "gaussian", Unit.CLIENT, 0.7, 2.0))
    assert Claim.of_run(statement(), ledger).sensitivity is None


@pytest.mark.parametrize(
    "wrong", [{"epsilon": -1.0}, {"delta": 0.0}, {"noise": 0.0}, {"sensitivity": np.inf}, {"rounds": 0}]
)
def test_senseless_claims_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Claim(**{"epsilon": 1.0, "delta": 1e-5, **wrong})


@pytest.mark.slow
def test_ten_thousand_trials_of_the_shipped_models_size():
    """Mean tightness over all crafted canaries, at 10,000 runs a side of 5 layers × 2 × 128 numbers."""
    records = base(shape=(5, 2, 128))
    mechanism = ClippedSum()
    made = audit(mechanism, records, mechanism.claim, trials=10_000)
    assert made.conclusion is Conclusion.CONSISTENT, made.why
    assert made.tightness > 0.8


# ---- runs that canaries share


def test_canaries_are_compared_with_the_same_runs_without_them():
    """Neighbours that replace have no such runs in common."""
    calls = []

    def counted(records, entropy):
        calls.append(len(records[0]))
        return ClippedSum()(records, entropy)

    for neighbouring, expected in (
        (Neighbouring.ADD_OR_REMOVE, lambda canaries: canaries + 1),
        (Neighbouring.REPLACE, lambda canaries: 2 * canaries),
    ):
        claim = replace(ClippedSum(2.0).claim, neighbouring=neighbouring)
        given = pairs(base(), claim, 0)
        found = replay(ClippedSum(), given, claim, repeats=20)
        calls.clear()
        games = play(counted, given, claim, found, trials=30, alpha=0.05, seed=0)
        assert [game.canary for game in games] == [each.name for each in given]
        assert len(calls) == 30 * expected(len(given)) == 30 * sides(given)
