"""The tables are the laws' own to the last of 64 bits, and every rare path of a draw decides as it must."""

import mpmath
import numpy as np
import pytest
from sampling import Scripted

from defenses import InsecureSeeded
from defenses.noise import discrete_gaussian as bells
from defenses.noise import skellam as skellams
from defenses.noise.blocks import COARSEST, FINEST, exp_minus_float, width_for

SIGMAS = (0.1, 0.5, 1.3, 30.3, 128.0, 1000.5, 2.0**40)
MEANS = (2.0**-13, 0.5, 77.7, 16385.5, 2.0**31 + 0.15, 2.0**49)


def bell(sigma):
    def log_weight(x):
        return -(mpmath.mpf(x) ** 2) / 2 / mpmath.mpf(sigma) ** 2

    return log_weight


def poisson(mean):
    mode = int(mean)
    anchor = mpmath.loggamma(mode + 1)

    def log_weight(offset):
        x = mode + offset
        return offset * mpmath.log(mean) - mpmath.loggamma(x + 1) + anchor if x >= 0 else mpmath.mpf("-inf")

    return log_weight


def peak_of(block, width):
    return block * width if block >= 0 else (block + 1) * width - 1


def samplers():
    for sigma in SIGMAS:
        blocks = bells._blocks(sigma)
        yield pytest.param(blocks._table, blocks._width, bell(sigma), 0, sigma, id=f"bell-{sigma:g}")
    for mean in MEANS:
        drawn = skellams._poisson(mean)
        table, width = getattr(drawn, "_table", drawn), getattr(drawn, "_width", 1)
        # A table of single numbers counts from 0, one of blocks from the mode.
        shift = int(mean) if table is drawn else 0
        yield pytest.param(table, width, poisson(mean), shift, mean**0.5, id=f"poisson-{mean:g}")


@pytest.mark.parametrize(("table", "width", "log_weight", "shift", "deviation"), list(samplers()))
def test_tables_are_exact(table, width, log_weight, shift, deviation):
    with mpmath.workprec(320):
        reach = int(16 * deviation / width) + 40
        blocks = range(-reach, reach + 1)
        weights = [mpmath.exp(log_weight(peak_of(block, width))) for block in blocks]
        total, so_far, floors = mpmath.fsum(weights), mpmath.mpf(0), {}
        for block, weight in zip(blocks, weights, strict=True):
            so_far += weight
            floors[block + shift] = min(int(mpmath.floor(so_far / total * 2**64)), 2**64 - 1)
    found = table._floors.tolist()
    # A few, since pytest takes minutes to compare long lists that differ.
    wrong = [p for p, floor in enumerate(found) if floor != floors.get(table.first - 1 + p, 0)]
    assert wrong[:5] == []
    assert found[0] == 0 and found[-1] == 2**64 - 1
    if width > 1:
        furthest = max(-table.first, table.first + len(found))
        assert furthest * width < 10 * deviation
        assert FINEST <= deviation / width <= COARSEST


@pytest.mark.parametrize(("table", "width", "log_weight", "shift", "deviation"), list(samplers()))
def test_guide_and_search_agree_on_every_head(table, width, log_weight, shift, deviation):
    heads = np.arange(2**16, dtype=np.uint64) << np.uint64(48)
    lowest = np.searchsorted(table._floors, heads, side="left")
    highest = np.searchsorted(table._floors, heads + np.uint64(2**48 - 1), side="left")
    settled = table._guide >= 0
    assert np.array_equal(table._guide[settled], lowest[settled])
    assert np.array_equal(table._guide[settled], highest[settled])
    assert settled.mean() > 0.95


def words(*numbers):
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def head_and_rest(word):
    """The bytes of two requests whose digits make up a 64-bit word."""
    return (word >> 48).to_bytes(2, "little") + words((word & (2**48 - 1)) << 16)


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(bells._blocks(0.5)._table, id="bell-0.5"),
        pytest.param(bells._blocks(300.1)._table, id="bell-300.1"),
        pytest.param(skellams._poisson(4.5), id="poisson-4.5"),
        pytest.param(skellams._poisson(40_000.5)._table, id="poisson-40000.5"),
    ],
)
def test_ties_are_settled_by_further_digits(table):
    floors, counts = np.unique(table._floors, return_counts=True)
    # Where outcomes share a floor, one digit more does not tell which.
    alone = floors[counts == 1][1:-1]
    for floor in alone[np.unique(np.linspace(0, len(alone) - 1, 4).astype(int))].tolist():
        place = int(np.searchsorted(table._floors, floor))
        for digits, outcome in (((floor, 0), place), ((floor, 2**64 - 1), place + 1)):
            entropy = Scripted(head_and_rest(digits[0]) + words(digits[1]), InsecureSeeded(1))
            assert table.draw(1, entropy).tolist() == [table.first - 1 + outcome]
            assert entropy.script == b""


@pytest.mark.parametrize("place", ["first", "last"])
def test_both_tails_go_on_beyond_the_table(place):
    table = bells._blocks(3.0)._table
    digit = 0 if place == "first" else 2**64 - 1
    script = head_and_rest(digit) + words(digit, digit, 2**63)
    (outcome,) = table.draw(1, Scripted(script, InsecureSeeded(1))).tolist()
    with mpmath.workprec(400):
        z = mpmath.jtheta(3, 0, mpmath.exp(-1 / mpmath.mpf(18)))
        inner, outer = (
            mpmath.nsum(lambda x: mpmath.exp(-(x**2) / mpmath.mpf(18)), [start, mpmath.inf]) / z
            for start in (abs(outcome), abs(outcome) + 1)
        )
        assert outer < mpmath.mpf(2) ** -193 < inner
    assert abs(outcome) > max(-table.first, table.first + len(table._floors))


