"""What `fuzz_secagg.py` throws bytes at: each decoder of masked, ratcheted and encrypted rounds, with first inputs.

A target takes bytes and may raise one of our errors; anything else is a finding. Invariant: most inputs get a fitting
header and checksum first, so that a fuzzer looks behind them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

Target = Callable[[bytes], None]

JUNK: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**70,
    1.5,
    "",
    "done",
    [],
    [[]],
    [-1],
    ["x"],
    [[1, 2]],
    {},
    {"v": [10**9]},
)
SIZE, ROSTER = 3, (0, 1, 2, 3)


def world(spec: Any) -> tuple[Any, Any, list[bytes], list[bytes], list[tuple[int, bytes]], list[bytes]]:
    """One round under a defense.

    Returns:
        The defense; its round; what its first client and its server saved in every phase; what the server received,
        by sender, and what the first client received.
    """
    import numpy as np

    from defenses import Defense, InsecureSeeded, Layout, RoundInfo, Upload, UploadKind

    kind = UploadKind.COEFFICIENTS if spec.kind == "masked" else UploadKind.VECTOR
    info = RoundInfo(1, kind, ROSTER, Layout.of({"v": (SIZE,)}))
    defense = Defense(spec).enrolled(ROSTER, InsecureSeeded(1))
    clients = {c: defense.client(c, info, InsecureSeeded(2, str(c))) for c in ROSTER}
    server, helpers = defense.server(info), defense.helpers(info)
    upload = Upload({"v": np.array([0.5, 0.25, 0.0], np.float32)}, 1, 1, kind)
    of_client, of_server = [clients[0].save()], [server.save()]
    up: list[tuple[int, bytes]] = []
    down: list[bytes] = []
    answers = {c: session.protect(upload) for c, session in clients.items()}
    while answers:
        of_client.append(clients[0].save())
        sent: dict[int, list[bytes]] = {}
        for sender, frames in answers.items():
            for frame in frames:
                up.append((sender, frame))
                sent.update(server.receive(sender, frame))
                of_server.append(server.save())
        down += sent.get(0, [])
        ends = {**clients, **helpers}
        answers = {c: ends[c].receive(frames[0]) for c, frames in sent.items()}
    return defense, info, [*of_client, clients[0].save()], [*of_server, server.save()], up, down


def states(specs: list[Any]) -> tuple[Target, list[bytes]]:
    """Loaders of saved sessions: raw bytes, bytes under a right checksum, and facts changed one by one."""
    from defenses.session import pack_state, saved_role, unpack_state

    loaders: list[Callable[[bytes], Any]] = []
    seeds: list[tuple[int, bytes]] = []
    for spec in specs:
        defense, _, of_client, of_server, _, _ = world(spec)
        for load, saved in ((defense.load_client, of_client), (defense.load_server, of_server)):
            for data in dict.fromkeys(saved):
                seeds.append((len(loaders), data))
            loaders.append(load)

    def one(data: bytes) -> None:
        if len(data) < 16:
            return
        how, rest = data[0] % 3, data[2:]
        load = loaders[data[1] % len(loaders)]
        if how == 1:
            rest = _with_checksum(rest)
        elif how == 2:
            # Which state, which fact, what instead, and a part of the frames.
            index, state = seeds[rest[0] % len(seeds)]
            load = loaders[index]
            facts, frames = unpack_state(state, saved_role(state))
            names = sorted(facts)
            for at in range(1, 1 + rest[1] % 3):
                name, junk = names[rest[2 * at] % len(names)], rest[2 * at + 1]
                facts[name] = JUNK[junk % len(JUNK)]
            frames = [frame[: len(frame) - cut % 3] for frame, cut in zip(frames, rest[8:], strict=False)]
            rest = pack_state(facts, frames)
        load(rest)

    return one, [bytes([1, index]) + state for index, state in seeds] + [bytes([2]) + bytes(range(40))]


def _with_checksum(data: bytes) -> bytes:
    body = data[12:]
    return struct.pack("<4sI", b"IFS1", zlib.crc32(body)) + data[8:12] + body


def masked_states() -> tuple[Target, list[bytes]]:
    """Saved ends of masked, ratcheted and clear rounds."""
    from defenses.specs import ClearSpec, MaskedSpec

    return states([MaskedSpec(), MaskedSpec(ratchet=True), ClearSpec()])


def encrypted_states() -> tuple[Target, list[bytes]]:
    """Saved ends of encrypted rounds."""
    from defenses.specs import BfvSpec

    return states([BfvSpec()])


def masked_messages() -> tuple[Target, list[bytes]]:
    """The decoder of masked rounds' messages, for rosters of several sizes."""
    from defenses.secagg.masked import messages
    from defenses.specs import MaskedSpec

    sizes = (4, 5, 8, 16, 1000)

    def one(data: bytes) -> None:
        if len(data) < 2:
            return
        clients, wire = sizes[(data[0] >> 1) % len(sizes)], data[1:]
        if data[0] & 1 and len(wire) >= messages.HEADER_SIZE:
            wire = _mended_masked(wire)
        header, message = messages.decode(wire, clients)
        again = messages.encode(
            message, clients=clients, round_number=header.round, sender=header.sender, binding=header.binding
        )
        assert again == wire
        repr(message)

    _, _, _, _, up, down = world(MaskedSpec())
    return one, [b"\x01" + frame for _, frame in up] + [b"\x01" + frame for frame in down]


