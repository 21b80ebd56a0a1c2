"""A release from one end to the other: the right mean, the promised noise, and the entries in the ledger.

Statistical tests fail by chance with probability 1e-6 each, and draw from a fixed seed, so that they do not fail by
chance twice.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from defenses.accounting.mechanisms import MECHANISMS
from defenses.accounting.spent import mechanism_of
from defenses.defense import Defense
from defenses.dp.beforehand import Beforehand
from defenses.dp.plain import Plain
from defenses.dp.release import ARRAY, Bounded
from defenses.dp.transform import Transform
from defenses.entropy import InsecureSeeded
from defenses.errors import UserError
from defenses.privacy_specs import PrivacySpec
from defenses.records import Records
from defenses.session import Aggregate, RoundInfo
from defenses.specs import BfvSpec, CkksSpec, ClearSpec, MaskedSpec
from defenses.units import Neighbouring, Trust, Unit
from defenses.upload import Layout, Upload, UploadKind

KIND = UploadKind.VECTOR
SIZE = 40
LAYOUT = Layout.of({"vector": (SIZE,)})
CLIENTS = 10
LEAST = 2.0**-9
"""Noise so small that it does not show."""


def release(unit=Unit.EXAMPLE, trust=Trust.CENTRAL, multiplier=LEAST, **changes):
    """A release of forty numbers around a public centre."""
    facts = {
        "kind": KIND,
        "unit": unit,
        "trust": trust,
        "transform": Transform(np.full(SIZE, 0.5), np.full(SIZE, 2.0)),
        "clip": 3.0,
        "multiplier": multiplier,
        "most_units": 32,
        "shrink": False,
    }
    return Bounded(**{**facts, **changes})


def rows(client, count=6):
    """Some examples' numbers, none of which is clipped."""
    return np.random.default_rng(client).normal(0.5, 0.3, size=(count, SIZE)).astype(np.float32)


def records(found):
    """What a client offers where examples count."""
    return Records(LAYOUT, iter(np.array_split(found, 3)), 0, KIND)


def summed(uploads):
    """The mean of uploads of weight 1, as every protection gives it."""
    flat = np.stack([upload.arrays[ARRAY].astype(np.float64) for upload in uploads])
    assert {upload.weight for upload in uploads} == {1.0}
    mean = {ARRAY: flat.mean(axis=0).astype(np.float32)}
    return Aggregate(mean, float(len(uploads)), tuple(range(len(uploads))), KIND, 0, sums=flat.sum(axis=0))


def through(found, offered, seed=0):
    """From offers to the method's arrays."""
    entropy = InsecureSeeded(seed, "release")
    uploads = [
        found.give(offer, None, len(offered), entropy.branch(str(n))) for n, offer in enumerate(offered)
    ]
    return found.take(summed(uploads), LAYOUT, None, len(offered), entropy.branch("server"))


@pytest.mark.parametrize("trust", [Trust.CENTRAL, Trust.DISTRIBUTED, Trust.LOCAL])
def test_with_hardly_any_noise_the_mean_over_all_examples_comes_out(trust):
    held = [rows(client, count=3 + client) for client in range(CLIENTS)]
    found = through(release(trust=trust), [records(mine) for mine in held])
    np.testing.assert_allclose(found.means["vector"], np.concatenate(held).mean(axis=0), atol=5e-3)
    assert found.total_weight == pytest.approx(sum(map(len, held)), rel=5e-3)


@pytest.mark.parametrize("trust", [Trust.CENTRAL, Trust.DISTRIBUTED, Trust.LOCAL])
def test_with_hardly_any_noise_the_mean_over_clients_comes_out(trust):
    held = [rows(client, count=1)[0] for client in range(CLIENTS)]
    offered = [Upload({"vector": mine}, 1 + client, 0, KIND) for client, mine in enumerate(held)]
    found = through(release(Unit.CLIENT, trust), offered)
    # A client's weight does not count: it would say how much it holds.
    np.testing.assert_allclose(found.means["vector"], np.mean(held, axis=0), atol=0.06)
    assert found.total_weight == CLIENTS


def test_clients_rows_are_averaged_where_clients_count():
    held = [rows(client) for client in range(CLIENTS)]
    found = through(release(Unit.CLIENT), [records(mine) for mine in held])
    np.testing.assert_allclose(
        found.means["vector"], np.mean([m.mean(axis=0) for m in held], axis=0), atol=0.06
    )


