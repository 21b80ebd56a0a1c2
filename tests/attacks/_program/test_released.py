"""The product's own release under audit: consistent as shipped, and a violation once something is planted in it."""

import dataclasses

import numpy as np
import pytest

import defenses.dp.contribution as bounding
import defenses.dp.release as releasing
from attacks._mechanisms.one_round import OneRound
from attacks._program.released import claim_of, records_near
from attacks._statistics.epsilon import Conclusion
from attacks.audit import audit
from defenses.dp.release import Bounded
from defenses.dp.transform import Transform
from defenses.entropy import InsecureSeeded
from defenses.units import Trust, Unit
from defenses.upload import Layout, UploadKind

SHAPE = (2, 2, 6)
SIZE = 24
LAYOUT = Layout.of({"vector": SHAPE})
CLIENTS = 3


def release(unit=Unit.EXAMPLE, trust=Trust.CENTRAL, **changes):
    rng = np.random.default_rng(4)
    public = Transform(rng.normal(size=SIZE), rng.uniform(0.5, 2, SIZE))
    facts = {"clip": 2.0, "multiplier": 1.2, "most_units": 32, "shrink": False}
    return Bounded(UploadKind.VECTOR, unit, trust, public, **{**facts, **changes})


def audited(found, claim=None, trials=200):
    roster = CLIENTS + 1
    return audit(
        OneRound(found, LAYOUT, roster),
        records_near(found, SHAPE, CLIENTS, 6, 0),
        claim or claim_of(found, roster, 1e-5),
        trials=trials,
        one_run=0,
        repeats=40,
    )


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("trust", [Trust.CENTRAL, Trust.DISTRIBUTED, Trust.LOCAL])
def test_the_shipped_release_keeps_what_its_ledger_entry_says(unit, trust):
    """Fails by chance with at most the audit's level of 0.05; drawn from a fixed seed, so not twice."""
    found = audited(release(unit, trust))
    assert found.conclusion is Conclusion.CONSISTENT
    assert not [check for check in found.checks if check.holds is False]
    assert found.tightness > 0.25


def test_the_replayed_sensitivity_reaches_the_declared_one_and_not_beyond():
    (check,) = [each for each in audited(release(), trials=20).checks if each.name == "sensitivity"]
    assert 0.99 * check.declared < check.measured <= check.declared


def violated(found, claim=None):
    result = audited(found, claim)
    assert result.conclusion is Conclusion.VIOLATION
    return result.why


def test_half_the_noise_is_found(monkeypatch):
    real = releasing.drawn
    monkeypatch.setattr(releasing, "drawn", lambda kind, sigma, *rest: real(kind, sigma / 2, *rest))
    assert "noise" in violated(release())


def test_a_missing_clip_is_found(monkeypatch):
    def long(rows, lattice, *_):
        whole = np.rint(rows * lattice.steps / lattice.clip).clip(-(2**40), 2**40).astype(np.int64)
        return whole, 0, 0

    monkeypatch.setattr(bounding, "clip_rows", long)
    assert "sensitivity" in violated(release())


def test_a_count_that_is_released_exactly_is_found(monkeypatch):
    real = Bounded.noised

    def told(self, total, roster, entropy):
        found = real(self, total, roster, entropy)
        found[-1] = total[-1]
        return found

    monkeypatch.setattr(Bounded, "noised", told)
    violated(release())


def test_one_clients_share_left_out_is_found():
    short = release(Unit.EXAMPLE, Trust.DISTRIBUTED, honest=lambda roster: roster * 2)
    promised = release(Unit.EXAMPLE, Trust.DISTRIBUTED)
    claim = claim_of(promised, CLIENTS + 1, 1e-5)
    shares = short.lattice(CLIENTS + 1)
    steps = promised.lattice(CLIENTS + 1)
    assert shares.share < steps.share
    scaled = dataclasses.replace(
        claim,
        sensitivity=shares.sensitivity,
        noise=claim.noise * shares.sensitivity / claim.sensitivity,
    )
    assert "noise" in violated(short, scaled)


def test_the_same_noise_every_time_is_found(monkeypatch):
    class Forgetful:
        simulation = True

        def bytes(self, n):
            return b"\x5a" * n

        def branch(self, _):
            return self

    real = Bounded.noised
    monkeypatch.setattr(
        Bounded, "noised", lambda self, total, roster, _: real(self, total, roster, Forgetful())
    )
    violated(release())


# ---- many rounds at once


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("trust", list(Trust))
def test_many_rounds_at_once_are_as_many_by_themselves(unit, trust):
    """Of one round to the digit; of 200 in mean and spread, within 6 standard errors of both ways together."""
    found = OneRound(release(unit, trust), LAYOUT, CLIENTS + 1)
    held = records_near(found.release, SHAPE, CLIENTS, 6, 0)
    alone = found(held, InsecureSeeded(0, "a"))
    assert np.array_equal(found.many(held, InsecureSeeded(0, "a"), 1)[0], alone)
    many = found.many(held, InsecureSeeded(0, "b"), 200)
    single = np.stack([found(held, InsecureSeeded(i, "c")) for i in range(200)])
    assert many.shape == single.shape
    spread = single.std(axis=0)
    assert (np.abs(many.mean(axis=0) - single.mean(axis=0)) < 6 * spread * np.sqrt(2 / 200)).all()
    assert (np.abs(many.std(axis=0) / spread - 1) < 6 / np.sqrt(200)).all()
    # No two rounds share noise: numbers in steps of this size do not meet by chance.
    assert len(np.unique(many.reshape(200, -1), axis=0)) == 200


def test_a_way_of_many_that_is_another_mechanism_is_not_taken(monkeypatch):
    """Played at once it would add no noise, so it is played one by one, and what is shipped is consistent."""
    asked = []

    def silent(self, records, entropy, times):
        asked.append(times)
        return np.zeros((times, self.release.rank + 1))

    monkeypatch.setattr(OneRound, "many", silent)
    assert audited(release(), trials=40).conclusion is not Conclusion.VIOLATION
    assert set(asked) == {1}