def _mended_masked(wire: bytes) -> bytes:
    from defenses.secagg.masked import messages

    body = wire[messages.HEADER_SIZE :]
    head = b"IM\x01" + wire[3:4] + struct.pack("<I", len(body)) + wire[8 : messages.HEADER_SIZE - 4]
    return head + struct.pack("<I", messages._checksum(head, body)) + body


def ends(spec: Any, mended: Callable[[bytes, bytes, int], bytes]) -> tuple[Target, list[bytes]]:
    """Both ends in every phase, resumed from what they saved, each with one frame from outside."""
    from defenses import InsecureSeeded

    defense, info, of_client, of_server, up, down = world(spec)
    of_client, of_server = list(dict.fromkeys(of_client)), list(dict.fromkeys(of_server))
    binding = defense.server(info).terms.binding

    def one(data: bytes) -> None:
        if len(data) < 4:
            return
        frame = mended(data[3:], binding, data[1]) if data[2] & 1 else data[3:]
        if data[0] & 1:
            state = of_client[(data[0] >> 1) % len(of_client)]
            client = defense.load_client(state, InsecureSeeded(3))
            client.receive(frame)
        else:
            server = defense.load_server(of_server[(data[0] >> 1) % len(of_server)])
            server.receive(data[1] % 5, frame)

    seeds = [bytes([phase << 1 | 1, 255, 1]) + frame for frame in down for phase in range(len(of_client))]
    seeds += [
        bytes([phase << 1, sender, 1]) + frame for sender, frame in up for phase in range(len(of_server))
    ]
    return one, seeds


def masked_ends() -> tuple[Target, list[bytes]]:
    """Client and server of a masked round."""
    from defenses.frame import SERVER
    from defenses.secagg.masked import messages
    from defenses.specs import MaskedSpec

    def mended(wire: bytes, binding: bytes, sender: int) -> bytes:
        if len(wire) < messages.HEADER_SIZE:
            return wire
        who = SERVER if sender == 255 else sender % 5
        return _mended_masked(wire[:8] + struct.pack("<II", 1, who) + binding[:8] + wire[24:])

    return ends(MaskedSpec(), mended)


