"""Writes the tables of docs/protocol.md and docs/wire.md that stand in the code:

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

DOCS = Path(__file__).parents[2] / "docs"
PROTOCOL, WIRE = DOCS / "protocol.md", DOCS / "wire.md"
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
