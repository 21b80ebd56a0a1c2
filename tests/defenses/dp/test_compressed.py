"""Compression at the door: before the clip, through every protection, measured from what was broadcast."""

import numpy as np
import pytest

from defenses.compression import PROJECTED, projection
from defenses.compression_specs import FlatCompression, RowsCompression
from defenses.defense import Defense
from defenses.dp.release import ARRAY, Bounded
from defenses.dp.transform import Transform
from defenses.entropy import InsecureSeeded
from defenses.errors import UserError
from defenses.privacy_specs import PrivacySpec, VectorPrivacy
from defenses.session import RoundInfo
from defenses.specs import BfvSpec, CkksSpec, ClearSpec, GridSpec, MaskedSpec, WireSpec
from defenses.units import Trust, Unit
from defenses.upload import Layout, Upload, UploadKind

KIND = UploadKind.PROMPTS
LAYOUT = Layout.of({"a": (12, 5), "b": (12, 5), "members": (2,)})
SPECS = (RowsCompression(keep=3), FlatCompression(keep=30))
CLIENTS = 4
LEAST = 2.0**-9
BLOCKS = np.repeat([0, 1], [120, 2])


def upload(client, scale=0.2):
    flat = np.random.default_rng(client).normal(0, scale, LAYOUT.size).astype(np.float32)
    flat[-2:] = [client % 2, 1 - client % 2]
    return Upload(LAYOUT.unflatten(flat), 1, 2, KIND)


def flat_of(each):
    return LAYOUT.flatten(each.arrays).astype(np.float64)


def played(defense, release, centre=None, uploads=None):
    """One round in this process: the aggregate in the method's arrays, and the bytes of a client's frames."""
    defense = defense.enrolled(range(CLIENTS), InsecureSeeded(1, "keys"))
    info = RoundInfo(2, KIND, tuple(range(CLIENTS)), release.travels(LAYOUT), "ab" * 32)
    entropy, sent = InsecureSeeded(2, "round"), 0
    server, helpers = defense.server(info), defense.helpers(info)
    ends = {n: defense.client(n, info, entropy.branch(str(n))) for n in range(CLIENTS)} | helpers
    waiting = []
    for n in range(CLIENTS):
        offered = upload(n) if uploads is None else uploads[n]
        given = release.give(offered, centre, CLIENTS, entropy.branch(f"noise {n}"))
        waiting += [(n, frame) for frame in ends[n].protect(given)]
    while waiting:
        sender, frame = waiting.pop(0)
        sent += len(frame) if sender == 0 else 0
        for to, answers in server.receive(sender, frame).items():
            waiting += [(to, again) for answer in answers for again in ends[to].receive(answer)]
    return release.take(server.aggregate(), LAYOUT, centre, CLIENTS, entropy.branch("server")), sent


def expected(spec, mean, centre=0.0):
    found = projection(spec, LAYOUT, 2)
    return found.undo(found.apply((mean - centre)[None]))[0] + centre


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("make", [ClearSpec, MaskedSpec, BfvSpec, CkksSpec])
def test_the_mean_of_projections_is_the_projection_of_the_mean(make, spec):
    finely = {"grid": GridSpec(bits=20)} if make is not ClearSpec else {"wire": WireSpec(prompts="fp32")}
    defense = Defense.from_spec(make(compression=spec, **finely))
    mean = np.mean([flat_of(upload(n)) for n in range(CLIENTS)], axis=0)
    found, _ = played(defense, defense.release(KIND, LAYOUT))
    np.testing.assert_allclose(flat_of(found.as_upload()), expected(spec, mean), atol=2e-4)
    np.testing.assert_allclose(found.means["members"], [0.5, 0.5], atol=2e-5)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_frames_are_shorter(spec):
    plain, squeezed = Defense.from_spec(ClearSpec()), Defense.from_spec(ClearSpec(compression=spec))
    _, long = played(plain, plain.release(KIND, LAYOUT))
    _, short = played(squeezed, squeezed.release(KIND, LAYOUT))
    # Two bytes a number, and 26 of a header.
    assert (long, short) == (26 + 2 * 122, 26 + 2 * (30 + 2))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_changes_to_the_broadcast_are_what_is_projected(spec):
    defense = Defense.from_spec(ClearSpec(compression=spec, wire=WireSpec(prompts="fp32")))
    centre = np.random.default_rng(9).normal(size=LAYOUT.size).astype(np.float32)
    near = [Upload(LAYOUT.unflatten(centre), 1, 2, KIND)] * CLIENTS
    found, _ = played(defense, defense.release(KIND, LAYOUT), centre, near)
    np.testing.assert_allclose(flat_of(found.as_upload()), centre, atol=1e-6)
    mean = np.mean([flat_of(upload(n)) for n in range(CLIENTS)], axis=0)
    found, _ = played(defense, defense.release(KIND, LAYOUT), centre)
    np.testing.assert_allclose(flat_of(found.as_upload()), expected(spec, mean, centre), atol=1e-5)


