"""Writes tests/vectors/secagg/. Run it only when the version of the protocol changes:

PYTHONPATH=. python tests/_support/make_secagg_vectors.py
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from masked_world import Rounds, World, drive

from defenses.entropy import InsecureSeeded
from defenses.errors import FrameError, ProtocolError
from defenses.secagg.masked import derived, masks, shamir
from defenses.secagg.masked.channel import seal
from defenses.secagg.masked.graph import Graph, Shape, choose
from defenses.secagg.masked.keys import AgreementKey, IdentityKey, derive, digest
from defenses.secagg.masked.messages import HEADER_SIZE
from defenses.secagg.masked.ratchet import Ratchet

FOLDER = Path(__file__).parents[1] / "vectors" / "secagg"


def save(name, about, **content):
    (FOLDER / f"{name}.json").write_text(json.dumps({"about": about, **content}, indent=1) + "\n")


def mended(frame, *changes):
    """Bytes replaced at offsets, then length and checksum made to fit."""
    data = bytearray(frame)
    for at, new in changes:
        data[at : at + len(new)] = new
    body = bytes(data[HEADER_SIZE:])
    head = bytes(data[:4]) + struct.pack("<I", len(body)) + bytes(data[8:24])
    return head + struct.pack("<I", checksum(head, body)) + body


def checksum(head, body):
    """By the documents: CRC-32 over head and body, or over the sum of a masked input's words and what is left."""
    if head[3] == 5:
        whole = len(body) // 8 * 8
        total = sum(struct.unpack(f"<{whole // 8}Q", body[:whole])) % 2**64
        body = struct.pack("<Q", total) + body[whole:]
    return zlib.crc32(head + body)


def primitives():
    one, other = AgreementKey(bytes(range(32))), AgreementKey(bytes(range(32, 64)))
    binding = bytes([7]) * 32
    secret = one.agree(other.public)
    save(
        "keys",
        "X25519, HKDF-SHA256, digest and Ed25519 as the protocol uses them",
        private=[one.private.hex(), other.private.hex()],
        public=[one.public.hex(), other.public.hex()],
        shared=secret.hex(),
        binding=binding.hex(),
        purpose="pair mask",
        numbers=[3, 9],
        derived=derive(secret, binding, "pair mask", 3, 9).hex(),
        digest=digest("purpose", b"one", b"two").hex(),
        identity=bytes(range(64, 96)).hex(),
        identity_public=identity().public.hex(),
        signature=identity().sign("purpose", b"one", b"two").hex(),
    )
    key = derive(secret, binding, "self mask", 3)
    expanded = {}
    for bits, dtype in masks.DTYPES.items():
        vector = np.zeros(8, dtype)
        masks.apply(vector, key, 1)
        expanded[str(bits)] = [int(x) for x in vector]
    long = np.zeros(40_000, "<u4")
    masks.apply(long, key, 1)
    save(
        "masks",
        "the first elements of a mask in each ring, and one of 40,000 that crosses chunks",
        key=key.hex(),
        first=expanded,
        long={"elements": 40_000, "last": [int(x) for x in long[-4:]], "crc32": zlib.crc32(long.tobytes())},
    )
    save(
        "channel",
        "a seal from client 3 to client 9",
        plain=b"two shares of 33 bytes each".hex(),
        sealed=seal(one, other.public, binding, 3, 9, b"two shares of 33 bytes each").hex(),
    )
    drawn = shamir.draw(3, InsecureSeeded(4, "vectors"))
    points = [1, 2, 5, 61]
    save(
        "shamir",
        "a secret in four shares, three of which give it",
        secret=bytes(range(32)).hex(),
        threshold=3,
        points=points,
        drawn=drawn.hex(),
        shares=[share.hex() for share in shamir.split(bytes(range(32)), 3, points, drawn)],
        weights=[str(w) for w in shamir.weights(tuple(points[:3]))],
    )


def identity():
    return IdentityKey.of(bytes(range(64, 96)))


