"""The Python interface finds what the command line finds, and names the client and row of a mistake."""

import numpy as np
import pytest
from program import called
from tiny import TEMPLATE, WORDS, examples, save_checkpoint, tiny_backbone, tiny_config, write_config

from defenses.statement import PrivacyStatement
from ifedpriv import IFedICL, Injection
from ifedpriv.data import shipped
from ifedpriv.embedded import COEFFICIENTS_PATH
from ifedpriv.errors import InputError, UserError

CLIENTS = [[(e.text, WORDS[e.label]) for e in examples(size, seed)] for seed, size in ((1, 9), (2, 12))]


def interface(**changes):
    return IFedICL(tiny_backbone(), **{"template": TEMPLATE, "labels": WORDS, "rounds": 2, **changes})


@pytest.fixture(scope="module")
def fitted():
    # The tiny task has no gap between prompt and label; the interface's own default has one.
    return interface(template=TEMPLATE, labels=("A", "B")).fit(CLIENTS)


def test_fit_gives_an_injection_a_statement_and_a_verdict(fitted, tmp_path):
    assert [record.round for record in fitted.rounds] == [0, 1, 2, 3]
    assert fitted.verdict.examples == 1 + 2
    assert not fitted.statement.bounded
    assert not fitted.statement.simulation
    fitted.save(tmp_path / "deep" / "injection.safetensors")
    again = Injection.load(tmp_path / "deep" / "injection.safetensors")
    again.check(tiny_backbone())
    assert np.array_equal(again.vector.values, fitted.injection.vector.values)
    assert PrivacyStatement.from_metadata(again.facts) == fitted.statement


def test_predict_gives_label_words(fitted):
    texts = [e.text for e in examples(5, 9)]
    answers = fitted.predict(texts)
    assert len(answers) == 5
    assert set(answers) <= set(WORDS)
    assert fitted.predict(texts[::-1]) == answers[::-1]


def test_each_round_is_told_as_it_ends():
    told = []
    fitted = interface(rounds=1, held_out=0.0).fit(CLIENTS, told.append)
    assert tuple(told) == fitted.rounds
    assert [record.round for record in told] == [0, 1]
    assert fitted.verdict is None


def test_the_seed_decides_the_batches():
    one, same, other = (interface(seed=s, rounds=1).fit(CLIENTS).injection for s in (0, 0, 1))
    assert np.array_equal(one.coefficients.values, same.coefficients.values)
    assert not np.array_equal(one.coefficients.values, other.coefficients.values)


def test_what_it_saves_serves_the_command_line(fitted, tmp_path):
    """In a run's folder, with the backbone it was made for."""
    config = {**tiny_config(tmp_path), "backbone": {"path": str(save_checkpoint(tmp_path / "same"))}}
    (tmp_path / "run").mkdir()
    write_config(tmp_path / "run" / "config.yaml", config)
    fitted.save(tmp_path / "run" / "injection.safetensors")
    done = called("predict", tmp_path / "run", "--text", "the worst day")
    assert done.out.split() == fitted.predict(["the worst day"])


def test_a_backbone_can_be_named_by_its_folder(tmp_path):
    model = IFedICL(save_checkpoint(tmp_path), template=TEMPLATE, labels=WORDS)
    assert model.backbone.fingerprint == tiny_backbone().fingerprint


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        ([[("a", "A")], []], "client 1 has no example"),
        ([[("a", "A"), ("b", "C")]], "client 0, row 1: the label is 'C'; use one of A, B"),
        ([[("a", "A"), ("  ", "B")]], "client 0, row 1: the text is empty"),
        ([], "no client answered in round 0"),
    ],
)
def test_a_mistake_names_client_and_row_and_no_text(clients, expected):
    with pytest.raises(UserError) as caught:
        interface().fit(clients)
    assert expected in str(caught.value)


def test_a_wrong_wording_is_refused_at_once():
    with pytest.raises(InputError, match=r"holds \{text\} 0 times"):
        interface(template="no slot")
    with pytest.raises(InputError, match="needs at least two"):
        interface(labels=["A"])


def test_public_coefficients_leave_one_vector_to_release():
    """One round, the coefficients of a file, and a statement that says so."""
    data = shipped.load("tone", train=48, validation=8, test=40)
    words = data.task.label_words
    pairs = [(e.text, words[e.label]) for e in data.train]
    public = [e.text for e in shipped.load("tone", seed=1, train=48, validation=1, test=1).train]
    given = {"coefficients": "shipped", "public_texts": public}
    model = IFedICL("embedded", template="{text} =>", labels=words, **given)
    fitted = model.fit([pairs[:24], pairs[24:]])
    assert [record.round for record in fitted.rounds] == [0]
    assert fitted.verdict.public_tasks
    assert "calibrated on" in fitted.statement.text() and "public tasks" in fitted.statement.text()
    answers = fitted.predict([e.text for e in data.test])
    right = np.mean([a == words[e.label] for a, e in zip(answers, data.test, strict=True)])
    # The task's own mean accuracy is 0.9 and more; chance is 0.5.
    assert right > 0.7


def test_what_public_coefficients_ask():
    given = {"template": "{text} =>", "labels": ("red", "blue")}
    with pytest.raises(InputError, match="public_texts is empty"):
        IFedICL("embedded", **given, coefficients=COEFFICIENTS_PATH)
    with pytest.raises(InputError, match="public_texts are given, and coefficients are calibrated in rounds"):
        IFedICL("embedded", **given, public_texts=["a text"])
    with pytest.raises(InputError, match="were made for the model with fingerprint"):
        IFedICL(tiny_backbone(), **given, coefficients="shipped")
    with pytest.raises(InputError, match="a demonstration reads"):
        IFedICL("embedded", template="{text}: ", labels=("red", "blue"), coefficients="shipped")
    # Where none are given, the writer of the shipped tasks gives some.
    assert len(IFedICL("embedded", **given, coefficients="shipped").start.texts) > 100
    texts = [e.text for e in shipped.load("tone", train=40, validation=1, test=1).train]
    model = IFedICL("embedded", **given, coefficients=COEFFICIENTS_PATH, public_texts=texts)
    assert list(model.start.texts) == texts