def ratchet_ends() -> tuple[Target, list[bytes]]:
    """Client and server of a ratcheted round, and with them the decoder of its frames."""
    from defenses.secagg.ratchet import messages
    from defenses.specs import MaskedSpec

    def mended(wire: bytes, binding: bytes, sender: int) -> bytes:
        if len(wire) < messages.HEADER_SIZE:
            return wire
        place = messages.SERVER_PLACE if sender == 255 else sender % 5
        head = b"IR" + wire[2:3] + struct.pack("<H", place)
        body = wire[messages.HEADER_SIZE :]
        return head + struct.pack("<I", messages._checksum(binding, head, body)) + body

    return ends(MaskedSpec(ratchet=True), mended)


def encrypted_messages() -> tuple[Target, list[bytes]]:
    """The decoder of encrypted rounds' frames."""
    from defenses.secagg.homomorphic import messages
    from defenses.secagg.homomorphic.parameters import Scheme
    from defenses.upload import UploadKind

    def one(data: bytes) -> None:
        if len(data) < 2:
            return
        wire = data[1:]
        if data[0] & 1 and len(wire) >= messages.HEADER_SIZE:
            body = wire[messages.HEADER_SIZE :]
            head = b"IH\x01" + wire[3:24] + struct.pack("<I", len(body))
            wire = head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body
        message = messages.decode(wire)
        assert message.encode() == wire
        repr(message)

    seeds = []
    for kind in messages.MessageType:
        clients = () if kind is messages.MessageType.UPLOAD else (1, 2, 5)
        parts = (b"sum",) if kind is messages.MessageType.OPENING else (b"one", b"two")
        made = messages.Message(kind, Scheme.BFV, UploadKind.VECTOR, 7, 1, 3, bytes(8), clients, parts)
        seeds.append(b"\x01" + made.encode())
    return one, seeds


def _changed(whole: bytes, how: bytes) -> bytes:
    """Something too long to be found by chance, changed where and as the input says, and cut or drawn out a little."""
    parts = bytearray(whole)
    for at in range(1, len(how) - 3, 4):
        where = int.from_bytes(how[at : at + 3], "little")
        place = where % (min(96, len(parts)) if how[0] & 1 else len(parts))
        parts[place] = how[at + 3]
    longer = (how[0] >> 1) % 8 - 4 if how[0] >> 4 == 15 else 0
    return bytes(parts[: len(parts) + longer] if longer < 0 else parts + bytes(longer))


def ciphertexts() -> tuple[Target, list[bytes]]:
    """Ciphertexts as the server adds them, and as the key holder's library reads and decrypts them."""
    import numpy as np

    from defenses.secagg.homomorphic.ciphertext import add, pack, unpack
    from defenses.secagg.homomorphic.engine import Engine, generate
    from defenses.secagg.homomorphic.parameters import TABLE, Scheme

    engines = []
    for scheme in Scheme:
        encrypts, decrypts = generate(TABLE[scheme], symmetric=False)
        (whole,) = Engine(TABLE[scheme], encrypts).encrypt(np.arange(5, dtype=np.int64))
        engines.append((Engine(TABLE[scheme], decrypts), whole))

    def one(data: bytes) -> None:
        if len(data) < 2:
            return
        engine, whole = engines[data[0] & 1]
        row, wire = engine.parameters, data[1:]
        if data[0] & 2 and len(data) > 5:
            wire = _changed(whole, wire)
        numbers = unpack(wire, row)
        assert pack(numbers, row) == wire
        if data[0] & 4:
            vector = engine.load(wire)
            if data[0] & 8:
                assert engine.dump(vector) == wire
                engine.decrypt([vector])
        add(numbers, unpack(whole, row), row)
        unpack(pack(numbers, row), row)

    seeds = [bytes([which]) + bytes([3 & which]) + bytes(range(20)) for which in range(16)]
    return one, [*seeds, *(bytes([2 | which, 0, *range(40)]) for which in range(2))]


