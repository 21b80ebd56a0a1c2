"""Slots: found without a list, filled anew in copies, and told from vectors of texts that nobody has seen."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import attacks._texts.slots as slots_file
from attacks._base.attack import Fillers, Knowledge, Who
from attacks._base.declared import Declared
from attacks._base.space import read
from attacks._base.targets import Target, rounding_variance
from attacks._judging.metrics import private_strings
from attacks._texts.slots import NoSlotsError, Slots, slots
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.data.task import Example
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

TEXTS = [
    f"wrote {first} {last} from {city}, order {number}"
    for first in ("Ines", "Otto", "Zora")
    for last in ("Vance", "Birch")
    for city in ("Arkwell", "Ulm")
    for number in (7185, 2041)
]


def test_slots_are_where_names_and_numbers_stand():
    found = Slots.of(TEXTS)
    fillers = {name: set(slot.fillers) for name, slot in found.slots.items()}
    assert fillers == {
        "first name": {"Ines", "Otto", "Zora"},
        "last name": {"Vance", "Birch"},
        "name by itself": {"Arkwell", "Ulm"},
        "number of 4 digits": {"7185", "2041"},
    }
    number = found.slots["number of 4 digits"]
    assert number.split("7185") == ("71", "85")
    assert [len(part) for part in number.parts] == [90, 100]
    assert [
        len(part) for part in Slots.of(["id 12345 of", "id 54321 of"]).slots["number of 5 digits"].parts
    ] == [
        90,
        100,
        10,
    ]
    assert all(slot.expected == 1.0 for slot in found.slots.values())
    assert not Slots.of(["nobody here", "nor there"]).slots


def test_a_copy_differs_in_its_fillers_alone_also_in_the_answer():
    found = Slots.of(TEXTS)
    rng = np.random.default_rng(0)
    example = Example("wrote Ines Vance from Ulm, order 7185", answer="7185 Vance")
    copy, filled = found.copied(example, Slots.of([*TEXTS, example.text]).places[-1], rng)
    words = copy.text.replace(",", "").split()
    assert words[0::3] == ["wrote", "from", "order"][:1] + words[3::3]
    told = dict(filled)
    assert (words[1], words[2], words[4], words[6]) == (
        told["first name"],
        told["last name"],
        told["name by itself"],
        told["number of 4 digits"],
    )
    assert copy.answer == f"{words[6]} {words[2]}"


def target(vector, examples, noise=0.0):
    drawn = vector + noise * np.random.default_rng(3).normal(size=vector.shape)
    sent = drawn.astype(np.float16).astype(np.float64)
    return Target(Who(0), sent, rounding_variance(sent, Precision.FP16) + noise**2, examples)


def hits(answers, strings):
    """Of all slots, how many have a true filler first."""
    return sum(
        row[0] in true for answer, true in zip(answers, strings, strict=True) for row in answer.content.ranked
    )


def linear_world(monkeypatch, noise=0.0):
    """A model that adds up a vector for each word and each pair of digits, so that a linear probe can tell all."""
    kept = {}

    def word(name):
        if name not in kept:
            kept[name] = np.random.default_rng(len(kept)).normal(size=(1, 2, 96))
        return kept[name]

    def activations(backbone, knowledge, texts, stage=""):
        pieces = [re.findall(r"\d\d|[^\W\d_]+", example.text) for example in texts]
        return np.stack([sum(map(word, each)) for each in pieces]).astype(np.float32)

    monkeypatch.setattr(slots_file, "seen", activations)
    rng = np.random.default_rng(1)
    data = shipped.load("topic", seed=0, train=6, validation=1, test=1)

    def written():
        parts = [
            f"{rng.choice(['order', 'ticket', 'case'])} {rng.integers(1000, 10000)}",
            f"of {rng.choice(['Ines', 'Otto', 'Zora', 'Hana'])} {rng.choice(['Vance', 'Birch', 'Cole'])}",
            f"in {rng.choice(['Arkwell', 'Ulm', 'Seaford'])} {rng.choice(['failed', 'waits', 'broke'])}",
        ]
        return replace(data.train[0], text="the " + " ".join(rng.permutation(parts)))

    public, private = ([written() for _ in range(number)] for number in (200, 40))
    knowledge = Knowledge(data.task, Position.LABEL, tuple(public), declared=Declared(noise))
    backbone = SimpleNamespace(n_layers=1, width=96)
    values = activations(backbone, knowledge, private).astype(np.float64)
    return backbone, knowledge, [private_strings(example.text) for example in private], values


def test_where_words_add_up_every_filler_is_told_and_nothing_under_noise(monkeypatch):
    backbone, knowledge, strings, values = linear_world(monkeypatch)
    alone = slots(backbone, knowledge, [target(each, 1) for each in values])
    assert all(isinstance(answer.content, Fillers) for answer in alone)
    # Numbers take more copies than so small a world has.
    assert hits(alone, strings) >= 0.95 * 3 * len(values)
    pairs = values.reshape(20, 2, *values.shape[1:]).mean(axis=1)
    both = [strings[i] | strings[i + 1] for i in range(0, 40, 2)]
    two = slots(backbone, knowledge, [target(each, 2) for each in pairs])
    assert all(answer.content.chosen == (2, 2, 2, 2) for answer in two)
    assert hits(two, both) >= 0.9 * 3 * len(pairs)
    backbone, told, strings, values = linear_world(monkeypatch, noise=200.0)
    noised = slots(backbone, told, [target(each, 1, 200.0) for each in values])
    # A number is never told; of the others, one in 4, 3 and 3: 37 of 120, and 65 is more than five deviations above.
    assert hits(noised, strings) < 65


@pytest.mark.slow
def test_names_of_single_texts_are_told_far_above_chance_by_the_shipped_model():
    """Of 100 texts with three names and a number, chance finds 3.6 (1 in 100, 100, 64 and 9,000)."""
    backbone = Backbone.load(MODEL_PATH)
    private = shipped.load("topic", seed=0, train=100, validation=1, test=1)
    public = shipped.load("topic", seed=5, train=1000, validation=1, test=1).train
    knowledge = Knowledge(private.task, Position.LABEL, tuple(public))
    values = read(backbone, knowledge, private.train, "").astype(np.float64)
    answers = slots(backbone, knowledge, [target(each, 1) for each in values])
    # More than 15 by chance: less than once in 100,000 (Poisson).
    assert hits(answers, [private_strings(example.text) for example in private.train]) > 15


def test_texts_without_slots_are_refused():
    backbone = Backbone.load(MODEL_PATH)
    data = shipped.load("topic", seed=0, train=6, validation=1, test=1)
    dull = tuple(replace(each, text=f"nothing {i % 7} here") for i, each in enumerate(data.train))
    knowledge = Knowledge(data.task, Position.LABEL, dull)
    with pytest.raises(NoSlotsError, match="no slot"):
        slots(backbone, knowledge, [target(np.zeros((1, 2, 1)), 1)])
