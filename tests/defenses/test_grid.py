"""The grid: no sum wraps, rounding is unbiased and bounded, packing is exact to the bit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses import FrameError, InsecureSeeded, Layout, ProtocolError, SecureEntropy, UserError
from defenses.grid import Grid, scales
from defenses.ring import Ring


class Constant:
    """Draws that are all 0 (always up) or all ones (never up)."""

    simulation = True

    def __init__(self, byte):
        self.byte = byte

    def bytes(self, n):
        return bytes([self.byte]) * n


UP, DOWN = Constant(0x00), Constant(0xFF)

# ---- packing

KNOWN = [
    (1, [1, 0, 1, 1, 0, 0, 0, 0, 1], "0d 01"),
    (4, [0x1, 0x2, 0xF], "21 0f"),
    (8, [1, 255], "01 ff"),
    (12, [0xABC, 0x123], "bc 3a 12"),
    (16, [0x0102, 0xFFFE], "02 01 fe ff"),
    (20, [0x12345, 0xABCDE], "45 23 e1 cd ab"),
    (27, [1, 2**27 - 1], "01 00 00 f8 ff ff 3f"),
    (32, [0x01020304], "04 03 02 01"),
    (33, [2**32, 1], "00 00 00 00 03 00 00 00 00"),
    (64, [2**63 + 1], "01 00 00 00 00 00 00 80"),
]


@pytest.mark.parametrize(("bits", "numbers", "packed"), KNOWN)
def test_known_packings(bits, numbers, packed):
    ring = Ring(bits)
    elements = np.array(numbers, dtype=np.uint64).astype(ring.dtype)
    assert ring.pack(elements) == bytes.fromhex(packed)
    again = ring.unpack(bytes.fromhex(packed), len(numbers))
    assert again.tolist() == numbers and again.dtype == ring.dtype


@given(st.integers(1, 64), st.integers(0, 200), st.integers(0, 2**32))
def test_packing_is_the_stream_of_bits_and_comes_back(bits, count, seed):
    ring = Ring(bits)
    numbers = np.random.default_rng(seed).integers(0, 2**64, size=count, dtype=np.uint64)
    elements = ring.wrap(numbers)
    stream = sum(int(n) % 2**bits << bits * i for i, n in enumerate(numbers))
    packed = ring.pack(elements)
    assert packed == stream.to_bytes(ring.packed_size(count), "little")
    # Sums in the elements' type have bits above the ring's, which stand for nothing in it.
    assert ring.pack(numbers.astype(ring.dtype)) == packed
    assert np.array_equal(ring.unpack(packed, count), elements)


def test_unpack_takes_one_length_and_no_spare_bits():
    ring = Ring(12)
    for wrong in (b"", b"\0\0\0", b"\0\0\0\0\0\0", b"\0\0\0\0\x10"):
        with pytest.raises(FrameError):
            ring.unpack(wrong, 3)
    assert ring.unpack(b"\0\0\0\0\x0f", 3).tolist() == [0, 0, 0xF00]


@given(st.integers(1, 64), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9), st.data())
def test_a_ring_adds_and_centres_as_integers_modulo(bits, numbers, data):
    others = data.draw(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(numbers), max_size=len(numbers))
    )
    ring = Ring(bits)
    total = ring.add(ring.wrap(np.array(numbers)), ring.wrap(np.array(others)))
    half = 2 ** (bits - 1)
    expected = [(a + b + half) % 2**bits - half for a, b in zip(numbers, others, strict=True)]
    assert ring.centred(total).tolist() == expected
    assert total.dtype == ring.dtype


def test_types_are_the_smallest_that_fit():
    assert [Ring(b).dtype for b in (1, 16, 17, 32, 33, 64)] == ["u2", "u2", "u4", "u4", "u8", "u8"]
    for bits in (0, 65):
        with pytest.raises(UserError, match=r"ring\.bits"):
            Ring(bits)


# ---- the grid


def test_known_answers():
    grid = Grid(clip=7.0, bits=4, clients=2, max_weight=3)
    assert (grid.levels, grid.step, grid.bound, grid.modulus_bits) == (7, 1.0, 42, 7)
    values = np.array([0.0, 1.0, -1.0, 0.5, -0.5, 7.0, -7.0, 9.0, -9.0], dtype=np.float32)
    up, down = grid.quantise(values, 3, UP), grid.quantise(values, 3, DOWN)
    assert grid.ring.centred(up.slots).tolist() == [0, 3, -3, 2, -1, 21, -21, 21, -21, 3]
    assert grid.ring.centred(down.slots).tolist() == [0, 3, -3, 1, -2, 21, -21, 21, -21, 3]
    assert up.clipped == 2 and not up.slots.flags.writeable
    means, total = grid.dequantise(grid.ring.add(up.slots, down.slots))
    assert total == 6
    assert means.tolist() == [0, 1, -1, 0.5, -0.5, 7, -7, 7, -7]


@given(
    st.integers(2, 24),
    st.integers(1, 40),
    st.integers(1, 2**20),
    st.floats(0.0009765625, 2.0**60),
    st.integers(0, 9),
)
def test_the_worst_sum_does_not_wrap_and_one_bit_less_would(bits, clients, weight, clip, seed):
    grid = Grid(clip, bits, clients, weight)
    ends = np.array([clip, -clip, np.inf, 0.0], dtype=np.float64)
    ends[2] = clip * (1 + 2**-40)
    one = grid.quantise(ends, weight, InsecureSeeded(seed)).slots
    total = one
    for _ in range(clients - 1):
        total = grid.ring.add(total, one)
    numbers = grid.ring.centred(total).tolist()
    assert numbers == [grid.bound, -grid.bound, grid.bound, 0, clients * weight]
    means, whole = grid.dequantise(total)
    assert whole == clients * weight
    assert np.allclose(means, np.float32(clip) * np.array([1, -1, 1, 0]), rtol=1e-6)
    assert grid.bound <= grid.ring.largest
    with pytest.raises(UserError, match="needs"):
        Grid(clip, bits, clients, weight, modulus_bits=grid.modulus_bits - 1)


@given(
    st.integers(2, 24),
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.integers(1, 30),
    st.floats(0.0009765625, 1024.0),
    st.integers(0, 2**32),
)
def test_the_mean_is_within_its_bound(bits, weights, size, clip, seed):
    grid = Grid(clip, bits, len(weights), 1000)
    entropy = InsecureSeeded(seed)
    uploads = np.random.default_rng(seed).uniform(-1.2 * clip, 1.2 * clip, size=(len(weights), size))
    uploads = uploads.astype(np.float32)
    sums = grid.ring.wrap(np.zeros(size + 1, dtype=np.int64))
    for values, weight in zip(uploads, weights, strict=True):
        quantised = grid.quantise(values, weight, entropy)
        assert quantised.clipped == np.count_nonzero(np.abs(values.astype(np.float64)) > clip)
        sums = grid.ring.add(sums, quantised.slots)
    means, total = grid.dequantise(sums)
    assert total == sum(weights)
    truth = np.average(np.clip(uploads.astype(np.float64), -clip, clip), axis=0, weights=weights)
    # Second term: float32 of the mean itself.
    assert np.all(np.abs(means - truth) <= len(weights) * grid.step / total + clip * 2**-22)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_not_shown(bad):
    grid = Grid(8.0, 16, 4, 4)
    with pytest.raises(UserError, match="not finite"):
        grid.quantise(np.array([0.0, bad]), 1, SecureEntropy())


def test_numbers_beyond_the_clip_are_refused_where_asked():
    grid = Grid(8.0, 16, 4, 4, outside="refuse")
    with pytest.raises(UserError, match=r"holds 2 numbers beyond grid.clip 8; raise the clip"):
        grid.quantise(np.array([8.0, 8.5, -9.25]), 1, SecureEntropy())
    assert grid.quantise(np.array([8.0, -8.0]), 1, SecureEntropy()).clipped == 0


@pytest.mark.parametrize("weight", [0, 5, 1.5, -1, 2**40])
def test_a_weight_off_the_grid_is_refused_and_not_shown(weight):
    with pytest.raises(UserError, match=r"whole number from 1 to grid\.max_weight 4;") as caught:
        Grid(8.0, 16, 4, 4).quantise(np.zeros(1), weight, SecureEntropy())
    assert str(weight) not in str(caught.value).replace("1 to grid.max_weight 4", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip": 0.0}, "grid.clip is 0"),
        ({"clip": math.nan}, "grid.clip is nan"),
        ({"bits": 1}, "grid.bits is 1; use 2 to 24"),
        ({"bits": 25}, "grid.bits is 25"),
        ({"clients": 0}, "grid.clients is 0"),
        ({"max_weight": 0}, "grid.max_weight is 0"),
        ({"modulus_bits": 65}, "ring.bits is 65"),
        (
            {"modulus_bits": 24},
            "grid.modulus_bits is 24, and the sum of 64 clients with weights up to 32 and 16 bits a number needs 27; "
            "raise grid.modulus_bits or lower grid.bits to 13 or lower grid.max_weight to 4 or ask fewer clients",
        ),
    ],
)
def test_refusals_say_which_bound_to_change(changes, said):
    fields = {"clip": 8.0, "bits": 16, "clients": 64, "max_weight": 32} | changes
    with pytest.raises(UserError) as caught:
        Grid(**fields)
    assert str(caught.value).startswith(said)


@given(st.integers(2, 24), st.integers(1, 200), st.integers(1, 5000), st.integers(3, 63))
def test_every_remedy_works_and_is_the_largest(bits, clients, weight, modulus_bits):
    try:
        Grid(1.0, bits, clients, weight, modulus_bits)
    except UserError as error:
        parts = error.hint.split(" or ")
        for part in parts:
            words = part.split()
            if words[0] == "lower":
                field, to = words[1].removeprefix("grid."), int(words[3])
                fields = {"bits": bits, "max_weight": weight, field: to}
                Grid(1.0, clients=clients, modulus_bits=modulus_bits, **fields)
                with pytest.raises(UserError):
                    Grid(1.0, clients=clients, modulus_bits=modulus_bits, **{**fields, field: to + 1})


def test_another_carrier_is_checked_too():
    grid = Grid(8.0, 16, 64, 32)
    grid.check_sum_fits(grid.bound, "the carrier")
    with pytest.raises(
        UserError, match=r"can reach 67106816, and the carrier holds 67106815; lower grid.bits to 15"
    ):
        grid.check_sum_fits(grid.bound - 1, "the carrier")


def test_sums_that_no_uploads_have_are_refused():
    grid = Grid(1.0, 8, 2, 3)
    for numbers in ([0, 0], [0, 7], [0, -1], [128, 1], [-128, 1]):
        with pytest.raises(ProtocolError):
            grid.dequantise(grid.ring.wrap(np.array(numbers)))
    assert grid.dequantise(grid.ring.wrap(np.array([127, 1])))[0].tolist() == [1.0]


# ---- scales


def test_scales_by_array_name():
    layout = Layout.of({"beta": (2,), "vector": (2, 1, 2)})
    flat = scales(layout, {"vector": [[[2.0]], [[0.5]]]})
    assert flat.tolist() == [1, 1, 2, 2, 0.5, 0.5]
    grid = Grid(1.0, 16, 1, 1)
    values = np.array([3.0, -3.0, 2.0, -2.0, 0.5, 0.51], dtype=np.float32)
    quantised = grid.quantise(values, 1, SecureEntropy(), flat)
    assert quantised.clipped == 3
    means, _ = grid.dequantise(quantised.slots, flat)
    assert means.tolist() == [1, -1, 2, -2, 0.5, 0.5]
    assert scales(layout, {}) is None
    with pytest.raises(UserError, match="names \\['w'\\]"):
        scales(layout, {"w": 1.0})
    for bad in (np.zeros(6), np.full(6, np.nan), np.ones(5), -np.ones(6)):
        with pytest.raises(UserError, match="finite factor above 0"):
            grid.quantise(values, 1, SecureEntropy(), bad.astype(np.float32))


# ---- rounding is unbiased; false-alarm rate 1e-9 for each of 12 tests

N = 200_000
Z = 6.11  # two-sided normal quantile of 1e-9


def z_of(rounded, exact):
    """How many standard deviations the mean rounding error is from 0, if rounding up has the right probability."""
    fraction = exact - np.floor(exact)
    return (rounded - exact).sum() / np.sqrt((fraction * (1 - fraction)).sum())


@pytest.mark.parametrize("weight", [1, 7])
@pytest.mark.parametrize("place", [None, 0.03125, 0.25, 0.5, 0.75, 0.96875])
def test_rounding_is_unbiased(weight, place):
    grid = Grid(64.0, 16, 4, 8)
    exact = np.random.default_rng(3).uniform(-1000, 1000, N) if place is None else np.full(N, 12 + place)
    rounded = grid.ring.centred(grid.quantise(exact * grid.step / weight, weight, InsecureSeeded(5)).slots)[
        :-1
    ]
    assert set(np.unique(np.abs(rounded - exact) < 1)) == {True}
    assert abs(z_of(rounded, exact)) < Z
    # The same test must see rounding to nearest, down, and a draw that is off by a hundredth.
    assert abs(z_of(np.floor(exact), exact)) > Z
    if place not in (None, 0.5):
        assert abs(z_of(np.rint(exact), exact)) > Z
    biased = np.floor(exact + np.random.default_rng(9).uniform(size=N) + 0.01)
    assert abs(z_of(biased, exact)) > Z


def test_nothing_private_is_shown():
    quantised = Grid(8.0, 16, 4, 100).quantise(np.array([1.5]), 77, SecureEntropy())
    assert repr(quantised) == "Quantised(<2 slots of uint32>)"
