"""The ring of a noised sum: known widths, a chance that is kept, sums that come out right in it and wrong beyond it.

The statistical test fails by chance with the probability that it states, and draws from a fixed seed.
"""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from defenses.accounting.spent import Bound, ledger_bound, mechanism_of
from defenses.dp.by_layout import ByLayout, ring_of
from defenses.dp.lattice import lattice
from defenses.dp.modulus import ring_bits
from defenses.dp.plain import Plain
from defenses.dp.release import ARRAY, Bounded
from defenses.dp.transform import Transform
from defenses.entropy import InsecureSeeded
from defenses.grid import Grid
from defenses.noise.distributed import NoiseKind
from defenses.privacy_specs import GridPrivacy
from defenses.records import Records
from defenses.units import Neighbouring, Trust, Unit
from defenses.upload import Layout, UploadKind

KINDS = list(NoiseKind)
RANK = 3
LAYOUT = Layout.of({"v": (RANK,)})
# Rows for which there is room, and noise over what one moves: the bound comes near the stated chance, as few rings are
# filled so well by whole bits.
NEARLY_FULL = {"gaussian": (4, 4.0), "skellam": (3, 2.5)}


def terms(kind=NoiseKind.DISCRETE_GAUSSIAN, shares=10, **changes):
    facts = {
        "rank": 100,
        "clip": 1.0,
        "counted": False,
        "count_weight": 0.25,
        "most_units": 1,
        "multiplier": 4.0,
        "bits": 16,
    }
    return lattice(**{**facts, **changes}, shares=shares, kind=kind)


def release(wrap, noise="gaussian", **changes):
    """Examples under distributed trust, with few rows of room and much noise."""
    given = {"bits": 12, "count_weight": 1.0, "most_units": 2, "multiplier": 2.0, "shrink": False, **changes}
    identity = Transform.identity(RANK)
    return Bounded(
        UploadKind.VECTOR,
        Unit.EXAMPLE,
        Trust.DISTRIBUTED,
        identity,
        1.0,
        grid=GridPrivacy(noise=noise),
        wrap=wrap,
        **given,
    )


# ---- how wide


def test_a_ring_worked_out_by_hand():
    """Ten clients of 2^15 - 1 levels need 20 bits; their noise is the better part of each number, and adds up to less.

    A Gaussian of 100 numbers and variance 10 s² leaves ±x with a chance of at most 200 exp(-x²/20s²), which is 1e-9 at
    x = s √(20 · 26.02) = 22.81 s. (With the ten times 1e-29 of one client's noise being cut taken off, at the same.)
    """
    found = terms()
    assert found.reach == found.levels - math.ceil(12 * found.share)
    needs = 10 * found.reach + math.sqrt(20 * math.log(200 / 1e-9)) * found.share
    assert (found.levels, 2**16 < needs < 2**17, 2**18 < 10 * found.levels < 2**19) == (32_767, True, True)
    assert ring_bits(found, roster=10, honest=10, chance=1e-9) == 18


def test_a_smaller_chance_takes_more_bits_and_never_more_than_no_chance():
    found = terms()
    hard = (10 * found.levels).bit_length() + 1
    widths = [ring_bits(found, roster=10, honest=10, chance=10.0**-power) for power in (1, 9, 20, 28, 40)]
    assert widths == sorted(widths)
    assert widths[0] < hard
    # Below the chance that one client's noise is cut nothing is promised but the hard bound.
    assert widths[-1] == hard
    without = dataclasses.replace(found, share=0.0)
    assert ring_bits(without, roster=10, honest=10, chance=0.1) == hard


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clients", [3, 10, 100, 1000])
def test_rings_have_room_for_the_sums_without_noise(kind, clients):
    for most_units in (1, 50):
        found = terms(kind, shares=math.ceil(0.8 * clients), most_units=most_units)
        bits = ring_bits(found, roster=clients, honest=math.ceil(0.8 * clients), chance=1e-9)
        assert clients * found.reach < 2 ** (bits - 1) <= 2 * clients * found.levels


def test_the_ring_of_a_kind_of_upload_in_several_layouts():
    """Two releases that are sent in one shape are told apart by nobody, so the wider ring is both's."""
    narrow, wide = release(1e-3, multiplier=4.0), release(1e-3, most_units=64, multiplier=4.0)
    sent = narrow.travels(LAYOUT)
    other = Layout.of({"w": (RANK,)})
    assert narrow.ring(10) < wide.ring(10)
    assert ring_of(narrow, sent, 10) == narrow.ring(10)
    assert ring_of(ByLayout({LAYOUT: narrow, other: wide}), sent, 10) == wide.ring(10)
    assert ring_of(ByLayout({LAYOUT: narrow, other: wide}), LAYOUT, 10) is None
    assert ring_of(release(0.0), sent, 10) is None
    assert ring_of(Plain(UploadKind.VECTOR), sent, 10) is None
    assert ring_of(None, sent, 10) is None


# ---- how often a sum wraps


