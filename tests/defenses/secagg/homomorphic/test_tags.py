"""Check numbers: right for the sum of the named clients, each once, and for nothing else."""

import dataclasses

import numpy as np
import pytest
from homomorphic import LAYOUT, NAMES, ROUND
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import Layout, RoundInfo
from defenses.secagg.homomorphic.parameters import TABLE, TAG_MODULUS, TAGS, Scheme
from defenses.secagg.homomorphic.tags import (
    _residues,
    blinds,
    client_seed,
    genuine,
    hashes,
    shared_seed,
    tags,
)

MASTER = bytes(range(32))


def summed(uploads, row, round_info=ROUND):
    """The numbers and tags that add up over ``uploads``, client to numbers."""
    numbers = sum(uploads.values())
    check = sum(
        tags(mine, shared_seed(MASTER), client_seed(MASTER, client), row, round_info)
        for client, mine in uploads.items()
    )
    return numbers, check


@pytest.mark.parametrize("kind", NAMES)
def test_hashes_are_the_product_of_rows_and_columns(kind):
    row = TABLE[Scheme(kind)]
    modulus, width, rows = TAG_MODULUS, row.slots, 3
    numbers = np.random.default_rng(2).integers(-(2**33), 2**33, size=2 * width + 7)
    numbers[:2] = 2**62, -(2**62)
    drawn = _residues(b"s" * 32, b"k", ROUND, TAGS * (rows + width))
    by_row = [drawn[TAGS * i : TAGS * i + TAGS] for i in range(rows)]
    by_column = [drawn[TAGS * (rows + i) : TAGS * (rows + i) + TAGS] for i in range(width)]
    expected = [
        sum(int(x) * by_row[i // width][j] * by_column[i % width][j] for i, x in enumerate(numbers)) % modulus
        for j in range(TAGS)
    ]
    assert list(hashes(numbers, b"s" * 32, width, ROUND)) == expected


def test_known_seeds_and_blinds():
    assert shared_seed(MASTER).hex()[:16] == "3a93d7cc6eb160d7"
    assert client_seed(MASTER, 3).hex()[:16] == "f18a11f04dda202d"
    assert blinds(client_seed(MASTER, 3), ROUND) == (
        12493430111,
        12616996966,
        7321860528,
        9274080805,
    )


@pytest.mark.parametrize("kind", NAMES)
@given(st.sets(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 2**32), st.data())
@settings(max_examples=15)
def test_a_sum_is_genuine_and_every_other_is_not(kind, clients, seed, data):
    row = TABLE[Scheme(kind)]
    rng = np.random.default_rng(seed)
    uploads = {client: rng.integers(-(2**20), 2**20, size=8) for client in sorted(clients)}
    numbers, check = summed(uploads, row)
    named = sorted(clients)
    assert genuine(numbers, check, MASTER, named, row, ROUND)

    changed = numbers.copy()
    changed[data.draw(st.integers(0, 7))] += data.draw(st.sampled_from([-1, 1, 1000]))
    assert not genuine(changed, check, MASTER, named, row, ROUND)
    jumped = numbers.copy()
    jumped[0] += TAG_MODULUS
    # Alike modulo t, which is why the engine gives nothing beyond a slot's capacity.
    assert genuine(jumped, check, MASTER, named, row, ROUND)
    moved = check.copy()
    moved[data.draw(st.integers(0, row.check_slots - 1))] += 1
    assert not genuine(numbers, moved, MASTER, named, row, ROUND)
    assert not genuine(numbers, check, MASTER, [*named, 51], row, ROUND)
    assert not genuine(numbers, check, MASTER, [51, *named[1:]], row, ROUND)
    assert not genuine(numbers, check, MASTER[::-1], named, row, ROUND)
    one = data.draw(st.sampled_from(named))
    extra, extra_check = summed({one: uploads[one]}, row)
    assert not genuine(numbers + extra, check + extra_check, MASTER, named, row, ROUND)
    assert not genuine(numbers - extra, check - extra_check, MASTER, named, row, ROUND)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(ROUND, number=5),
        dataclasses.replace(ROUND, kind="scores"),
        dataclasses.replace(ROUND, layout=Layout.of({"c": (7,)})),
        dataclasses.replace(ROUND, context="00"),
    ],
)
def test_tags_of_another_round_do_not_fit(other):
    row = TABLE[Scheme.BFV]
    numbers, check = summed({1: np.arange(8), 2: np.ones(8, dtype=np.int64)}, row, other)
    assert genuine(numbers, check, MASTER, [1, 2], row, other)
    assert not genuine(numbers, check, MASTER, [1, 2], row, ROUND)


def test_a_blanked_slot_does_not_fit():
    """The attack that tags apart from the numbers would miss: every tag right, all clients' numbers but one's zero."""
    row = TABLE[Scheme.BFV]
    uploads = {client: np.arange(8) + client for client in (1, 2, 3)}
    _, check = summed(uploads, row)
    assert not genuine(uploads[1], check, MASTER, [1, 2, 3], row, ROUND)


def test_tags_tell_nothing_without_the_seed():
    """Two uploads' tags are uniform: over 200 rounds, each eighth of the range holds its share (1e-9 false alarms)."""
    row = TABLE[Scheme.BFV]
    for numbers in (np.zeros(8, dtype=np.int64), np.full(8, 1000)):
        found = np.concatenate(
            [
                tags(numbers, b"k" * 32, b"r" * 32, row, RoundInfo(n, "vector", (1,), LAYOUT))
                for n in range(200)
            ]
        )
        counts = np.histogram(found, bins=8, range=(0, TAG_MODULUS))[0]
        chi = ((counts - 100) ** 2 / 100).sum()
        assert chi < 58.4  # 7 degrees of freedom: 3.2e-10 above it, twice
        assert ((np.histogram(found // 2, bins=8, range=(0, TAG_MODULUS))[0] - 100) ** 2 / 100).sum() > 58.4