def graphs():
    cases = [(8, 0.2, 0.1), (64, 0.2, 0.1), (128, 0.1, 0.05), (256, 0.1, 0.05), (1024, 0.1, 0.05)]
    shapes = [[*case, choose(*case).neighbours, choose(*case).threshold] for case in cases]
    sparse = Graph(12, Shape(4, 4), b"seed")
    save(
        "graph",
        "n, collusion, dropout, k, t; and a ring of 12 with 4 neighbours",
        shapes=shapes,
        seed=b"seed".hex(),
        neighbours=[list(sparse.neighbours(place)) for place in range(12)],
        points=[[sparse.point(place, holder) for holder in sparse.holders(place)] for place in range(12)],
    )


def rounds():
    """A whole round of four clients, one of which drops out before its input, and what each end refuses in it."""
    world = World(4, size=5)
    server, clients, frames = world.server(), world.clients(), []

    def transport(way, number, frame):
        frames.append({"way": way, "client": number, "frame": frame.hex()})
        return frame

    lose = {"masking": {13}}
    drive(server, clients, lose=lose, transport=transport)
    terms = world.terms()
    save(
        "round",
        "every frame of a round of World(4, size=5) in which client 13 drops out before its input",
        directory=world.directory.save().hex(),
        authority=world.directory.authority.hex(),
        round=world.info.to_dict(),
        binding=terms.binding.hex(),
        shape=[terms.graph.shape.neighbours, terms.graph.shape.threshold],
        ring=terms.grid.ring.bits,
        inputs={str(c): [int(x) for x in world.inputs[c]] for c in world.numbers},
        seed_commitment=derived.seed_commitment(terms, 10, bytes(32)).hex(),
        share_commitment=derived.share_commitment(terms, 10, 11, 1, bytes(33)).hex(),
        frames=frames,
        sum=[int(x) for x in server.sum()],
    )
    bad(frames)


def bad(frames):
    """Frames that must be refused: by whom, in which phase, and with what sentence."""

    def nth(way, client, n):
        return bytes.fromhex([f for f in frames if (f["way"], f["client"]) == (way, client)][n]["frame"])

    body = HEADER_SIZE
    flip = bytes([0xFF])
    cases = {
        "magic": ("up", 10, 0, mended(nth("up", 10, 0), (0, b"IX")), "magic"),
        "version": ("up", 10, 0, mended(nth("up", 10, 0), (2, b"\x02")), "version 2"),
        "type": ("up", 10, 0, mended(nth("up", 10, 0), (3, b"\x0a")), "unknown type 10"),
        "length": ("up", 10, 0, nth("up", 10, 0) + b"\x00", "announces"),
        "checksum": ("up", 10, 0, nth("up", 10, 0)[:-1] + flip, "checksum"),
        "short": ("up", 10, 0, nth("up", 10, 0)[:20], "less than a header"),
        "round": ("up", 10, 0, mended(nth("up", 10, 0), (8, b"\x02")), "another round"),
        "binding": ("up", 10, 0, mended(nth("up", 10, 0), (16, bytes(8))), "another round"),
        "sender": ("up", 10, 0, mended(nth("up", 10, 0), (12, b"\x0b")), "names 11 as its sender"),
        "advert_signature": ("up", 10, 0, mended(nth("up", 10, 0), (body + 70, flip)), "signature"),
        "advert_key": ("up", 10, 0, mended(nth("up", 10, 0), (body, flip)), "signature"),
        "advert_body": ("up", 10, 0, mended(nth("up", 10, 0)[:-1]), "body of 127 bytes"),
        "roster_key": (
            "down",
            10,
            0,
            mended(nth("down", 10, 0), (body + 1, flip)),
            "did not sign these keys",
        ),
        "roster_bit": ("down", 10, 0, mended(nth("down", 10, 0), (body, b"\x1f")), "beyond the roster"),
        "roster_short": ("down", 10, 0, mended(nth("down", 10, 0), (body, b"\x03")), "takes part with 3"),
        "roster_without_me": (
            "down",
            10,
            0,
            mended(nth("down", 10, 0), (body, b"\x0e")),
            "leaves this client",
        ),
        "roster_missing": ("down", 10, 0, mended(nth("down", 10, 0)[:-128]), "not those of this client's"),
        "shares_missing": ("up", 10, 1, mended(nth("up", 10, 1)[:-114]), "deals to 2 neighbours"),
        "inbox_without_me": (
            "down",
            10,
            1,
            mended(nth("down", 10, 1), (body, b"\x0e")),
            "leaves this client",
        ),
        "input_short": ("up", 10, 2, mended(nth("up", 10, 2)[:-4]), "20 bytes of elements"),
        "survivors_dead_me": (
            "down",
            10,
            2,
            mended(nth("down", 10, 2), (body, b"\x06")),
            "leaves this client",
        ),
        "survivors_too_few": (
            "down",
            10,
            2,
            mended(nth("down", 10, 2), (body, b"\x03")),
            "takes part with 3",
        ),
        "consistency": ("up", 10, 3, mended(nth("up", 10, 3), (body, flip)), "does not hold for the lists"),
        "signatures": ("down", 10, 3, mended(nth("down", 10, 3), (body + 1, flip)), "did not sign the lists"),
        "signatures_too_few": (
            "down",
            10,
            3,
            mended(nth("down", 10, 3), (body, b"\x03")),
            "takes part with 3",
        ),
        "unmask_share": ("up", 10, 4, mended(nth("up", 10, 4), (body + 1, flip)), "not the one that was"),
        "unmask_stranger": ("up", 10, 4, mended(nth("up", 10, 4), (body, b"\x07")), "not one each"),
    }
    order = {"up": ("Advertise", "Shares", "MaskedInput", "Consistency", "Unmask")}
    order["down"] = ("Roster", "Inbox", "Survivors", "Signatures")
    for name, (way, client, n, frame, error) in cases.items():
        save(
            f"bad_{name}",
            f"in place of the {order[way][n]} {'from' if way == 'up' else 'to'} client {client} in round.json",
            way=way,
            client=client,
            step=order[way][n],
            frame=frame.hex(),
            error=error,
            raised=FrameError.__name__
            if error
            in ("magic", "version 2", "unknown type 10", "announces", "checksum", "less than a header")
            or error.startswith(("body", "beyond"))
            else ProtocolError.__name__,
        )


