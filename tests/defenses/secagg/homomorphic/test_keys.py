"""Who holds what: no secret where none belongs, none shown, and a statement that says who has to be trusted."""

import dataclasses
import re

import pytest
from homomorphic import (
    FRAMES,
    KEY_HOLDER,
    NAMES,
    ROSTER,
    ROUND,
    SPECS,
    exact,
    finish,
    keys,
    request_of,
    same,
    simulation,
    upload,
)

from defenses import (
    SERVER,
    BfvSpec,
    CkksSpec,
    Defense,
    FrameError,
    InsecureSeeded,
    Ledger,
    PrivacyStatement,
    SecureEntropy,
    UserError,
)
from defenses.secagg.homomorphic.keys import ClientKeys, HolderKeys, ServerKeys
from defenses.secagg.homomorphic.parties import Parties

every_spec = pytest.mark.parametrize("spec", SPECS, ids=NAMES)


def windows(data, size=16):
    return {data[at : at + size] for at in range(len(data) - size + 1)}


def content(data):
    """Windows of what SEAL has serialised, without its headers: two objects of one size have those in common."""
    parts = re.split(rb"\x5e\xa1\x10.{13}(?:\x28\xb5\x2f\xfd.{8})?", data, flags=re.DOTALL)
    assert len(parts) > 1
    return set().union(*map(windows, parts))


@pytest.mark.parametrize("encryption", ["public", "symmetric"])
@pytest.mark.parametrize("kind", [BfvSpec, CkksSpec])
def test_the_server_has_no_secret(kind, encryption):
    spec = kind(encryption=encryption)
    holder = keys(spec.kind, encryption)
    keyless = holder.engine()._context.data.serialize(False, False, False, False)
    secrets = content(holder.decrypts) - windows(keyless)
    assert len(secrets) > 1000
    mine = holder.client_file(3)
    secrets |= windows(holder.master) | windows(mine.shared) | windows(mine.own)
    defense = simulation(spec)
    server, request = request_of(defense, ROSTER)
    states = [holder.server_file().save(), server.save(), request]
    finish(defense, server, request)
    states += [
        server.save(),
        mine.save() if encryption == "public" else b"",
        defense.enrolment.holder().save(),
    ]
    states.append(defense.helpers(dataclasses.replace(ROUND, number=9))[KEY_HOLDER].save())
    for state in states:
        found = windows(state) & secrets
        # A client's file holds its own seeds and never the key that decrypts, nor the key holder's master seed.
        assert not found - windows(mine.shared) - windows(mine.own)
    assert windows(holder.save()) & secrets
    assert bool(windows(mine.save()) & content(holder.decrypts) - windows(keyless)) == (
        encryption == "symmetric"
    )
    for state in (states[0], states[1]):
        assert not windows(state) & (windows(mine.shared) | windows(mine.own))


@every_spec
def test_files_come_back_and_serve_their_party_only(spec):
    holder = keys(spec.kind)
    files = {
        "holder": HolderKeys.load(holder.save()),
        "client": ClientKeys.load(holder.client_file(3).save()),
        "server": ServerKeys.load(holder.server_file().save()),
    }
    by = {name: Defense(spec, Parties(spec, file)) for name, file in files.items()}
    frames = {
        c: Defense(spec, Parties(spec, ClientKeys.load(holder.client_file(c).save())))
        .client(c, ROUND, InsecureSeeded(0, str(c)))
        .protect(upload(c))[0]
        for c in ROSTER
    }
    server, request = request_of(by["server"], ROSTER, frames=frames)
    (opening,) = by["holder"].helpers(ROUND)[KEY_HOLDER].receive(request)
    server.receive(KEY_HOLDER, opening)
    assert same(server.aggregate(), *exact(spec, ROSTER))
    for name, ask in (
        ("server", lambda d: d.client(3, ROUND, SecureEntropy())),
        ("server", lambda d: d.helpers(ROUND)),
        ("client", lambda d: d.client(2, ROUND, SecureEntropy())),
        ("client", lambda d: d.server(ROUND)),
        ("client", lambda d: d.helpers(ROUND)),
    ):
        with pytest.raises(UserError, match="keys given to this process are not"):
            ask(by[name])
    other = SPECS[1 - SPECS.index(spec)]
    for make in (
        lambda d: d.server(ROUND),
        lambda d: d.client(3, ROUND, SecureEntropy()),
        lambda d: d.helpers(ROUND),
    ):
        with pytest.raises(UserError, match=f"keys are for {spec.kind}, and defense.kind is {other.kind}"):
            make(Defense(other, Parties(other, holder)))
    with pytest.raises(UserError, match="client number is"):
        holder.client_file(KEY_HOLDER)
    with pytest.raises(FrameError, match="not of a homomorphic client file"):
        ClientKeys.load(holder.save())


@every_spec
def test_nothing_secret_is_shown(spec):
    defense = simulation(spec)
    holder = keys(spec.kind)
    client = defense.client(3, ROUND, SecureEntropy())
    client.protect(upload(3))
    server, _ = request_of(defense, ROSTER, frames=FRAMES[spec.kind])
    session = defense.helpers(ROUND)[KEY_HOLDER]
    shown = [
        repr(x) for x in (defense, holder, holder.client_file(3), client, server, session, defense.enrolment)
    ]
    assert max(map(len, shown)) < 1000
    for secret in (
        holder.master,
        holder.decrypts[100:140],
        holder.client_file(3).own,
        holder.client_file(3).shared,
    ):
        for text in shown:
            assert secret.hex() not in text and str(secret)[2:-1] not in text
    assert f"{SERVER}" not in repr(server)


def test_statements_name_the_key_holder_and_what_collusion_breaks():
    public = simulation(SPECS[0]).statement(Ledger())
    text = public.text()
    assert not public.bounded and text.startswith("There is no privacy bound.")
    assert (
        str(KEY_HOLDER) in text and "does not join with the server: together they read every upload" in text
    )
    assert "every client holds the secret key" not in text
    symmetric = simulation(BfvSpec(encryption="symmetric")).statement(Ledger()).text()
    assert "every client holds the secret key too" in symmetric
    assert PrivacyStatement.from_json(public.to_json()) == public
    assert not simulation(SPECS[0]).reveals_individuals


def test_a_simulation_makes_its_keys_itself_and_a_deployment_is_asked_for_them():
    bare = Defense.from_spec(BfvSpec())
    with pytest.raises(
        UserError, match=r"defense\.kind is 'bfv', and it was not given a key file; give it first"
    ):
        bare.server(ROUND)
    defense = bare.enrolled(ROSTER, SecureEntropy())
    assert defense.enrolled(ROSTER, SecureEntropy()) is defense
    server, request = request_of(defense, ROSTER)
    assert same(finish(defense, server, request), *exact(BfvSpec(), ROSTER))
    assert simulation(SPECS[0]).binds_context and simulation(SPECS[0]).exchanges(ROUND.kind) == 1
