"""Training from scratch: batches are pure functions of the seed, and a stop in the middle changes no weight."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.embedded.conventions import all_conventions
from ifedpriv.embedded.texts import SEPARATOR, TEMPLATE, write_text
from ifedpriv.embedded.words import ATTRIBUTES
from ifedpriv.errors import UserError
from ifedpriv.pretrain import train
from ifedpriv.pretrain.corpus import KINDS, answer_tokens, tabulate, write_corpus
from ifedpriv.pretrain.publish import publish
from ifedpriv.pretrain.sequences import SequencePlan, make_batch
from ifedpriv.pretrain.tokenizer import train_tokenizer
from ifedpriv.pretrain.train import Recipe, Training

# Six few-shot steps, so that a long batch is among them.
RECIPE = Recipe(
    width=16,
    layers=1,
    heads=2,
    hidden=16,
    texts=300,
    label_steps=2,
    copy_steps=1,
    fewshot_steps=6,
    hard_steps=2,
    warmup=2,
)
PLAN = SequencePlan(sequences=12, demonstrations=4, instructed=0.5, copying=0.4)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(0, train.CONTEXT)


@pytest.fixture(scope="module")
def corpus(tokenizer):
    return write_corpus(tokenizer, 300, 0)


@pytest.fixture(scope="module")
def table(tokenizer):
    return tabulate(tokenizer, all_conventions())


@pytest.fixture
def training(tokenizer, monkeypatch):
    """Makes trainings that share one tokenizer, since only it takes seconds to make."""
    monkeypatch.setattr(train, "train_tokenizer", lambda seed, context: tokenizer)
    return lambda folder, recipe=RECIPE: Training(recipe, folder)


def batch(tokenizer, corpus, table, seed, plan=PLAN):
    separator = tokenizer.encode(SEPARATOR, add_special_tokens=False)[0]
    return make_batch(corpus, table, plan, bos=tokenizer.bos_token_id, separator=separator, seed=[seed])


# ---- tokenizer


def test_the_tokenizer_is_the_shipped_one(tokenizer):
    """The shipped model's vocabulary can be made again, token by token."""
    shipped = AutoTokenizer.from_pretrained(MODEL_PATH)
    assert shipped.get_vocab() == tokenizer.get_vocab()
    text = "Ticket 1234 from Ida Holt in Seaford: invoice trouble => queue red\n"
    assert shipped(text).input_ids == tokenizer(text).input_ids


def test_any_text_can_be_encoded_and_decoded(tokenizer):
    for text in ("naïve Grüße, 你好 🙂\n\t x", "1234 12 1", "", " lead  double "):
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids[1:]) == text


def test_words_of_the_world_are_single_tokens_and_numbers_two(tokenizer):
    for convention in all_conventions():
        for _, label in convention.labels:
            assert len(answer_tokens(tokenizer, label)) == len(label.split())
    for table in ATTRIBUTES.values():
        for words in table.values():
            assert all(len(answer_tokens(tokenizer, word)) == 1 for word in words)
    assert all(len(answer_tokens(tokenizer, str(number))) == 2 for number in (1000, 4321, 9999))


# ---- corpus


def test_kinds_mark_the_tokens_of_each_slot(tokenizer, corpus):
    rng = np.random.default_rng([0, 1])
    for row in range(20):
        text = write_text(rng)
        assert tokenizer.decode(corpus.prompts[row]) == TEMPLATE.format(text=text.text)
        for slot in ("first", "city", "number", "mood"):
            own = corpus.prompts[row][corpus.kinds[row] == KINDS.index(slot)]
            start, end = text.spans[slot]
            assert tokenizer.decode(own).strip() == text.text[start:end]


