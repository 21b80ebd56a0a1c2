"""That whole texts come back from vectors of one example, that nothing comes back from noise, and what is refused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tiny import examples, task, tiny_backbone

import attacks._texts.soft as soft_tokens
from attacks._base.attack import Knowledge, Texts, Who
from attacks._base.declared import Declared
from attacks._base.sites import Sites
from attacks._base.space import read
from attacks._base.targets import Target, rounding_variance
from attacks._base.tokens import inner_tokens
from attacks._texts.few import MOST, PartsError, TooManyError, few_examples
from attacks._texts.layer0 import FirstAttention
from attacks._texts.looks import Looks
from attacks._texts.phrases import Phrases
from attacks._texts.search import World, search
from attacks._texts.soft import soft
from attacks._texts.wording import Encoder, Text, Wording
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

CHOSEN = (2, 3)


@cache
def scene():
    """The shipped model, an attacker's knowledge, private texts and their activations."""
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=60, validation=1, test=1)
    public = shipped.load("topic", seed=1_000_003, train=1000, validation=1, test=1).train
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public))
    return backbone, knowledge, data.train, read(backbone, knowledge, tuple(data.train), "")


def upload(vector, examples=1, noise=0.0, seed=0):
    made = vector + noise * np.random.default_rng(seed).normal(size=vector.shape)
    sent = made.astype(np.float16).astype(np.float64)
    return Target(Who(0), sent, rounding_variance(sent, Precision.FP16) + noise**2, examples)


def true_tokens(index):
    backbone, knowledge, private, _ = scene()
    return inner_tokens(backbone, knowledge.task, [private[index]])[0]


def test_single_texts_come_back_to_the_last_token_and_the_attack_knows():
    """Where nine in ten come back, both are missed in one of a hundred; no draw but the seed's decides."""
    backbone, knowledge, private, activations = scene()
    targets = [upload(activations[i].astype(np.float64)) for i in CHOSEN]
    answers = search(backbone, knowledge, targets)
    exact = [answer.content.texts == (true_tokens(i),) for i, answer in zip(CHOSEN, answers, strict=True)]
    assert any(exact)
    # What was found for the other vector, which is a control, says nothing of this one.
    assert answers[0].content.texts != answers[1].content.texts
    for index, answer, right in zip(CHOSEN, answers, exact, strict=True):
        assert isinstance(answer.content, Texts)
        assert answer.content.certain == right
        assert answer.content.labels == (private[index].label,)
        assert answer.forwards >= 1


@pytest.mark.slow
def test_single_texts_come_back_nine_times_in_ten():
    backbone, knowledge, _, activations = scene()
    targets = [upload(activations[i].astype(np.float64)) for i in range(30)]
    answers = search(backbone, knowledge, targets)
    exact = sum(answer.content.texts == (true_tokens(i),) for i, answer in enumerate(answers))
    assert exact >= 27


def both(first):
    """What is found behind the mean of two texts, and whether it is both of them."""
    backbone, knowledge, _, activations = scene()
    pair = [first, first + 1]
    (answer,) = search(backbone, knowledge, [upload(activations[pair].mean(axis=0, dtype=np.float64), 2)])
    return answer, sorted(answer.content.texts) == sorted(true_tokens(i) for i in pair)


def test_two_texts_come_back_from_their_mean_and_the_attack_knows():
    answer, right = both(4)
    assert right
    assert answer.content.certain


@pytest.mark.slow
def test_pairs_of_texts_come_back_four_times_in_five():
    found = [both(first) for first in range(0, 20, 2)]
    assert sum(right for _, right in found) >= 8
    assert all(answer.content.certain == right for answer, right in found)


