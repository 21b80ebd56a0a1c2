"""The mix of attributes behind a vector: guessed from planted mixes, judged against the majority."""

import json
from dataclasses import replace

import numpy as np
import pytest
from attacked import attacked_run
from program import called

from attacks import attributes
from attacks._base.attack import Answer, Attribute, Guess, Scope, Who
from attacks._base.declared import Declared
from attacks._base.space import read
from attacks._base.targets import Target
from attacks._judging.attributes import attributes_of, f1, macro_f1
from attacks._judging.finding import Verdict
from attacks._judging.metrics import Truth, measure
from attacks._judging.score import Wishes, open_subject
from attacks._mixes.attributes import attribute_mixes, names_of
from ifedpriv.data.task import Example


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return attacked_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def subject(run):
    return open_subject(run, Wishes(pool=150))


def truth(**counts):
    return Truth(
        frozenset(),
        frozenset(),
        frozenset(),
        1,
        np.ones(1),
        np.zeros(0, dtype=bool),
        (),
        (),
        str,
        attributes=counts,
    )


def test_only_attributes_that_all_texts_have_and_that_vary_are_looked_for(subject):
    rows = [
        Example("a", 0, attributes={"x": "1", "y": "1", "z": "1"}),
        Example("b", 0, attributes={"x": "2", "y": "1"}),
    ]
    knowledge = replace(subject.knowledge, public=tuple(rows))
    assert names_of(knowledge) == {"x": ("1", "2")}
    assert names_of(replace(knowledge, public=())) == {}
    assert names_of(subject.knowledge) == {"day": ("False", "True")}
    assert attributes_of(rows) == {"x": {"1": 1, "2": 1}, "y": {"1": 2}}
    assert attributes_of([]) == {}


def test_planted_mixes_are_found(subject):
    """Means of fresh texts, from none with the attribute to all: shares within 0.25 of the truth, in order."""
    pool = subject.knowledge.pool
    with_day = [e for e in pool if e.attributes["day"] == "True"][:16]
    without = [e for e in pool if e.attributes["day"] == "False"][:16]
    targets, true = [], []
    for share in (0.0, 0.5, 1.0):
        chosen = [*with_day[: round(16 * share)], *without[: round(16 * (1 - share))]]
        values = read(subject.backbone, subject.knowledge, chosen, "").mean(axis=0, dtype=np.float64)
        targets.append(Target(Who(len(targets)), values, np.full(values.shape, 1e-10), len(chosen)))
        true.append(share)
    found = attribute_mixes(subject.backbone, subject.knowledge, targets, "day", ("False", "True"))
    shares = [answer.content.shares[1] for answer in found]
    assert shares == sorted(shares)
    assert np.abs(np.array(shares) - true).max() < 0.25


def test_variation_and_accuracy_by_hand():
    said = Attribute("day", ("a", "b"), (0.75, 0.25))
    assert measure(said, truth(day={"a": 1, "b": 1})) == {
        "attribute variation": 0.25,
        "attribute accuracy": 1.0,
    }
    assert measure(said, truth(day={"c": 1})) == {"attribute variation": 1.0, "attribute accuracy": 0.0}
    assert measure(said, truth()) == {}


def test_macro_f1_by_hand():
    assert f1(["a", "a", "b"], ["a", "a", "b"]) == 1
    # The majority for everybody: F1 of a is 4/5, that of b is 0.
    assert f1(["a", "a", "b"], ["a", "a", "a"]) == pytest.approx(0.4)


def guessed(said):
    answers = tuple(
        Answer(Who(n), Attribute("x", ("a", "b"), (0.9, 0.1) if value == "a" else (0.1, 0.9)))
        for n, value in enumerate(said)
    )
    return Guess("attributes", "x, class means", Scope.UPLOADS, answers)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("ab" * 10, Verdict.SEVERE), ("a" * 20, Verdict.INCONCLUSIVE), ("ba" * 10, Verdict.INCONCLUSIVE)],
)
def test_verdicts_of_macro_f1(said, verdict):
    truths = [truth(x={value: 3}) for value in "ab" * 10]
    majority = [Attribute("x", ("a", "b"), (0.6, 0.4))] * 20
    (found,) = macro_f1(guessed(said), truths, {"prior only": majority})
    assert found.verdict is verdict
    assert found.controls == (("prior only", pytest.approx(1 / 3)),)
    few = macro_f1(guessed("abab"), truths[:4], {"prior only": majority[:4]})[0]
    assert (few.verdict, few.why) == (Verdict.NOT_EVALUABLE, "there are 4 vectors, and a claim needs 5")
    (same,) = macro_f1(guessed("a" * 6), [truth(x={"a": 1})] * 6, {"prior only": majority[:6]})
    assert "one commonest value" in same.why
    assert macro_f1(guessed("ab"), [truth(), truth()], {"prior only": majority[:2]}) == []


def test_clients_that_hold_one_value_each_are_told_apart(tmp_path):
    """Six clients that speak of a day or do not: every one is told, beyond the majority."""
    partition = {"kind": "attribute", "name": "day", "clients": 6}
    run = attacked_run(tmp_path, partition=partition)
    said = called("attack", "attributes", run, "--pool", "150", "--json")
    assert said.code == 0, said
    found = {f["metric"]: f for f in json.loads(said.out)["findings"] if f["scope"] == "single uploads"}
    assert found["macro-F1"]["value"] == 1.0
    assert found["macro-F1"]["controls"]["prior only"] < 0.6
    assert found["attribute variation"]["value"] < 0.2
    assert {"uniform", "prior only", "random vector", "another client's vector"} <= set(
        found["attribute variation"]["controls"]
    )


def test_without_attributes_it_says_so(subject):
    bare = tuple(replace(example, attributes={}) for example in subject.knowledge.public)
    made = attributes.guess(subject.view, subject.backbone, replace(subject.knowledge, public=bare))
    assert {guess.refused for guess in made} == {"no attribute varies among the public texts"}


def test_noise_that_hides_everything_leaves_the_public_mix(subject):
    noise = 1e4
    knowledge = replace(subject.knowledge, declared=Declared(noise))
    rng = np.random.default_rng(0)
    shape = (subject.backbone.n_layers, 2, subject.backbone.width)
    targets = [Target(Who(n), noise * rng.normal(size=shape), np.full(shape, noise**2), 8) for n in range(4)]
    held = [example.attributes["day"] for example in knowledge.public]
    public = held.count("True") / len(held)
    found = attribute_mixes(subject.backbone, knowledge, targets, "day", ("False", "True"))
    assert np.abs(np.array([answer.content.shares[1] for answer in found]) - public).max() < 0.02
