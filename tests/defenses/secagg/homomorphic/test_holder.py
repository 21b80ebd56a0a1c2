"""The key holder opens one genuine sum a round, and nothing that a dishonest server makes of the uploads."""

import dataclasses

import pytest
from homomorphic import (
    FOREIGN,
    FRAMES,
    KEY_HOLDER,
    LAYOUT,
    NAMES,
    ROSTER,
    ROUND,
    SPECS,
    exact,
    frames_of,
    keys,
    request_of,
    same,
    simulation,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks._server.encrypted import FORGERIES, total
from defenses import (
    FrameError,
    ProtocolError,
)
from defenses.secagg.homomorphic.engine import Engine
from defenses.secagg.homomorphic.holder import MAX_REFUSALS, HolderSession
from defenses.secagg.homomorphic.messages import MessageType, decode

every_spec = pytest.mark.parametrize("spec", SPECS, ids=NAMES)


def forged(spec, make, clients=ROSTER):
    """A request whose ciphertexts are what ``make`` does with the uploads' vectors, client to vector."""
    defense = simulation(spec)
    row = keys(spec.kind).parameters
    engine = Engine(row, keys(spec.kind).encrypts)
    vectors = {client: engine.load(decode(frame).parts[0]) for client, frame in FRAMES[spec.kind].items()}
    _, request = request_of(defense, ROSTER, frames=FRAMES[spec.kind])
    part = engine.dump(make(vectors, row.slots))
    return dataclasses.replace(decode(request), clients=tuple(clients), parts=(part,)).encode()


def blank(vectors, slots):
    """All tags, and the numbers of client 2 alone."""
    size = LAYOUT.size + 1
    keep = [0] * size + [1] * (slots - size)
    return total({2: vectors[2], **{c: vectors[c].mul(keep) for c in (3, 5, 8)}}, ROSTER)


@every_spec
@pytest.mark.parametrize("forgery", FORGERIES)
def test_sums_that_are_not_what_the_server_says_are_not_opened(spec, forgery):
    make, clients = FORGERIES[forgery]
    request = forged(spec, make, clients)
    session = simulation(spec).helpers(ROUND)[KEY_HOLDER]
    with pytest.raises(
        ProtocolError, match=r"refuses a request .* it is not the sum of those clients' uploads"
    ):
        session.receive(request)
    assert session.resend() == []
    _, honest = request_of(simulation(spec), ROSTER, frames=FRAMES[spec.kind])
    with pytest.raises(ProtocolError, match=r"phase refused refuses .* was decrypted before"):
        session.receive(honest)


def test_blanking_the_numbers_of_all_but_one_is_not_opened():
    """A ciphertext times a plaintext leaves too much noise here, or else the tags tell; both end alike."""
    session = simulation(SPECS[0]).helpers(ROUND)[KEY_HOLDER]
    with pytest.raises(ProtocolError, match="it is not the sum"):
        session.receive(forged(SPECS[0], blank))


@every_spec
def test_an_honest_request_made_the_same_way_is_opened(spec):
    """So that the forgeries fail for what they are, not for how they are made."""
    session = simulation(spec).helpers(ROUND)[KEY_HOLDER]
    (opening,) = session.receive(forged(spec, lambda v, _: total(v, ROSTER)))
    assert decode(opening).type is MessageType.OPENING


@every_spec
def test_the_key_holder_refuses_what_is_not_this_rounds(spec):
    defense = simulation(spec)
    _, request = request_of(defense, ROSTER, frames=FRAMES[spec.kind])
    message = decode(request)
    session = defense.helpers(ROUND)[KEY_HOLDER]
    for changes, said in (
        ({"clients": (2, 3)}, "sums 2 uploads, fewer than 3"),
        ({"clients": (2, 3, 4)}, "names clients outside the roster"),
        ({"round": 3}, "this is round 4 of kind vector"),
        ({"kind": "scores"}, "this is round 4 of kind vector"),
        ({"layout": 1}, "its layout is not the one agreed on"),
        ({"key": b"8 bytes."}, "its keys are"),
        ({"sender": 2}, "names 2 as its sender"),
        ({"type": MessageType.UPLOAD, "clients": ()}, "it takes an request"),
        ({"parts": message.parts * 2}, "it has 2 parts, not 1"),
    ):
        with pytest.raises(ProtocolError) as caught:
            session.receive(dataclasses.replace(message, **changes).encode())
        assert said in str(caught.value), said
    for frame in FOREIGN[spec.kind][:-2]:
        with pytest.raises(ProtocolError):
            session.receive(frame)
    with pytest.raises(FrameError, match="ciphertext has 500 bytes"):
        session.receive(dataclasses.replace(message, parts=(b"x" * 500,)).encode())
    # None of these was decrypted, so the round is still to be had, once.
    (opening,) = session.receive(request)
    assert session.resend() == [opening]
    for again in (request, FOREIGN[spec.kind][0]):
        with pytest.raises(ProtocolError, match="decrypted before"):
            session.receive(again)


@every_spec
def test_a_sum_under_other_keys_is_not_opened(spec):
    """The key's name is only a name: with it forged, the numbers still do not fit."""
    _, request = request_of(simulation(spec, which=1), ROSTER)
    renamed = dataclasses.replace(decode(request), key=keys(spec.kind).key_id).encode()
    with pytest.raises(ProtocolError, match="it is not the sum"):
        simulation(spec).helpers(ROUND)[KEY_HOLDER].receive(renamed)


@every_spec
def test_a_round_is_decrypted_once_also_after_a_restart(spec):
    defense = simulation(spec)
    holder = defense.enrolment.holder()
    _, request = request_of(defense, ROSTER, frames=FRAMES[spec.kind])
    session = holder.session(ROUND)
    waiting = session.save()
    (opening,) = session.receive(request)
    with pytest.raises(ProtocolError, match="a sum of round 4 of kind vector was decrypted before"):
        holder.session(ROUND)
    again = type(holder).load(holder.save(), keys(spec.kind), spec)
    with pytest.raises(ProtocolError, match="decrypted before"):
        again.session(ROUND)
    assert type(session).load(session.save(), again).resend() == [opening]
    # An older state of the session does not bring the round back.
    with pytest.raises(ProtocolError, match="decrypted before"):
        type(session).load(waiting, again).receive(request)
    again.session(dataclasses.replace(ROUND, number=5))


@every_spec
def test_uploads_computed_from_different_states_are_not_opened(spec):
    defense = simulation(spec)
    info, other = (dataclasses.replace(ROUND, context=text) for text in ("aa", "bb"))
    frames = {**frames_of(defense, (2, 3, 5), info), **frames_of(defense, (8,), other)}
    _, request = request_of(defense, ROSTER, info, frames)
    with pytest.raises(ProtocolError, match="it is not the sum"):
        defense.helpers(info)[KEY_HOLDER].receive(request)


@every_spec
@given(data=st.data())
@settings(max_examples=25)
def test_an_upload_with_flipped_bits_and_a_right_checksum_spoils_the_sum_and_no_more(spec, data):
    """A client may send any ciphertext: the server refuses it, or the key holder refuses the sum, or it is right."""
    message = decode(FRAMES[spec.kind][2])
    part = bytearray(message.parts[0])
    for at in data.draw(st.lists(st.integers(8 * 30, 8 * len(part) - 1), min_size=1, max_size=3)):
        part[at // 8] ^= 1 << at % 8
    defense = simulation(spec)
    server = defense.server(ROUND)
    before = server.save()
    try:
        server.receive(2, dataclasses.replace(message, parts=(bytes(part),)).encode())
    except FrameError:
        assert server.save() == before
        return
    for client in (3, 5, 8):
        out = server.receive(client, FRAMES[spec.kind][client])
    try:
        (opening,) = defense.helpers(ROUND)[KEY_HOLDER].receive(out[KEY_HOLDER][0])
    except ProtocolError as error:
        assert "it is not the sum" in str(error)
        return
    server.receive(KEY_HOLDER, opening)
    assert same(server.aggregate(), *exact(spec, ROSTER))


def test_keys_are_given_up_after_too_many_requests_that_were_no_sums():
    """Whatever rounds a dishonest server makes up to ask for, it gets so many refusals and no more."""
    spec = SPECS[0]
    defense = simulation(spec)
    holder = defense.enrolment.holder()
    message = decode(request_of(defense, ROSTER, frames=FRAMES[spec.kind])[1])
    for number in range(100, 100 + MAX_REFUSALS):
        asked = dataclasses.replace(message, round=number).encode()
        with pytest.raises(ProtocolError, match="it is not the sum"):
            holder.session(dataclasses.replace(ROUND, number=number)).receive(asked)
        if number == 108:
            # A genuine sum in between neither counts nor starts the count anew.
            assert holder.session(ROUND).receive(message.encode())
        holder = type(holder).load(holder.save(), keys(spec.kind), spec)
    waiting = simulation(spec).helpers(dataclasses.replace(ROUND, number=7))[KEY_HOLDER].save()
    said = f"{MAX_REFUSALS} requests under these keys were no genuine sums, so the run needs new keys"
    with pytest.raises(ProtocolError, match=said):
        holder.session(dataclasses.replace(ROUND, number=7))
    with pytest.raises(ProtocolError, match=said):
        HolderSession.load(waiting, holder).receive(message.encode())
