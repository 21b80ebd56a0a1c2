"""Every kind of bad input gives one sentence that names the place and the remedy, and never a traceback."""

import json

import pytest
from examples import GOOD_TEST, GOOD_TRAIN, TWO_WORDS, data_spec, write_task
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.data.csv_files import read_csv
from ifedpriv.data.jsonl import read_jsonl
from ifedpriv.data.loaders import load_task_data
from ifedpriv.errors import InputError


def refusal(root, **fields):
    """The error that loading gives, checked to be one line and to have a remedy."""
    with pytest.raises(InputError) as caught:
        load_task_data(data_spec({"source": "files", **TWO_WORDS, **fields}), root)
    error = caught.value
    assert "\n" not in str(error)
    assert error.hint
    assert not error.message.endswith(".")
    return str(error)


def with_train(tmp_path, train):
    write_task(tmp_path / "task", train=train, test=GOOD_TEST)
    return refusal(tmp_path, path="task")


def with_train_csv(tmp_path, train):
    write_task(tmp_path / "task", train_csv=train, test=GOOD_TEST)
    return refusal(tmp_path, path="task")


# ---- files


def test_missing_directory(tmp_path):
    said = refusal(tmp_path, path="nowhere")
    assert "data.path is 'nowhere'" in said
    assert "IFEDPRIV_DATA" in said


def test_a_path_that_no_system_takes(tmp_path):
    assert "is not a directory" in refusal(tmp_path, path="x" * 5000)
    assert "cannot be read: File name too long" in refusal(
        tmp_path, train="x" * 5000 + ".csv", test="test.jsonl"
    )


def test_missing_file(tmp_path):
    said = refusal(tmp_path, train="train.jsonl", test="test.jsonl")
    assert f"{tmp_path / 'train.jsonl'} does not exist" in said


def test_directory_without_test(tmp_path):
    write_task(tmp_path / "task", train=GOOD_TRAIN)
    assert "holds neither test.jsonl nor test.csv" in refusal(tmp_path, path="task")


def test_directory_with_both_formats(tmp_path):
    write_task(tmp_path / "task", train=GOOD_TRAIN, train_csv="text,label\n", test=GOOD_TEST)
    assert "holds both train.jsonl and train.csv" in refusal(tmp_path, path="task")


def test_a_directory_in_place_of_a_file(tmp_path):
    (tmp_path / "train.jsonl").mkdir()
    write_task(tmp_path, test=GOOD_TEST)
    assert "cannot be read: Is a directory" in refusal(tmp_path, train="train.jsonl", test="test.jsonl")


def test_unknown_suffix(tmp_path):
    (tmp_path / "train.xlsx").write_text("x")
    write_task(tmp_path, test=GOOD_TEST)
    assert "ends in '.xlsx', which is not read; give a .jsonl" in refusal(
        tmp_path, train="train.xlsx", test="test.jsonl"
    )


def test_train_and_test_are_one_file(tmp_path):
    write_task(tmp_path, train=GOOD_TRAIN)
    said = refusal(tmp_path, train="train.jsonl", test="./train.jsonl")
    assert "data.train and data.test are the same file" in said


@pytest.mark.parametrize("content", ["", "\n  \n\n"])
def test_empty_jsonl(tmp_path, content):
    assert "train.jsonl holds no rows" in with_train(tmp_path, content)


@pytest.mark.parametrize("content", ["", "text,label\n", "\n\n"])
def test_empty_csv(tmp_path, content):
    assert "train.csv holds no rows" in with_train_csv(tmp_path, content)


def test_jsonl_bytes_that_are_not_utf8(tmp_path):
    write_task(tmp_path, test=GOOD_TEST)
    first = b'{"text": "gut", "label": 1}\n'
    (tmp_path / "train.jsonl").write_bytes(first + b'{"text": "\xfcbel", "label": 0}\n')
    said = refusal(tmp_path, train="train.jsonl", test="test.jsonl")
    assert f"train.jsonl line 2: byte 0xfc at offset {len(first) + 10} is not UTF-8" in said


def test_csv_bytes_that_are_not_utf8(tmp_path):
    write_task(tmp_path, test=GOOD_TEST)
    (tmp_path / "train.csv").write_bytes(b"text,label\ngut,1\n\xfcbel,0\n")
    assert "train.csv line 3: byte 0xfc at offset 17 is not UTF-8" in refusal(
        tmp_path, train="train.csv", test="test.jsonl"
    )


def test_offsets_stay_true_behind_a_byte_order_mark(tmp_path):
    write_task(tmp_path, test=GOOD_TEST)
    (tmp_path / "train.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a", "label": 0}\n\xff\n')
    assert "line 2: byte 0xff at offset 29" in refusal(tmp_path, train="train.jsonl", test="test.jsonl")


