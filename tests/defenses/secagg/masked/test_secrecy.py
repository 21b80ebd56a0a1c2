"""What a masked round shows: uniform numbers, and no secret in any text.

False alarms: each statistical test draws its data from a fixed seed, so it cannot flicker; over seeds each would
fail a right build with the chance that it states, 2^-20 or 10^-6.
"""

import logging

import numpy as np
import pytest
from masked_world import World, drive
from scipy import stats

from defenses import IfedprivError, Upload
from defenses.secagg.masked import client as client_module
from defenses.secagg.masked.client_state import Secrets
from defenses.secagg.masked.directory import Member

ALARM = 1e-6


def masked(world, values, weight=1):
    """A client's masked input for given values, all secrets of the round fresh."""
    world.upload = lambda _: Upload({"v": values}, weight, world.info.number, "coefficients")
    server, clients = world.server(), world.clients()
    drive(server, clients, until="signing")
    frame = clients[10].resend()[2]
    return np.frombuffer(world.read(frame).elements, world.terms().grid.ring.dtype)


def bytes_p(vector):
    """Chi-square of byte values against the uniform distribution; needs many bytes."""
    counts = np.bincount(vector.view(np.uint8), minlength=256)
    return stats.chisquare(counts).pvalue


def uniform_p(vector):
    """Kolmogorov-Smirnov of ring elements against the uniform distribution."""
    return stats.kstest(vector / 2.0 ** (8 * vector.itemsize), "uniform").pvalue


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("values", ["zeros", "clip", "normal"])
def test_masked_inputs_are_uniform_whatever_the_input(values, seed):
    """Each of the two p-values is below 10^-6 with a chance of 10^-6 in a right build."""
    world = World(3, size=20_000, seed=seed, minimum=2)
    given = {
        "zeros": np.zeros(20_000),
        "clip": np.full(20_000, 4.0),
        "normal": np.random.default_rng(seed).standard_normal(20_000),
    }[values]
    vector = masked(world, given)
    assert bytes_p(vector) > ALARM
    assert uniform_p(vector) > ALARM


def test_the_tests_of_uniformity_reject_a_weak_mask(monkeypatch):
    """One mask of 31 bits, or a mask that is missing: both are seen at once."""
    real = client_module.apply

    def narrow(vector, key, sign):
        mask = np.zeros_like(vector)
        real(mask, key, 1)
        vector += mask >> 1

    world = World(3, size=20_000, minimum=2)
    monkeypatch.setattr(client_module, "apply", lambda *_: None)
    assert bytes_p(masked(world, np.zeros(20_000))) < ALARM
    calls = []

    def first_only(vector, key, sign):
        if not calls:
            calls.append(key)
            narrow(vector, key, sign)

    monkeypatch.setattr(client_module, "apply", first_only)
    world = World(3, size=20_000, minimum=2)
    assert uniform_p(masked(world, np.zeros(20_000))) < ALARM


def test_masked_inputs_are_independent_of_the_input_and_of_each_other():
    """Correlations over 20,000 places: beyond 4.9 standard deviations with a chance of 10^-6."""
    rng = np.random.default_rng(5)
    signal = rng.choice([-3.0, 3.0], 20_000)
    vectors = [
        masked(World(3, size=20_000, seed=seed, minimum=2), values)[:-1] / 2.0**32
        for seed, values in ((1, signal), (2, signal), (3, np.zeros(20_000)))
    ]
    series = [signal, *vectors]
    for i in range(len(series)):
        for j in range(i):
            assert abs(np.corrcoef(series[i], series[j])[0, 1]) < 4.9 / np.sqrt(20_000)


def test_a_hidden_weight_is_uniform_too():
    """The last element over 120 rounds of weight 1 and 120 of weight 8: one distribution (chance 10^-6)."""
    found = {
        weight: [
            masked(World(2, size=1, seed=100 + s, minimum=2), np.zeros(1), weight)[-1] for s in range(120)
        ]
        for weight in (1, 8)
    }
    assert stats.ks_2samp(*found.values(), method="asymp").pvalue > ALARM
    assert uniform_p(np.array([*found[1], *found[8]], np.uint32)) > ALARM


# Texts


def secrets_of(world, clients):
    """Every secret of a round as texts in which it might show."""
    found = []
    for session in clients.values():
        held = session._secrets
        found += [held.seed, held.drawn[:32], session.member.identity.private]
        found += [pair.private for pair in (held.channel, held.mask) if pair is not None]
        found += [share for pair in held.held.values() for share in pair]
        found.append(held.slots.tobytes()[:16])
    texts = set()
    for secret in filter(None, found):
        texts |= {secret.hex(), repr(secret)[2:-1], str(int.from_bytes(secret, "little")), str(list(secret))}
    return {text for text in texts if len(text) > 12}


def texts_of(things):
    return [text for thing in things for text in (repr(thing), str(thing), f"{thing}")]


def test_no_secret_in_reprs_errors_or_logs(caplog):
    caplog.set_level(logging.DEBUG)
    shown, secrets = [], set()
    for stage in ("sharing", "masking", "signing", "unmasking"):
        world = World(4)
        server, clients = world.server(), world.clients()
        secrets |= secrets_of(world, clients)
        inbox = drive(server, clients, until=stage)
        secrets |= secrets_of(world, clients)
        for session in clients.values():
            member = session.member
            things = [session, session._secrets, session._secrets.channel, session._secrets.mask]
            shown += texts_of([*things, member, member.identity, server, server._got, session.terms.binding])
        for number, frames in inbox.items():
            damaged = [frames[0][:-1], frames[0] + b"x", frames[0][:-9] + bytes(9), b"", frames[0][::-1]]
            for frame in damaged:
                for deliver in (clients[number].receive, lambda f, who=number, to=server: to.receive(who, f)):
                    with pytest.raises(IfedprivError) as caught:
                        deliver(frame)
                    shown += texts_of([caught.value])
            shown += texts_of([world.read(frames[0])])
    shown += [record.getMessage() for record in caplog.records]
    assert len(secrets) > 50 and len(shown) > 100
    assert not [text for text in shown if any(secret in text for secret in secrets)]


def test_the_search_for_secrets_finds_one():
    world = World(4)
    clients = world.clients()
    text = f"seed {clients[10]._secrets.seed!r}"
    assert any(secret in text for secret in secrets_of(world, clients))


def test_no_plain_number_on_the_wire():
    """Neither the quantised upload nor the float one is in any frame, in any alignment of its first 16 bytes."""
    world = World(4, size=64)
    server, clients = world.server(), world.clients()
    seen = []
    drive(server, clients, transport=lambda _way, _number, frame: seen.append(frame) or frame)
    wire = b"".join(seen)
    for number in world.numbers:
        slots, values = world.inputs[number], world.upload(number).arrays["v"]
        for plain in (slots.tobytes(), values.tobytes(), slots.astype("<u8").tobytes()):
            assert plain[:16] not in wire
    assert clients[10]._secrets.slots.size == 0


def test_what_was_needed_is_forgotten():
    world = World(4)
    server, clients = world.server(), world.clients()
    drive(server, clients)
    for session in clients.values():
        left = session._secrets
        assert isinstance(left, Secrets) and isinstance(session.member, Member)
        assert (left.seed, left.drawn, left.channel, left.mask, left.held, left.slots.size) == (
            b"",
            b"",
            None,
            None,
            {},
            0,
        )
