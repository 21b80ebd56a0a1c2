"""Public coefficients survive their file to the bit, and refuse damage, strangers and tasks they were not made for."""

import dataclasses
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny import LAYERS, WIDTH, generation_task, task, tiny_backbone
from tiny_public import WORDING, all_members, member, public, trial

from ifedpriv.data.task import TaskKind
from ifedpriv.errors import InputError, UserError
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public_coefficients import FORMAT, PublicCoefficients, nearest
from ifedpriv.icl.vectors import Coefficients


def saved(tmp_path, **changes):
    path = tmp_path / "coefficients.safetensors"
    public(**changes).save(path)
    return path


def rewritten(path, tensors=None, **metadata):
    """The file with other tensors, or with entries of its metadata changed (None removes one)."""
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        old = json.loads(file.read(size))["__metadata__"]
    kept = {k: v for k, v in {**old, **metadata}.items() if v is not None}
    arrays = {k: v for k, v in {**load_file(path), **(tensors or {})}.items() if v is not None}
    save_file(arrays, path, metadata=kept)
    return path


def refused(path):
    with pytest.raises(UserError) as caught:
        PublicCoefficients.load(path)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")
    assert caught.value.hint
    return str(caught.value)


# ---- the file


def test_round_trip_to_the_bit(tmp_path):
    path, original = saved(tmp_path, facts={"ünïcode": "naïve “quotes”\n"}), public()
    again = PublicCoefficients.load(path)
    for one, other in zip(again.members, original.members, strict=True):
        assert (one.kind, one.task_kind, one.noise) == (other.kind, other.task_kind, other.noise)
        assert np.array_equal(one.coefficients.values, other.coefficients.values)
    assert np.array_equal(again.centre, original.centre)
    for name in ("backbone", "position", "wordings", "tasks", "seed", "trials"):
        assert getattr(again, name) == getattr(original, name)
    assert dict(again.facts) == {"ünïcode": "naïve “quotes”\n"}
    assert again.digest == public(facts=again.facts).digest
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_numbers_are_its_own_and_read_only(tmp_path):
    centre = np.zeros((LAYERS, 2, WIDTH))
    made = public(centre=centre)
    centre[:] = 1
    assert not made.centre.any()
    with pytest.raises(ValueError, match="read-only"):
        made.centre[0] = 1


def test_it_prints_sizes_only():
    assert repr(public()) == "PublicCoefficients(4 members, 2 tasks)"