@pytest.mark.parametrize(
    ("trust", "honest", "factor"),
    [
        (Trust.CENTRAL, CLIENTS, 1.0),
        (Trust.LOCAL, CLIENTS, math.sqrt(CLIENTS)),
        (Trust.DISTRIBUTED, CLIENTS, 1.0),
        (Trust.DISTRIBUTED, 6, math.sqrt(CLIENTS / 6)),
    ],
)
def test_the_noise_in_the_result_is_the_promised_one(trust, honest, factor):
    """Where fewer clients' shares are counted on than come, there is more noise than promised, never less."""
    found = release(Unit.CLIENT, trust, multiplier=1.7, honest=lambda _: honest)
    terms = found.lattice(CLIENTS)
    zero = Upload({"vector": np.full(SIZE, 0.5)}, 1, 0, KIND)
    noise = np.concatenate(
        [through(found, [zero] * CLIENTS, seed).means["vector"] - 0.5 for seed in range(50)]
    )
    step = found.clip / terms.steps / CLIENTS * 2.0
    squares = float(np.square(noise / (terms.noise * factor * step)).sum())
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(noise))
    assert low < squares < high
    assert terms.noise / terms.sensitivity == pytest.approx(1.7)


def test_half_the_noise_would_be_noticed():
    """The test above can fail: noise off by a tenth lies outside its bounds."""
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], 50 * SIZE)
    assert not low < 0.81 * 50 * SIZE < high
    assert not low < 1.21 * 50 * SIZE < high


@pytest.mark.parametrize("unit", list(Unit))
def test_the_ledger_has_what_the_theorem_needs(unit):
    for trust in (Trust.CENTRAL, Trust.DISTRIBUTED):
        (event,) = release(unit, trust, 2.0).events("it", 3, (0, 1), (0, 1, 2), CLIENTS)
        assert (event.by, event.round, event.unit) == ((0, 1, 2), 3, unit)
        assert event.neighbouring is Neighbouring.ADD_OR_REMOVE
        mechanism = mechanism_of(event)
        assert mechanism.spread / mechanism.moved == pytest.approx(2.0)
        assert type(mechanism) is MECHANISMS[event.mechanism]
    alone = release(unit, Trust.LOCAL, 2.0).events("it", 3, (), (0, 2), CLIENTS)
    assert [event.by for event in alone] == [(0,), (2,)]
    assert not release(unit).events("it", 3, (), (), CLIENTS)


def test_a_round_that_failed_is_charged_to_whoever_sent_something():
    assert len(release().events("it", 3, (), (4,), CLIENTS)) == 1
    assert not Plain(KIND).events("it", 3, (), (4,), CLIENTS)


def test_an_example_cannot_be_hidden_in_an_upload_that_does_not_show_it():
    with pytest.raises(UserError, match="does not say what each example did"):
        release().give(Upload({"vector": rows(0)[0]}, 1, 0, KIND), None, 3, InsecureSeeded(0))


def test_public_coordinates_of_another_model_are_refused():
    with pytest.raises(UserError, match="the public coordinates are for 40 numbers"):
        release().travels(Layout.of({"vector": (SIZE + 1,)}))


def test_no_honest_client_is_no_noise_and_is_refused():
    with pytest.raises(UserError, match="leave none whose noise is certain"):
        release(trust=Trust.DISTRIBUTED, honest=lambda _: 0).lattice(CLIENTS)


@pytest.mark.parametrize(("clip", "multiplier"), [(0.0, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.nan)])
def test_no_clip_and_no_noise_are_refused(clip, multiplier):
    with pytest.raises(UserError):
        release(clip=clip, multiplier=multiplier)


def test_plain_uploads_pass_and_rows_are_averaged():
    plain = Plain(KIND)
    upload = Upload({"vector": rows(0)[0]}, 5, 0, KIND)
    assert plain.give(upload, None, 3, InsecureSeeded(0)) is upload
    averaged = plain.give(records(rows(1)), None, 3, InsecureSeeded(0))
    assert averaged.weight == 6
    np.testing.assert_allclose(averaged.arrays["vector"], rows(1).mean(axis=0), atol=1e-6)
    assert plain.travels(LAYOUT) == LAYOUT


def test_what_was_noised_before_is_not_noised_again_and_still_charged():
    mechanism = release(multiplier=1.0).mechanism(CLIENTS)
    before = Beforehand(UploadKind.COEFFICIENTS, Unit.EXAMPLE, mechanism)
    upload = Upload({"vector": rows(0)[0]}, 1, 0, KIND)
    assert before.give(upload, None, 3, InsecureSeeded(0)) is upload
    assert [event.by for event in before.events("it", 1, (0,), (0, 1), 3)] == [(0,), (1,)]
    with pytest.raises(UserError, match="nothing hides a row"):
        before.give(records(rows(0)), None, 3, InsecureSeeded(0))