# ---- JSON


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "a", "label": }', "line 2: not JSON at column 24: expecting value"),
        ('{"text": "a" "label": 0}', "line 2: not JSON at column 14: expecting ',' delimiter"),
        ("[1, 2]", "line 2: holds a JSON array in place of an object"),
        ("null", "line 2: holds a JSON null in place of an object"),
        ('"text"', "line 2: holds a JSON string in place of an object"),
        ('{"text": "a", "text": "b", "label": 0}', "line 2: the key 'text' occurs twice"),
        ('{"text": "a", "label": ' + "9" * 5000 + "}", "line 2: a number is too long"),
        ("[" * 100_000, "line 2: a number is too long or the nesting too deep"),
    ],
)
def test_a_line_that_is_no_object(tmp_path, line, says):
    assert says in with_train(tmp_path, f'{{"text": "first", "label": 0}}\n{line}\n')


# ---- CSV


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text,label\nfine,0\na, b,1\n", "line 3: has 3 fields, but the header has 2"),
        ("text,label\nfine,0\nshort\n", "line 3: has 1 fields, but the header has 2"),
        ('text,label\n"two\nlines",0\na,b,1\n', "line 4: has 3 fields"),
        ("text,label,text\na,0,b\n", "line 1: the header names 'text' twice"),
        ("text,label,\na,0,b\n", "line 1: column 3 of the header has no name"),
        ('text,label\n"a,0\n', "line 2: not CSV: unexpected end of data"),
        ('text,label\n"a"b,0\n', "line 2: not CSV: ',' expected after '\"'"),
        ("text;label\na;0\n", "line 2: field 'text' is missing; found 'text;label'"),
    ],
)
def test_bad_csv(tmp_path, content, says):
    assert says in with_train_csv(tmp_path, content)


# ---- fields


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"sentence": "a", "label": 0},
            "line 3: field 'text' is missing; found 'sentence', 'label'; set data.text_column",
        ),
        ({"text": "a"}, "line 3: field 'label' is missing; found 'text'; set data.label_column"),
        ({}, "line 3: field 'text' is missing; found no fields"),
        ({"text": "", "label": 0}, "line 3: field 'text' is empty"),
        ({"text": " \t", "label": 0}, "line 3: field 'text' is empty"),
        ({"text": None, "label": 0}, "line 3: field 'text' holds NoneType in place of text"),
        ({"text": 5, "label": 0}, "line 3: field 'text' holds int in place of text"),
        (
            {"text": "a\ud800", "label": 0},
            "line 3: field 'text' holds half of a surrogate pair at character 2",
        ),
        (
            {"text": "a", "label": "fine"},
            "field 'label' is 'fine', which is no known label; use an index below 2",
        ),
        ({"text": "a", "label": "fine"}, "or one of bad, good"),
        ({"text": "a", "label": 2}, "field 'label' is 2, but there are 2 classes; use an index from 0 to 1"),
        ({"text": "a", "label": -1}, "field 'label' is -1, but there are 2 classes"),
        ({"text": "a", "label": "2"}, "field 'label' is 2, but there are 2 classes"),
        ({"text": "a", "label": "9" * 5000}, "which is no known label"),
        ({"text": "a", "label": 1.0}, "field 'label' is 1.0, neither a whole number nor a label's text"),
        ({"text": "a", "label": True}, "field 'label' is True, neither"),
        ({"text": "a", "label": None}, "field 'label' is None, neither"),
        ({"text": "a", "label": [1]}, "field 'label' is [1], neither"),
    ],
)
def test_a_bad_field(tmp_path, row, says):
    good = '{"text": "x", "label": 0}\n{"text": "y", "label": 1}\n'
    assert says in with_train(tmp_path, good + json.dumps(row) + "\n")


def test_one_class_only(tmp_path):
    said = with_train(tmp_path, '{"text": "x", "label": 1}\n{"text": "y", "label": "good"}\n')
    assert "all 2 rows have the label 'good' in field 'label'" in said


@pytest.mark.parametrize("label_words", [["1", "2"], ["0", "1", "3"]])
def test_a_number_that_may_be_index_or_word(tmp_path, label_words):
    write_task(
        tmp_path / "task", train='{"text": "x", "label": 1}\n{"text": "y", "label": "1"}\n', test=GOOD_TEST
    )
    if label_words == ["1", "2"]:
        assert "field 'label' is 1, either the index 1 or the label '1'" in refusal(
            tmp_path, path="task", label_words=label_words
        )
    else:
        assert "all 2 rows have the label '1'" in refusal(tmp_path, path="task", label_words=label_words)


