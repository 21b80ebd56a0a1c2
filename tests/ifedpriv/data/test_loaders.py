"""Every way to give a task's files loads the examples that are in them, splits kept apart."""

import importlib.util
import json
import logging
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from examples import GOOD_TEST, GOOD_TRAIN, TWO_WORDS, data_spec, write_task
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.data import shipped
from ifedpriv.data.loaders import load_task_data, load_with_report
from ifedpriv.data.presets import PRESETS
from ifedpriv.data.splits import Dropped, balanced, capped, disjoint, normalised, set_aside
from ifedpriv.data.task import Example
from ifedpriv.errors import InputError

FILES = {"source": "files", "path": "task", **TWO_WORDS}


def texts(examples):
    return [example.text for example in examples]


def task_folder(tmp_path, **files):
    return write_task(tmp_path / "task", **{"train": GOOD_TRAIN, "test": GOOD_TEST, **files})


# ---- rows and labels


@pytest.mark.parametrize(
    ("label", "index"), [(0, 0), ("1", 1), ("bad", 0), ("good", 1), (" good ", 1), ("neg", 0), ("pos", 1)]
)
def test_a_label_is_an_index_a_word_or_a_name(tmp_path, label, index):
    rows = [
        {"text": "first", "label": label},
        {"text": "second", "label": 1 - index},
        {"text": "third", "label": 0},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    task_folder(tmp_path, test=lines, meta_json='{"label_names": ["neg", "pos"]}')
    data = load_task_data(data_spec(FILES), tmp_path)
    assert data.test[0] == Example("first", index)


def test_label_words_come_from_meta_where_the_spec_has_none(tmp_path):
    task_folder(tmp_path, meta_json='{"label_names": ["neg", "pos"], "licence": "ours"}')
    data = load_task_data(data_spec({**FILES, "label_words": []}), tmp_path)
    assert data.task.label_words == ("neg", "pos")


def test_digits_can_be_label_words_if_written_as_text(tmp_path):
    rows = "".join(f'{{"text": "review {i}", "label": "{i % 5 + 1}"}}\n' for i in range(20))
    task_folder(tmp_path, train=rows, test=rows.replace("review", "other"))
    data = load_task_data(data_spec({**FILES, "label_words": ["1", "2", "3", "4", "5"]}), tmp_path)
    assert [example.label for example in data.test[:5]] == [0, 1, 2, 3, 4]


def test_jsonl_and_csv_give_the_same_examples(tmp_path):
    rows = [(f'he said "{i}", twice\nand left', "good" if i % 2 else "bad", "de") for i in range(10)]
    quoted = [(text.replace('"', '""'), label, lang) for text, label, lang in rows]
    write_task(
        tmp_path / "a",
        train="".join(
            json.dumps(dict(zip(("text", "label", "lang"), row, strict=True))) + "\n" for row in rows
        ),
        test=GOOD_TEST.replace("}", ', "lang": "de"}'),
    )
    write_task(
        tmp_path / "b",
        train_csv="label,text,lang\r\n"
        + "".join(f'{label},"{text}",{lang}\r\n' for text, label, lang in quoted),
        test=GOOD_TEST.replace("}", ', "lang": "de"}'),
    )
    spec = {**FILES, "attribute_columns": ["lang"]}
    first, second = (load_task_data(data_spec({**spec, "path": folder}), tmp_path) for folder in "ab")
    assert first.train == second.train
    assert first.train[0].attributes == {"lang": "de"}
    assert first.train[0].text.count("\n") == 1


def test_a_byte_order_mark_and_blank_lines_are_no_rows(tmp_path):
    task_folder(tmp_path, test="\ufeff" + GOOD_TEST.replace("\n", "\r\n\r\n"))
    assert len(load_task_data(data_spec(FILES), tmp_path).test) == 10


def test_columns_may_have_other_names(tmp_path):
    rows = "".join(f'{{"document": "story {i}", "summary": "s {i}", "year": {1990 + i}}}\n' for i in range(6))
    task_folder(tmp_path, train=rows, test=rows.replace("story", "tale"))
    spec = data_spec(
        {
            "source": "files",
            "path": "task",
            "template": "{text}\nTL;DR:",
            "kind": "generation",
            "text_column": "document",
            "answer_column": "summary",
            "attribute_columns": ["year"],
        }
    )
    data = load_task_data(spec, tmp_path)
    assert data.test[0] == Example("tale 0", -1, "s 0", {"year": "1990"})
    assert data.task.demonstration(data.test[0]) == "tale 0\nTL;DR: s 0\n"
    assert data.task.label_words == ()


# ---- where files are


def test_relative_paths_start_at_the_root_then_the_variable_then_here(tmp_path, monkeypatch):
    spec = data_spec(FILES)
    for place, word in (("root", "r"), ("variable", "v"), ("here", "h")):
        task_folder(tmp_path / place, test=GOOD_TEST.replace("test text", f"{word} text"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("IFEDPRIV_DATA", raising=False)
    assert load_task_data(spec).test[0].text == "h text 0"
    monkeypatch.setenv("IFEDPRIV_DATA", str(tmp_path / "variable"))
    assert load_task_data(spec).test[0].text == "v text 0"
    assert load_task_data(spec, tmp_path / "root").test[0].text == "r text 0"
    absolute = data_spec({**FILES, "path": str(tmp_path / "here" / "task")})
    assert load_task_data(absolute, tmp_path / "root").test[0].text == "h text 0"


def test_single_files_and_names(tmp_path):
    folder = task_folder(tmp_path, extra=GOOD_TRAIN.replace("train", "extra"))
    spec = data_spec(
        {
            "source": "files",
            "train": "task/train.jsonl",
            "validation": "task/extra.jsonl",
            "test": str(folder / "test.jsonl"),
            **TWO_WORDS,
        }
    )
    data, report = load_with_report(spec, tmp_path)
    assert data.task.name == "train"
    assert report.read == {"train": 20, "validation": 20, "test": 10} == report.kept
    assert load_task_data(data_spec(FILES), tmp_path).task.name == "task"
    assert load_task_data(data_spec({**FILES, "name": "films"}), tmp_path).task.name == "films"


# ---- splits


def test_texts_that_test_has_are_dropped_and_counted(tmp_path, caplog):
    leaks = '{"text": "TEST TEXT 3!", "label": 1}\n{"text": "test&nbsp;text&#32;4", "label": 0}\n'
    both = '{"text": "Train-text 7", "label": 1}\n'
    task_folder(tmp_path, train=GOOD_TRAIN + leaks, validation=leaks + both + '{"text": "own", "label": 0}\n')
    with caplog.at_level(logging.WARNING, logger="ifedpriv.data"):
        data, report = load_with_report(data_spec(FILES), tmp_path)
    assert report.dropped == Dropped(train_in_test=2, validation_in_test=2, train_in_validation=1)
    assert report.dropped.total == 5
    assert report.read == {"train": 22, "validation": 4, "test": 10}
    assert report.kept == {"train": 19, "validation": 2, "test": 10}
    assert "dropped 2 train and 2 validation texts that test has, and 1 train texts" in caplog.text
    assert "train text 7" not in texts(data.train)


def test_clean_data_logs_nothing(tmp_path, caplog):
    task_folder(tmp_path)
    load_task_data(data_spec(FILES), tmp_path)
    assert not caplog.records


def test_train_that_is_all_in_test_is_refused(tmp_path):
    task_folder(tmp_path, train=GOOD_TEST.upper().replace('"TEXT":', '"text":').replace('"LABEL"', '"label"'))
    with pytest.raises(InputError, match="train has 0 distinct"):
        load_task_data(data_spec(FILES), tmp_path)
    task_folder(tmp_path, validation=GOOD_TEST)
    with pytest.raises(InputError, match="nothing is left of validation"):
        load_task_data(data_spec(FILES), tmp_path)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Don't!", "dont", True),
        ("a &amp; b", "A B", True),
        ("Straße", "STRASSE", True),
        ("ﬁne", "fine", True),
        (":-)", ":-(", False),
        ("कि", "की", False),
        ("café", "cafe\u0301", True),
        ("1.5", "2.5", False),
    ],
)
def test_normalised(one, other, same):
    assert (normalised(one) == normalised(other)) is same


def test_validation_is_set_aside_from_train_and_never_from_test(tmp_path):
    task_folder(tmp_path)
    whole = load_task_data(data_spec({**FILES, "validation_fraction": 0.25}), tmp_path)
    assert len(whole.validation) == 5
    assert sorted(texts(whole.train) + texts(whole.validation)) == sorted(
        f"train text {i}" for i in range(20)
    )
    assert texts(whole.test) == [f"test text {i}" for i in range(10)]
    small = load_task_data(data_spec({**FILES, "validation_fraction": 0.25, "max_train": 3}), tmp_path)
    assert small.validation == whole.validation
    other = load_task_data(data_spec({**FILES, "validation_fraction": 0.25, "seed": 1}), tmp_path)
    assert other.validation != whole.validation


TEXTS = st.lists(st.sampled_from("abcdefghijklm"), min_size=1, max_size=30).map(
    lambda words: [Example(word, i % 2) for i, word in enumerate(words)]
)


@given(TEXTS, TEXTS, TEXTS)
def test_disjoint_drops_what_it_must_and_nothing_else(train, validation, test):
    kept_train, kept_validation, dropped = disjoint(train, validation, test)
    assert not set(texts(kept_train)) & (set(texts(kept_validation)) | set(texts(test)))
    assert not set(texts(kept_validation)) & set(texts(test))
    assert dropped.total == len(train) + len(validation) - len(kept_train) - len(kept_validation)
    gone = set(texts(train)) - set(texts(kept_train))
    assert gone <= set(texts(kept_validation)) | set(texts(test))


@given(TEXTS, st.floats(0.01, 0.99), st.integers(0, 5))
def test_set_aside_keeps_copies_together(train, fraction, seed):
    if len(set(texts(train))) < 2:
        with pytest.raises(InputError, match="too few"):
            set_aside(train, fraction, seed)
        return
    kept, aside = set_aside(train, fraction, seed)
    assert kept
    assert aside
    assert not set(texts(kept)) & set(texts(aside))
    assert Counter(texts(kept)) + Counter(texts(aside)) == Counter(texts(train))
    assert set_aside(train, fraction, seed) == (kept, aside)


def test_a_smaller_sample_is_part_of_a_larger_one():
    examples = [Example(str(i), i % 2) for i in range(100)]
    ten, fifty = (texts(capped(examples, n, 0, "max_train")) for n in (10, 50))
    assert len(ten) == 10
    assert set(ten) < set(fifty)
    assert ten == sorted(ten, key=int)
    assert texts(capped(examples, 10, 1, "max_train")) != ten
    assert capped(examples, 1000, 0, "max_train") == examples


def test_a_balanced_test_has_equally_many_of_every_class():
    examples = [Example(str(i), 0 if i < 70 else 1 if i < 90 else 2) for i in range(100)]
    for limit, each in ((None, 10), (3, 1), (20, 6), (1000, 10)):
        sample = balanced(examples, ("a", "b", "c"), limit, 0)
        assert Counter(example.label for example in sample) == {0: each, 1: each, 2: each}
        assert len(set(texts(sample))) == 3 * each
    with pytest.raises(InputError, match=r"data\.max_test is 2, too few"):
        balanced(examples, ("a", "b", "c"), 2, 0)
    with pytest.raises(InputError, match="test has no example of 'd'"):
        balanced(examples, ("a", "b", "c", "d"), None, 0)


# ---- presets on the real files

needs_data = pytest.mark.skipif(not os.environ.get("IFEDPRIV_DATA"), reason="IFEDPRIV_DATA is not set")

# The word that each class must get, and how one real row of the class begins; written out, not computed.
KNOWN_ROWS = {
    "subj": {
        "objective": "it is a look into one of the major social",
        "subjective": "performances all around are tops",
    },
    "trec": {
        "Abbreviation": "What does snafu stand for",
        "Entity": "What brand of white rum is still made in Cuba",
        "Description": "What is sound ?",
        "Person": "Who was the inventor of the stove",
        "Location": "Where does the Santa Fe Trail",
        "Number": "How many votes in Congress dissented",
    },
    "sst2": {
        "negative": "an ugly-duckling tale so hideously",
        "positive": "very psychoanalytical -- provocatively",
    },
    "sst5": {
        "terrible": "not only unfunny , but downright repellent",
        "negative": "halfway through the movie , the humor dwindles",
        "neutral": "every child 's story is what matters",
        "positive": "a delightful romantic comedy with plenty of bite",
        "great": "`` the best disney movie since the lion king",
    },
    "mr": {"negative": "stay away . far away .", "positive": "a savage john waters-like humor"},
    "agnews": {
        "World": "Iraq PM pleads for Europe",
        "Sports": "Couch, Gildon, Levens Among NFL Cuts",
        "Business": "Socially Responsible Funds on a Tear",
        "Technology": "Nokia To Expand On-Device Storage",
    },
    "emoc": {
        "others": "M fine am good how's study ?",
        "happy": "I am happy to with you.",
        "sad": "I am boring what boring???",
        "angry": "I hate bio your face.",
    },
    "emotion": {
        "sadness": "i feel like the awkward outsider",
        "joy": "i hope that you are all feeling festive",
        "love": "im feeling that longing urge to create",
        "anger": "i still feel incredibly frustrated by it",
        "fear": "i reached down to feel what that strange sensation",
        "surprise": "im old enough that graduation and yk feels",
    },
    "sib200": {
        "entertainment": "During the 1980s he worked on shows such as Taxi",
        "geography": "Inland Antarctica is a desolate plateau",
        "health": "Apart from the fever and a sore throat",
        "politics": "He referred to the rumors as",
        "science": "The atom can be considered to be one",
        "sports": "The final score was a one-point victory",
        "travel": "Goma is a tourist city",
    },
    "sms_spam": {"normal": "Yeah I should be able to, I'll text", "spam": "FREE RING TONE just text"},
}


@needs_data
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_fits_the_real_files(name):
    data, report = load_with_report(data_spec({"source": "preset", "name": name}))
    assert data.task.name == name
    assert report.dropped.total == 0
    labels = {example.label for example in data.train}
    assert labels == set(range(data.task.n_classes))
    known = {
        example.text: data.task.label_words[example.label] for example in [*data.train, *data.validation]
    }
    for word, start in KNOWN_ROWS[name].items():
        assert {known[text] for text in known if text.startswith(start)} == {word}, start


@needs_data
def test_the_label_names_of_presets_are_those_of_the_files():
    root = Path(os.environ["IFEDPRIV_DATA"])
    for name, preset in PRESETS.items():
        meta = json.loads((root / name / "meta.json").read_text(encoding="utf-8"))
        assert list(preset.label_names) == meta["label_names"], name


@needs_data
def test_a_preset_takes_sizes_and_another_path(tmp_path):
    spec = data_spec(
        {"source": "preset", "name": "subj", "max_train": 50, "max_test": 100, "balance_test": True}
    )
    data = load_task_data(spec)
    assert (len(data.train), len(data.test)) == (50, 100)
    assert Counter(example.label for example in data.test) == {0: 50, 1: 50}
    (tmp_path / "mine").symlink_to(Path(os.environ["IFEDPRIV_DATA"]) / "subj")
    moved = data_spec({**spec.model_dump(), "path": "mine"})
    assert load_task_data(moved, tmp_path).test == data.test


def test_a_preset_on_files_with_classes_in_another_order_is_refused(tmp_path):
    write_task(
        tmp_path / "subj",
        train=GOOD_TRAIN,
        test=GOOD_TEST,
        meta_json='{"label_names": ["subjective", "objective"]}',
    )
    with pytest.raises(InputError, match="give the names in the source's order"):
        load_task_data(data_spec({"source": "preset", "name": "subj"}), tmp_path)


# ---- the hub

HUB = {"source": "hub", "name": "somebody/films", **TWO_WORDS}


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="datasets is installed")
def test_the_hub_without_its_package_is_refused_in_one_sentence():
    with pytest.raises(InputError, match=r"needs the package datasets, .* install ifedpriv\[hub\]"):
        load_task_data(data_spec(HUB))


