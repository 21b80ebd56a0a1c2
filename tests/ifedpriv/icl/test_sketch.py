"""Sketches tell what a client means by its labels, and little else."""

import numpy as np
import pytest
from tiny import examples, generation_task, task, tiny_backbone

from ifedpriv.data.task import Example
from ifedpriv.errors import InputError
from ifedpriv.icl.extract import activation_rows
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.sketch import classes_of, public_sketch


def made(rank: int = 6, public: tuple[Example, ...] | None = None):
    return public_sketch(tiny_backbone(), task(), public or examples(24, 5), Position.LABEL, rank)


def rows(mine: tuple[Example, ...]) -> np.ndarray:
    return activation_rows(tiny_backbone(), task(), mine, Position.LABEL)


def test_a_sketch_is_of_length_one_and_its_parts_are_its_classes() -> None:
    sketch, mine = made(), examples(6, 1, only=1)
    found = sketch.of([(range(6), rows(mine))], classes_of(task(), mine))
    assert found.shape == (12,) and np.linalg.norm(found) == pytest.approx(1)
    assert not found[:6].any() and found[6:].any()


def test_public_coordinates_are_white() -> None:
    """Along every direction that is kept the public rows vary by one, around their own class's mean."""
    public = examples(40, 5)
    sketch, labels = made(8, public), np.asarray(classes_of(task(), public))
    flat = rows(public).reshape(40, -1)
    moved = (flat - sketch.centres[labels]) @ sketch.basis.T
    np.testing.assert_allclose(moved.T @ moved / 40, np.eye(8), atol=1e-3)


def test_batches_do_not_show_and_an_example_that_overflows_is_left_out() -> None:
    sketch, mine = made(), examples(6, 1)
    whole, classes = rows(mine), classes_of(task(), mine)
    one = sketch.of([(range(6), whole)], classes)
    several = sketch.of([([0, 1], whole[:2]), ([5, 2, 3, 4], whole[[5, 2, 3, 4]])], classes)
    np.testing.assert_allclose(one, several, atol=1e-6)
    broken = whole.copy()
    broken[2] = np.nan
    without = sketch.of([([0, 1, 3, 4, 5], whole[[0, 1, 3, 4, 5]])], classes)
    np.testing.assert_allclose(sketch.of([(range(6), broken)], classes), without, atol=1e-6)
    assert not sketch.of([(range(6), np.full_like(whole, np.inf))], classes).any()


def test_opposite_labels_make_other_sketches() -> None:
    mine = examples(20, 1)
    turned = tuple(Example(e.text, 1 - e.label) for e in mine)
    sketch = made(0)
    one, other = (sketch.of([(range(20), rows(who))], classes_of(task(), who)) for who in (mine, turned))
    assert one @ other < 0.9


def test_a_task_without_classes_has_one_part() -> None:
    texts = [Example(e.text, answer="fine") for e in examples(12)]
    sketch = public_sketch(tiny_backbone(), generation_task(), texts, Position.LABEL, 4)
    assert sketch.size == 4 and classes_of(generation_task(), texts) == [0] * 12


def test_too_few_public_texts_are_refused() -> None:
    with pytest.raises(InputError, match="rank is 30, and 24 public texts span 22 directions"):
        made(30)
    with pytest.raises(InputError, match="no text of class 1 among 8"):
        made(2, examples(8, only=0))
