"""What the server and a client refuse, and what they remember."""

import dataclasses

import numpy as np
import pytest
from homomorphic import (
    FRAMES,
    KEY_HOLDER,
    NAMES,
    ROSTER,
    ROUND,
    SPECS,
    exact,
    request_of,
    same,
    simulation,
    upload,
)

from defenses import (
    CkksSpec,
    FrameError,
    IfedprivError,
    ProtocolError,
    SecureEntropy,
    UserError,
)
from defenses.secagg.homomorphic.messages import decode

every_spec = pytest.mark.parametrize("spec", SPECS, ids=NAMES)


def test_the_server_needs_enough_uploads_and_the_key_holder():
    defense = simulation(SPECS[0])
    server = defense.server(ROUND)
    with pytest.raises(
        ProtocolError, match=r"clients \[2, 3, 5, 8\] have neither sent nor been declared lost"
    ):
        server.aggregate()
    for client in (2, 3):
        assert server.receive(client, FRAMES["bfv"][client]) == {}
    assert server.waiting_for == (5, 8)
    assert server.lost([5, 8]) == {} and server.waiting_for == ()
    with pytest.raises(
        ProtocolError, match="2 of round 4 of kind vector have sent, and the key holder opens"
    ):
        server.aggregate()
    server, request = request_of(defense, ROSTER, frames=FRAMES["bfv"])
    assert server.waiting_for == (KEY_HOLDER,)
    assert decode(server.resend()[KEY_HOLDER][0]).clients == decode(request).clients
    with pytest.raises(ProtocolError, match="has not opened the sum yet"):
        server.aggregate()
    server.lost([KEY_HOLDER])
    assert server.waiting_for == ()
    with pytest.raises(ProtocolError, match="the key holder was declared lost"):
        server.aggregate()
    with pytest.raises(ProtocolError, match=r"\[9\] are not in the roster"):
        server.lost([9])


@every_spec
def test_openings_are_held_against_what_was_asked(spec):
    defense = simulation(spec)
    server, request = request_of(defense, ROSTER, frames=FRAMES[spec.kind])
    (opening,) = defense.helpers(ROUND)[KEY_HOLDER].receive(request)
    message = decode(opening)
    early = defense.server(ROUND)
    with pytest.raises(
        ProtocolError, match=r"phase collecting refuses an opening .* from the key holder: nothing was"
    ):
        early.receive(KEY_HOLDER, opening)
    with pytest.raises(ProtocolError, match="uploads are no longer taken"):
        server.receive(2, opening)
    size = server.terms.grid.ring.packed_size(8)
    for changes, error in (
        ({"clients": (2, 3, 5)}, ProtocolError),
        ({"sender": 2}, ProtocolError),
        ({"key": bytes(8)}, ProtocolError),
        ({"parts": (message.parts[0][:-1],)}, FrameError),
        ({"parts": (bytes(size),)}, ProtocolError),
        ({"parts": (b"\xff" * size,)}, IfedprivError),
    ):
        with pytest.raises(error):
            server.receive(KEY_HOLDER, dataclasses.replace(message, **changes).encode())
    server.receive(KEY_HOLDER, opening)
    server = defense.load_server(server.save())
    assert same(server.aggregate(), *exact(spec, ROSTER))
    with pytest.raises(ProtocolError, match="answered already"):
        server.receive(KEY_HOLDER, opening)
    with pytest.raises(ProtocolError, match="the round is over"):
        server.lost([2])


@every_spec
def test_a_client_protects_once_and_resends_the_very_bytes(spec):
    defense = simulation(spec)
    session = defense.client(3, ROUND, SecureEntropy())
    for wrong in (
        upload(3, round=5),
        upload(3, kind="scores"),
        upload(3, arrays={"a": np.zeros((2, 3), dtype=np.float32)}),
    ):
        with pytest.raises(ProtocolError):
            session.protect(wrong)
    with pytest.raises(UserError, match="whole number"):
        session.protect(upload(3, weight=1.5))
    fresh = defense.load_client(session.save())
    (frame,) = session.protect(upload(3))
    for one in (session, defense.load_client(session.save())):
        assert one.resend() == [frame]
        with pytest.raises(ProtocolError, match="it has protected one already"):
            one.protect(upload(3))
        with pytest.raises(ProtocolError, match="has none to clients"):
            one.receive(frame)
    assert fresh.protect(upload(3)) != [frame]
    with pytest.raises(ProtocolError, match="client 4 is not in the roster"):
        defense.client(4, ROUND, SecureEntropy())


def test_rounds_that_do_not_fit_are_refused_before_anything_is_sent():
    many = dataclasses.replace(ROUND, roster=tuple(range(64)))
    big = CkksSpec(grid={"bits": 24, "max_weight": 1024})
    with pytest.raises(
        UserError, match=r"a slot of ckks holds 1073741824; lower grid.bits to 15 or lower grid.max_we"
    ):
        simulation(big).client(3, many, SecureEntropy())
    with pytest.raises(ProtocolError, match=r"round.roster has 2 clients, fewer than defense.min_clients 3"):
        simulation(SPECS[0]).server(dataclasses.replace(ROUND, roster=(2, 3)))
    with pytest.raises(UserError, match="the key holder's number"):
        simulation(SPECS[0]).server(dataclasses.replace(ROUND, roster=(2, 3, KEY_HOLDER)))