def test_loading_files_imports_no_datasets(tmp_path):
    task_folder(tmp_path)
    before = set(sys.modules)
    load_task_data(data_spec(FILES), tmp_path)
    assert "datasets" not in set(sys.modules) - before


def test_a_directory_is_read_by_the_hub_library(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = task_folder(tmp_path)
    data, report = load_with_report(data_spec({**HUB, "name": str(folder)}))
    assert report.read == {"train": 20, "test": 10}
    assert texts(data.test) == [f"test text {i}" for i in range(10)]
    with pytest.raises(InputError, match="split 'exam'\\) could not be read"):
        load_task_data(data_spec({**HUB, "name": str(folder), "test_split": "exam"}))
    with pytest.raises(InputError, match="could not be read"):
        load_task_data(data_spec({**HUB, "name": str(tmp_path / "nowhere")}))


# ---- embedded tasks


def test_embedded_tasks_load_in_the_sizes_asked_for():
    for name in shipped.task_names():
        spec = data_spec(
            {"source": "embedded", "name": name, "train": 40, "validation": 10, "test": 20, "seed": 7}
        )
        data, report = load_with_report(spec)
        assert report.dropped.total == 0, name
        assert report.kept == {"train": 40, "validation": 10, "test": 20}, name
        assert load_task_data(spec) == data, name


def test_an_unknown_embedded_task_is_refused():
    with pytest.raises(InputError, match=r"data\.name is 'nothing'"):
        load_task_data(data_spec({"source": "embedded", "name": "nothing"}))


def test_nothing_that_holds_texts_shows_them(tmp_path):
    from ifedpriv.data.jsonl import read_jsonl

    folder = task_folder(tmp_path, test=GOOD_TEST.replace("test text", "her secret"))
    table = read_jsonl(folder / "test.jsonl")
    assert "secret" not in repr(table) + repr(table.rows) + repr(load_task_data(data_spec(FILES), tmp_path))