def bounded(spec, trust=Trust.LOCAL, multiplier=LEAST, clip=3.0, **changes):
    transform = Transform(np.zeros(LAYOUT.size), np.ones(LAYOUT.size), blocks=BLOCKS)
    facts = {"compression": spec, "layout": LAYOUT, "shrink": False}
    return Bounded(KIND, Unit.CLIENT, trust, transform, clip, multiplier, **{**facts, **changes})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("make", [ClearSpec, MaskedSpec, BfvSpec])
def test_bounded_sums_are_of_projected_rows(make, spec):
    release = bounded(spec)
    defense = Defense.from_spec(make(privacy=PrivacySpec(epsilon=1.0, trust="local"), compression=spec))
    mean = np.mean([flat_of(upload(n)) for n in range(CLIENTS)], axis=0)
    found, _ = played(defense, release)
    np.testing.assert_allclose(flat_of(found.as_upload()), expected(spec, mean), atol=0.05)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_the_clip_comes_after_the_projection(spec):
    """What is sent has the clip's length, whatever went in; and the sensitivity is that of the shorter row."""
    release, plain = bounded(spec, clip=1.0), bounded(None, layout=None, clip=1.0)
    terms = release.lattice(CLIENTS)
    for scale in (1.0, 100.0):
        sent = release.give(upload(0, scale), None, CLIENTS, InsecureSeeded(0, "noise")).arrays[ARRAY]
        assert len(sent) == projection(spec, LAYOUT, 2).kept.size == terms.rank
        # The noise is 1/512 of the sensitivity in each number.
        assert np.linalg.norm(sent.astype(np.float64)) / terms.steps == pytest.approx(1.0, abs=0.03)
    assert terms.sensitivity / terms.steps < plain.lattice(CLIENTS).sensitivity / plain.lattice(CLIENTS).steps
    events = release.events("it", 2, (0,), (0,), CLIENTS)
    assert events[0].sensitivity == terms.sensitivity


def test_the_clip_would_be_another_before_the_projection():
    """The test above can fail: what is clipped first and projected then is shorter than the clip."""
    found, flat = projection(SPECS[0], LAYOUT, 2), flat_of(upload(0, 100.0))
    assert np.linalg.norm(found.apply((flat / np.linalg.norm(flat))[None])) < 0.8


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_arrays_of_one_axis_keep_a_block_of_their_own(spec):
    release = bounded(spec, by_block=True)
    sent = release.give(upload(0, 100.0), None, CLIENTS, InsecureSeeded(0, "noise"))
    back = dict(
        zip(
            (kept := projection(spec, LAYOUT, 2).kept).names,
            np.split(sent.arrays[ARRAY] / release.lattice(CLIENTS).steps * 3.0, np.cumsum(kept.sizes)[:-1]),
            strict=True,
        )
    )
    np.testing.assert_allclose(back["members"], [0, 1], atol=0.1)
    rest = np.concatenate([part for name, part in back.items() if name != "members"])
    assert np.linalg.norm(rest) == pytest.approx(3.0 / np.sqrt(2), abs=0.1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_relative_clips_are_of_the_projected_change(spec):
    release = bounded(spec, relative=True, clip=1.0)
    centre = np.random.default_rng(9).normal(size=LAYOUT.size).astype(np.float32)
    defense = Defense.from_spec(ClearSpec(privacy=PrivacySpec(epsilon=1.0, trust="local"), compression=spec))
    near = [Upload(LAYOUT.unflatten(centre), 1, 2, KIND)] * CLIENTS
    found, _ = played(defense, release, centre, near)
    np.testing.assert_allclose(flat_of(found.as_upload()), centre, atol=0.02)


def test_other_coordinates_of_vectors_are_refused():
    for changes in ({"rank": 4}, {"by_block": True}):
        privacy = PrivacySpec(epsilon=1.0, vector=VectorPrivacy(**changes))
        with pytest.raises(ValueError, match=f"privacy.vector.{next(iter(changes))} is"):
            ClearSpec(privacy=privacy, compression=SPECS[0])
        assert ClearSpec(privacy=privacy, compression=RowsCompression(kinds=("weights",)))


def test_a_basis_and_a_projection_are_refused():
    with pytest.raises(UserError, match="with a basis"):
        Transform(np.zeros(122), np.ones(122), np.eye(3, 122), projection=projection(SPECS[0], LAYOUT, 0))
    with pytest.raises(UserError, match="takes 122 numbers, and a transform of 121"):
        Transform(np.zeros(121), np.ones(121), projection=projection(SPECS[0], LAYOUT, 0))


def test_flat_uploads_are_one_array():
    assert Defense.from_spec(ClearSpec(compression=SPECS[1])).release(KIND, LAYOUT).travels(LAYOUT).names == (
        "members",
        PROJECTED,
    )
