"""Public coordinates: made from public texts alone, and round enough that a typical row meets the clip."""

import json

import numpy as np
import pytest
from tiny import LAYERS, WIDTH, examples, generation_task, task, tiny_backbone

from defenses.privacy_specs import PublicSpec, VectorPrivacy
from ifedpriv.data.public import public_examples
from ifedpriv.data.shipped import load
from ifedpriv.errors import InputError
from ifedpriv.experiment.pool import client_by_content
from ifedpriv.icl.extract import activations
from ifedpriv.icl.prompts import Position
from ifedpriv.icl.public import public_transform

SIZE = LAYERS * 2 * WIDTH


def rows_of(some):
    found = np.empty((len(some), SIZE))
    for chosen, values in activations(tiny_backbone(), task(), some, position=Position.LABEL):
        found[chosen] = values.reshape(len(chosen), -1)
    return found


def made(**spec):
    return public_transform(tiny_backbone(), task(), examples(40, 5), Position.LABEL, VectorPrivacy(**spec))


def test_the_centre_is_the_public_mean_and_the_clip_a_typical_length():
    transform, clip = made()
    rows = rows_of(examples(40, 5))
    np.testing.assert_allclose(transform.centre, rows.mean(axis=0), atol=1e-5)
    lengths = np.linalg.norm(transform.forward(rows), axis=1)
    assert clip == pytest.approx(np.median(lengths), rel=1e-3)
    assert made(clip=0.5)[1] == pytest.approx(clip / 2)


def test_blocks_are_of_equal_size_where_they_are_scaled():
    transform, _ = made()
    blocks = np.linalg.norm(
        transform.forward(rows_of(examples(40, 5))).reshape(40, LAYERS * 2, WIDTH), axis=2
    )
    np.testing.assert_allclose(np.median(blocks, axis=0), 1.0, rtol=1e-3)
    assert (made(scale=False)[0].scale == 1).all()
    assert not made(centre=False)[0].centre.any()


def test_few_directions_hold_most_of_what_varies():
    transform, _ = made(rank=8)
    whole, _ = made()
    rows = rows_of(examples(40, 5))
    kept = np.square(transform.forward(rows)).sum() / np.square(whole.forward(rows)).sum()
    assert (transform.rank, transform.size) == (8, SIZE)
    assert kept > 0.5
    with pytest.raises(InputError, match=r"rank is 40, and 40 public texts span 39 directions"):
        made(rank=40)


def test_shipped_tasks_have_public_texts_with_random_labels():
    data = load("mood", train=200, validation=10, test=10)
    found = public_examples(data.task, PublicSpec(texts=200), None, embedded=True)
    assert len({example.text for example in found}) == 200
    assert not {e.text for e in found} & {e.text for e in data.train}
    counts = np.bincount([example.label for example in found], minlength=data.task.n_classes)
    assert counts.min() > 25
    assert found == public_examples(data.task, PublicSpec(texts=200), None, embedded=True)
    assert found != public_examples(data.task, PublicSpec(texts=200, seed=1), None, embedded=True)


def test_generation_has_words_of_the_text_for_answers():
    found = public_examples(generation_task(), PublicSpec(texts=16), None, embedded=True)
    assert all(word.lower() in e.text.lower() for e in found for word in e.answer.split())


def test_a_file_of_public_texts_needs_texts(tmp_path):
    (tmp_path / "public.jsonl").write_text(json.dumps({"said": "x"}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="row 1: there is no text"):
        public_examples(task(), PublicSpec(path="public.jsonl", texts=16), tmp_path, embedded=False)


def test_one_example_more_moves_no_other_from_one_side_to_the_other():
    some = examples(60, 2)
    whole = client_by_content(0, some, "all", 0.3)
    for left_out in (0, 17, 59):
        fewer = client_by_content(0, some[:left_out] + some[left_out + 1 :], "all", 0.3)
        gone = {e.text for e in whole.train} - {e.text for e in fewer.train}
        gone |= {e.text for e in whole.validation} - {e.text for e in fewer.validation}
        assert gone == {some[left_out].text}
    assert 8 <= len(whole.validation) <= 28
    assert not client_by_content(0, some, "all", 0.0).validation


@pytest.mark.parametrize(
    "spec",
    [{}, {"scale": False}, {"centre": False}, {"rank": 3}, {"rank": 3, "scale": False, "centre": False}],
    ids=str,
)
def test_noise_is_known_in_units_of_a_blocks_size(spec):
    """Noise in every coordinate, turned back, has the root mean square that the transform says.

    The mean of 4,000 squares of at least 3 coordinates: off by 6% in less than one of 10^6 runs.
    """
    transform, _ = made(**spec)
    rows = rows_of(examples(40, 5)).reshape(40, LAYERS, 2, WIDTH)
    sizes = np.median(np.linalg.norm(rows - rows.mean(axis=0), axis=-1), axis=0)[..., None]
    drawn = np.random.default_rng(0).standard_normal((4000, transform.rank))
    moved = np.stack([transform.back(row) for row in drawn]) - transform.centre
    found = np.sqrt(((moved.reshape(len(drawn), *rows.shape[1:]) / sizes) ** 2).mean())
    assert transform.noise_unit == pytest.approx(found, rel=0.03)
    if not spec:
        assert transform.noise_unit == pytest.approx(1)