def test_noise_of_a_defense_leaves_no_text_and_no_certainty():
    backbone, knowledge, _, activations = scene()
    spread = float(np.sqrt(np.mean(activations.std(axis=0) ** 2)))
    told = Knowledge(
        knowledge.task, knowledge.position, knowledge.public, declared=Declared(noise=20 * spread)
    )
    vector = upload(activations[2].astype(np.float64), noise=20 * spread)
    (answer,) = search(backbone, told, [vector])
    assert not answer.content.certain
    shared = len(set(answer.content.texts[0]) & set(true_tokens(2))) / len(set(true_tokens(2)))
    assert shared < 0.5


def test_too_many_examples_are_not_looked_for_and_others_are():
    backbone, knowledge, _, activations = scene()
    many = upload(activations[: MOST + 1].mean(axis=0).astype(np.float64), MOST + 1)
    with pytest.raises(TooManyError, match=f"the mean of {MOST + 1} examples or more"):
        search(backbone, knowledge, [many])
    few = few_examples(backbone, knowledge, [many, upload(activations[0].astype(np.float64))], 6)
    assert [len(each.labels) for each in few] == [1]


def test_texts_are_not_looked_for_behind_parts_of_vectors():
    backbone, knowledge, _ = tiny()
    parts = replace(knowledge, sites=Sites((0,), "both"))
    vector = upload(read(backbone, knowledge, examples(1, 7), "")[0].astype(np.float64))
    with pytest.raises(PartsError, match="parts of these are left out"):
        search(backbone, parts, [vector])


def test_labels_of_several_texts_are_told_from_the_vector():
    backbone, knowledge, private, activations = scene()
    (few,) = few_examples(
        backbone, knowledge, [upload(activations[:3].mean(axis=0).astype(np.float64), 3)], 6
    )
    assert sorted(few.labels) == sorted(example.label for example in private[:3])


# ---- parts, on the tiny model


@cache
def tiny():
    knowledge = Knowledge(task(), Position.LABEL, tuple(examples(40, 1)))
    backbone = tiny_backbone()
    return backbone, knowledge, Wording.of(backbone, knowledge)


def test_a_guess_is_shown_to_the_model_as_a_client_shows_its_text():
    backbone, knowledge, wording = tiny()
    inner = wording.inner
    assert [wording.bare(ids) for ids in inner] == inner_tokens(backbone, knowledge.task, knowledge.public)
    assert [wording.whole(wording.bare(ids)) for ids in inner] == list(inner)
    encode = Encoder(backbone, knowledge, wording)
    shown = [Text(ids, example.label) for ids, example in zip(inner, knowledge.public, strict=True)]
    found = encode([*shown, *shown])
    assert encode.forwards == len(set(shown))
    assert np.allclose(found[: len(shown)], read(backbone, knowledge, knowledge.public, ""), atol=1e-5)


def test_a_declared_clip_scales_what_is_longer():
    backbone, knowledge, wording = tiny()
    clipped = Knowledge(knowledge.task, knowledge.position, knowledge.public, declared=Declared(clip=0.5))
    text = Text(wording.inner[0], 0)
    whole = Encoder(backbone, knowledge, wording)([text])[0]
    assert np.linalg.norm(whole) > 0.5
    assert np.linalg.norm(Encoder(backbone, clipped, wording)([text])[0]) == pytest.approx(0.5)


def test_what_is_looked_up_is_what_the_model_adds():
    backbone, knowledge, wording = tiny()
    inner = wording.inner
    looks = Looks(FirstAttention(backbone), wording, np.unique(np.concatenate(inner)), 40, knowledge)
    values = read(backbone, knowledge, knowledge.public, "")[:, 0, 0]
    shown = [Text(ids, example.label) for ids, example in zip(inner, knowledge.public, strict=True)]
    looks.check(shown, values)
    for text, value in zip(shown[10:20], values[10:20], strict=True):
        assert np.allclose(looks.outputs(text.label, [looks.columns(text.tokens)])[0], value, atol=1e-4)