@pytest.mark.parametrize("noise", ["gaussian", "skellam"])
def test_sums_wrap_less_often_than_stated(noise):
    """Clients whose sums are cut at their range in every number, the worst there are; false alarm 1e-6.

    One bit less, and sums wrap more often than stated: at 1e-6 too.
    """
    rounds, clients, stated = 20_000, 8, 0.05
    most_units, multiplier = NEARLY_FULL[noise]
    found = release(stated, noise, most_units=most_units, multiplier=multiplier)
    bits, entropy = found.ring(clients), InsecureSeeded(5, "wraps")
    total = np.zeros((rounds, RANK + 1), dtype=np.int64)
    for client in range(clients):
        rows = np.repeat(np.eye(RANK), 4 * most_units, axis=0)
        records = Records(LAYOUT, iter([rows]), 0, UploadKind.VECTOR)
        total += found.several(records, None, clients, entropy.branch(str(client)), rounds)
    terms = found.lattice(clients)
    assert np.abs(total.mean(axis=0) - clients * terms.reach).max() < 0.1 * terms.noise

    def wraps(bits):
        outside = (total >= 2 ** (bits - 1)) | (total < -(2 ** (bits - 1)))
        return int(outside.any(axis=1).sum())

    assert 0 < wraps(bits) <= stats.binom.ppf(1 - 1e-6, rounds, stated)
    assert wraps(bits - 1) > stats.binom.ppf(1 - 1e-6, rounds, stated)


# ---- what comes out


@given(
    bits=st.integers(4, 14),
    numbers=arrays(np.int64, (5, 4), elements=st.integers(-511, 511)),
)
def test_sums_in_the_ring_come_out_and_others_come_out_wrong(bits, numbers):
    """Numbers of 10 bits from five clients need 13; whatever the ring, what comes out is the sum modulo it."""
    grid = Grid(511.0, 10, 5, 1, bits, may_wrap=True)
    entropy, ring = InsecureSeeded(1, "grid"), grid.ring
    total = np.zeros(5, dtype=ring.dtype)
    for row in numbers:
        total = ring.add(total, grid.quantise(row.astype(np.float32), 1, entropy).slots)
    means, weight = grid.dequantise(total)
    assert weight == 5
    came, true = np.rint(means.astype(np.float64) * 5).astype(np.int64), numbers.sum(axis=0)
    inside = (true < 2 ** (bits - 1)) & (true >= -(2 ** (bits - 1)))
    np.testing.assert_array_equal(came[inside], true[inside])
    assert (came != true)[~inside].all()
    assert not ((came - true) % 2**bits).any()


def test_a_forced_tiny_ring_spoils_a_sum():
    """So that the property above is seen to tell: 5 times 511 in a ring of 8 bits is -5."""
    grid = Grid(511.0, 10, 5, 1, 8, may_wrap=True)
    one = grid.quantise(np.array([511.0], dtype=np.float32), 1, InsecureSeeded(1, "grid")).slots
    total = grid.ring.wrap(one.astype(np.int64) * 5)
    assert grid.dequantise(total)[0][0] == pytest.approx(-1.0)


# ---- what it is charged


def test_the_chance_is_charged_round_by_round():
    """Each event has its part in its own delta, and the ledger's bound covers 1 + exp(epsilon) times all of it."""
    delta, rounds, wrap = 1e-5, 4, 1e-7
    facts = {"bits": 16, "multiplier": 8.0}
    plain, paying = release(0.0, **facts), release(wrap / rounds, **facts)
    roster = 10

    def bound(each):
        events = [
            event for number in range(rounds) for event in each.events("x", number, (1,), (1, 2), roster)
        ]
        found = ledger_bound(events, delta, Unit.EXAMPLE, Neighbouring.ADD_OR_REMOVE)
        assert isinstance(found, Bound)
        return events, found.epsilon

    (before, *_), without = bound(plain)
    (after, *_), with_it = bound(paying)
    assert mechanism_of(after).delta == pytest.approx(mechanism_of(before).delta + wrap / rounds, rel=1e-12)
    assert dataclasses.replace(mechanism_of(after), delta=0.0) == dataclasses.replace(
        mechanism_of(before), delta=0.0
    )
    left = ledger_bound(
        [before] * rounds,
        delta - (1 + math.exp(with_it)) * wrap,
        Unit.EXAMPLE,
        Neighbouring.ADD_OR_REMOVE,
    )
    assert without < with_it == pytest.approx(left.epsilon, rel=1e-6)
    assert after.released == f"x, summed modulo 2^{paying.ring(roster)}"
    assert before.released == "x"


def test_what_is_sent_is_the_same_in_any_ring():
    """The ring is the protection's business: a client's numbers do not depend on it."""
    rows = np.random.default_rng(3).normal(size=(4, RANK))
    sent = []
    for wrap in (0.0, 1e-3):
        records = Records(LAYOUT, iter([rows]), 0, UploadKind.VECTOR)
        sent.append(release(wrap).give(records, None, 10, InsecureSeeded(2, "same")).arrays[ARRAY])
    np.testing.assert_array_equal(*sent)