def test_a_label_that_is_one_word_and_another_name(tmp_path):
    write_task(tmp_path / "task", train='{"text": "x", "label": "low"}\n', test=GOOD_TEST)
    said = refusal(tmp_path, path="task", label_words=["low", "high"], label_names=["lowest", "low"])
    assert "field 'label' is 'low', one class's word and another's name" in said


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "field 'lang' is empty"),
        (None, "field 'lang' holds NoneType"),
        (["de"], "field 'lang' holds list"),
    ],
)
def test_a_bad_attribute(tmp_path, value, says):
    row = {"text": "x", "label": 0, "lang": value}
    write_task(tmp_path / "task", train=json.dumps(row) + "\n", test=GOOD_TEST)
    assert says in refusal(tmp_path, path="task", attribute_columns=["lang"])


def test_a_missing_answer(tmp_path):
    write_task(tmp_path / "task", train='{"text": "x", "answer": " "}\n', test=GOOD_TEST)
    said = refusal(tmp_path, path="task", kind="generation", label_words=[])
    assert "field 'answer' is empty" in said


def test_errors_quote_no_texts(tmp_path):
    secret = "her number is 555 0199, and she lives at the old mill"
    said = with_train(tmp_path, json.dumps({"text": secret, "label": "fine"}) + "\n")
    assert "555" not in said
    said = with_train(tmp_path, json.dumps({"text": "x", "label": secret}) + "\n")
    assert "old mill" not in said


# ---- meta.json and label words


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("{", "meta.json is not JSON"),
        ('{"label_names": "bad"}', "field 'label_names' is 'bad'; give a list"),
        ('{"label_names": ["bad", 1]}', "field 'label_names' is ['bad', 1]; give a list"),
        ('{"label_names": ["bad", "bad"]}', "repeats a name"),
        ('{"label_names": ["a", "b", "c"]}', "has 2 entries, but the source of"),
    ],
)
def test_bad_meta(tmp_path, meta, says):
    write_task(tmp_path / "task", train=GOOD_TRAIN, test=GOOD_TEST, meta_json=meta)
    assert says in refusal(tmp_path, path="task")


def test_label_names_in_another_order_than_the_source(tmp_path):
    write_task(
        tmp_path / "task", train=GOOD_TRAIN, test=GOOD_TEST, meta_json='{"label_names": ["pos", "neg"]}'
    )
    said = refusal(tmp_path, path="task", label_names=["neg", "pos"])
    assert "data.label_names is ['neg', 'pos'], but the source of" in said
    assert "has ['pos', 'neg']" in said


def test_no_label_words_anywhere_proposes_those_found(tmp_path):
    write_task(
        tmp_path / "task",
        train='{"text": "x", "label": "ham"}\n{"text": "y", "label": "spam"}\n',
        test=GOOD_TEST,
    )
    said = refusal(tmp_path, path="task", label_words=[])
    assert "data.label_words is missing" in said
    assert "['ham', 'spam']" in said


# ---- whatever else bytes may hold


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "train"
    path.write_bytes(content)
    for read in (read_jsonl, read_csv):
        try:
            assert read(path).rows
        except InputError as error:
            assert "\n" not in str(error)


@given(st.lists(st.tuples(st.text(), st.text(max_size=5)), min_size=1, max_size=5))
def test_any_text_survives_jsonl_and_csv(tmp_path_factory, pairs):
    import csv

    folder = tmp_path_factory.mktemp("round")
    pairs = [
        (text.encode(errors="ignore").decode(), label.encode(errors="ignore").decode())
        for text, label in pairs
    ]
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs), encoding="utf-8"
    )
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(pairs)
    wanted = [{"text": text, "label": label} for text, label in pairs]
    assert [dict(row.fields) for row in read_jsonl(folder / "a.jsonl").rows] == wanted
    assert [dict(row.fields) for row in read_csv(folder / "a.csv").rows] == wanted


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["good", "0"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(["text", "label", "lang"]), VALUES), min_size=1, max_size=3))
def test_any_rows_are_loaded_or_refused(tmp_path_factory, rows):
    folder = write_task(tmp_path_factory.mktemp("rows"), train=GOOD_TRAIN.replace("}", ', "lang": "de"}'))
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    spec = data_spec({"source": "files", "path": str(folder), **TWO_WORDS, "attribute_columns": ["lang"]})
    try:
        data = load_task_data(spec)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        for example in data.test:
            assert example.text.encode()
            assert example.label in (0, 1)
            assert example.attributes["lang"]