def test_bigrams_are_probabilities_in_both_directions():
    texts = [np.array([0, 1, 2]), np.array([0, 2, 1])]
    phrases = Phrases(texts, 4)
    table = np.stack([phrases.after(token) for token in range(5)])
    assert np.allclose(np.exp(table).sum(axis=1), 1.0)
    assert np.allclose(np.stack([phrases.before(token) for token in range(5)]).T, table)
    assert phrases.of(np.array([0, 1, 2])) > phrases.of(np.array([2, 1, 0]))


def test_what_texts_alike_have_in_a_place_is_likelier_there():
    texts = [np.array([0, 1, 2, 3]), np.array([0, 1, 3, 3])]
    found = Phrases(texts, 6).alike(np.array([0, 1, 5, 3]))
    assert found is not None
    assert found[0, 0] > 0 > found[0, 1]
    assert found[2, 2] > 0
    assert Phrases(texts, 6).alike(np.array([4, 4, 4, 4])) is None
    assert Phrases(texts, 6).alike(np.array([0, 1])) is None


def test_soft_tokens_come_nearer_and_leave_the_model_as_it_was(monkeypatch):
    monkeypatch.setattr(soft_tokens, "_STEPS", 30)
    backbone, knowledge, wording = tiny()
    private = examples(30, 7)[-1]
    vector = read(backbone, knowledge, [private], "")[0].astype(np.float64)
    before = backbone.hidden(backbone.make_batch([[3, 4, 5]]))
    (answer,) = soft(backbone, knowledge, [upload(vector)])
    assert np.array_equal(before, backbone.hidden(backbone.make_batch([[3, 4, 5]])))
    content = answer.content
    found = Encoder(backbone, knowledge, wording)([Text(wording.whole(content.texts[0]), content.labels[0])])[
        0
    ]
    public = read(backbone, knowledge, knowledge.public, "")
    nearest = min(float(np.linalg.norm(each - vector)) for each in public)
    assert np.linalg.norm(found - vector) < nearest
    assert answer.forwards > 30


@pytest.mark.parametrize("sites", [Sites((1,), "both"), Sites(None, "mlp")])
def test_soft_tokens_come_nearer_in_the_parts_that_are_read_and_see_no_others(monkeypatch, sites):
    monkeypatch.setattr(soft_tokens, "_STEPS", 30)
    backbone, knowledge, wording = tiny()
    knowledge = replace(knowledge, sites=sites)
    mask = np.broadcast_to(sites.mask(backbone.n_layers), (backbone.n_layers, 2, backbone.width))
    private = examples(30, 7)[-1]
    vector = read(backbone, replace(knowledge, sites=Sites()), [private], "")[0].astype(np.float64)
    other = np.where(mask, vector, np.random.default_rng(0).normal(size=vector.shape))
    one, same = (soft(backbone, knowledge, [replace(upload(vector), vector=v)])[0] for v in (vector, other))
    assert one.content == same.content
    encode = Encoder(backbone, knowledge, wording)
    (found,) = encode([Text(wording.whole(one.content.texts[0]), one.content.labels[0])])
    public = read(backbone, knowledge, knowledge.public, "")
    nearest = min(float(np.linalg.norm((each - vector)[mask])) for each in public)
    assert np.linalg.norm((found - vector)[mask]) < nearest


def test_the_world_is_made_for_the_tiny_model():
    backbone, knowledge, wording = tiny()
    world = World.of(backbone, knowledge, wording)
    assert world.seen <= len(world.looks.tokens)
    assert world.under(0).shape == (len(knowledge.public), backbone.width)


def test_the_same_seed_gives_the_same_guess():
    backbone, knowledge, _ = tiny()
    vector = read(backbone, knowledge, [examples(30, 7)[-1]], "")[0].astype(np.float64)
    guesses = [
        search(
            backbone,
            Knowledge(
                knowledge.task, knowledge.position, knowledge.public, declared=Declared(noise=2.0), seed=seed
            ),
            [upload(vector, noise=2.0)],
        )
        for seed in (3, 3)
    ]
    assert guesses[0] == guesses[1]
