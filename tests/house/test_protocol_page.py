"""docs/protocol.md and docs/wire.md say of the masked sums what the code says."""

import protocol_page
import pytest
from protocol_page import CHECKS, HEADER, PROTOCOL, RATCHET, RATCHET_BODIES, WIRE, filled

from defenses.secagg.masked.messages import HEADER_FIELDS, HEADER_SIZE, MESSAGES, VERSION, Direction
from defenses.secagg.masked.phases import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientPhase,
    ServerPhase,
)
from defenses.secagg.masked.ratchet import MAX_SKIP
from defenses.secagg.masked.shamir import PRIME
from defenses.secagg.ratchet import messages as ratchet
from defenses.secagg.ratchet.messages import Kind

REMEDY = "run PYTHONPATH=. python tests/_support/protocol_page.py"


def test_protocol_is_current():
    assert PROTOCOL.read_text(encoding="utf-8") == protocol_page.protocol(), REMEDY


def test_wire_is_current():
    assert WIRE.read_text(encoding="utf-8") == protocol_page.wire(), REMEDY


def test_ratchet_is_current():
    assert RATCHET.read_text(encoding="utf-8") == protocol_page.ratchet_page(), REMEDY
    assert set(RATCHET_BODIES) == set(Kind)
    assert f"a header of {ratchet.HEADER_SIZE} bytes" in RATCHET.read_text(encoding="utf-8")
    assert f"up to {MAX_SKIP:,} steps" in RATCHET.read_text(encoding="utf-8")


def test_every_message_and_field_has_its_words():
    assert set(CHECKS) == {message.__name__ for message in MESSAGES}
    assert set(HEADER) == {name for name, _ in HEADER_FIELDS}
    assert f"a header of {HEADER_SIZE} bytes" in WIRE.read_text(encoding="utf-8")
    assert HEADER["version"] == str(VERSION)
    assert "2^256 + 297" in PROTOCOL.read_text(encoding="utf-8") and PRIME == 2**256 + 297


def test_the_two_tables_of_phases_fit_each_other():
    """What one end sends in answer to a message is what the other takes next, all the way through."""
    client, server = ClientPhase.ADVERTISED, ServerPhase.ADVERTISING
    sent = [MESSAGES[0]]
    while server is not ServerPhase.DONE:
        step = SERVER_TRANSITIONS[server]
        assert step.takes is sent[-1] and step.takes.DIRECTION is Direction.UP
        server = step.then
        if step.sends is not None:
            answer = CLIENT_TRANSITIONS[client]
            assert answer.takes is step.sends and step.sends.DIRECTION is Direction.DOWN
            sent += [step.sends, answer.answers]
            client = answer.then
    assert client is ClientPhase.DONE
    assert tuple(sent) == MESSAGES
    assert [message.CODE for message in MESSAGES] == list(range(1, len(MESSAGES) + 1))


def test_a_missing_mark_is_told():
    assert filled("<!-- a -->\nold\n<!-- end -->", "a", "new") == "<!-- a -->\nnew\n<!-- end -->"
    with pytest.raises(SystemExit, match="mark b"):
        filled("<!-- a -->\n<!-- end -->", "b", "new")
