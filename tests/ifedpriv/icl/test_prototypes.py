"""Several injections in one file, and who uses which."""

from pathlib import Path

import numpy as np
import pytest
from tiny import LAYERS, WIDTH, examples, task, tiny_backbone

from ifedpriv.errors import InputError, ModelError
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.prototypes import PrototypeBank


def bank(count: int = 3, **changes: object) -> PrototypeBank:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(count, LAYERS, 2, WIDTH)).astype(np.float32)
    coefficients = (rng.normal(size=(count, LAYERS, 2, 2)) * 0.3 + [0.2, 1.0]).astype(np.float32)
    given = {
        "slots": tuple(range(1, count + 1)),
        "centres": rng.normal(size=(count, 5)),
        "backbone": tiny_backbone().fingerprint,
        "facts": {"note": "x"},
    }
    return PrototypeBank(vectors, coefficients, **{**given, **changes})  # type: ignore[arg-type]


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    made = bank()
    made.save(tmp_path / "prototypes.safetensors")
    read = PrototypeBank.load(tmp_path / "prototypes.safetensors")
    for name in ("vectors", "coefficients", "centres"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert read.slots == (1, 2, 3) and read.facts == {"note": "x"} and read.backbone == made.backbone


@pytest.mark.parametrize("damage", ["nothing", "cut", "another format"])
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "prototypes.safetensors"
    if damage == "cut":
        bank().save(path)
        path.write_bytes(path.read_bytes()[:-10])
    if damage == "another format":
        bank().injection(0).save(path)
    with pytest.raises(InputError, match="prototypes"):
        PrototypeBank.load(path)


def test_shares_of_one_are_that_one_and_equal_shares_are_what_is_put_on() -> None:
    made, backbone = bank(2), tiny_backbone()
    texts = [example.text for example in examples(4)]
    first = score_labels(backbone, task(), texts, injection=made.injection(0))
    np.testing.assert_array_equal(score_labels(backbone, task(), texts, injection=made.mixed([1, 0])), first)
    halves = score_labels(backbone, task(), texts, injection=made.mixed([0.5, 0.5]))
    np.testing.assert_array_equal(score_labels(backbone, task(), texts, injection=made), halves)
    assert np.abs(halves - first).max() > 1e-3


def test_the_nearest_is_the_one_that_expects_the_examples_answers() -> None:
    made, backbone, mine = bank(), tiny_backbone(), examples(8)
    scores = [
        np.log(
            np.exp(s - s.max(axis=1, keepdims=True))
            / np.exp(s - s.max(axis=1, keepdims=True)).sum(axis=1)[:, None]
        )
        for s in (
            score_labels(backbone, task(), [e.text for e in mine], injection=made.injection(i))
            for i in range(3)
        )
    ]
    found = made.nearest(backbone, task(), mine)
    assert found in range(3)
    # Among the whole vocabulary rather than among the labels, so only a clear lead must agree.
    among = [float(np.mean([s[i, e.label] for i, e in enumerate(mine)])) for s in scores]
    if sorted(among)[-1] - sorted(among)[-2] > 1:
        assert found == int(np.argmax(among))


def test_another_model_and_a_missing_prototype_are_refused() -> None:
    with pytest.raises(ModelError, match="fingerprint"):
        bank().check(tiny_backbone(8))
    with pytest.raises(InputError, match="prototype 3 was asked for"):
        bank().injection(3)
    with pytest.raises(InputError, match="prototypes are 3 vectors"):
        bank(slots=(0,))