def encrypted_ends() -> tuple[Target, list[bytes]]:
    """Server and key holder of an encrypted round, in every phase, each with one frame from outside."""
    from defenses.secagg.homomorphic import messages
    from defenses.secagg.homomorphic.holder import KeyHolder
    from defenses.secagg.homomorphic.keys import KEY_HOLDER
    from defenses.specs import BfvSpec

    defense, info, _, of_server, up, _ = world(BfvSpec())
    of_server = list(dict.fromkeys(of_server))
    asked = (defense.load_server(state).resend().get(KEY_HOLDER, []) for state in of_server)
    frames = [*(frame for _, frame in up), *(request for requests in asked for request in requests)]
    keys = defense.enrolment.holder().keys

    def one(data: bytes) -> None:
        if len(data) < 9:
            return
        wire = _changed(frames[data[0] % len(frames)], data[4:])
        body = wire[messages.HEADER_SIZE :]
        head = wire[:28] if data[1] & 2 else wire[:24] + struct.pack("<I", len(body))
        wire = head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body if data[1] & 1 else wire
        if data[2] & 1:
            # Decrypting spends the round, so every input meets a key holder that has decrypted nothing.
            KeyHolder(keys, defense.spec).session(info).receive(wire)
        else:
            server = defense.load_server(of_server[(data[2] >> 1) % len(of_server)])
            server.receive(KEY_HOLDER if data[3] % 6 == 5 else data[3] % 6, wire)

    return one, [
        bytes([which, mended, phase << 1 | end, sender, 0, 40, 0, 0, 1])
        for which in range(len(frames))
        for mended in (1, 0)
        for phase in range(len(of_server))
        for end, sender in ((0, which), (1, 0))
    ]


def files() -> tuple[Target, list[bytes]]:
    """Key directories, diaries, chains, and the key files of encrypted rounds, under right checksums."""
    from defenses import InsecureSeeded
    from defenses.secagg.homomorphic.keys import ClientKeys, HolderKeys, ServerKeys
    from defenses.secagg.masked.directory import Diary, Directory, enrol
    from defenses.secagg.masked.ratchet import Ratchet
    from defenses.session import pack_state

    members = enrol(range(3), InsecureSeeded(1))
    directory = members[0].directory

    def as_text(load: Callable[[str], Any]) -> Target:
        return lambda data: load(data.decode("utf-8", "replace"))

    def directories(data: bytes) -> None:
        Directory.load(data, directory.authority)

    def mended(load: Callable[[bytes], Any]) -> Target:
        return lambda data: load(_with_checksum(data))

    loaders = [directories, as_text(Diary.load), as_text(Ratchet.load)]
    loaders += [mended(ServerKeys.load), mended(ClientKeys.load), mended(HolderKeys.load)]

    def one(data: bytes) -> None:
        if len(data) > 1:
            loaders[data[0] % len(loaders)](data[1:])

    head = {"scheme": "bfv", "client": 1}
    contents = [directory.save(), members[0].diary.save().encode(), members[0].ratchet.save().encode()]
    for kind, parts in (
        (ServerKeys, [bytes(8)]),
        (ClientKeys, [bytes(8), bytes(32), bytes(32), b"k"]),
        (HolderKeys, [bytes(8), bytes(32), b"k", b"k"]),
    ):
        contents.append(pack_state({**head, "role": kind._ROLE}, parts))
    return one, [bytes([which]) + content for which, content in enumerate(contents)]


TARGETS: dict[str, tuple[Callable[[], tuple[Target, list[bytes]]], float]] = {
    "masked_messages": (masked_messages, 2),
    "masked_ends": (masked_ends, 3),
    "masked_states": (masked_states, 2),
    "ratchet_ends": (ratchet_ends, 2),
    "encrypted_messages": (encrypted_messages, 1),
    "encrypted_states": (encrypted_states, 1),
    "encrypted_ends": (encrypted_ends, 2),
    "ciphertexts": (ciphertexts, 2),
    "files": (files, 1),
}
"""What makes a target and its seeds, and its share of the time."""
