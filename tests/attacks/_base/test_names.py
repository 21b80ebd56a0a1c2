"""Names by how they are written: all of the shipped world's, none of its words, and those of any other data."""

import pytest

from attacks._base.names import names_in, ordinary_words
from ifedpriv.data import shipped
from ifedpriv.embedded.words import CITIES, FIRST_NAMES, LAST_NAMES


def said(text, ordinary=frozenset()):
    return [" ".join(text[start:end] for start, end in run) for run in names_in(text, ordinary)]


@pytest.mark.parametrize("task", ["topic", "contact"])
def test_of_the_shipped_texts_names_and_nothing_else(task):
    listed = {*FIRST_NAMES, *LAST_NAMES, *CITIES}
    public = shipped.load(task, seed=5, train=300, validation=1, test=1).train
    ordinary = ordinary_words(example.text for example in public)
    for example in shipped.load(task, seed=0, train=300, validation=1, test=1).train:
        found = {word for run in said(example.text, ordinary) for word in run.split()}
        assert found == listed & {word.strip(".,:;()") for word in example.text.split()}


def test_runs_and_beginnings_of_sentences():
    ordinary = ordinary_words(["caller waits on the line"])
    assert said("Caller Ines Vance (Arkwell) waits. Éva Kovács, too", ordinary) == [
        "Ines Vance",
        "Arkwell",
        "Éva Kovács",
    ]
    # Without a text that writes them small, words that begin a sentence are not taken for names.
    assert said("Caller Ines waits") == ["Ines"]
    assert said("Yours, IBM of Ulm and élan") == ["Ulm"]