def wide():
    for sigma in (128.0, 1000.5, 2.0**40):
        yield pytest.param(bells._blocks(sigma), id=f"bell-{sigma:g}")
    for mean in (16385.5, 500_000.25, 2.0**31 + 0.15):
        yield pytest.param(skellams._poisson(mean), id=f"poisson-{mean:g}")


def points(blocks, count, seed):
    """Random numbers over the whole table, as blocks and offsets, each block's peak and far end among them."""
    random = np.random.default_rng(seed)
    table, width = blocks._table, blocks._width
    rows = random.integers(table.first, table.first + len(table.weights.low), count)
    offsets = rows * width + random.choice([0, width - 1, *random.integers(0, width, 8)], count)
    return rows, offsets, np.where(rows >= 0, rows * width, (rows + 1) * width - 1)


@pytest.mark.parametrize("blocks", list(wide()))
def test_floats_that_screen_are_as_near_as_they_claim(blocks):
    rows, offsets, peaks = points(blocks, 300, 1)
    near = blocks._law.near(offsets, peaks)
    for at in range(len(rows)):
        low, high = blocks._law.ratio(int(offsets[at]), int(peaks[at]), 64)
        assert high - low <= 4
        assert abs(near[at] - low / 2**64) < 2**-34


@pytest.mark.parametrize("blocks", list(wide()))
def test_sure_digits_are_below_every_chance_of_the_block(blocks):
    rows, offsets, peaks = points(blocks, 300, 2)
    sure = blocks._sure[rows - blocks._table.first + 1].astype(int)
    for at in range(len(rows)):
        low, _ = blocks._law.ratio(int(offsets[at]), int(peaks[at]), 64)
        assert int(sure[at]) << 48 <= low
    assert (sure > 0.8 * 2**16).mean() > 0.95
    assert blocks._sure[0] == blocks._sure[-1] == 0


@pytest.mark.parametrize("blocks", list(wide()))
def test_the_decision_turns_exactly_at_the_chance(blocks):
    law, width = blocks._law, blocks._width
    for offset, peak in ((width - 1, 0), (-width, -1), (5 * width + width // 2, 5 * width)):
        low, high = law.ratio(offset, peak, 64)
        true_low, _ = law.ratio(offset, peak, 192)
        exact = true_low >> 128
        assert low <= exact <= high
        asked = [
            blocks._settle(offset, peak, digits, InsecureSeeded(0))
            for digits in (exact - 1, exact + 1, exact - 2**40, exact + 2**40)
        ]
        assert asked == [True, False, True, False]
        # At the digit itself further ones decide.
        following = (true_low >> 64) & (2**64 - 1)
        for step, kept in ((-1, True), (1, False)):
            entropy = Scripted(words(following + step), InsecureSeeded(0))
            assert blocks._settle(offset, peak, exact, entropy) is kept


@pytest.mark.parametrize("blocks", list(wide()))
def test_proposals_are_kept_up_to_the_chance_and_no_further(blocks):
    """Whole proposals, from scripted digits on both sides of every threshold that the first 16 and all 64 have."""
    table, width = blocks._table, blocks._width
    random = np.random.default_rng(3)
    heads = np.flatnonzero(table._guide > 0)
    for head in random.choice(heads, 40).tolist():
        block = table.first - 1 + int(table._guide[head])
        inside = int(random.choice([0, width - 1, random.integers(width)]))
        peak = peak_of(block, width)
        low, high = blocks._law.ratio(block * width + inside, peak, 64)
        sure = int(blocks._sure[block - table.first + 1])
        for digits in {
            low - 9,
            high + 9,
            low - 2**37,
            high + 2**37,
            (sure << 48) - 1,
            sure << 48,
            (sure + 40) << 48,
        }:
            if not 0 <= digits < 2**64:
                continue
            script = head.to_bytes(2, "little") + inside.to_bytes(blocks._offset.itemsize, "little")
            entropy = Scripted(script + head_and_rest(digits), InsecureSeeded(0))
            offsets, kept = blocks._propose(1, entropy)
            assert offsets.tolist() == [block * width + inside]
            assert kept.tolist() == [digits < low]


def test_proposals_beyond_the_table_take_the_exact_way():
    blocks = bells._blocks(1000.5)
    asked = []
    original = blocks._settle
    blocks._settle = lambda *given: asked.append(given) or original(*given)
    try:
        digit = 2**64 - 1
        script = head_and_rest(digit) + words(2**60, 0) + bytes(1) + b"\0\0" + words(0)
        blocks.draw(1, Scripted(script, InsecureSeeded(1)))
    finally:
        blocks._settle = original
    assert asked and abs(asked[0][0]) > 9 * 1000


def test_exponential_by_basic_operations():
    numbers = np.linspace(0, 0.25, 2001)
    with mpmath.workprec(120):
        true = [float(mpmath.exp(-mpmath.mpf(float(number)))) for number in numbers]
    assert np.abs(exp_minus_float(numbers) - true).max() < 2**-35


def test_widths():
    assert [width_for(square) for square in (0, 128**2 - 1, 128**2, 256**2 - 1, 256**2)] == [1, 1, 2, 2, 4]
