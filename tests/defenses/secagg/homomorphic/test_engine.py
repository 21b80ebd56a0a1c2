"""The engine: exact where it should be, and no bytes whatever get past `load` but a ciphertext as agreed."""

import importlib
import zlib

import numpy as np
import pytest
from homomorphic import NAMES, keys
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import FrameError, UserError
from defenses.secagg.homomorphic import engine as module
from defenses.secagg.homomorphic.engine import Engine, tenseal
from defenses.secagg.homomorphic.envelope import MAX_CIPHERTEXT, MAX_INFLATED, unwrap, wrap
from defenses.secagg.homomorphic.parameters import TABLE, TAG_MODULUS, Scheme


def client_engine(kind, encryption="public", which=0):
    return Engine(TABLE[Scheme(kind)], keys(kind, encryption, which).encrypts)


@pytest.mark.parametrize("encryption", ["public", "symmetric"])
@pytest.mark.parametrize("kind", NAMES)
def test_sums_are_exact_up_to_capacity(kind, encryption):
    row, holder = TABLE[Scheme(kind)], keys(kind, encryption)
    edge = row.capacity // 64
    numbers = np.random.default_rng(1).integers(-edge, edge + 1, size=row.slots + 5)
    numbers[:2] = edge, -edge
    client, server, mine = client_engine(kind, encryption), Engine(row), holder.engine()
    totals = [server.load(part) for part in client.encrypt(numbers)]
    for _ in range(63):
        for total, part in zip(totals, client.encrypt(numbers), strict=True):
            server.add(total, server.load(part))
    found = mine.decrypt([mine.load(server.dump(total)) for total in totals])
    assert found[: len(numbers)].tolist() == (64 * numbers).tolist()
    assert not found[len(numbers) :].any() and len(found) == 2 * row.slots


@pytest.mark.parametrize("kind", NAMES)
def test_two_encryptions_differ_and_both_come_back(kind):
    client, mine = client_engine(kind), keys(kind).engine()
    one, other = (client.encrypt(np.array([7, -7]))[0] for _ in range(2))
    assert one != other
    for part in (one, other):
        assert mine.decrypt([mine.load(part)])[:3].tolist() == [7, -7, 0]


@pytest.mark.parametrize("kind", NAMES)
def test_only_the_secret_key_decrypts_and_only_a_key_encrypts(kind):
    client, server = client_engine(kind), Engine(TABLE[Scheme(kind)])
    (part,) = client.encrypt(np.array([1]))
    for who in (client, server):
        with pytest.raises(UserError, match="cannot decrypt; only the key holder decrypts"):
            who.decrypt([who.load(part)])
    with pytest.raises(ValueError, match="doesn't support encryption"):
        server.encrypt(np.array([1]))
    assert "not shown" in repr(client)


@pytest.mark.parametrize("kind", NAMES)
def test_ciphertexts_of_other_parameters_are_refused(kind):
    ts, row = tenseal(), TABLE[Scheme(kind)]
    other = NAMES[1 - NAMES.index(kind)]
    foreign = [client_engine(other).encrypt(np.array([1]))[0]]
    for degree, primes in ((4096, [50, 50]), (4096, [36, 36, 37]), (8192, [52, 52]), (2048, [27, 27])):
        for plain in (1032193, TAG_MODULUS):
            scheme = ts.SCHEME_TYPE.CKKS if kind == "ckks" else ts.SCHEME_TYPE.BFV
            if degree == 2048 and plain > 2**27:
                continue
            context = ts.context(scheme, degree, -1 if kind == "ckks" else plain, primes)
            context.global_scale = float(2**20)
            vector = ts.ckks_vector(context, [1.0]) if kind == "ckks" else ts.bfv_vector(context, [1])
            whole = vector.serialize()
            start = whole.index(b"\x5e\xa1\x10")
            foreign.append(whole[start : len(whole) - (9 if kind == "ckks" else 0)])
    engine = Engine(row)
    for part in foreign:
        with pytest.raises(FrameError, match=r"none of the agreed|the longest has|not in the form"):
            engine.load(part)


def test_a_ckks_ciphertext_at_another_scale_is_refused():
    ts, row = tenseal(), TABLE[Scheme.CKKS]
    context = ts.context(ts.SCHEME_TYPE.CKKS, row.degree, -1, list(row.prime_bits))
    parts = {}
    for scale in (float(row.scale), 2.0**30):
        context.global_scale = scale
        whole = ts.ckks_vector(context, [1.0] * row.slots).serialize()
        parts[scale] = whole[whole.index(b"\x5e\xa1\x10") : -9]
    engine = Engine(row)
    engine.load(parts[float(row.scale)])
    with pytest.raises(FrameError, match="none of the agreed"):
        engine.load(parts[2.0**30])