def test_a_file_that_is_not_there(tmp_path):
    assert "does not exist" in refused(tmp_path / "none")
    assert "does not exist" in refused(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_a_truncated_file(tmp_path, keep):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "cannot be read" in refused(path)


def test_a_file_of_something_else(tmp_path):
    assert "has format None" in refused(rewritten(saved(tmp_path), format=None))
    said = refused(rewritten(saved(tmp_path), format="ifedpriv-injection-1"))
    assert "'ifedpriv-injection-1'" in said
    with pytest.raises(InputError) as caught:
        PublicCoefficients.load(rewritten(saved(tmp_path), format="ifedpriv-coefficients-1"))
    assert FORMAT in caught.value.hint


ONE = ["first", "classification", 0.0]
BAD_METADATA = [
    *(
        {name: None}
        for name in ("backbone", "position", "wordings", "tasks", "seed", "members", "trials", "facts")
    ),
    {"position": "first"},
    {"seed": "many"},
    {"members": "{"},
    {"members": "[]"},
    {"members": "3"},
    {"members": json.dumps([ONE] * 3)},
    {"members": json.dumps([ONE] * 4)},
    {"members": json.dumps([["a", "classification"]] * 4)},
    {"members": json.dumps([["a", "dance", 0.0]] * 4)},
    {"members": json.dumps([["a", "classification", "loud"]] * 4)},
    {"members": json.dumps([[k, "classification", float("nan")] for k in "abcd"])},
    {"members": json.dumps([[k, "classification", float("inf")] for k in "abcd"])},
    {"members": json.dumps([[k, "classification", -0.1] for k in "abcd"])},
    {"members": json.dumps([[[k], "classification", 0.0] for k in "abcd"])},
    {"members": json.dumps([[k, "classification", 10**400] for k in "abcd"])},
    {"wordings": '"text"'},
    {"wordings": "[1]"},
    {"tasks": '"text"'},
    {"tasks": "{}"},
    {"tasks": "[null]"},
    {"trials": json.dumps([["classification", 0.0, 1, 1, 1, 0.5]])},
    {"trials": json.dumps([["classification", float("nan"), 1, 1, 1, 0.5, 0.5]])},
    {"trials": json.dumps([["classification", 0.0, float("inf"), 1, 1, 0.5, 0.5]])},
    {"trials": json.dumps([["classification", 0.0, 1, 0, 1, 0.5, 0.5]])},
    {"trials": json.dumps([["classification", 0.0, 1, 1, -1, 0.5, 0.5]])},
    {"trials": json.dumps([["classification", 0.0, 1, 1, 1, 1.5, 0.5]])},
    {"trials": json.dumps([["classification", 0.0, 1, 1, 1, float("nan"), 0.5]])},
    {"members": "[" * 100_000},
    {"trials": "[" * 100_000},
    {"facts": "[" * 100_000},
]


@pytest.mark.parametrize("changed", BAD_METADATA, ids=lambda c: str(c)[:60])
def test_metadata_that_is_not_ours(tmp_path, changed):
    assert "cannot be read" in refused(rewritten(saved(tmp_path), **changed))


def test_tensors_that_are_not_ours(tmp_path):
    def full(*shape, value=1.0, dtype=np.float32):
        return np.full(shape, value, dtype=dtype)

    for wrong in (
        {"centre": None},
        {"coefficients": None},
        {"centre": full(LAYERS, 2, WIDTH, value=np.nan)},
        {"centre": full(LAYERS, 3, WIDTH)},
        {"centre": full(LAYERS, 2 * WIDTH)},
        {"centre": full(LAYERS + 1, 2, WIDTH)},
        {"centre": full(LAYERS, 2, WIDTH, dtype=np.float16)},
        {"coefficients": full(4, LAYERS, 2, 2, value=np.inf)},
        {"coefficients": full(4, LAYERS, 2, 3)},
        {"coefficients": full(4, LAYERS + 1, 2, 2)},
        {"coefficients": full(5, LAYERS, 2, 2)},
        {"coefficients": full(LAYERS, 2, 2)},
        {"coefficients": full()},
    ):
        assert refused(rewritten(saved(tmp_path), wrong)), wrong


_FILE = {}


@settings(max_examples=150)
@given(st.data())
def test_no_damage_gets_another_answer_than_a_sentence(tmp_path_factory, data):
    """Any byte changed: the file is refused, or what loads is well-formed."""
    if not _FILE:
        _FILE["bytes"] = saved(tmp_path_factory.mktemp("good")).read_bytes()
        _FILE["path"] = tmp_path_factory.mktemp("bad") / "coefficients.safetensors"
    content = bytearray(_FILE["bytes"])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _FILE["path"].write_bytes(bytes(content))
    well_formed(_FILE["path"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)
member_like = st.lists(
    st.tuples(st.text(max_size=3), st.sampled_from(["classification", "generation", "x"]), json_values),
    min_size=3,
    max_size=5,
)
trial_like = st.lists(st.tuples(st.just("classification"), *[st.integers() | st.floats()] * 6), max_size=2)


@settings(max_examples=100)
@given(
    st.sampled_from(["members", "trials", "wordings", "tasks", "seed", "position", "facts"]),
    json_values | member_like | trial_like,
)
def test_hostile_metadata_gets_no_other_answer_than_a_sentence(tmp_path_factory, name, value):
    if "hostile" not in _FILE:
        _FILE["hostile"] = tmp_path_factory.mktemp("hostile")
    well_formed(rewritten(saved(_FILE["hostile"]), **{name: json.dumps(value)}))


def well_formed(path):
    try:
        loaded = PublicCoefficients.load(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(loaded.centre).all()
    for one in loaded.members:
        assert isinstance(one.kind, str)
        assert 0 <= one.noise < np.inf
    for each in loaded.trials:
        assert 0 <= each.injected <= 1
        assert 0 <= each.plain <= 1
    assert all(isinstance(word, str) for word in (*loaded.tasks, *loaded.wordings))
    assert len(loaded.digest) == 64


# ---- what they were made for


def test_what_fits_passes():
    public().check(tiny_backbone(), task(), Position.LABEL)
    # Other label words are fine: coefficients of a kind serve tasks with any.
    public().check(tiny_backbone(), task(("C", "D", "E")), Position.LABEL)


@pytest.mark.parametrize(
    ("changes", "wanted", "position", "said"),
    [
        ({"backbone": "f" * 64}, task(), Position.LABEL, "with fingerprint ffffffffffff, and this one has"),
        ({}, task(), Position.LAST, "made with position 'label', and method.position is 'last'"),
        ({}, task(template="Say {text}:"), Position.LABEL, "a demonstration reads 'Say {text}:{answer}"),
        ({}, task(gap=" "), Position.LABEL, "a demonstration reads"),
        ({}, task(separator="###"), Position.LABEL, "{answer}###'"),
        (
            {},
            generation_task(),
            Position.LABEL,
            "is a generation task, and the public coefficients were made on none",
        ),
        ({"centre": np.zeros((LAYERS, 2, 1))}, task(), Position.LABEL, "width"),
        ({"centre": np.zeros((LAYERS, 2, 7))}, task(), Position.LABEL, "width"),
    ],
)
def test_what_they_were_not_made_for_is_refused(changes, wanted, position, said):
    with pytest.raises(InputError) as caught:
        public(**changes).check(tiny_backbone(), wanted, position)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "ifedpriv coefficients" in caught.value.hint


def test_members_that_cannot_be_of_one_model_are_refused():
    odd = dataclasses.replace(member(), coefficients=Coefficients.identity(LAYERS + 1))
    for changes in ({"members": ()}, {"members": (member(), odd)}, {"members": (odd,)}):
        with pytest.raises(ValueError, match=r"no set of coefficients|not of one model"):
            public(**changes)


# ---- which set, which trial


def test_the_nearest_level_is_nearest_by_ratio():
    levels = [0.0, 0.03, 0.1]
    assert [nearest(levels, n) for n in (0.0, 0.0149, 0.0151, 0.03, 0.05, 0.06, 0.1, 7.0)] == [
        0.0,
        0.0,
        0.03,
        0.03,
        0.03,
        0.1,
        0.1,
        0.1,
    ]
    assert nearest([0.0], 3.0) == 0.0
    # Without a level for no noise, the smallest serves.
    assert nearest([0.1, 0.03], 0.0) == 0.03


def test_members_of_the_level_and_of_the_task_kind_fit():
    writes = member("copy", 0.2, 9, TaskKind.GENERATION)
    some = public(members=(*all_members(), writes))
    assert [(m.kind, m.noise) for m in some.fitting(TaskKind.CLASSIFICATION, 0.04)] == [
        ("first", 0.05),
        ("second", 0.05),
    ]
    assert [(m.kind, m.noise) for m in some.fitting(TaskKind.CLASSIFICATION, 0.0)] == [
        ("first", 0.0),
        ("second", 0.0),
    ]
    assert some.fitting(TaskKind.GENERATION, 0.0) == (writes,)


def test_the_trial_of_the_level_is_found():
    trials = (trial(0.0, 0.9), trial(0.05, 0.6), trial(0.0, 0.4, TaskKind.GENERATION))
    some = public(trials=trials)
    assert some.trial(TaskKind.CLASSIFICATION, 0.01) is trials[0]
    assert some.trial(TaskKind.CLASSIFICATION, 0.5) is trials[1]
    assert some.trial(TaskKind.GENERATION, 0.5) is trials[2]
    assert public(trials=trials[:2]).trial(TaskKind.GENERATION, 0.5) is None
    assert public(trials=()).trial(TaskKind.CLASSIFICATION, 0.0) is None


# ---- the digest


def test_the_digest_changes_with_any_number_or_word():
    members = all_members()
    centre = public().centre.copy()
    centre[0, 0, 0] = np.nextafter(centre[0, 0, 0], np.float32(9))
    moved = members[0].coefficients.values.copy()
    moved[1, 1, 1] += 1e-6
    others = {
        "same": {},
        "centre": {"centre": centre},
        "backbone": {"backbone": "f" * 64},
        "position": {"position": Position.LAST},
        "wordings": {"wordings": (WORDING, "{text}:{answer}")},
        "tasks": {"tasks": ("first: one (A, B)",)},
        "seed": {"seed": 5},
        "trials": {"trials": (trial(0.0),)},
        "share": {"trials": (trial(0.0, 0.81), trial(0.05, 0.7))},
        "facts": {"facts": {"settings": "{}", "kept_apart": ""}},
        "order": {"members": members[::-1]},
        "kind": {"members": (dataclasses.replace(members[0], kind="x"), *members[1:])},
        "noise": {"members": (dataclasses.replace(members[0], noise=0.001), *members[1:])},
        "number": {
            "members": (dataclasses.replace(members[0], coefficients=Coefficients(moved)), *members[1:])
        },
    }
    digests = {name: public(**changes).digest for name, changes in others.items()}
    assert len(set(digests.values())) == len(others)
    assert public().digest == digests["same"]


def test_the_digest_tells_shapes_apart():
    """The same bytes, cut into centre and coefficients of another number of layers."""
    flat = np.arange(24, dtype=np.float32)
    two = public(
        centre=flat[:16].reshape(2, 2, 4),
        members=(dataclasses.replace(member(), coefficients=Coefficients(flat[16:].reshape(2, 2, 2))),),
    )
    one = public(
        centre=flat[:20].reshape(1, 2, 10),
        members=(dataclasses.replace(member(), coefficients=Coefficients(flat[20:].reshape(1, 2, 2))),),
    )
    assert one.digest != two.digest
