"""The table of parameters against the standard, against itself and against the library."""

import numpy as np
import pytest
from homomorphic import keys

from defenses import UserError
from defenses.grid import Grid
from defenses.secagg.homomorphic.ciphertext import add, pack, unpack
from defenses.secagg.homomorphic.engine import Engine, tenseal
from defenses.secagg.homomorphic.parameters import LIMB_BITS, MAX_CLIENTS, TABLE, TAG_MODULUS, Scheme

STANDARD = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Table 1 of the Homomorphic Encryption Security Standard (2018): ternary secret, 128 bits, classical."""


def is_prime(n):
    if any(n % p == 0 for p in (2, 3, 5, 7, 11, 13)):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        x = pow(base, odd, n)
        if x not in (1, n - 1) and all((x := x * x % n) != n - 1 for _ in range(twos - 1)):
            return False
    return True


@pytest.mark.parametrize("row", TABLE.values(), ids=str)
def test_rows_are_within_the_standard(row):
    assert row.security_bits == 128 and row.standard_bits == STANDARD[row.degree]
    assert sum(row.prime_bits) <= row.standard_bits


def test_known_rows():
    assert TAG_MODULUS == 17179754497
    bfv, ckks = TABLE[Scheme.BFV], TABLE[Scheme.CKKS]
    assert (bfv.degree, bfv.prime_bits, bfv.slots, bfv.tag_limbs) == (4096, (48, 48), 4096, 1)
    assert (ckks.degree, ckks.prime_bits, ckks.slots, ckks.scale) == (4096, (52, 52), 2048, 2**20)
    assert (bfv.capacity, ckks.capacity) == (8589877248, 2**30)
    assert sum(bfv.prime_bits) <= 101  # 128 bits against quantum attacks too


def test_the_plain_modulus_fills_every_slot_and_is_the_largest():
    modulus, step = TAG_MODULUS, 2 * 4096
    assert is_prime(modulus) and modulus % step == 1 and modulus < 2**34
    between = range(modulus + step, 2**34, step)
    assert not any(is_prime(n) for n in between)


def test_tags_of_all_clients_fit_in_a_slot():
    ckks = TABLE[Scheme.CKKS]
    assert ckks.capacity >= MAX_CLIENTS * (2**LIMB_BITS - 1) and ckks.tag_limbs == 2
    assert TABLE[Scheme.BFV].capacity == (TAG_MODULUS - 1) // 2
    assert ckks.capacity * ckks.scale <= 2 ** (ckks.prime_bits[0] - 2)
    for row in TABLE.values():
        # Limbs of 17 bits hold a residue, and a product of limbs over one row stays exact in float64.
        assert TAG_MODULUS <= 2 ** (2 * LIMB_BITS)
        assert row.slots * 2 ** (2 * LIMB_BITS) <= 2**53
        # Two sums that fit in a slot are alike modulo the tags' modulus only if they are alike.
        assert 2 * row.capacity < TAG_MODULUS


def test_ciphertexts_count_the_tags():
    bfv = TABLE[Scheme.BFV]
    assert [bfv.ciphertexts(n) for n in (1, 4092, 4093)] == [1, 1, 2]
    assert [TABLE[Scheme.CKKS].ciphertexts(n) for n in (1, 2040, 2041)] == [1, 1, 2]


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_grid_that_does_not_fit_is_refused(scheme):
    row = TABLE[scheme]
    row.check(Grid(1.0, 16, 64, 256))
    with pytest.raises(UserError, match=f"a slot of {scheme} holds {row.capacity}; lower grid.bits to"):
        row.check(Grid(1.0, 24, 64, 256))
    with pytest.raises(UserError, match=r"round\.roster has 1025 clients"):
        row.check(Grid(1.0, 2, 1025, 1))


def test_ckks_noise_is_what_the_bounds_assume():
    """Standard deviation of a fresh slot: sqrt(4096/18) * sqrt(4096) / 2^20 = 0.00092, by the table's reasoning."""
    holder = keys("ckks")
    numbers = np.random.default_rng(0).integers(-(2**29), 2**29, size=8 * 2048)
    client, mine = Engine(TABLE[Scheme.CKKS], holder.encrypts), holder.engine()
    vectors = [mine.load(part) for part in client.encrypt(numbers)]
    noise = np.concatenate([np.asarray(vector.decrypt()) for vector in vectors]) - numbers
    assert 0.0005 < noise.std() < 0.0013


def test_bfv_has_noise_left_after_the_worst_additions():
    """One ciphertext 64 times: its noise grows with the count, where that of 64 uploads grows with the root."""
    row, holder = TABLE[Scheme.BFV], keys("bfv")
    numbers = np.array([row.capacity // 64, -(row.capacity // 64), 1, 0])
    engine = holder.engine()
    (part,) = Engine(row, holder.encrypts).encrypt(numbers)
    total, other = unpack(part, row), unpack(part, row)
    for _ in range(63):
        add(total, other, row)
    assert engine.decrypt([engine.load(pack(total, row))])[:4].tolist() == (numbers * 64).tolist()


def test_the_library_refuses_primes_beyond_the_standard():
    ts = tenseal()
    with pytest.raises(ValueError, match="parameters"):
        ts.context(ts.SCHEME_TYPE.CKKS, 4096, -1, [55, 55])
