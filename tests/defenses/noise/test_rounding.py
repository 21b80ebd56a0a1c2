"""No rounded record is longer than the bound, the bounds are theorems, and rounding has the right mean."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from defenses import InsecureSeeded, SecureEntropy, UserError
from defenses.noise.rounding import BETA, How, l1_bound, l2_bound, round_to_bound, squared_bound

ANY = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, -0.0, 0.5, 1e308, -1e308, 5e-324]
)
BETAS = st.sampled_from([1e-9, 0.01, BETA, 0.9, 0.999])


def squares(rounded):
    return [sum(int(x) ** 2 for x in row) for row in rounded.numbers]


class Always:
    """Draws that always round up, or never."""

    simulation = True

    def __init__(self, byte):
        self.byte = byte

    def bytes(self, n):
        return bytes([self.byte]) * n


UP, DOWN = Always(0), Always(0xFF)


@given(
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=ANY),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e5),
    st.sampled_from(How),
    BETAS,
    st.sampled_from([InsecureSeeded(1), UP, DOWN]),
)
def test_bounds_hold_whatever_is_given(values, step, clip, how, beta, entropy):
    rounded = round_to_bound(values, step, clip, entropy, how, beta)
    size = values.shape[1]
    most = squared_bound(clip / step, size, how, beta)
    assert all(square <= most for square in squares(rounded))
    assert all(sum(abs(int(x)) for x in row) <= l1_bound(most, size) for row in rounded.numbers)
    assert not rounded.numbers[~np.isfinite(values).all(axis=1)].any()
    assert rounded.zeroed == np.count_nonzero(~np.isfinite(values).all(axis=1))
    assert rounded.numbers.dtype == np.int64 and not rounded.numbers.flags.writeable


@given(
    arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-50, 50)),
    st.sampled_from(How),
)
def test_records_within_the_clip_move_by_less_than_a_step(values, how):
    clip = max(float(np.sqrt((values**2).sum(axis=1)).max()), 1e-3) * 1.0001
    rounded = round_to_bound(values, 0.25, clip, InsecureSeeded(2), how)
    assert rounded.shrunk == rounded.zeroed == 0
    assert np.abs(rounded.numbers - values / 0.25).max() <= (0.5 + 1e-9 if how is How.NEAREST else 1)


def test_longer_records_keep_their_direction():
    values = np.array([[3e300, 4e300], [30.0, -40.0], [0.3, 0.4]])
    rounded = round_to_bound(values, 1e-6, 5.0, InsecureSeeded(1))
    assert rounded.shrunk == 2 and rounded.zeroed == 0
    assert np.allclose(rounded.numbers * 1e-6, [[3, 4], [3, -4], [0.3, 0.4]], atol=2e-6)


@given(
    arrays(np.float64, st.integers(1, 9), elements=st.floats(-6, 6)),
    st.floats(0.001, 0.999),
    st.floats(1.0, 1.5),
)
def test_refusals_are_as_rare_as_promised(record, beta, slack):
    """Every outcome of rounding, with its probability."""
    clip = max(float(np.linalg.norm(record)) * slack, 1e-6)
    most = squared_bound(clip, len(record), How.CONDITIONAL, beta)
    floors = np.floor(record)
    fractions = record - floors
    refused = 0.0
    for ups in itertools.product((0, 1), repeat=len(record)):
        if ((floors + ups) ** 2).sum() > most:
            refused += math.prod(f if up else 1 - f for f, up in zip(fractions, ups, strict=True))
    # B is a whole number, rounded down, and so are squared norms: nothing is lost by that.
    assert refused <= beta + 1e-9


def test_refusals_happen_and_are_made_up_for():
    values = np.full((4000, 64), 0.3)
    clip = 0.3 * 8
    rounded = round_to_bound(values, 1.0, clip, InsecureSeeded(3), beta=0.9)
    most = squared_bound(clip, 64, beta=0.9)
    plain = InsecureSeeded(3).bytes(4 * values.size)
    once = (np.frombuffer(plain, dtype="<u4").reshape(values.shape) < 0.3 * 2**32).sum(axis=1)
    assert rounded.retried == np.count_nonzero(once > most) > 20
    assert max(squares(rounded)) <= most < max(once)


def test_what_is_refused_again_and_again_is_rounded_towards_zero():
    values = np.full((2, 100), 0.1)
    values[1, :50] = -0.1
    rounded = round_to_bound(values, 1.0, 1.0, UP)
    assert rounded.retried == 2 and rounded.zeroed == 0
    assert not rounded.numbers[0].any()
    exact = round_to_bound(np.array([[3.0, -4.0, 0.0]]), 1.0, 5.0, UP)
    assert exact.numbers.tolist() == [[3, -4, 0]] and exact.retried == 0


@pytest.mark.parametrize(("beta", "slack"), [(1e-6, 1e-5), (BETA, 0.005)])
def test_mean_is_right(beta, slack):
    """Within 5 standard errors a number (40 of them: a false alarm in 40,000), and what the condition moves it."""
    record = np.linspace(-2.3, 3.9, 40)
    many = 40_000
    rounded = round_to_bound(
        np.tile(record, (many, 1)), 1.0, float(np.linalg.norm(record)) + 1e-9, InsecureSeeded(4), beta=beta
    )
    mean = rounded.numbers.mean(axis=0)
    spread = np.sqrt((record - np.floor(record)) * (np.ceil(record) - record) / many)
    assert (np.abs(mean - record) <= 5 * spread + slack).all()
    # A rounding that always went to the nearest would not pass.
    assert np.abs(np.rint(record) - record).max() > 0.3


@given(st.floats(0.01, 1e4), st.integers(1, 10_000), BETAS)
def test_bounds_are_the_formulas(clip, size, beta):
    root = math.sqrt(size)
    likely = clip**2 + size / 4 + math.sqrt(2 * math.log(1 / beta)) * (clip + root / 2)
    assert squared_bound(clip, size, How.CONDITIONAL, beta) == pytest.approx(
        min(likely, (clip + root) ** 2), rel=1e-12, abs=1
    )
    assert squared_bound(clip, size, How.NEAREST) == pytest.approx((clip + root / 2) ** 2, rel=1e-12, abs=1)
    for how in How:
        most = squared_bound(clip, size, how, beta)
        assert l2_bound(clip, size, how, beta) ** 2 >= most
        assert l1_bound(most, size) <= min(root * math.sqrt(most), most) * (1 + 1e-12)


@given(arrays(np.int64, st.integers(1, 12), elements=st.integers(-9, 9)))
def test_l1_bound_holds_for_whole_numbers(numbers):
    assert np.abs(numbers).sum() <= l1_bound(int((numbers**2).sum()), len(numbers))


@given(st.floats(0.0, 30.0), st.integers(1, 12), st.data())
def test_nearest_rounding_never_reaches_further(norm, size, data):
    record = data.draw(arrays(np.float64, size, elements=st.floats(-30, 30)))
    length = float(np.linalg.norm(record))
    clip = max(length, norm, 1e-6)
    assert (np.rint(record) ** 2).sum() <= squared_bound(clip, size, How.NEAREST) + 1e-9


def test_whole_batch_is_empty_or_large():
    assert round_to_bound(np.zeros((0, 3)), 1.0, 1.0, UP).numbers.shape == (0, 3)
    values = np.random.default_rng(0).normal(size=(8, 30_000))
    rounded = round_to_bound(values, 1e-4, 100.0)
    assert (
        np.abs(
            rounded.numbers * 1e-4 - values * np.minimum(1, 100 / np.linalg.norm(values, axis=1))[:, None]
        ).max()
        < 2e-4
    )


def test_the_systems_generator_is_the_default(monkeypatch):
    asked = []
    original = SecureEntropy.bytes
    monkeypatch.setattr(SecureEntropy, "bytes", lambda self, n: asked.append(n) or original(self, n))
    round_to_bound(np.full((1, 100), 0.5), 1.0, 10.0)
    assert sum(asked) >= 400
    asked.clear()
    round_to_bound(np.full((1, 100), 0.5), 1.0, 10.0, how=How.NEAREST)
    assert asked == []


def test_records_are_not_shown():
    assert "7" not in repr(round_to_bound(np.full((1, 2), 7.0), 1.0, 10.0, DOWN))


def test_senseless_values_are_refused():
    with pytest.raises(UserError, match="shape"):
        round_to_bound(np.zeros(3), 1.0, 1.0)
    for step, clip in ((0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, math.nan), (1e-12, 1.0)):
        with pytest.raises(UserError, match="rounding"):
            round_to_bound(np.zeros((1, 3)), step, clip)
    with pytest.raises(UserError, match=r"rounding\.beta"):
        squared_bound(1.0, 3, How.CONDITIONAL, 1.0)