@pytest.mark.parametrize("make", [ClearSpec, MaskedSpec, BfvSpec, CkksSpec])
def test_whole_numbers_arrive_whole_through_every_protection(make):
    """The sum that the server reads is that of the clients' numbers, to the last step, up to the largest there are.

    Means have 24 bits, so these sums of up to 25 would come back from them a step or two off.
    """
    spec = make(privacy=PrivacySpec(epsilon=1.0, trust="local"))
    found = release(trust=Trust.LOCAL, multiplier=0.7)
    info = RoundInfo(0, KIND, tuple(range(4)), found.travels(LAYOUT), "ab" * 32)
    entropy, rng = InsecureSeeded(2, "round"), np.random.default_rng(3)
    most = found.lattice(4).levels
    wild = [rng.integers(-most, most, SIZE + 1, endpoint=True) for _ in range(4)]
    for one in wild:
        one[:3] = most, -most, most - 1
    noised = [found.give(records(rows(n)), None, 4, entropy.branch(f"noise {n}")) for n in range(4)]
    for uploads in (noised, [Upload({ARRAY: one}, 1, 0, KIND) for one in wild]):
        defense = Defense.from_spec(spec).enrolled(range(4), InsecureSeeded(1, "keys"))
        sent = np.stack([upload.arrays[ARRAY].astype(np.int64) for upload in uploads])
        got = opened(defense, info, uploads, entropy)
        assert np.array_equal(got.sums, sent.sum(axis=0))
        np.testing.assert_allclose(got.means[ARRAY], sent.mean(axis=0), rtol=2.0**-23, atol=1e-3)
    assert np.abs(sent.sum(axis=0)).max() > 2**24


def opened(defense, info, uploads, entropy):
    """What a server has of a round in which everybody stays to the end."""
    server, helpers = defense.server(info), defense.helpers(info)
    ends = {n: defense.client(n, info, entropy.branch(str(n))) for n in range(len(uploads))} | helpers
    waiting = [(n, frame) for n, upload in enumerate(uploads) for frame in ends[n].protect(upload)]
    while waiting:
        sender, frame = waiting.pop(0)
        for to, answers in server.receive(sender, frame).items():
            waiting += [(to, again) for answer in answers for again in ends[to].receive(answer)]
    return server.aggregate()


def test_noise_is_added_to_the_exact_sum_where_the_server_adds_it(monkeypatch):
    """From means of 24 bits, sums that differ by a step come back as one, or as several steps apart."""
    given = []
    monkeypatch.setattr(Bounded, "noised", lambda self, total, *_: given.append(total) or total)
    found = release(Unit.CLIENT, Trust.CENTRAL)
    first = CLIENTS * (found.lattice(CLIENTS).levels - 1) - np.arange(SIZE)
    for sums in (first, first + 1):
        mean = {ARRAY: (sums / CLIENTS).astype(np.float32)}
        whole = Aggregate(mean, float(CLIENTS), tuple(range(CLIENTS)), KIND, 0, sums=sums)
        found.take(whole, LAYOUT, None, CLIENTS, InsecureSeeded(5, "server"))
    assert np.array_equal(given[1] - given[0], np.ones(SIZE))
    with pytest.raises(ValueError, match="one exact sum"):
        found.take(replace(whole, sums=None), LAYOUT, None, CLIENTS, InsecureSeeded(5, "server"))


def test_too_few_clients_have_too_little_noise_so_no_sum_is_opened():
    """With noise from everybody and one client lost, the clients refuse to open what is left."""
    spec = MaskedSpec(privacy=PrivacySpec(epsilon=1.0, trust="distributed"))
    defense = Defense.from_spec(spec).enrolled(range(5), InsecureSeeded(1, "keys"))
    info = RoundInfo(0, KIND, tuple(range(5)), LAYOUT, "ab" * 32)
    assert defense.server(info).terms.policy.minimum == 5
    tolerant = MaskedSpec(privacy=PrivacySpec(epsilon=1.0, trust="distributed", dropout=0.2))
    defense = Defense.from_spec(tolerant).enrolled(range(5), InsecureSeeded(1, "keys"))
    assert defense.server(info).terms.policy.minimum == 4
