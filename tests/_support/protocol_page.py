"""Writes the tables of docs/protocol.md, docs/ratchet.md and docs/wire.md that stand in the code:

PYTHONPATH=. python tests/_support/protocol_page.py
"""

import re
import struct
from pathlib import Path

from defenses.secagg.masked.messages import HEADER_FIELDS, MESSAGES, Form
from defenses.secagg.masked.phases import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientPhase,
    ServerPhase,
)
from defenses.secagg.ratchet import messages as ratchet
from defenses.secagg.ratchet.client import TAKES as CLIENT_TAKES
from defenses.secagg.ratchet.messages import MAC_BYTES, SEED_BYTES, Kind
from defenses.secagg.ratchet.server import TAKES as SERVER_TAKES

DOCS = Path(__file__).parents[2] / "docs"
PROTOCOL, WIRE, RATCHET = DOCS / "protocol.md", DOCS / "wire.md", DOCS / "ratchet.md"
TYPES = {"2s": "bytes", "8s": "bytes", "B": "u8", "H": "u16", "I": "u32", "f": "f32"}
CHECKS = {
    "Advertise": "server: signature",
    "Roster": "client: list, every signature",
    "Shares": "server: one deal for each neighbour that is present",
    "Inbox": "client: list, every seal, every commitment",
    "MaskedInput": "server: length",
    "Survivors": "client: list",
    "Consistency": "server: signature",
    "Signatures": "client: list, every signature",
    "Unmask": "server: every share against its commitment, then every secret against its own",
}
HEADER = {
    "magic": "`49 4d`, the letters `IM`",
    "version": "1",
    "type": "which message",
    "length": "bytes of the body",
    "round": "number of the round",
    "sender": "number of the client; 4294967295 is the server",
    "binding": "first 8 bytes of the round's binding",
    "crc": "CRC-32 over everything before it and the body (of a `MaskedInput`: see below)",
}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def summary(message):
    return " ".join(message.__doc__.split("\n\n")[0].split())


def messages():
    rows = [
        [str(m.CODE), f"`{m.__name__}`", str(m.DIRECTION), summary(m), CHECKS[m.__name__]] for m in MESSAGES
    ]
    return table(["", "message", "direction", "content", "checked by"], rows)


def phases():
    client = [[f"{ClientPhase.READY}", "its own upload", "`Advertise`", f"{ClientPhase.ADVERTISED}"]]
    client += [
        [str(phase), f"`{step.takes.__name__}`", f"`{step.answers.__name__}`", str(step.then)]
        for phase, step in CLIENT_TRANSITIONS.items()
    ]
    client.append([str(ClientPhase.DONE), "nothing", "", ""])
    server = [
        [
            str(phase),
            f"`{step.takes.__name__}`",
            f"`{step.sends.__name__}`" if step.sends else "the sum",
            str(step.then),
        ]
        for phase, step in SERVER_TRANSITIONS.items()
    ]
    server.append(["any of these", f"too few clients left: {ServerPhase.FAILED}", "nothing", "failed"])
    return (
        table(["client is", "takes", "answers", "then is"], client)
        + "\n\n"
        + table(["server is", "takes from each", "then sends to each", "then is"], server)
    )


def header():
    rows, at = [], 0
    for name, code in HEADER_FIELDS:
        size = struct.calcsize("<" + code)
        rows.append([str(at), str(size), TYPES[code], name, HEADER[name]])
        at += size
    return table(["offset", "bytes", "type", "field", "meaning"], rows)


def bodies():
    sizes = {Form.BITMAP: "ceil(n / 8)", Form.REST: "all others"}
    rows = []
    for message in MESSAGES:
        for index, part in enumerate(message.PARTS):
            size = sizes.get(part.form, f"{part.size} each" if part.form is Form.ITEMS else str(part.size))
            first = f"{message.CODE} `{message.__name__}`" if index == 0 else ""
            meaning = f"for each {part.meaning}" if part.form is Form.ITEMS else part.meaning
            rows.append([first, part.name, size, meaning])
    return table(["message", "part", "bytes", "content"], rows)


RATCHET_HEADER = {
    "magic": "`49 52`, the letters `IR`",
    "tag": "version 1 in the upper half byte, type in the lower",
    "place": "of the sender; 65535 is the server",
    "crc": "CRC-32 over the binding's 32 bytes, the header's other bytes and the body",
}
RATCHET_BODIES = {
    Kind.STEP: ("client to server", "masked input: ring elements, the weight last", "length"),
    Kind.ALIVE: (
        "server to client",
        "bitmap of whose input arrived",
        "it names the reader, and enough others",
    ),
    Kind.CONFIRM: (
        "client to server",
        f"for each other in the list, ascending: {MAC_BYTES} bytes of MAC",
        "length",
    ),
    Kind.CONFIRMED: ("server to client", "the MACs made for the reader, ascending by maker", "every MAC"),
    Kind.OPEN: (
        "client to server",
        f"self seed, then the pair seed with each client not in the list, ascending; {SEED_BYTES} bytes each",
        "length; the sum's range",
    ),
}


def ratchet_messages():
    rows = [[str(int(kind)), f"`{kind.name}`", *words] for kind, words in RATCHET_BODIES.items()]
    return table(["", "message", "direction", "body", "checked"], rows)


def ratchet_header():
    rows, at = [], 0
    for name, code in ratchet.HEADER_FIELDS:
        size = struct.calcsize("<" + code)
        rows.append([str(at), str(size), TYPES[code], name, RATCHET_HEADER[name]])
        at += size
    return table(["offset", "bytes", "type", "field", "meaning"], rows)


def ratchet_phases():
    answers = {Kind.ALIVE: Kind.CONFIRM, Kind.CONFIRMED: Kind.OPEN}
    sends = {Kind.STEP: Kind.ALIVE, Kind.CONFIRM: Kind.CONFIRMED}
    client = [["ready", "its own upload", "`STEP`"]]
    client += [
        [str(phase), f"`{kind.name}`", f"`{answers[kind].name}`"] for phase, kind in CLIENT_TAKES.items()
    ]
    server = [
        [str(phase), f"`{kind.name}`", f"`{sends[kind].name}`" if kind in sends else "the sum"]
        for phase, kind in SERVER_TAKES.items()
    ]
    return (
        table(["client is", "takes", "answers"], client)
        + "\n\n"
        + table(["server is", "takes from each", "then sends to each"], server)
    )


def ratchet_page():
    text = RATCHET.read_text(encoding="utf-8")
    text = filled(text, "ratchet messages", ratchet_messages())
    return filled(filled(text, "ratchet header", ratchet_header()), "ratchet phases", ratchet_phases())


def filled(text, name, content):
    """The text with what stands between a mark and the next end replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.S)
    if len(pattern.findall(text)) != 1:
        raise SystemExit(f"mark {name} is not there once")
    return pattern.sub(lambda found: found[1] + content + "\n" + found[2], text)


def protocol():
    text = PROTOCOL.read_text(encoding="utf-8")
    return filled(filled(text, "messages", messages()), "phases", phases())


def wire():
    text = WIRE.read_text(encoding="utf-8")
    return filled(filled(text, "header", header()), "bodies", bodies())


if __name__ == "__main__":
    PROTOCOL.write_text(protocol(), encoding="utf-8")
    WIRE.write_text(wire(), encoding="utf-8")
    RATCHET.write_text(ratchet_page(), encoding="utf-8")
