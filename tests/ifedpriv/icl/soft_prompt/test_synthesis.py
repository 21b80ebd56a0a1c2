"""Synthetic texts come from the model behind a prototype and from public seeds alone, and their labels from it too."""

import numpy as np
import pytest
from tiny import WIDTH, generation_task, task, tiny_backbone

from ifedpriv.backbone.generation import Sampling
from ifedpriv.errors import InputError
from ifedpriv.icl.predict import score_labels
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt
from ifedpriv.icl.soft_prompt.synthesis import Labelled, SeedTexts, SynthesisPlan, synthesise

TEXTS = ("a sunny day in the park", "the worst day of them all", "rain", "the cat and the dog sat on the mat")
PLAN = SynthesisPlan(seed_words=2, new_tokens=6)


def prototypes(count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, WIDTH)).astype(np.float32) * 0.5


def made(plan=PLAN, seed=4, bank=None, tasks=None):
    seeds = [SeedTexts(each, TEXTS) for each in tasks or (task(),)]
    return synthesise(tiny_backbone(), prototypes() if bank is None else bank, seeds, plan, seed)


def texts_of(found):
    return [text for each in found for part in each.parts for text in part.texts]


def test_texts_begin_with_the_seeds_and_go_on_as_the_model_draws():
    found = made()
    assert [each.prototype for each in found] == [0, 1]
    some, before = task(), "Text: "
    for each in found:
        draws = int(np.random.SeedSequence([4, each.prototype, 0]).generate_state(1)[0])
        beginnings = [" ".join(text.split()[:2]) for text in TEXTS]
        with SoftPrompt(prototypes()[each.prototype]).on(tiny_backbone()):
            added = tiny_backbone().generate(
                [before + b for b in beginnings], 6, "\nLabel:", sampling=Sampling(draws)
            )
        lines = [text.split("\n")[0] for text in added]
        wanted = [(b + a).strip() for b, a in zip(beginnings, lines, strict=True) if a.strip()]
        assert list(each.parts[0].texts) == wanted
        assert each.dropped == len(TEXTS) - len(wanted)
        assert len(each) == len(wanted)
        assert each.parts[0].task == some
    assert set(found[0].parts[0].texts) != set(found[1].parts[0].texts)
    assert not any("\n" in text for text in texts_of(found))


def test_labels_are_the_prototypes_own_probabilities():
    for each, values in zip(made(), prototypes(), strict=True):
        part = each.parts[0]
        scores = score_labels(tiny_backbone(), part.task, part.texts, injection=SoftPrompt(values))
        raised = np.exp(scores.astype(np.float64))
        np.testing.assert_allclose(
            part.probabilities, raised / raised.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
        )
        assert np.ptp(part.probabilities[:, 0]) > 0.01


def test_the_seed_fixes_everything():
    one, same, other = made(), made(), made(seed=5)
    assert texts_of(one) == texts_of(same)
    assert texts_of(one) != texts_of(other)
    assert all(
        np.array_equal(a.parts[0].probabilities, b.parts[0].probabilities)
        for a, b in zip(one, same, strict=True)
    )
    whole = made(SynthesisPlan(seed_words=2, new_tokens=6, batch_size=1))
    assert texts_of(one) == texts_of(whole), "how many go at a time does not matter"


SURE = SynthesisPlan(seed_words=2, new_tokens=2, temperature=1e-6)


def surely_added(bank):
    """What the model adds to each seed when it takes the best token."""
    with SoftPrompt(bank[0]).on(tiny_backbone()):
        return tiny_backbone().generate(["Text: " + " ".join(t.split()[:2]) for t in TEXTS], 2, "")


def test_seeds_to_which_nothing_is_added_are_dropped_and_counted():
    """The template goes on, behind a text, with what the model adds to one seed: there it stops at once."""
    bank = prototypes(1)
    added = surely_added(bank)
    (found,) = made(SURE, bank=bank, tasks=(task(template="Text: {text}" + added[0]),))
    going_on = [t for t, a in zip(TEXTS, added, strict=True) if a.split(added[0])[0].split("\n")[0].strip()]
    assert 0 < len(going_on) < len(TEXTS), "some are to stop and some are not"
    assert found.dropped == len(TEXTS) - len(going_on)
    assert len(found) == len(going_on)
    for text, given in zip(found.parts[0].texts, going_on, strict=True):
        assert text.startswith(" ".join(given.split()[:2]))
    assert found.fell_back == ()


def test_where_nothing_is_added_to_any_the_seeds_themselves_stand_in():
    bank = prototypes(1)
    some = task(template="Text: {text}" + surely_added(bank)[0])
    (found,) = synthesise(tiny_backbone(), bank, [SeedTexts(some, TEXTS[:1])], SURE, 0)
    assert found.fell_back == (some.name,)
    assert found.dropped == 1
    assert found.parts[0].texts == TEXTS[:1]
    assert found.parts[0].probabilities.shape == (1, 2)


def test_no_new_tokens_take_the_seeds_as_they_are():
    for each in made(SynthesisPlan(new_tokens=0)):
        assert each.parts[0].texts == TEXTS
        assert each.dropped == 0
        assert each.fell_back == ()


def test_several_tasks_keep_their_own_labels():
    three = task(("A", "B", "C"), name="three")
    for each in made(tasks=(task(), three)):
        assert [part.probabilities.shape[1] for part in each.parts] == [2, 3]
        assert each.parts[0].texts != each.parts[1].texts


def test_what_is_no_ground_for_synthesis_is_refused():
    with pytest.raises(InputError, match="has no label words"):
        SeedTexts(generation_task(), TEXTS)
    with pytest.raises(InputError, match="no seed texts for task 'tiny'"):
        SeedTexts(task(), ["", " "])
    with pytest.raises(InputError, match="no seed texts"):
        synthesise(tiny_backbone(), prototypes(), [], PLAN, 0)
    for wrong in ({"seed_words": 0}, {"new_tokens": -1}, {"batch_size": 0}):
        with pytest.raises(InputError, match="synthesis has"):
            SynthesisPlan(**wrong)
    with pytest.raises(InputError, match="temperature is 0"):
        made(SynthesisPlan(temperature=0.0))
    with pytest.raises(InputError, match="soft labels of shape"):
        Labelled(task(), TEXTS, np.ones((4, 3)))


def test_soft_labels_are_read_only():
    part = made()[0].parts[0]
    with pytest.raises(ValueError, match="read-only"):
        part.probabilities[0] = 0
    assert repr(part) == f"Labelled('tiny', {len(part.texts)} texts)"
