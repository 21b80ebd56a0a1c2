"""That an inverter learns from public texts alone, reads what it is let read, and writes what comes near the vector."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from tiny import examples, task, tiny_backbone
from toys import toy_model, toy_tokenizer

import attacks._texts.trained as method
from attacks._base.attack import Knowledge, Texts, Who
from attacks._base.declared import Declared
from attacks._base.sites import Sites
from attacks._base.space import read
from attacks._base.targets import Target, rounding_variance
from attacks._base.tokens import inner_tokens
from attacks._program.shelf import FolderShelf
from attacks._texts.decoder import Effort, Mixer, next_likeliest, sample, train
from attacks._texts.few import TooManyError
from attacks._texts.pairs import END, OTHER, Pairs, Recombiner
from attacks._texts.trained import MOST_TRAINED, trained
from attacks._texts.wording import Encoder, Text, Wording
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.errors import InputError
from ifedpriv.icl.prompts import Position

SMALL = Effort(recombined=4, steps=120, batch=16, every=40, patience=2, width=32, layers=1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(method, "EFFORT", SMALL)
    monkeypatch.setattr(method, "_INVERTERS", {})
    monkeypatch.setattr(method, "_PAIRS", {})
    monkeypatch.setattr(method, "_SAMPLES", 8)


def upload(vector, count=1, noise=0.0):
    made = vector + noise * np.random.default_rng(0).normal(size=vector.shape)
    sent = made.astype(np.float16).astype(np.float64)
    return Target(Who(0), sent, rounding_variance(sent, Precision.FP16) + noise**2, count)


def scene(backbone):
    knowledge = Knowledge(task(), Position.LABEL, tuple(examples(40, 1)))
    private = examples(30, 7)[-6:]
    return knowledge, private, read(backbone, knowledge, private, "").astype(np.float64)


@cache
def pairs():
    backbone = tiny_backbone()
    knowledge, *_ = scene(backbone)
    wording = Wording.of(backbone, knowledge)
    return Pairs.of(Encoder(backbone, knowledge, wording), wording, 4)


# ---- the attack


def alike(one, other):
    """F1 of different tokens."""
    said, meant = ({token for text in texts for token in text} for texts in (one, other))
    return 2 * len(said & meant) / (len(said) + len(meant))


# Every family and every count is in the default suite; all pairs of them are in the slow one.
@pytest.mark.parametrize(
    ("family", "count"),
    [
        ("llama", 1),
        ("llama", 2),
        ("gpt2", 1),
        ("opt", 2),
        pytest.param("gpt2", 2, marks=pytest.mark.slow),
        pytest.param("opt", 1, marks=pytest.mark.slow),
    ],
)
def test_texts_that_are_written_hold_more_of_the_true_words_than_public_texts_do(family, count):
    backbone = tiny_backbone() if family == "llama" else Backbone.wrap(toy_model(family), toy_tokenizer())
    knowledge, private, activations = scene(backbone)
    groups = [private[i : i + count] for i in range(0, len(private), count)]
    vectors = [activations[i : i + count].mean(axis=0) for i in range(0, len(private), count)]
    answers, facts = trained(backbone, knowledge, [upload(vector, count) for vector in vectors])
    assert 0 < dict(facts)["held-out loss"] < np.log(320)
    public = inner_tokens(backbone, knowledge.task, knowledge.public)
    found, blind = [], []
    for answer, group in zip(answers, groups, strict=True):
        content = answer.content
        assert isinstance(content, Texts)
        assert len(content.texts) == count
        assert sorted(content.labels) == sorted(example.label for example in group)
        assert answer.forwards >= count * 2
        true = inner_tokens(backbone, knowledge.task, group)
        found.append(alike(content.texts, true))
        blind.append(np.mean([alike(public[i : i + count], true) for i in range(0, 40, count)]))
    assert np.mean(found) > np.mean(blind) + 0.1


def test_the_same_seed_gives_the_same_guess_and_another_vector_another(monkeypatch):
    backbone = tiny_backbone()
    knowledge, _, activations = scene(backbone)
    first, facts = trained(backbone, knowledge, [upload(each) for each in activations[:2]])
    monkeypatch.setattr(method, "_INVERTERS", {})
    monkeypatch.setattr(method, "_PAIRS", {})
    assert trained(backbone, knowledge, [upload(each) for each in activations[:2]]) == (first, facts)
    assert first[0].content.texts != first[1].content.texts


def test_parts_that_are_not_read_change_nothing():
    backbone = tiny_backbone()
    knowledge, _, activations = scene(backbone)
    knowledge = replace(knowledge, sites=Sites((0,), "attention"))
    vector = activations[0]
    other = np.where(knowledge.sites.mask(backbone.n_layers), vector, 0.7)
    texts = [trained(backbone, knowledge, [upload(v)])[0][0].content.texts for v in (vector, other)]
    assert texts[0] == texts[1]


def test_under_noise_nothing_is_certain_and_no_token_is_tried_for_the_noise():
    backbone = tiny_backbone()
    knowledge, _, activations = scene(backbone)
    told = replace(knowledge, declared=Declared(noise=1.0))
    noised = upload(activations[0], noise=1.0)
    (answer,), facts = trained(backbone, told, [noised])
    assert not answer.content.certain
    assert answer.forwards <= 8
    assert trained(backbone, knowledge, [upload(activations[0])])[1] != facts
    assert method._noise([noised]) == pytest.approx(1.0, rel=0.2)
    assert method._noise([upload(activations[0])]) == 0


def test_a_declared_clip_is_trained_with():
    backbone = tiny_backbone()
    knowledge, _, activations = scene(backbone)
    clip = 0.3 * float(np.linalg.norm(activations[0]))
    told = replace(knowledge, declared=Declared(clip=clip))
    vector = activations[0] * clip / np.linalg.norm(activations[0])
    (answer,), _ = trained(backbone, told, [upload(vector)])
    wording = Wording.of(backbone, told)
    guessed = [Text(wording.whole(answer.content.texts[0]), answer.content.labels[0])]
    assert np.linalg.norm(Encoder(backbone, told, wording)(guessed)[0]) == pytest.approx(clip)


def test_vectors_of_too_many_examples_are_left_out():
    backbone = tiny_backbone()
    knowledge, _, activations = scene(backbone)
    with pytest.raises(TooManyError, match=f"behind {MOST_TRAINED} at most"):
        trained(backbone, knowledge, [upload(activations.mean(axis=0), MOST_TRAINED + 1)])


def test_what_is_trained_is_taken_from_the_shelf_and_not_trained_again(monkeypatch, tmp_path):
    backbone = tiny_backbone()
    knowledge, _, activations = scene(backbone)
    told = replace(knowledge, shelf=FolderShelf(tmp_path / "kept"))
    first = trained(backbone, told, [upload(activations[0])])
    (file,) = (tmp_path / "kept").iterdir()
    monkeypatch.setattr(method, "_INVERTERS", {})
    monkeypatch.setattr(method, "train", None)
    assert trained(backbone, told, [upload(activations[0])]) == first
    # Another seed decides another inverter, and there is none of it.
    with pytest.raises(TypeError):
        trained(backbone, replace(told, seed=1), [upload(activations[0])])
    monkeypatch.setattr(method, "_INVERTERS", {})
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        trained(backbone, told, [upload(activations[0])])


# ---- what it learns from


def test_recombined_texts_are_of_given_tokens_and_differ():
    texts = [Text((1, 2, n, 4, 5, 10 + n), n % 2) for n in range(20, 30)]
    texts.append(Text((7, 8, 9), 1))
    made = Recombiner(texts, np.random.default_rng(0)).texts(66)
    given = {token for text in texts for token in text.tokens}
    assert {token for text in made for token in text.tokens} <= given
    assert [text.label for text in made] == [texts[i % 11].label for i in range(66)]
    assert {len(text.tokens) for text in made} == {3, 6}
    assert len({text.tokens for text in made} - {text.tokens for text in texts}) > 30
    assert {text.tokens[0] for text in made} == {1, 7}


def test_texts_that_are_held_out_are_not_trained_with():
    found = pairs()
    assert found.held == 5 * (40 - 4)
    assert len(found.points) == found.held + 4
    known = {tuple(row) for row in found.tokens[: found.held].tolist()}
    assert sum(tuple(row) in known for row in found.tokens[found.held :].tolist()) == 0


def test_columns_are_tokens_and_back():
    found = pairs()
    row = found.tokens[0].tolist()
    ids = found.ids(row)
    assert found.columns_of(ids) == row[: found.lengths[0] - 1]
    assert row[found.lengths[0] - 1] == END
    assert found.columns_of([319]) == [OTHER]


def test_a_mixture_of_one_is_its_text_and_the_first_of_several_is_the_first_in_order():
    found = pairs()
    rng = np.random.default_rng(0)
    mixed, first = Mixer(found, (1,)).draw(20, rng)
    assert np.allclose(mixed.points, found.points[first] / np.sqrt(found.variance), rtol=1e-4, atol=1e-4)
    assert np.array_equal(mixed.labels, found.labels[first])
    several, first = Mixer(found, (4,)).draw(400, rng)
    assert set(several.count.tolist()) == {1, 2, 3, 4}
    # The least of four ranks is lower than that of one.
    ranks = found.rank[first]
    assert ranks[several.count == 4].mean() < 0.6 * ranks[several.count == 1].mean()
    assert np.all(np.diff(found.labels[np.argsort(found.rank)]) >= 0)


def test_the_noise_of_what_is_left_is_that_of_the_whole_vector():
    """Of 4,000 draws a variance is off by more than a tenth once in 100,000."""
    whole = pairs()
    spread = whole.space.spread.reshape(2, 2, -1)
    blank = replace(whole.under(0.25 * spread**2), points=np.zeros_like(whole.points))
    # Axes are orthonormal, so what is the same in every standardised number is the same along every axis.
    assert np.allclose(blank.space.rounding, 0.25)
    mixed, _ = Mixer(blank, (3,)).draw(4000, np.random.default_rng(0))
    noise = mixed.points / blank.scale(mixed.count, mixed.total) * (mixed.count / mixed.total)[:, None]
    jitter = (1.25**3 - 0.8**3) / 3 / 0.45
    assert np.var(noise[:, 0]) == pytest.approx(0.25 * jitter, rel=0.1)


def test_training_ends_better_than_it_began_and_sampling_follows_the_decoder():
    found = pairs()
    begun = train(found, (1, 2), replace(SMALL, steps=1), 0, lambda *_: None)
    ended = train(found, (1, 2), SMALL, 0, lambda *_: None)
    assert ended.loss < begun.loss - 0.5
    mixed, _ = Mixer(found, (1, 2)).draw(6, np.random.default_rng(1))
    texts = sample(ended.decoder, mixed, np.zeros(6, dtype=np.float32), 0)
    one = replace(mixed, **{n: getattr(mixed, n)[:1] for n in ("points", "labels", "count", "total")})
    likeliest = next_likeliest(ended.decoder, one, texts[0], 1)
    assert tuple(likeliest[:, 0].tolist()) == texts[0]
    assert all(column > max(OTHER, END) for text in texts for column in text)
    hot = sample(ended.decoder, mixed, np.ones(6, dtype=np.float32), 0)
    assert hot == sample(ended.decoder, mixed, np.ones(6, dtype=np.float32), 0)
    assert hot != sample(ended.decoder, mixed, np.ones(6, dtype=np.float32), 1)
    assert torch.is_grad_enabled()


# ---- the shipped model


@pytest.mark.slow
def test_unseen_texts_come_back_far_better_than_by_chance(monkeypatch):
    monkeypatch.setattr(method, "EFFORT", Effort(recombined=8, steps=300))
    monkeypatch.setattr(method, "_SAMPLES", 48)
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=10, validation=1, test=1)
    public = shipped.load("topic", seed=1_000_003, train=1000, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public))
    vectors = read(backbone, knowledge, tuple(data.train), "").astype(np.float64)
    answers, _ = trained(backbone, knowledge, [upload(each) for each in vectors])
    true = inner_tokens(backbone, knowledge.task, data.train)
    blind = inner_tokens(backbone, knowledge.task, public[: len(true)])

    found = np.mean([alike(a.content.texts, [t]) for a, t in zip(answers, true, strict=True)])
    prior = np.mean([alike([a], [t]) for a, t in zip(blind, true, strict=True)])
    assert found > prior + 0.4
