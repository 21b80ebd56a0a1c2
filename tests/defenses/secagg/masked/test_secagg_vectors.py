"""Known answers for every primitive and message, and known-bad frames with the step at which they are refused."""

import hashlib
import json
import struct
import zlib
from pathlib import Path

import make_secagg_vectors
import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from masked_world import Rounds, World, drive

import defenses.errors
from defenses import InsecureSeeded
from defenses.secagg.masked import derived, masks, shamir
from defenses.secagg.masked.channel import unseal
from defenses.secagg.masked.directory import Directory
from defenses.secagg.masked.graph import Graph, Shape, choose
from defenses.secagg.masked.keys import AgreementKey, IdentityKey, derive, digest, verify
from defenses.secagg.masked.messages import MESSAGES, Direction, peek
from defenses.secagg.masked.ratchet import Ratchet

FOLDER = Path(__file__).parents[3] / "vectors" / "secagg"
BAD = sorted(path.stem for path in FOLDER.glob("bad_*.json"))


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def raw(text):
    return bytes.fromhex(text)


def test_keys():
    known = read("keys")
    one, other = (AgreementKey(raw(each)) for each in known["private"])
    assert [one.public.hex(), other.public.hex()] == known["public"]
    assert other.agree(one.public).hex() == known["shared"]
    made = derive(raw(known["shared"]), raw(known["binding"]), known["purpose"], *known["numbers"])
    assert made.hex() == known["derived"]
    assert digest("purpose", b"one", b"two").hex() == known["digest"]
    identity = IdentityKey.of(raw(known["identity"]))
    assert identity.public.hex() == known["identity_public"]
    assert identity.sign("purpose", b"one", b"two").hex() == known["signature"]
    assert verify(identity.public, raw(known["signature"]), "purpose", b"one", b"two")


def test_masks():
    known = read("masks")
    for bits, first in known["first"].items():
        vector = np.zeros(len(first), masks.DTYPES[int(bits)])
        masks.apply(vector, raw(known["key"]), 1)
        assert vector.tolist() == first
    long = np.zeros(known["long"]["elements"], "<u4")
    masks.apply(long, raw(known["key"]), 1)
    assert zlib.crc32(long.tobytes()) == known["long"]["crc32"]
    assert long[-4:].tolist() == known["long"]["last"]


def test_channel():
    known, keys = read("channel"), read("keys")
    other = AgreementKey(raw(keys["private"][1]))
    opened = unseal(other, raw(keys["public"][0]), raw(keys["binding"]), 3, 9, raw(known["sealed"]))
    assert opened.hex() == known["plain"]


def test_shamir():
    known = read("shamir")
    drawn = raw(known["drawn"])
    assert shamir.draw(3, InsecureSeeded(4, "vectors")) == drawn
    shares = shamir.split(raw(known["secret"]), known["threshold"], known["points"], drawn)
    assert [share.hex() for share in shares] == known["shares"]
    assert [str(w) for w in shamir.weights(tuple(known["points"][:3]))] == known["weights"]
    assert shamir.combine(known["points"][1:], shares[1:]).hex() == known["secret"]


def test_graph():
    known = read("graph")
    for n, collusion, dropout, k, t in known["shapes"]:
        assert choose(n, collusion, dropout) == Shape(k, t)
    ring = Graph(12, Shape(4, 4), raw(known["seed"]))
    assert [list(ring.neighbours(place)) for place in range(12)] == known["neighbours"]
    points = [[ring.point(place, holder) for holder in ring.holders(place)] for place in range(12)]
    assert points == known["points"]


def test_a_round_byte_by_byte():
    known = read("round")
    world, frames = World(4, size=5), []
    server, clients = world.server(), world.clients()

    def transport(way, number, frame):
        frames.append({"way": way, "client": number, "frame": frame.hex()})
        return frame

    drive(server, clients, lose={"masking": {13}}, transport=transport)
    assert frames == known["frames"]
    assert server.sum().tolist() == known["sum"]
    terms = world.terms()
    assert terms.binding.hex() == known["binding"]
    assert [terms.graph.shape.neighbours, terms.graph.shape.threshold] == known["shape"]
    assert derived.seed_commitment(terms, 10, bytes(32)).hex() == known["seed_commitment"]
    assert derived.share_commitment(terms, 10, 11, 1, bytes(33)).hex() == known["share_commitment"]
    directory = Directory.load(raw(known["directory"]), raw(known["authority"]))
    assert directory.session == world.directory.session
    alive = [known["inputs"][str(c)] for c in (10, 11, 12)]
    assert known["sum"] == [sum(column) % 2**32 for column in zip(*alive, strict=True)]