@pytest.mark.parametrize("kind", NAMES)
@given(data=st.data())
@settings(max_examples=60)
def test_any_bytes_load_or_are_refused(kind, data):
    engine = Engine(TABLE[Scheme(kind)])
    part = bytearray(SAMPLES[kind])
    match data.draw(st.sampled_from(["random", "cut", "flip", "header", "longer"])):
        case "random":
            part = bytearray(data.draw(st.binary(max_size=400)))
        case "cut":
            part = part[: data.draw(st.integers(0, len(part) - 1))]
        case "flip":
            at = data.draw(st.integers(0, 8 * len(part) - 1))
            part[at // 8] ^= 1 << at % 8
        case "header":
            at = data.draw(st.integers(0, 120))
            part[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
        case "longer":
            part += data.draw(st.binary(min_size=1, max_size=50))
    try:
        vector = engine.load(bytes(part))
    except FrameError:
        return
    # A flipped bit may be a ciphertext still; what it decrypts to is the tags' business. It must add.
    engine.add(vector, engine.load(SAMPLES[kind]))


SAMPLES = {kind: client_engine(kind).encrypt(np.arange(9))[0] for kind in NAMES}


def test_sizes_are_checked_before_the_library_sees_them(monkeypatch):
    engine = Engine(TABLE[Scheme.BFV])
    monkeypatch.setattr(engine, "_ts", None)
    for part in (b"", bytes(MAX_CIPHERTEXT + 1)):
        with pytest.raises(FrameError, match="ciphertext has"):
            engine.load(part)


def test_a_foreign_key_decrypts_to_nothing_that_fits():
    for kind in NAMES:
        mine = keys(kind, which=1).engine()
        try:
            found = mine.decrypt([mine.load(SAMPLES[kind])])
        except FrameError:
            continue
        assert found[9:].any()


def test_missing_library_is_one_sentence(monkeypatch):
    real = importlib.import_module

    def without(name, *args):
        if name == "tenseal":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(module.importlib, "import_module", without)
    with pytest.raises(UserError) as caught:
        tenseal()
    assert str(caught.value) == (
        "defense.kind needs the library tenseal, which is not installed; install ifedpriv[he]"
    )


@pytest.mark.parametrize("data", [b"", b"keys", zlib.compress(b"x" * 99)])
def test_files_that_hold_no_keys_are_refused(data):
    with pytest.raises(UserError, match="no keys of this library"):
        Engine(TABLE[Scheme.BFV], data).encrypt(np.array([1]))


def test_another_envelope_would_be_noticed():
    row = TABLE[Scheme.BFV]
    whole = wrap(SAMPLES["bfv"], row)
    assert unwrap(whole, row) == SAMPLES["bfv"]
    for other in (whole + b"\x18\x00", whole[:2] + b"\x81" + whole[3:], b"", whole[:-1]):
        with pytest.raises(RuntimeError, match=r"another form than version 0\.3\.18"):
            unwrap(other, row)


def zstd(*blocks, descriptor=b"\x00\x58", tail=b""):
    """SEAL's header, and a Zstandard frame of these blocks: type, length, content."""
    frame = b"\x28\xb5\x2f\xfd" + descriptor
    for i, (kind, length, content) in enumerate(blocks):
        frame += ((i == len(blocks) - 1) | kind << 1 | length << 3).to_bytes(3, "little") + content
    frame += tail
    return b"\x5e\xa1\x10\x04\x03\x02\0\0" + (16 + len(frame)).to_bytes(8, "little") + frame


REPEAT, RAW, BLOCK = 1, 0, 128 * 1024


def test_few_bytes_cannot_stand_for_many():
    row = TABLE[Scheme.BFV]
    most = [(REPEAT, BLOCK, b"\0")] * (MAX_INFLATED // BLOCK)
    for fine in (
        zstd(*most),
        zstd((RAW, 3, b"abc")),
        zstd((RAW, 3, b"abc"), descriptor=b"\x24\x03", tail=b"sum!"),
    ):
        wrap(fine, row)
        with pytest.raises(FrameError, match="none of the agreed"):
            Engine(row).load(fine)
    for bomb in (
        zstd(*most, most[0]),
        zstd(*most * 900),
        zstd((REPEAT, BLOCK + 1, b"\0")),
        zstd((3, 1, b"\0")),
        zstd((RAW, 4, b"abc")),
        zstd((RAW, 3, b"abcd")),
        zstd((RAW, 3, b"abc")) + zstd(*most)[16:],
        zstd((RAW, 3, b"abc"), descriptor=b"\x01\x58\0"),
        zstd((RAW, 3, b"abc")).replace(b"\x04\x03\x02", b"\x04\x03\x01"),
        b"x" * 500,
    ):
        with pytest.raises(FrameError, match="not in the form"):
            wrap(bomb, row)
