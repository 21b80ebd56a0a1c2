"""A ciphertext's bytes: one encoding, nothing else accepted, and no library for encryption anywhere near the server."""

import dataclasses
import struct
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from homomorphic import FRAMES, KEY_HOLDER, NAMES, ROSTER, ROUND, exact, finish, keys, same, simulation
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import BfvSpec, CkksSpec, FrameError
from defenses.ring import Ring
from defenses.secagg.homomorphic.ciphertext import MAX_CIPHERTEXT, add, ciphertext_bytes, pack, unpack
from defenses.secagg.homomorphic.messages import decode
from defenses.secagg.homomorphic.parameters import TABLE, Scheme

every_kind = pytest.mark.parametrize("kind", NAMES)
SPEC = {"bfv": BfvSpec(), "ckks": CkksSpec()}
GOOD = {kind: decode(FRAMES[kind][2]).parts[0] for kind in NAMES}


def drawn(row, seed=0):
    """Coefficients as an encryption's: uniform below the prime, both ends among them."""
    found = np.random.default_rng(seed).integers(0, row.prime, size=2 * row.degree, dtype=np.uint64)
    found[:3] = 0, row.prime - 1, 1
    found[-2:] = row.prime - 1, 0
    return found


@every_kind
def test_bytes_are_those_of_packed_numbers(kind):
    row = TABLE[Scheme(kind)]
    numbers = drawn(row)
    data = pack(numbers, row)
    assert data == Ring(row.prime_bits[0]).pack(numbers)
    assert len(data) == ciphertext_bytes(row) <= MAX_CIPHERTEXT == 53_248
    assert np.array_equal(unpack(data, row), numbers)
    assert np.array_equal(unpack(memoryview(data), row), numbers)


@every_kind
def test_the_prime_is_as_large_as_its_bits_and_fits_the_degree(kind):
    row = TABLE[Scheme(kind)]
    assert row.prime.bit_length() == row.prime_bits[0] and row.prime % (2 * row.degree) == 1
    assert all(row.prime % by for by in [2, *range(3, 100_000, 2)])
    # Two coefficients fill whole bytes, and a pair needs more than one word and no more than two.
    assert row.prime_bits[0] % 4 == 0 and 32 < row.prime_bits[0] < 64


@every_kind
def test_a_coefficient_that_is_not_below_the_prime_is_refused(kind):
    row = TABLE[Scheme(kind)]
    for place in (0, 1, row.degree, 2 * row.degree - 1):
        for wrong in (row.prime, row.prime + 1, (1 << row.prime_bits[0]) - 1):
            numbers = drawn(row)
            numbers[place] = wrong
            with pytest.raises(FrameError, match=f"none of the agreed {kind} parameters"):
                unpack(pack(numbers, row), row)


@every_kind
def test_what_encrypts_nothing_is_refused(kind):
    """A second polynomial of zeros leaves the first one in the clear."""
    row = TABLE[Scheme(kind)]
    numbers = drawn(row)
    numbers[row.degree :] = 0
    with pytest.raises(FrameError, match="none of the agreed"):
        unpack(pack(numbers, row), row)
    numbers[-1] = 1
    assert np.array_equal(unpack(pack(numbers, row), row), numbers)


@every_kind
def test_every_other_length_is_refused(kind):
    row = TABLE[Scheme(kind)]
    for size in (0, 1, 16, len(GOOD[kind]) - 1, len(GOOD[kind]) + 1, 2 * len(GOOD[kind])):
        with pytest.raises(FrameError, match=rf"ciphertext has {size} bytes, where {kind} takes"):
            unpack((GOOD[kind] * 2)[:size], row)


@every_kind
@given(data=st.data())
@settings(max_examples=60)
def test_any_bytes_unpack_or_are_refused(kind, data):
    row = TABLE[Scheme(kind)]
    part = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(part) - 9))
        part[at : at + 9] = data.draw(
            st.sampled_from([bytes(9), b"\xff" * 9, b"\x28\xb5\x2f\xfd" * 2 + b"x"])
        )
    try:
        numbers = unpack(bytes(part), row)
    except FrameError:
        return
    assert pack(numbers, row) == part
    assert numbers.max() < row.prime


@every_kind
def test_sums_are_modulo_the_prime(kind):
    row = TABLE[Scheme(kind)]
    numbers = [drawn(row, seed) for seed in range(5)]
    total = unpack(pack(numbers[0], row), row)
    for other in numbers[1:]:
        before = other.copy()
        add(total, other, row)
        assert np.array_equal(other, before)
    expected = [sum(map(int, column)) % row.prime for column in zip(*numbers, strict=True)]
    assert total.tolist() == expected


@every_kind
def test_uploads_that_cancel_do_not_stop_the_server(kind):
    """Two clients that join can send ciphertexts whose sum encrypts nothing; adding them must not fail halfway."""
    row, spec = TABLE[Scheme(kind)], SPEC[kind]
    message = decode(FRAMES[kind][2])
    negative = unpack(message.parts[0], row)
    negative[row.degree :] = (np.uint64(row.prime) - negative[row.degree :]) % np.uint64(row.prime)
    cancelling = dataclasses.replace(message, sender=3, parts=(pack(negative, row),))
    server = simulation(spec).server(ROUND)
    server.receive(2, FRAMES[kind][2])
    assert server.receive(3, cancelling.encode()) == {}
    server.receive(5, FRAMES[kind][5])
    (request,) = server.receive(8, FRAMES[kind][8])[KEY_HOLDER]
    honest = [unpack(decode(FRAMES[kind][c]).parts[0], row) for c in (5, 8)]
    add(honest[0], honest[1], row)
    assert np.array_equal(unpack(decode(request).parts[0], row)[row.degree :], honest[0][row.degree :])


