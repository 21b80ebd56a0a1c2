"""Audits of releases under choices of rounding, rotation and noise: consistent, and a violation once one is broken."""

import dataclasses

import numpy as np
import pytest

import defenses.dp.contribution as bounding
from attacks._mechanisms.one_round import OneRound
from attacks._program.released import claim_of, records_near
from attacks._statistics.epsilon import Conclusion
from attacks.audit import audit
from defenses.dp.lattice import Lattice
from defenses.dp.release import Bounded
from defenses.dp.transform import Transform
from defenses.noise.rounding import Rounded
from defenses.privacy_specs import GridPrivacy
from defenses.units import Trust, Unit
from defenses.upload import Layout, UploadKind

SHAPE, SIZE, CLIENTS = (2, 2, 6), 24, 3
LAYOUT = Layout.of({"vector": SHAPE})
WHOLE = GridPrivacy(noise="skellam", rotate=True, rounding="conditional")
CASES = [
    (GridPrivacy(noise="skellam"), Unit.EXAMPLE, Trust.DISTRIBUTED),
    (GridPrivacy(rotate=True), Unit.EXAMPLE, Trust.DISTRIBUTED),
    (GridPrivacy(rounding="conditional"), Unit.EXAMPLE, Trust.DISTRIBUTED),
    (GridPrivacy(rotate=True, rounding="conditional"), Unit.EXAMPLE, Trust.CENTRAL),
    (GridPrivacy(noise="skellam", rotate=True), Unit.CLIENT, Trust.CENTRAL),
    (GridPrivacy(noise="skellam", rounding="conditional"), Unit.EXAMPLE, Trust.LOCAL),
    (WHOLE, Unit.EXAMPLE, Trust.DISTRIBUTED),
    (WHOLE, Unit.CLIENT, Trust.DISTRIBUTED),
    (WHOLE, Unit.EXAMPLE, Trust.LOCAL),
]


def release(grid, unit=Unit.EXAMPLE, trust=Trust.DISTRIBUTED):
    """Of few steps, where rounding counts; noise of one client for itself takes more room."""
    rng = np.random.default_rng(4)
    public = Transform(rng.normal(size=SIZE), rng.uniform(0.5, 2, SIZE))
    facts = {"clip": 2.0, "multiplier": 1.2, "most_units": 8, "shrink": False}
    facts["bits"] = 12 if trust is Trust.LOCAL else 10
    return Bounded(UploadKind.VECTOR, unit, trust, public, **facts, grid=grid)


def audited(found, trials=60):
    roster = CLIENTS + 1
    return audit(
        OneRound(found, LAYOUT, roster),
        records_near(found, SHAPE, CLIENTS, 6, 0),
        claim_of(found, roster, 1e-5),
        trials=trials,
        one_run=0,
        repeats=40,
    )


@pytest.mark.parametrize(("grid", "unit", "trust"), CASES)
def test_a_release_keeps_what_its_ledger_entry_says(grid, unit, trust):
    """Fails by chance with at most the audit's level of 0.05; drawn from a fixed seed, so not twice."""
    found = audited(release(grid, unit, trust))
    assert found.conclusion is not Conclusion.VIOLATION
    checks = {check.name: check for check in found.checks}
    assert not [check for check in found.checks if check.holds is False]
    assert checks["noise"].holds
    assert (
        0.75 * checks["sensitivity"].declared
        < checks["sensitivity"].measured
        <= checks["sensitivity"].declared
    )


def test_a_rounding_bound_that_is_not_enforced_is_found(monkeypatch):
    """Everything up, and the last look at a row's length left out."""

    def away(values, *_):
        return Rounded((np.sign(values) * np.ceil(np.abs(values))).astype(np.int64), 0, 0, 0)

    monkeypatch.setattr(bounding, "round_to_bound", away)
    kept = audited(release(WHOLE))
    assert kept.conclusion is not Conclusion.VIOLATION, "rows that are too long are left out"
    monkeypatch.setattr(Lattice, "longest", 2**40)
    # With discrete Gaussian noise, whose claim does not hang on the L1 bound that the fault reaches, too.
    found = audited(release(WHOLE.model_copy(update={"noise": "gaussian"})))
    assert found.conclusion is Conclusion.VIOLATION
    assert "sensitivity" in found.why


def test_skellam_noise_of_few_steps_is_not_taken_for_normal():
    few, many = (dataclasses.replace(release(WHOLE), multiplier=multiplier) for multiplier in (0.25, 1.2))
    assert claim_of(few, CLIENTS + 1, 1e-5).noise is None
    assert claim_of(many, CLIENTS + 1, 1e-5).noise == many.lattice(CLIENTS + 1).noise
    normal = dataclasses.replace(few, grid=GridPrivacy(rotate=True))
    assert claim_of(normal, CLIENTS + 1, 1e-5).noise is not None


def test_rounding_that_hangs_on_other_rows_would_be_noticed(monkeypatch):
    """One stream for all rows, drawn in turn by rows and noise, moves the noise with every row."""
    real = Bounded.several

    class OneStream:
        simulation = True

        def __init__(self, entropy):
            self.entropy = entropy

        def bytes(self, n):
            return self.entropy.bytes(n)

        def branch(self, _):
            return self

    def several(self, contributed, centre, roster, entropy, times, told=None):
        return real(self, contributed, centre, roster, OneStream(entropy), times)

    monkeypatch.setattr(Bounded, "several", several)
    checks = {check.name: check for check in audited(release(WHOLE), trials=20).checks}
    assert checks["sensitivity"].holds is not True
