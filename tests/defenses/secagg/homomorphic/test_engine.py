"""The engine: exact where it should be, and its library reads nothing but what it could have written itself."""

import importlib
import zlib

import numpy as np
import pytest
import zstandard
from homomorphic import NAMES, keys
from hypothesis import given, settings
from hypothesis import strategies as st

from defenses import FrameError, UserError
from defenses.secagg.homomorphic import engine as module
from defenses.secagg.homomorphic.ciphertext import MAX_CIPHERTEXT, add, ciphertext_bytes, pack, unpack
from defenses.secagg.homomorphic.engine import Engine
from defenses.secagg.homomorphic.envelope import unwrap, wrap
from defenses.secagg.homomorphic.parameters import TABLE, Scheme


def client_engine(kind, encryption="public", which=0):
    return Engine(TABLE[Scheme(kind)], keys(kind, encryption, which).encrypts)


def without_keys(kind):
    return client_engine(kind)._context.data.serialize(False, False, False, False)


@pytest.mark.parametrize("encryption", ["public", "symmetric"])
@pytest.mark.parametrize("kind", NAMES)
def test_sums_are_exact_up_to_capacity(kind, encryption):
    row, holder = TABLE[Scheme(kind)], keys(kind, encryption)
    edge = row.capacity // 64
    numbers = np.random.default_rng(1).integers(-edge, edge + 1, size=row.slots + 5)
    numbers[:2] = edge, -edge
    client, mine = client_engine(kind, encryption), holder.engine()
    totals = [unpack(part, row) for part in client.encrypt(numbers)]
    for _ in range(63):
        for total, part in zip(totals, client.encrypt(numbers), strict=True):
            add(total, unpack(part, row), row)
    found = mine.decrypt([mine.load(pack(total, row)) for total in totals])
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
    client = client_engine(kind)
    (part,) = client.encrypt(np.array([1]))
    with pytest.raises(UserError, match="cannot decrypt; only the key holder decrypts"):
        client.decrypt([client.load(part)])
    keyless = Engine(TABLE[Scheme(kind)], without_keys(kind))
    with pytest.raises(ValueError, match="doesn't support encryption"):
        keyless.encrypt(np.array([1]))
    assert "not shown" in repr(client)


@pytest.mark.parametrize("kind", NAMES)
def test_the_library_finds_the_table_s_primes(kind):
    row = TABLE[Scheme(kind)]
    found = importlib.import_module("tenseal.sealapi").CoeffModulus.Create(row.degree, list(row.prime_bits))
    assert found[0].value() == row.prime


@pytest.mark.parametrize("encryption", ["public", "symmetric"])
@pytest.mark.parametrize("kind", NAMES)
def test_the_library_writes_what_it_is_given_back(kind, encryption):
    """Symmetric encryptions, too, are whole: no seed stands for a polynomial."""
    row, engine = TABLE[Scheme(kind)], client_engine(kind, encryption)
    (vector,) = engine.encrypt_vectors(np.arange(9))
    part = engine.dump(vector)
    assert len(part) == ciphertext_bytes(row)
    again = engine.load(part)
    (inner,) = again.ciphertext()
    assert engine.dump(again) == part
    assert (inner.size(), inner.poly_modulus_degree(), inner.coeff_modulus_size()) == (2, row.degree, 1)
    assert again.size() == row.slots and inner.is_ntt_form() == (kind == "ckks")
    assert inner.parms_id() == vector.ciphertext()[0].parms_id()
    assert inner.scale == (float(row.scale) if kind == "ckks" else 1.0)


@pytest.mark.parametrize("kind", NAMES)
def test_a_ciphertext_of_the_other_scheme_is_refused(kind):
    with pytest.raises(FrameError, match=f"where {kind} takes"):
        client_engine(kind).load(SAMPLES[NAMES[1 - NAMES.index(kind)]])


@pytest.mark.parametrize("kind", NAMES)
@given(data=st.data())
@settings(max_examples=60)
def test_any_bytes_load_or_are_refused(kind, data):
    engine = client_engine(kind)
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
    # A flipped bit may be a ciphertext still; what it decrypts to is the tags' business. The library must take it.
    assert engine.dump(vector) == part


SAMPLES = {kind: client_engine(kind).encrypt(np.arange(9))[0] for kind in NAMES}


def test_sizes_are_checked_before_the_library_sees_them(monkeypatch):
    engine = client_engine("bfv")
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


@pytest.mark.parametrize("missing", ["tenseal", "zstandard"])
def test_missing_library_is_one_sentence(monkeypatch, missing):
    real = importlib.import_module

    def without(name, *args):
        if name == missing:
            raise ImportError(name)
        return real(name, *args)

    encrypts = keys("bfv").encrypts
    monkeypatch.setattr(module.importlib, "import_module", without)
    with pytest.raises(UserError) as caught:
        Engine(TABLE[Scheme.BFV], encrypts)
    assert str(caught.value) == (
        f"defense.kind needs the library {missing}, which is not installed; install ifedpriv[he]"
    )


@pytest.mark.parametrize("data", [b"", b"keys", zlib.compress(b"x" * 99)])
def test_files_that_hold_no_keys_are_refused(data):
    with pytest.raises(UserError, match="no keys of this library"):
        Engine(TABLE[Scheme.BFV], data).encrypt(np.array([1]))


@pytest.mark.parametrize("kind", NAMES)
def test_another_envelope_would_be_noticed(kind):
    row, engine = TABLE[Scheme(kind)], client_engine(kind)
    whole = engine.encrypt_vectors(np.arange(9))[0].serialize()
    numbers = unwrap(whole, row, engine._seal, zstandard)
    assert pack(numbers, row) == engine.dump(as_vector(engine, whole))
    start = whole.index(b"\x5e\xa1\x10")
    tail = whole[len(whole) - 9 :] if kind == "ckks" else b""
    plain = zstandard.ZstdDecompressor().decompress(
        whole[start + 16 : len(whole) - len(tail)], max_output_size=10**6
    )
    # Uncompressed, it is what the library is given.
    made = wrap(numbers, row, engine._seal)
    assert made.endswith(plain + tail) and len(made) - len(plain) - len(tail) == start + 16
    for other in (
        whole + b"\x18\x00",
        whole[:2] + b"\x81" + whole[3:],
        b"",
        whole[:-1],
        made,
        whole[: start + 3] + b"\x05" + whole[start + 4 :],
    ):
        with pytest.raises(RuntimeError, match=r"another form than version 0\.3\.18"):
            unwrap(other, row, engine._seal, zstandard)
    with pytest.raises(RuntimeError, match="another form"):
        unwrap(whole, row, (9, 9), zstandard)


def as_vector(engine, whole):
    read = (
        engine._ts.ckks_vector_from if engine.parameters.scheme is Scheme.CKKS else engine._ts.bfv_vector_from
    )
    return read(engine._context, whole)