def test_a_second_reader_of_the_frames():
    """By `struct` and the documented sizes alone: lengths, lists, and the signatures of keys."""
    known = read("round")
    keys = raw(known["directory"])[6 + 64 + 32 :]
    identities = {struct.unpack_from("<I", keys, at)[0]: keys[at + 4 : at + 36] for at in range(0, 272, 68)}
    seen = set()
    for entry in known["frames"]:
        frame = raw(entry["frame"])
        magic, version, code, length, number, sender = struct.unpack_from("<2sBBIII", frame)
        binding, crc = frame[16:24], struct.unpack_from("<I", frame, 24)[0]
        body = frame[28:]
        assert (magic, version, number, length) == (b"IM", 1, 1, len(body))
        assert crc == make_secagg_vectors.checksum(frame[:24], body)
        assert binding == raw(known["binding"])[:8]
        assert sender == (entry["client"] if entry["way"] == "up" else 2**32 - 1)
        sizes = {1: 128, 2: 1 + 3 * 128, 3: 32 + 32 + 3 * 114, 4: 1 + 3 * 114, 5: 6 * 4}
        sizes |= {6: 1, 7: 64, 8: 1 + 2 * 64, 9: 1 + 4 * 33}
        assert len(body) == sizes[code], code
        if code == 6:
            assert body == bytes([0b0111])
        if code == 1:
            to_sign = known["binding"], struct.pack("<I", sender).hex(), body[:32].hex(), body[32:64].hex()
            state = hashlib.sha256(b"ifedpriv secagg 1 advertise")
            for part in map(raw, to_sign):
                state.update(struct.pack("<Q", len(part)) + part)
            Ed25519PublicKey.from_public_bytes(identities[sender]).verify(body[64:], state.digest())
        seen.add(code)
    assert seen == set(range(1, 10))


def test_a_ratchet():
    known, given = read("ratchet"), read("keys")
    mine, other = (AgreementKey(raw(each)) for each in given["private"])
    public = {3: mine.public, 9: other.public}
    for me, them, key in ((3, 9, mine), (9, 3, other)):
        ratchet = Ratchet.begin(raw(known["session"]), me, key, public)
        for number, (seed, mac) in known["steps"].items():
            found = ratchet.step(int(number), [them])[them]
            assert [found.seed.hex(), found.mac.hex()] == [seed, mac]
        if me == 3:
            assert json.loads(ratchet.save()) == known["saved"]


def test_a_ratcheted_round_by_a_second_reader():
    """Masks, MACs and sum from the documents alone, with keys that the test derives itself."""
    known = read("ratchet_round")
    binding, world = raw(known["binding"]), Rounds(4, size=5)
    total = np.zeros(6, "<u4")
    kinds = []
    for entry in known["frames"]:
        frame = raw(entry["frame"])
        magic, tag, place, crc = struct.unpack_from("<2sBHI", frame)
        assert (magic, tag >> 4) == (b"IR", 1)
        assert crc == zlib.crc32(binding + frame[:5] + frame[9:])
        assert place == (entry["client"] - 10 if entry["way"] == "up" else 0xFFFF)
        kinds.append(tag & 15)
        if tag & 15 == 1:
            total += np.frombuffer(frame[9:], "<u4")
        if tag & 15 == 2:
            assert frame[9:] == bytes([0b1011])
        if tag & 15 == 5:
            seeds = [frame[at : at + 32] for at in range(9, len(frame), 32)]
            me = entry["client"]
            own = hkdf(seeds[0], binding, b"ratchet self mask|" + struct.pack("<I", me))
            pair = hkdf(
                seeds[1], binding, b"ratchet pair mask|" + struct.pack("<II", min(me, 12), max(me, 12))
            )
            total -= stream(own)
            total = total - stream(pair) if me < 12 else total + stream(pair)
    assert kinds == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3 + [5] * 3
    assert total.tolist() == known["sum"]
    assert known["sum"] == [sum(column) % 2**32 for column in zip(*known["inputs"].values(), strict=True)]
    assert world.terms().binding == binding


def hkdf(secret, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, b"ifedpriv secagg 1 " + info).derive(secret)


def stream(key):
    whole = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(whole.update(bytes(24)), "<u4")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_is_refused_where_it_should_be(name):
    known = read(name)
    world = World(4, size=5)
    server, clients = world.server(), world.clients()
    met = []

    def transport(way, number, frame):
        if (way, number, peek(frame).kind.__name__) == (known["way"], known["client"], known["step"]):
            end = clients[number].receive if way == "down" else lambda f: server.receive(number, f)
            holder = clients[number] if way == "down" else server
            before = holder.save()
            with pytest.raises(getattr(defenses.errors, known["raised"])) as caught:
                end(raw(known["frame"]))
            assert known["error"] in str(caught.value)
            assert holder.save() == before
            met.append(name)
        return frame

    drive(server, clients, lose={"masking": {13}}, transport=transport)
    assert met == [name]
    assert server.sum().tolist() == read("round")["sum"]


def test_every_message_has_a_bad_frame():
    steps = {read(name)["step"] for name in BAD}
    assert steps == {message.__name__ for message in MESSAGES}
    assert {read(name)["way"] for name in BAD} == {"up", "down"} and len(Direction) == 2


def test_the_files_are_what_the_generator_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(make_secagg_vectors, "FOLDER", tmp_path)
    make_secagg_vectors.main()
    written = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    assert written == {path.name: path.read_text() for path in FOLDER.glob("*.json")}