def zstd_frame(*blocks, descriptor=b"\x00\x58", tail=b""):
    """A Zstandard frame of these blocks: type, length, content."""
    frame = b"\x28\xb5\x2f\xfd" + descriptor
    for (kind, length, content), after in pairwise([*blocks, None]):
        frame += ((after is None) | kind << 1 | length << 3).to_bytes(3, "little") + content
    return frame + tail


def damaged(kind):
    """What a client may send in place of a ciphertext: the library's own form with every part of it damaged."""
    row = TABLE[Scheme(kind)]
    encrypted = keys(kind).client_file(2).engine().encrypt_vectors(np.arange(9))[0].serialize()
    own = encrypted[encrypted.index(b"\x5e\xa1\x10") :]
    head, frame = own[:16], own[16:]
    plain = zstandard.ZstdDecompressor().decompress(frame, max_output_size=1 << 20)
    squeeze = zstandard.ZstdCompressor().compress
    repeat, big = 1, 128 * 1024

    def sealed(body, mode=2, length=None):
        size = 16 + len(body) if length is None else length
        return b"\x5e\xa1\x10\x04\x03" + struct.pack("<BHQ", mode, 0, size) + body

    yield from (b"", own, plain, frame, sealed(plain, 0))
    yield from (sealed(frame[:cut]) for cut in (0, 3, 5, 9, 100, len(frame) - 1))
    yield from (sealed(frame, length=size) for size in (0, 15, 16, 17, 2**31, 2**63, 2**64 - 1))
    yield from (sealed(frame, mode) for mode in (0, 1, 3, 255))
    yield from (own[:at] + bytes([own[at] ^ 0xFF]) + own[at + 1 :] for at in range(len(head) + 40))
    lies = (b"\xe0" + struct.pack("<Q", size) for size in (0, 1, 65_634, 2**32, 2**63))
    yield from (sealed(zstd_frame((0, 3, b"abc"), descriptor=lie)) for lie in lies)
    yield sealed(zstd_frame(*[(repeat, big, b"\0")] * 900))
    yield sealed(zstd_frame((repeat, 2**21 - 1, b"\0")))
    yield from (sealed(zstd_frame((sort, 4, b"abc"))) for sort in range(4))
    # Fields of the ciphertext: size, degree, number of primes, scale, and the length of its list.
    for at in (32, 33, 41, 49, 57, 65, 73, 81, 89):
        for value in (0, 1, 3, 2**20, 2**63, 2**64 - 1):
            yield sealed(squeeze(plain[:at] + struct.pack("<Q", value) + plain[at + 8 :]))
    yield sealed(squeeze(plain[:97] + struct.pack("<Q", row.prime) + plain[105:]))
    # And at a ciphertext's own length, so that the length alone does not refuse it; these may pass for one.
    size = ciphertext_bytes(row)
    yield from ((part * 2)[:size] for part in (sealed(frame), sealed(plain, 0), b"\xff" * size))


_CHILD = """
import struct, sys
class Without:
    def find_spec(name, *_):
        if name.split(".")[0] in ("tenseal", "zstandard"):
            raise AssertionError(f"the server reached for {name}")
sys.meta_path.insert(0, Without)
from defenses import BfvSpec, CkksSpec, Defense, FrameError, Layout, RoundInfo
from defenses.secagg.homomorphic.keys import ServerKeys
from defenses.secagg.homomorphic.parties import Parties
data = sys.stdin.buffer.read()
frames = []
while data:
    length = struct.unpack("<I", data[:4])[0]
    frames.append(data[4:4 + length])
    data = data[4 + length:]
spec = {"bfv": BfvSpec, "ckks": CkksSpec}[sys.argv[1]]()
defense = Defense(spec, Parties(spec, ServerKeys.load(frames.pop(0))))
info = RoundInfo(4, "vector", (2, 3, 5, 8), Layout.of({"a": (2, 3), "b": ()}))
refused = 0
for frame in frames[4:]:
    try:
        defense.server(info).receive(2, frame)
    except FrameError:
        refused += 1
server = defense.server(info)
for client, frame in zip(info.roster, frames[:4]):
    server = defense.load_server(server.save())
    out = server.receive(client, frame)
assert not {"tenseal", "zstandard"} & set(sys.modules)
sys.stdout.buffer.write(struct.pack("<I", refused) + server.save())
"""


@every_kind
def test_nothing_a_client_sends_ends_the_server_and_no_library_reads_it(kind):
    """In a process of its own, in which the libraries for encryption cannot be imported: a whole round of a server."""
    spec, message = SPEC[kind], decode(FRAMES[kind][2])
    bad = [dataclasses.replace(message, parts=(part,)).encode() for part in damaged(kind)]
    frames = [keys(kind).server_file().save(), *(FRAMES[kind][c] for c in ROSTER), *bad]
    fed = b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
    child = subprocess.run([sys.executable, "-c", _CHILD, kind], input=fed, capture_output=True, timeout=120)
    assert child.returncode == 0, child.stderr.decode()[-2000:]
    (refused,) = struct.unpack("<I", child.stdout[:4])
    assert len(bad) - 2 <= refused <= len(bad) and len(bad) > 100
    defense = simulation(spec)
    server = defense.load_server(child.stdout[4:])
    (request,) = server.resend()[KEY_HOLDER]
    assert same(finish(defense, server, request), *exact(spec, ROSTER))
