"""Parameters of mechanisms: what is refused, and that JSON loses and invents nothing."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import ROOT, environment

from defenses.accounting import (
    MECHANISMS,
    DiscreteGaussian,
    DistributedDiscreteGaussian,
    Gaussian,
    SampledGaussian,
    Skellam,
    mechanism_from_json,
)
from defenses.accounting.continuous import Mechanism
from defenses.errors import UserError

REAL = st.floats(1.0, 1e6)
DISTANCES = st.just(0.0) | st.floats(0, 1e-3)
WHOLE = st.integers(1, 10_000)
ANY = st.one_of(
    st.builds(Gaussian, st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), DISTANCES),
    st.builds(DiscreteGaussian, REAL, REAL, WHOLE, st.none() | REAL, DISTANCES),
    st.builds(DistributedDiscreteGaussian, REAL, st.none() | REAL, REAL, WHOLE, WHOLE, DISTANCES),
    st.builds(Skellam, REAL, REAL, REAL, DISTANCES),
    st.builds(SampledGaussian, REAL, st.floats(1e-6, 1), WHOLE, DISTANCES),
)


@given(ANY)
def test_json_loses_nothing(mechanism):
    text = json.dumps(mechanism.to_json(), allow_nan=False)
    back = mechanism_from_json(json.loads(text))
    assert back == mechanism
    assert type(back) is type(mechanism) is MECHANISMS[mechanism.name]


@given(ANY, st.floats(1.0, 1e4))
def test_noise_can_be_set_and_is_what_was_set(mechanism, spread):
    assert mechanism.with_spread(spread).spread == pytest.approx(spread, rel=1e-12)
    assert mechanism.with_spread(spread).moved == mechanism.moved
    assert isinstance(getattr(mechanism, mechanism.noise_field), int | float)


@given(ANY, st.floats(1.01, 100), st.floats(1.0, 10))
def test_divergences_grow_with_the_order_and_fall_with_noise(mechanism, order, factor):
    # A sum of terms near 1 is off by some 1e-16, which is more than a rarely sampled step's whole divergence.
    rounding = 1e-15 * getattr(mechanism, "steps", 1)
    assert mechanism.renyi(order) <= mechanism.renyi(order * factor) * (1 + 1e-9) + rounding
    louder = mechanism.with_spread(mechanism.spread * factor)
    assert louder.renyi(order) <= mechanism.renyi(order) * (1 + 1e-9) + rounding
    if mechanism.rho is not None:
        assert mechanism.renyi(order) <= order * mechanism.rho * (1 + 1e-12)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Gaussian(0.0, 1.0), "gaussian.sensitivity is 0"),
        (lambda: Gaussian(math.inf, 1.0), "contributions are not bounded"),
        (lambda: Gaussian(math.nan, 1.0), "contributions are not bounded"),
        (lambda: Gaussian(-1.0, 1.0), "above 0"),
        (lambda: Gaussian(1.0, 0.0), "gaussian.noise is 0"),
        (lambda: Gaussian(1.0, math.inf), "gaussian.noise is inf"),
        (lambda: Gaussian("1", 1.0), "gaussian.sensitivity is '1'"),
        (lambda: Gaussian(True, 1.0), "gaussian.sensitivity is True"),
        (lambda: Gaussian(1.0, 1.0, delta=1.0), "gaussian.delta is 1.0"),
        (lambda: Gaussian(1.0, 1.0, delta=-0.1), "gaussian.delta is -0.1"),
        (lambda: DiscreteGaussian(0.5, 1.0, 1), "steps of the grid"),
        (lambda: DiscreteGaussian(1.0, 1.0, 0), "dimension is 0"),
        (lambda: DiscreteGaussian(1.0, 1.0, 1.5), "dimension is 1.5"),
        (lambda: DiscreteGaussian(2.0, 1.0, 1, 0.5), "steps of the grid"),
        (lambda: DistributedDiscreteGaussian(1.0, None, 1.0, 0, 1), "shares is 0"),
        (lambda: DistributedDiscreteGaussian(0.1, None, 1.0, 2, 1), "steps of the grid"),
        (lambda: Skellam(1.0, 0.5, 1.0), "steps of the grid"),
        (lambda: Skellam(1.0, 1.0, 0.0), "skellam.mu is 0"),
        (lambda: SampledGaussian(1.0, 0.0, 1), "rate is 0"),
        (lambda: SampledGaussian(1.0, 1.5, 1), "a probability is at most 1"),
        (lambda: SampledGaussian(1.0, 0.5, True), "steps is True"),
    ],
)
def test_parameters_that_prove_nothing_are_refused(make, match):
    with pytest.raises(UserError, match=match):
        make()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({}, "mechanism 'None' is unknown"),
        ({"mechanism": "laplace"}, "unknown; use one of gaussian, sampled-gaussian|unknown"),
        ({"mechanism": "gaussian", "sensitivity": 1.0}, "lacks 'noise'"),
        ({"mechanism": "gaussian", "sensitivity": 1.0, "noise": 1.0, "l1_sensitivity": 1.0}, "no parameter"),
        ({"mechanism": "gaussian", "sensitivity": 1.0, "noise": None}, "noise is None"),
        ({"mechanism": "gaussian", "sensitivity": 1.0, "noise": [1.0]}, "noise is"),
    ],
)
def test_other_json_is_no_mechanism(data, match):
    with pytest.raises(UserError, match=match):
        mechanism_from_json(data)


def test_an_l1_sensitivity_bounds_the_other_one():
    assert DiscreteGaussian(4.0, 8.0, 9, 2.0).rho == DiscreteGaussian(2.0, 8.0, 9).rho
    assert DistributedDiscreteGaussian(4.0, 2.0, 8.0, 1, 9).moved == 2.0
    # Whole numbers: |x| ≤ x², so Δ₁ ≤ Δ₂².
    assert DistributedDiscreteGaussian(2.0, None, 8.0, 4, 10_000).moved_l1 == 4.0
    assert DistributedDiscreteGaussian(9.0, None, 8.0, 4, 4).moved_l1 == 18.0
    assert Skellam(2.0, 100.0, 50.0).moved_l1 == 4.0


def test_every_mechanism_names_its_theorem_and_what_it_assumes():
    for kind in MECHANISMS.values():
        assert issubclass(kind, Mechanism)
        assert any(year in kind.theorem for year in ("2018", "2020", "2021", "2022"))
        assert kind.assumes and not kind.assumes.endswith(".")


def test_the_calculator_loads_dp_accounting_only_when_it_needs_it():
    code = (
        "import sys, defenses.accounting as a; from defenses.units import Neighbouring as N, Unit as U\n"
        "a.compose([a.Gaussian(1.0, 2.0)], 1e-5, U.CLIENT, N.REPLACE)\n"
        "sys.exit('dp_accounting' in sys.modules or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=False)
    assert done.returncode == 0