def ratchets():
    """Two clients' chains over two rounds, and a round of four in which one client is not there."""
    one, other = AgreementKey(bytes(range(32))), AgreementKey(bytes(range(32, 64)))
    session, public = bytes([7]) * 32, {3: one.public, 9: other.public}
    mine = Ratchet.begin(session, 3, one, public)
    steps = {str(number): mine.step(number, [9])[9] for number in (0, 2)}
    save(
        "ratchet",
        "seed and MAC key of clients 3 and 9 in rounds 0 and 2, from the keys in keys.json",
        session=session.hex(),
        steps={number: [keys.seed.hex(), keys.mac.hex()] for number, keys in steps.items()},
        saved=json.loads(mine.save()),
    )
    world, frames = Rounds(4, size=5), []
    server = world.server()
    clients = {c: world.client(c) for c in world.numbers if c != 12}

    def transport(way, number, frame):
        frames.append({"way": way, "client": number, "frame": frame.hex()})
        return frame

    drive(server, clients, transport=transport)
    save(
        "ratchet_round",
        "every frame of a ratcheted round of Rounds(4, size=5) in which client 12 is not there",
        binding=world.terms().binding.hex(),
        frames=frames,
        inputs={str(c): [int(x) for x in world.inputs[c]] for c in clients},
        sum=[int(x) for x in server.sum()],
    )


def narrow_round():
    """The masked inputs of a round in a ring of 20 bits, and what they add up to."""
    world = World(4, size=5, ring=20)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    ring, slots = world.terms().grid.ring, world.terms().slots
    masked = {c: session.resend()[2] for c, session in clients.items()}
    elements = {c: ring.unpack(world.read(frame).elements, slots) for c, frame in masked.items()}
    return {
        "about": "every MaskedInput of a round of World(4, size=5, ring=20), and the elements in it",
        "binding": world.terms().binding.hex(),
        "masked": {str(c): frame.hex() for c, frame in masked.items()},
        "elements": {str(c): [int(x) for x in each] for c, each in elements.items()},
        "inputs": {str(c): [int(x) for x in world.inputs[c]] for c in world.numbers},
        "sum": [int(x) for x in server.sum()],
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    primitives()
    graphs()
    rounds()
    save("narrow_round", **narrow_round())
    ratchets()


if __name__ == "__main__":
    main()
