"""The building blocks, each against a second way to the same answer and against what it must refuse."""

import hashlib
import hmac
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from defenses import FrameError, InsecureSeeded, ProtocolError, SecureEntropy, UserError
from defenses.secagg.masked import derived, graph, masks, shamir
from defenses.secagg.masked.channel import seal, unseal
from defenses.secagg.masked.directory import Directory, Member, enrol
from defenses.secagg.masked.edges import Edges
from defenses.secagg.masked.graph import Graph, Shape, choose
from defenses.secagg.masked.keys import DOMAIN, AgreementKey, IdentityKey, derive, digest, hmac_sha256, verify
from defenses.secagg.masked.messages import bitmap
from defenses.secagg.masked.pieces import Items, Listed

SECRETS = st.binary(min_size=32, max_size=32)


# Shamir


@given(SECRETS, st.integers(1, 9), st.integers(0, 6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_threshold_of_shares_gives_the_secret(secret, threshold, more, random):
    points = random.sample(range(1, 500), threshold + more)
    shares = shamir.split(secret, threshold, points, shamir.draw(threshold, SecureEntropy()))
    assert {len(share) for share in shares} == {shamir.SHARE_BYTES}
    chosen = random.sample(range(len(points)), threshold)
    assert shamir.combine([points[i] for i in chosen], [shares[i] for i in chosen]) == secret


def test_shares_are_values_of_one_polynomial():
    """By fractions, which share no code with the weights: four shares of threshold 3 lie on a parabola."""
    secret = bytes(range(32))
    points = [1, 4, 9, 11]
    drawn = shamir.draw(3, InsecureSeeded(1))
    values = [int.from_bytes(s, "little") for s in shamir.split(secret, 3, points, drawn)]

    def at(x):
        total = Fraction(0)
        for i in range(3):
            top = math.prod(x - points[j] for j in range(3) if j != i)
            bottom = math.prod(points[i] - points[j] for j in range(3) if j != i)
            total += Fraction(values[i] * top, bottom)
        return total.numerator * pow(total.denominator, -1, shamir.PRIME) % shamir.PRIME

    assert at(11) == values[3]
    assert at(0) == int.from_bytes(secret, "little")


def test_fewer_shares_say_nothing():
    """With one share too few every secret is possible: for each there is a last share that gives it."""
    secret, points = bytes(31) + b"\x01", (1, 2, 3)
    shares = shamir.split(secret, 3, points, shamir.draw(3, InsecureSeeded(2)))
    weight = shamir.weights(points)
    known = sum(w * int.from_bytes(s, "little") for w, s in zip(weight[:2], shares[:2], strict=True))
    for other in (bytes(32), b"\xff" * 32, hashlib.sha256(b"x").digest()):
        last = (int.from_bytes(other, "little") - known) * pow(weight[2], -1, shamir.PRIME) % shamir.PRIME
        assert shamir.combine(points, [*shares[:2], last.to_bytes(33, "little")]) == other


def test_the_field():
    """2^256 + 297 is prime (Miller-Rabin over 40 bases: wrong with a chance below 2^-80)."""
    d, r = shamir.PRIME - 1, 0
    while d % 2 == 0:
        d, r = d // 2, r + 1
    for base in range(2, 42):
        x = pow(base, d, shamir.PRIME)
        chain = [x] + [x := x * x % shamir.PRIME for _ in range(r - 1)]
        assert chain[0] == 1 or shamir.PRIME - 1 in chain


@pytest.mark.parametrize(
    ("secret", "threshold", "points", "drawn"),
    [
        (bytes(31), 1, [1], 0),
        (bytes(32), 0, [1], 0),
        (bytes(32), 2, [1], 48),
        (bytes(32), 2, [1, 1], 48),
        (bytes(32), 1, [0], 0),
        (bytes(32), 2, [1, 2], 47),
    ],
)
def test_sharing_that_cannot_be(secret, threshold, points, drawn):
    with pytest.raises(UserError):
        shamir.split(secret, threshold, points, bytes(drawn))


def test_shares_outside_the_field_are_refused():
    for bad in (shamir.PRIME.to_bytes(33, "little"), b"\xff" * 33, bytes(32)):
        with pytest.raises(ProtocolError, match="no element of the field"):
            shamir.combine([1], [bad])
    with pytest.raises(ProtocolError, match="fit no secret"):
        shamir.combine([1], [(2**256).to_bytes(33, "little")])
    with pytest.raises(UserError):
        shamir.combine([1, 1], [bytes(33), bytes(33)])


# Masks


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<u8"])
@pytest.mark.parametrize("size", [1, 7, 8192, 16384, 16385, 40000])
def test_a_mask_is_the_keystream_and_comes_off(dtype, size):
    key = hashlib.sha256(f"{dtype}{size}".encode()).digest()
    whole = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    stream = np.frombuffer(whole.update(bytes(size * np.dtype(dtype).itemsize)), dtype)
    vector = np.arange(size, dtype=dtype)
    masks.apply(vector, key, 1)
    assert np.array_equal(vector, np.arange(size, dtype=dtype) + stream)
    masks.apply(vector, key, -1)
    assert np.array_equal(vector, np.arange(size, dtype=dtype))


def test_the_two_masks_of_a_pair_cancel():
    vector = np.zeros(1000, np.uint32)
    for me, other in ((3, 9), (9, 3)):
        masks.apply(vector, bytes(32), masks.pair_sign(me, other))
    assert not vector.any()


@pytest.mark.parametrize("bad", [np.zeros(4, np.int32), np.zeros((2, 2), np.uint32), np.zeros(4, np.uint8)])
def test_masks_on_other_arrays_are_refused(bad):
    with pytest.raises(UserError):
        masks.apply(bad, bytes(32), 1)
    with pytest.raises(UserError, match="16 bytes"):
        masks.apply(np.zeros(4, np.uint32), bytes(16), 1)


# Keys and seals


def test_derive_is_hkdf():
    info = DOMAIN + b"pair mask|" + (5).to_bytes(4, "little") + (6).to_bytes(4, "little")
    expected = HKDF(hashes.SHA256(), 32, b"b" * 32, info).derive(b"s" * 32)
    assert derive(b"s" * 32, b"b" * 32, "pair mask", 5, 6) == expected


def test_agreement_is_symmetric_and_refuses_degenerate_keys():
    one, other = AgreementKey.fresh(SecureEntropy()), AgreementKey.fresh(SecureEntropy())
    assert one.agree(other.public) == other.agree(one.public)
    order_8 = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
    for point in (bytes(32), (1).to_bytes(32, "little"), order_8):
        with pytest.raises(ProtocolError, match="degenerate"):
            one.agree(point)


def test_digests_know_where_a_part_ends():
    found = {digest("p", *parts) for parts in ((b"ab", b""), (b"a", b"b"), (b"ab",), (b"", b"ab"))}
    assert len({*found, digest("q", b"ab")}) == 5


def test_signatures():
    key = IdentityKey.fresh(SecureEntropy())
    signature = key.sign("purpose", b"part")
    assert verify(key.public, signature, "purpose", b"part")
    for public, mark, purpose, part in (
        (IdentityKey.fresh(SecureEntropy()).public, signature, "purpose", b"part"),
        (key.public, signature[:-1] + bytes([signature[-1] ^ 1]), "purpose", b"part"),
        (key.public, signature, "another", b"part"),
        (key.public, signature, "purpose", b"other"),
        (key.public[:5], signature, "purpose", b"part"),
        (key.public, b"", "purpose", b"part"),
    ):
        assert not verify(public, mark, purpose, part)


def test_a_seal_opens_for_its_recipient_in_its_round_only():
    one, other, third = (AgreementKey.fresh(SecureEntropy()) for _ in range(3))
    binding = b"b" * 32
    sealed = seal(one, other.public, binding, 1, 2, b"plain")
    assert unseal(other, one.public, binding, 1, 2, sealed) == b"plain"
    for mine, public, where, sender, recipient, what in (
        (third, one.public, binding, 1, 2, sealed),
        (other, third.public, binding, 1, 2, sealed),
        (other, one.public, b"c" * 32, 1, 2, sealed),
        (other, one.public, binding, 3, 2, sealed),
        (other, one.public, binding, 2, 1, sealed),
        (other, one.public, binding, 1, 2, sealed[:-1]),
        (other, one.public, binding, 1, 2, bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(ProtocolError, match=f"from client {sender} do not open"):
            unseal(mine, public, where, sender, recipient, what)


# The directory


def test_the_directory_survives_its_file_and_nothing_else_does():
    members = enrol((3, 5, 9), SecureEntropy())
    whole = members[3].directory
    data = whole.save()
    again = Directory.load(data, whole.authority)
    assert (dict(again.keys), again.session) == (dict(whole.keys), whole.session)
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((FrameError, UserError)):
            Directory.load(broken, whole.authority)
    for cut in (0, 5, len(data) - 1, len(data) - 68):
        with pytest.raises((FrameError, UserError)):
            Directory.load(data[:cut], whole.authority)
    with pytest.raises(UserError, match="not the one in the key directory"):
        Member(5, members[3].identity, whole, members[3].diary, members[3].ratchet)
    with pytest.raises(ProtocolError, match="client 4 is not"):
        whole.key(4)


def test_directories_of_the_same_keys_differ():
    members = enrol((1, 2), SecureEntropy())
    keys, others = dict(members[1].directory.keys), dict(members[1].directory.agreements)
    authority = IdentityKey.fresh(SecureEntropy())
    sessions = {Directory.sign(keys, others, authority, SecureEntropy()).session for _ in range(3)}
    assert len(sessions) == 3
    for bad in (
        ({1: keys[1], 2: keys[1]}, others),
        (keys, {1: others[1], 2: others[1]}),
        (keys, {1: others[1]}),
    ):
        with pytest.raises(UserError, match="two clients the same key, or one none"):
            Directory.sign(*bad, authority, SecureEntropy())


# The graph


@given(st.integers(100, 300), st.sampled_from([(0.05, 0.05), (0.1, 0.05), (0.0, 0.1)]), st.binary(max_size=8))
@settings(max_examples=25, deadline=None)
def test_the_graph_is_regular_symmetric_and_points_are_distinct(n, rates, seed):
    made = Graph(n, choose(n, *rates), seed)
    near = {place: set(made.neighbours(place)) for place in range(n)}
    for place in range(n):
        assert len(near[place]) == made.shape.neighbours
        assert place not in near[place]
        assert all(place in near[other] for other in near[place])
        points = [made.point(place, holder) for holder in made.holders(place)]
        assert len(set(points)) == len(points) and min(points) == 1


def test_the_order_on_the_ring_follows_the_seed():
    shape = Shape(10, 8)
    orders = {Graph(50, shape, seed).order for seed in (b"a", b"b", b"a")}
    assert len(orders) == 2
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_below_a_hundred_clients_the_graph_is_complete():
    for n in (2, 3, 8, 50, 99):
        shape = choose(n, 0.2, 0.1)
        colluders = math.floor(0.2 * n)
        assert shape.neighbours == n - 1
        assert 2 * shape.threshold > n + colluders >= 2 * (shape.threshold - 1)
    assert choose(2, 0.4, 0.0).threshold == 2


def tail(population, marked, drawn, x):
    return float(stats.hypergeom.sf(x, population, marked, drawn))


@pytest.mark.parametrize("n", [128, 256, 1024])
@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.1, 0.05), (0.2, 0.1)])
def test_the_sparse_graph_keeps_its_promises_and_no_sparser_one_does(n, rates):
    """The three tails by scipy, which shares no code with ours."""
    bad, gone = (math.ceil(rate * n) for rate in rates)

    def kept(k, t):
        return (
            n * tail(n - 1, bad, k, 2 * t - k - 2) <= 2**-105
            and 2 * n * tail(n - 1, bad, k // 2, t - k // 2 - 2) <= 2**-105
            and n * tail(n - 1, gone, k, k - t) <= 2**-20
        )

    shape = choose(n, *rates)
    if shape.neighbours < n - 1:
        assert kept(shape.neighbours, shape.threshold)
    last = min(shape.neighbours, n - 1)
    assert not any(kept(k, t) for k in range(4, last, 2) for t in range(k // 2 + 2, k + 1))


def test_tails_by_scipy():
    for population, marked, drawn in ((127, 13, 20), (500, 50, 60)):
        for x in range(drawn + 1):
            ours = math.exp(graph._log_tail(population, marked, drawn, x))
            assert ours == pytest.approx(tail(population, marked, drawn, x), rel=1e-6, abs=1e-300)


@pytest.mark.parametrize(("n", "rates"), [(1, (0.1, 0.1)), (8, (0.5, 0.1)), (8, (0.1, -0.1))])
def test_graphs_that_cannot_be(n, rates):
    with pytest.raises(UserError):
        choose(n, *rates)


@given(SECRETS, st.binary(max_size=300))
def test_the_hmac_from_two_hashes_is_the_librarys(key, message):
    assert hmac_sha256(key, message) == hmac.digest(key, message, "sha256")


def test_an_hmac_key_of_another_length_is_refused():
    with pytest.raises(UserError, match="31 bytes"):
        hmac_sha256(bytes(31), b"")


@pytest.mark.parametrize(
    ("clients", "shape"), [(2, Shape(1, 2)), (7, Shape(6, 4)), (50, Shape(20, 12)), (9, Shape(6, 4))]
)
def test_the_arrays_of_a_graph_say_what_the_graph_says(clients, shape):
    graph_of = Graph(clients, shape, b"seed")
    edges, around = Edges.of(graph_of), shape.neighbours + 1
    for place in range(clients):
        assert edges.holders[place].tolist() == list(graph_of.holders(place))
        assert edges.holders[place, edges.own[place]] == place
        for dealer, where in zip(edges.holders[place].tolist(), edges.back[place].tolist(), strict=True):
            # Whoever follows the way back comes to the dealer, and there to the holder.
            assert where // around == dealer and edges.holders[dealer, where % around] == place
        by_point = edges.holders[place, edges.by_point[place]].tolist()
        assert [graph_of.point(place, holder) for holder in by_point] == list(range(1, around + 1))


def test_enrolling_without_chains_changes_nothing_else_and_agrees_with_nobody():
    with_chains, without = (enrol(range(3), InsecureSeeded(1), chains=chains) for chains in (True, False))
    assert without[0].directory.save() == with_chains[0].directory.save()
    assert "0 chains" in repr(without[0].ratchet) and "2 chains" in repr(with_chains[0].ratchet)


def test_long_draws_are_as_long_as_asked_for_never_alike_and_uniform():
    """Chi-squared over bytes; false alarms once in 10^6 runs."""
    draws = [SecureEntropy().bytes(n) for n in (4095, 4096, 4097, 200_000, 200_000)]
    assert [len(draw) for draw in draws] == [4095, 4096, 4097, 200_000, 200_000]
    assert draws[3] != draws[4] and draws[1][:64] != draws[2][:64]
    counts = np.bincount(np.frombuffer(draws[3], dtype=np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-6


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_commitments_of_many_shares_are_those_of_each(many, seed):
    rng = np.random.default_rng(seed)
    terms = SimpleNamespace(binding=rng.bytes(32))
    dealers, secrets = rng.integers(0, 2**32, many), rng.integers(0, 2, many).astype(np.uint8)
    shares = rng.integers(0, 256, (many, shamir.SHARE_BYTES)).astype(np.uint8)
    holder = int(rng.integers(0, 2**32))
    made = derived.share_commitments_of(terms, dealers, holder, secrets, shares)
    assert [row.tobytes() for row in made] == [
        derived.share_commitment(terms, int(dealer), holder, int(which), share.tobytes())
        for dealer, which, share in zip(dealers, secrets, shares, strict=True)
    ]


def test_items_are_a_tuple_that_is_cut_when_asked_for():
    items = Items(memoryview(b"xaabbcc")[1:], 2)
    cut = (b"aa", b"bb", b"cc")
    assert items == cut and cut == items and items != cut[:2] and tuple(items) == cut
    assert len(items) == 3 and hash(items) == hash(cut)
    assert (items[0], items[-1], items[1:], items[:0]) == (b"aa", b"cc", cut[1:], ())
    assert items.rows.tobytes() == b"aabbcc" and items.rows.shape == (3, 2)
    with pytest.raises(IndexError):
        items[3]
    with pytest.raises(IndexError):
        items[-4]


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_list_carries_the_bitmap_that_it_has(marks):
    listed = Listed.of(np.array(marks))
    assert listed == tuple(i for i, mark in enumerate(marks) if mark)
    assert listed.bitmap == bitmap(tuple(listed), len(marks))