def test_a_corpus_is_a_function_of_its_seed(tokenizer, corpus):
    again, other = write_corpus(tokenizer, 300, 0), write_corpus(tokenizer, 300, 1)
    assert all(np.array_equal(a, b) for a, b in zip(corpus.prompts, again.prompts, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(corpus.prompts, other.prompts, strict=True))


def test_texts_by_value_are_all_texts(corpus):
    for position, lists in enumerate(corpus.by_value):
        assert sorted(np.concatenate(lists).tolist()) == list(range(300))
        for value, texts in enumerate(lists):
            assert (corpus.values[texts, position] == value).all()


def test_agreement_is_that_of_the_answers(table, corpus):
    """Against answers asked one by one."""
    names = list(ATTRIBUTES)
    for convention in (0, 17, 50, len(all_conventions()) - 1):
        agreeing = table.agreeing(corpus.values[:10], convention)
        for row in range(10):
            values = {a: list(ATTRIBUTES[a])[corpus.values[row, i]] for i, a in enumerate(names)}
            for other, each in enumerate(all_conventions()):
                if each.fields or all_conventions()[convention].fields:
                    expected = other == convention
                else:
                    own = all_conventions()[convention]
                    expected = (
                        dict(each.labels)[values[each.attribute]] == dict(own.labels)[values[own.attribute]]
                    )
                assert bool(agreeing[row, other]) == expected


# ---- batches


def test_a_batch_is_a_pure_function_of_its_seed(tokenizer, corpus, table):
    one, same, other = (batch(tokenizer, corpus, table, seed) for seed in (0, 0, 1))
    for name in one.__slots__:
        assert torch.equal(getattr(one, name), getattr(same, name)), name
    assert one.ids.shape != other.ids.shape or not torch.equal(one.ids, other.ids)


def test_targets_are_the_tokens_that_follow(tokenizer, corpus, table):
    made = batch(tokenizer, corpus, table, 3)
    flat = made.ids.reshape(-1)
    assert torch.equal(flat[made.answer_at + 1], made.answer_token)
    separator = tokenizer.encode(SEPARATOR, add_special_tokens=False)[0]
    assert torch.equal(made.answer_token != separator, made.answer_word)
    arrow = tokenizer.encode(" =>", add_special_tokens=False)[-1]
    assert (flat[made.arrow_at] == arrow).all()
    assert (flat[made.end_at[1]] == separator).all()
    assert torch.equal(made.end_at[1], made.end_at[0] + 1)
    assert (flat[made.real] != tokenizer.pad_token_id).all()
    assert made.arrow_at.shape == (PLAN.sequences * PLAN.demonstrations,)


def test_answers_in_a_sequence_follow_one_convention(tokenizer, corpus, table):
    """Each sequence's agreeing conventions only shrink, and one is left that gives every answer."""
    made = batch(tokenizer, corpus, table, 4)
    agreeing = made.agreeing.reshape(PLAN.sequences, PLAN.demonstrations, -1)
    assert (agreeing[:, 1:] <= agreeing[:, :-1]).all()
    assert (agreeing[:, -1].sum(dim=1) >= 1).all()


def test_shares_of_a_plan_at_their_ends(tokenizer, corpus, table):
    told = replace(PLAN, instructed=1.0, copying=1.0)
    made = batch(tokenizer, corpus, table, 5, told)
    assert made.answer_told.all()
    assert made.answer_copied.all()
    bare = batch(tokenizer, corpus, table, 5, replace(PLAN, instructed=0.0, copying=0.0))
    assert not bare.answer_told.any()
    assert not bare.answer_copied.any()


# ---- training


def weights(made):
    return {
        n: p.detach().clone() for n, p in (*made.model.named_parameters(), *made.heads.named_parameters())
    }


def test_a_training_goes_through_its_stages_and_moves_every_weight(training, tmp_path):
    made = training(tmp_path)
    before, stages = weights(made), []
    made.run(lambda p, losses: stages.append((p.stage, sorted(losses))))
    assert [stage for stage, _ in stages] == [1, 2, *[3] * 6, *[4] * 3]
    assert "kinds" in stages[1][1]
    assert "kinds" not in stages[-1][1]
    assert all(not torch.equal(before[name], after) for name, after in weights(made).items())


@pytest.fixture(scope="module")
def uninterrupted(tokenizer, tmp_path_factory):
    """The weights that a training ends with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train_tokenizer", lambda seed, context: tokenizer)
        whole = Training(RECIPE, tmp_path_factory.mktemp("whole"))
        whole.run(lambda *_: None)
        return weights(whole)


@pytest.mark.parametrize("stop", [1, 3, 5, 8])
def test_a_resumed_training_ends_with_the_same_weights(training, uninterrupted, tmp_path, stop):
    done = 0

    class Stop(Exception):
        pass

    def interrupt(_progress, _losses):
        nonlocal done
        done += 1
        if done == stop + 1:
            raise Stop

    with pytest.raises(Stop):
        training(tmp_path / "part").run(interrupt, save_every=1)
    again = training(tmp_path / "part")
    assert again.resume()
    again.run(lambda *_: None)
    assert all(torch.equal(uninterrupted[name], found) for name, found in weights(again).items())


def test_nothing_to_resume_begins_anew_and_another_recipe_is_refused(training, tmp_path):
    assert not training(tmp_path).resume()
    made = training(tmp_path)
    made.save()
    with pytest.raises(UserError, match="holds a training with another recipe"):
        training(tmp_path, replace(RECIPE, rate=1e-3)).resume()


def test_a_damaged_checkpoint_is_told_in_one_sentence(training, tmp_path):
    made = training(tmp_path)
    made.save()
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="cannot be read") as caught:
        training(tmp_path).resume()
    assert str(tmp_path) in str(caught.value)


def test_what_is_published_is_a_backbone(training, tmp_path):
    made = training(tmp_path)
    publish(made, tmp_path / "model")
    backbone = Backbone.load(tmp_path / "model")
    assert (backbone.n_layers, backbone.width, backbone.max_length) == (1, 16, train.CONTEXT)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert plain.dtype == torch.bfloat16
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["model_type"] == "llama"


def test_the_shipped_model_is_a_backbone():
    backbone = Backbone.load(MODEL_PATH)
    assert (backbone.n_layers, backbone.width) == (Recipe().layers, Recipe().width)
    assert backbone.max_length == train.CONTEXT
