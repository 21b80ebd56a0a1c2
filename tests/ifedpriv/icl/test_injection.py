"""An injection survives its file to the bit, and refuses damaged files and strangers' models in one sentence."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny import LAYERS, WIDTH, examples, injection, save_checkpoint, task, tiny_backbone

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.errors import InputError, ModelError, UserError
from ifedpriv.icl.extract import extract
from ifedpriv.icl.injection import FORMAT, Injection
from ifedpriv.icl.vectors import Coefficients, ContextVector

FACTS = {"task": "a task", "ünïcode": "naïve “quotes”\n"}


def saved(tmp_path, **changes):
    path = tmp_path / "injection.safetensors"
    injection(tiny_backbone(), **changes).save(path)
    return path


def rewritten(path, tensors=None, **metadata):
    """The file with other tensors, or with entries of its metadata changed (None removes one)."""
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        old = json.loads(file.read(size))["__metadata__"]
    kept = {k: v for k, v in {**old, **metadata}.items() if v is not None}
    save_file({**load_file(path), **(tensors or {})}, path, metadata=kept)
    return path


def refused(kind, path):
    with pytest.raises(kind) as caught:
        Injection.load(path)
    error = caught.value
    assert "\n" not in str(error)
    assert error.hint
    return str(error)


def test_round_trip_to_the_bit(tmp_path):
    path = saved(tmp_path, facts=FACTS)
    again = Injection.load(path)
    original = injection(tiny_backbone(), facts=FACTS)
    assert np.array_equal(again.vector.values, original.vector.values)
    assert np.array_equal(again.coefficients.values, original.coefficients.values)
    assert again.vector.count == 12
    assert again.backbone == tiny_backbone().fingerprint
    assert dict(again.facts) == FACTS
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_write_that_fails_half_way_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = saved(tmp_path)
    before = path.read_bytes()
    write = Path.write_bytes

    def disk_full(self, data):
        write(self, data[: len(data) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError, match="no space"):
        injection(seed=9).save(path)
    assert path.read_bytes() == before


def test_a_missing_file(tmp_path):
    assert "does not exist" in refused(InputError, tmp_path / "none")
    assert "does not exist" in refused(InputError, tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_a_truncated_file(tmp_path, keep):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "cannot be read" in refused(InputError, path)


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "injection.safetensors"
    path.write_bytes(b"\x80\x04 a pickle? no: " * 20)
    assert "damaged" in refused(InputError, path)
    save_file({"weight": np.ones(3, dtype=np.float32)}, path)
    assert "has format None" in refused(InputError, path)


@pytest.mark.parametrize("found", ["ifedpriv-injection-2", None])
def test_another_format(tmp_path, found):
    said = refused(InputError, rewritten(saved(tmp_path), format=found))
    assert repr(found) in said
    assert FORMAT in said


@pytest.mark.parametrize(
    "changed",
    [
        {"count": None},
        {"count": "many"},
        {"backbone": None},
        {"facts": None},
        {"facts": "{"},
        {"facts": "[1]"},
        {"facts": '{"task": 1}'},
        {"facts": "3"},
    ],
)
def test_metadata_that_is_not_ours(tmp_path, changed):
    assert "cannot be read" in refused(InputError, rewritten(saved(tmp_path), **changed))


def test_tensors_that_are_not_ours(tmp_path):
    wrong = {
        "shape": ({"vector": np.zeros((2, 3, 4), dtype=np.float32)}, "must be"),
        "nan": ({"vector": np.full((2, 2, WIDTH), np.nan, dtype=np.float32)}, "not finite"),
        "layers": ({"coefficients": np.ones((5, 2, 2), dtype=np.float32)}, "5"),
        "integers": ({"vector": np.ones((2, 2, WIDTH), dtype=np.int32)}, "cannot be read"),
        "half": ({"coefficients": np.ones((LAYERS, 2, 2), dtype=np.float16)}, "cannot be read"),
    }
    for name, (tensors, expected) in wrong.items():
        assert expected in refused(UserError, rewritten(saved(tmp_path), tensors)), name


_FILE: dict[str, bytes] = {}


@settings(max_examples=150)
@given(st.data())
def test_no_damage_gets_another_answer_than_a_sentence(tmp_path_factory, data):
    """Any byte changed: the file is refused, or what loads is a well-formed injection."""
    if not _FILE:
        _FILE["bytes"] = saved(tmp_path_factory.mktemp("good")).read_bytes()
        _FILE["folder"] = tmp_path_factory.mktemp("bad")
    content = bytearray(_FILE["bytes"])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = _FILE["folder"] / "injection.safetensors"
    path.write_bytes(bytes(content))
    try:
        loaded = Injection.load(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert loaded.coefficients.values.shape == (LAYERS, 2, 2)
        assert all(isinstance(v, str) for v in loaded.facts.values())


def test_another_models_fingerprint_is_refused():
    made_for_other = injection(tiny_backbone(8))
    with pytest.raises(ModelError, match="was made for the model with fingerprint") as caught:
        made_for_other.check(tiny_backbone())
    assert tiny_backbone().fingerprint[:12] in str(caught.value)
    assert tiny_backbone(8).fingerprint[:12] in str(caught.value)
    with pytest.raises(ModelError, match="was made for"), made_for_other.on(tiny_backbone()):
        pass


@pytest.mark.parametrize("sizes", [{"width": 24}, {"layers": 3}])
def test_a_model_of_another_shape_is_refused(tmp_path, sizes):
    other = Backbone.load(save_checkpoint(tmp_path, **sizes))
    with pytest.raises(ModelError, match="use the backbone that the run"):
        injection().check(other)


def test_the_same_model_loaded_again_is_accepted(tmp_path):
    injection(tiny_backbone()).check(Backbone.load(save_checkpoint(tmp_path)))


def test_vector_and_coefficients_must_have_the_same_layers():
    vector = ContextVector(np.zeros((3, 2, 4)), 1)
    with pytest.raises(ModelError, match="3 layers and its coefficients 2"):
        Injection(vector, Coefficients.identity(2))


def test_it_changes_the_model_inside_its_block_only():
    backbone = tiny_backbone()
    batch = backbone.make_batch([backbone.encode_prompt("a day")])
    bare = backbone.hidden(batch)
    with injection(backbone).on(backbone):
        assert float((backbone.hidden(batch) - bare).abs().max()) > 0.1
    assert torch.equal(backbone.hidden(batch), bare)


def test_identity_is_exact_whatever_the_vector():
    backbone = tiny_backbone()
    vector = extract(backbone, task(), examples(4))
    batch = backbone.make_batch([backbone.encode_prompt("a day")])
    bare = backbone.hidden(batch)
    with Injection(vector, Coefficients.identity(LAYERS)).on(backbone):
        assert torch.equal(backbone.hidden(batch), bare)


def test_its_repr_holds_no_number_of_the_vector():
    made = injection()
    assert str(made.vector.values[0, 0, 0])[:6] not in repr(made)
    assert "ContextVector(shape=(2, 2, 16), count=12)" in repr(made)
