"""Frames of an encrypted round: known bytes, one encoding each, and refusal of everything else."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenses import SERVER, FrameError, UploadKind
from defenses.secagg.homomorphic.keys import KEY_HOLDER
from defenses.secagg.homomorphic.messages import HEADER_SIZE, MAGIC, Message, MessageType, Scheme, decode

KNOWN = [
    (
        Message(
            MessageType.UPLOAD, Scheme.BFV, UploadKind.VECTOR, 0xDD14, 7, 3, b"keyident", (), (b"abc", b"d")
        ),
        "49 48 01 01 02 01 14 dd 07 00 00 00 03 00 00 00 6b 65 79 69 64 65 6e 74 0c 00 00 00 7d 2b f8 e7 "
        "03 00 00 00 61 62 63 01 00 00 00 64",
    ),
    (
        Message(
            MessageType.REQUEST, Scheme.CKKS, UploadKind.SCORES, 1, 0, SERVER, b"keyident", (2, 5), (b"sum",)
        ),
        "49 48 01 02 01 04 01 00 00 00 00 00 ff ff ff ff 6b 65 79 69 64 65 6e 74 13 00 00 00 98 38 d9 91 "
        "02 00 00 00 02 00 00 00 05 00 00 00 03 00 00 00 73 75 6d",
    ),
    (
        Message(
            MessageType.OPENING,
            Scheme.CKKS,
            UploadKind.WEIGHTS,
            1,
            2**32 - 1,
            KEY_HOLDER,
            b"keyident",
            (9,),
            (b"\0\1",),
        ),
        "49 48 01 03 01 03 01 00 ff ff ff ff fe ff ff ff 6b 65 79 69 64 65 6e 74 0a 00 00 00 c7 7f 10 73 "
        "01 00 00 00 09 00 00 00 00 01",
    ),
]


@pytest.mark.parametrize(("message", "known"), KNOWN, ids=["upload", "request", "opening"])
def test_known_frames(message, known):
    assert message.encode().hex(" ") == known
    assert decode(message.encode()) == message


messages = st.builds(
    Message,
    type=st.sampled_from(MessageType),
    scheme=st.sampled_from(Scheme),
    kind=st.sampled_from(UploadKind),
    layout=st.integers(0, 2**16 - 1),
    round=st.integers(0, 2**32 - 1),
    sender=st.integers(0, 2**32 - 1),
    key=st.binary(min_size=8, max_size=8),
    clients=st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=9).map(sorted).map(tuple),
    parts=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5).map(tuple),
).map(
    lambda m: Message(
        m.type,
        m.scheme,
        m.kind,
        m.layout,
        m.round,
        m.sender,
        m.key,
        () if m.type is MessageType.UPLOAD else m.clients,
        m.parts[:1] if m.type is MessageType.OPENING else m.parts,
    )
)


@given(messages)
def test_every_message_comes_back(message):
    assert decode(message.encode()) == message
    assert "parts" in repr(message) and message.key.hex() not in repr(message)


@given(messages, st.data())
def test_damage_is_refused(message, data):
    frame = bytearray(message.encode())
    match data.draw(st.sampled_from(["cut", "flip", "longer"])):
        case "cut":
            frame = frame[: data.draw(st.integers(0, len(frame) - 1))]
        case "flip":
            at = data.draw(st.integers(0, 8 * len(frame) - 1))
            frame[at // 8] ^= 1 << at % 8
        case "longer":
            frame += b"\0"
    with pytest.raises(FrameError):
        decode(bytes(frame))


@given(st.binary(max_size=80), messages)
def test_any_payload_is_refused_or_has_one_encoding(payload, message):
    head = message.encode()[: HEADER_SIZE - 8] + struct.pack("<I", len(payload))
    frame = head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload
    try:
        read = decode(frame)
    except FrameError:
        return
    assert read.encode() == frame


def test_header_is_32_bytes_and_names_itself():
    assert HEADER_SIZE == 32 and MAGIC == b"IH"


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [(0, 0x50, "magic"), (2, 2, "version 2"), (3, 9, "type 9"), (4, 0, "scheme 0"), (5, 8, "kind 8")],
)
def test_unknown_headers(at, value, said):
    frame = bytearray(KNOWN[0][0].encode())
    frame[at] = value
    head = bytes(frame[: HEADER_SIZE - 4])
    frame[HEADER_SIZE - 4 : HEADER_SIZE] = struct.pack(
        "<I", zlib.crc32(frame[HEADER_SIZE:], zlib.crc32(head))
    )
    with pytest.raises(FrameError, match=said):
        decode(bytes(frame))
