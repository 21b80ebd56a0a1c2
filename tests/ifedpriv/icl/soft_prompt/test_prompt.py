"""A soft prompt works wherever an injection does, survives its file to the bit, and starts from public tokens."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny import WIDTH, examples, generation_task, task, tiny_backbone
from toys import toy_model, toy_tokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Task
from ifedpriv.errors import InputError, ModelError, UserError
from ifedpriv.icl.evaluate import answer
from ifedpriv.icl.objective import Loss, Objective
from ifedpriv.icl.predict import generate_answers, predict_labels, score_labels
from ifedpriv.icl.soft_prompt.prompt import (
    FORMAT,
    SoftPrompt,
    embeddings_of,
    prompt_width,
    start_from_task,
    start_from_vocabulary,
)

FACTS = {"task": "a task", "ünïcode": "naïve “quotes”\n"}
IN_FRONT = [200, 77, 5, 131]
LONG_TEMPLATE = "An instruction of some length, which all queries share. Text: {text}\nLabel:"


def prompt(seed=3, length=5, backbone=True, **changes):
    values = np.random.default_rng(seed).normal(size=(length, WIDTH)).astype(np.float32) * 0.4
    fingerprint = tiny_backbone().fingerprint if backbone else ""
    return SoftPrompt(values, **{"backbone": fingerprint, "facts": {"note": "x"}, **changes})


def of_tokens(backbone, ids=IN_FRONT):
    return SoftPrompt(embeddings_of(backbone, ids), backbone.fingerprint)


def scores_by_hand(backbone, some, text, in_front):
    """One position decides: the logits of the single-letter labels behind the written tokens and the prompt."""
    ids = torch.tensor([[*in_front, *backbone.encode_prompt(some.prompt(text))]])
    words = [backbone.encode_pair(some.prompt("x"), word)[1][0] for word in some.answers()]
    with torch.no_grad():
        return backbone.model(input_ids=ids).logits[0, -1, words].numpy()


@pytest.mark.parametrize("template", ["Text: {text}\nLabel:", LONG_TEMPLATE])
def test_label_scores_are_those_behind_the_tokens(template):
    backbone, some = tiny_backbone(), task(template=template)
    texts = [e.text for e in examples(7)]
    got = score_labels(backbone, some, texts, injection=of_tokens(backbone), batch_size=3)
    expected = [scores_by_hand(backbone, some, text, IN_FRONT) for text in texts]
    np.testing.assert_allclose(got, expected, atol=2e-5)
    bare = score_labels(backbone, some, texts)
    assert np.abs(got - bare).max() > 0.1
    best = predict_labels(backbone, some, texts, injection=of_tokens(backbone))
    assert best.tolist() == np.argmax(expected, axis=1).tolist()


def test_labels_of_several_tokens():
    backbone, some = tiny_backbone(), task(("positive", "bad"), gap=" ")
    texts = [e.text for e in examples(5)]
    got = score_labels(backbone, some, texts, injection=of_tokens(backbone))
    for row, text in enumerate(texts):
        start = [*IN_FRONT, *backbone.encode_prompt(some.prompt(text))]
        for column, word in enumerate(some.answers()):
            ids = [*start, *backbone.encode_answer(some.prompt(text), word)]
            with torch.no_grad():
                logp = backbone.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            mean = np.mean([float(logp[i - 1, ids[i]]) for i in range(len(start), len(ids))])
            assert got[row, column] == pytest.approx(mean, abs=2e-5)


def test_generated_answers_and_evaluation():
    backbone, some = tiny_backbone(), generation_task()
    texts = [e.text for e in examples(5)]
    got = generate_answers(backbone, some, texts, injection=of_tokens(backbone))
    assert got != generate_answers(backbone, some, texts)
    for text, said in zip(texts, got, strict=True):
        ids = torch.tensor([[*IN_FRONT, *backbone.encode_prompt(some.prompt(text))]])
        new = []
        for _ in range(some.max_new_tokens):
            with torch.no_grad():
                new.append(int(backbone.model(input_ids=ids).logits[0, -1].argmax()))
            ids = torch.cat((ids, torch.tensor([[new[-1]]])), dim=1)
        new = new[: new.index(1)] if 1 in new else new
        assert backbone.tokenizer.decode(new).split(some.separator)[0].strip() == said
    some = task()
    answers = answer(backbone, some, examples(5), injection=of_tokens(backbone))
    best = [int(np.argmax(scores_by_hand(backbone, some, text, IN_FRONT))) for text in texts]
    assert list(answers.predicted) == best


@pytest.mark.parametrize("kind", list(Loss))
def test_losses_are_those_behind_the_tokens(kind):
    backbone, some, chosen = tiny_backbone(), task(), examples(6)
    objective = Objective(backbone, some, chosen)
    with of_tokens(backbone).on(backbone), torch.no_grad():
        got = float(objective.loss_of(range(6), kind))
        each = objective.losses_of(range(6))
    losses = []
    for example in chosen:
        text = some.prompt(example.text)
        ids = torch.tensor([[*IN_FRONT, *backbone.encode_prompt(text)]])
        with torch.no_grad():
            logits = backbone.model(input_ids=ids).logits[0, -1]
        words = [backbone.encode_pair(text, word)[1][0] for word in some.answers()]
        among = logits[words] if kind is Loss.LABELS else logits
        target = example.label if kind is Loss.LABELS else words[example.label]
        losses.append(-float(among.log_softmax(-1)[target]))
    assert got == pytest.approx(np.mean(losses), abs=1e-5)
    if kind is Loss.VOCABULARY:
        np.testing.assert_allclose(each.numpy(), losses, atol=1e-5)


def test_the_prompt_counts_toward_the_context():
    backbone = tiny_backbone()
    text = "a" * 230
    assert len(score_labels(backbone, task(), [text])) == 1
    with pytest.raises(
        InputError, match="of a soft prompt stand in front, and the backbone's context is 256"
    ):
        score_labels(backbone, task(), [text], injection=prompt(length=40))
    with pytest.raises(ModelError, match="256 tokens leaves no room for a text"):
        score_labels(backbone, task(), ["a"], injection=prompt(length=256))


def test_values_are_copied_and_cannot_be_changed():
    values = np.ones((3, WIDTH), dtype=np.float32)
    made = SoftPrompt(values)
    values[:] = 7
    assert (made.values == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        made.values[0] = 2
    assert repr(made) == f"SoftPrompt(3 tokens of width {WIDTH})"
    assert (made.length, made.width) == (3, WIDTH)


@pytest.mark.parametrize("shape", [(WIDTH,), (2, 3, WIDTH), (0, WIDTH), (3, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ModelError, match="has shape"):
        SoftPrompt(np.zeros(shape, dtype=np.float32))


def test_other_backbones_are_refused():
    with pytest.raises(ModelError, match="was made for the model with fingerprint"):
        prompt().check(tiny_backbone(8))
    with pytest.raises(ModelError, match="takes \\(tokens, 32\\)"):
        prompt(backbone=False).check(Backbone.wrap(toy_model("llama"), toy_tokenizer()))
    with pytest.raises(ModelError, match="fingerprint"), prompt().on(tiny_backbone(8)):
        pass
    prompt(backbone=False).check(tiny_backbone(8))


def saved(tmp_path, **changes):
    path = tmp_path / "softprompt.safetensors"
    prompt(**changes).save(path)
    return path


def test_round_trip_to_the_bit(tmp_path):
    path = saved(tmp_path, facts=FACTS)
    again = SoftPrompt.load(path)
    assert np.array_equal(again.values, prompt().values)
    assert again.backbone == tiny_backbone().fingerprint
    assert dict(again.facts) == FACTS
    before = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def refused(path):
    with pytest.raises(UserError) as caught:
        SoftPrompt.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_not_ours(tmp_path):
    assert "does not exist" in refused(tmp_path / "none")
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    assert "cannot be read" in refused(path)
    good = {"format": FORMAT, "backbone": "", "facts": "{}"}
    for tensors, metadata, expected in (
        ({"prompt": np.ones((2, 3), dtype=np.float32)}, {**good, "format": "other"}, "'other'"),
        ({"prompt": np.ones((2, 3), dtype=np.float16)}, good, "cannot be read"),
        ({"vector": np.ones((2, 3), dtype=np.float32)}, good, "cannot be read"),
        ({"prompt": np.ones(3, dtype=np.float32)}, good, "has shape (3,)"),
        ({"prompt": np.full((2, 3), np.inf, dtype=np.float32)}, good, "not finite"),
    ):
        save_file(tensors, path, metadata=metadata)
        assert expected in refused(path)


_FILE: dict[str, bytes | Path] = {}


@settings(max_examples=100)
@given(st.data())
def test_no_damage_gets_another_answer_than_a_sentence(tmp_path_factory, data):
    if not _FILE:
        _FILE["bytes"] = saved(tmp_path_factory.mktemp("good")).read_bytes()
        _FILE["folder"] = tmp_path_factory.mktemp("bad")
    content = bytearray(_FILE["bytes"])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = _FILE["folder"] / "softprompt.safetensors"
    path.write_bytes(bytes(content))
    try:
        loaded = SoftPrompt.load(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(loaded.values).all()
        assert loaded.values.ndim == 2


def test_a_start_from_the_task_is_its_wording_over_and_over():
    backbone, some = tiny_backbone(), task()
    ids = backbone.tokenizer(some.prompt("") + "AB", add_special_tokens=False).input_ids
    length = len(ids) + 3
    start = start_from_task(backbone, some, length)
    assert start.dtype == np.float32
    np.testing.assert_array_equal(start, embeddings_of(backbone, [*ids, *ids[:3]]))
    np.testing.assert_array_equal(start_from_task(backbone, some, 2), start[:2])


def test_a_start_from_the_vocabulary_is_drawn_from_typical_tokens():
    backbone = tiny_backbone()
    table = embeddings_of(backbone, range(len(backbone.tokenizer)))
    start = start_from_vocabulary(backbone, 40, np.random.default_rng(1))
    rows = [int(np.flatnonzero((table == row).all(axis=1))[0]) for row in start]
    assert len(set(rows)) == 40
    assert not set(rows) & set(backbone.tokenizer.all_special_ids)
    low, high = np.quantile(np.linalg.norm(table, axis=1), [0.09, 0.91])
    norms = np.linalg.norm(start, axis=1)
    assert low <= norms.min() <= norms.max() <= high
    np.testing.assert_array_equal(start, start_from_vocabulary(backbone, 40, np.random.default_rng(1)))
    assert not np.array_equal(start, start_from_vocabulary(backbone, 40, np.random.default_rng(2)))
    assert start_from_vocabulary(backbone, 1000, np.random.default_rng(1)).shape == (1000, WIDTH)


def test_a_projected_embedding_has_its_own_width():
    backbone = Backbone.wrap(toy_model("opt-350m"), toy_tokenizer())
    assert (prompt_width(backbone), backbone.width) == (16, 32)
    assert start_from_task(backbone, task(), 3).shape == (3, 16)


def test_starts_without_tokens_are_refused():
    with pytest.raises(InputError, match="length is 0"):
        start_from_task(tiny_backbone(), task(), 0)
    bare = Task("t", "{text}", kind=generation_task().kind)
    with pytest.raises(InputError, match="has no tokens"):
        start_from_task(tiny_backbone(), bare, 2)


def test_the_header_names_the_format(tmp_path):
    content = saved(tmp_path).read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    assert json.loads(content[8 : 8 + size])["__metadata__"]["format"] == FORMAT
    assert load_file(saved(tmp_path))["prompt"].shape == (5, WIDTH)
