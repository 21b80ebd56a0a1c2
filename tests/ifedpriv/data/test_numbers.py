"""Tasks whose answers are numbers: declared once, checked where they are read."""

import json

import pytest
from examples import data_spec
from pydantic import ValidationError

from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.presets import PRESETS
from ifedpriv.data.task import Task, TaskKind
from ifedpriv.errors import InputError

STARS = {"template": "{text}\nStars:", "label_words": ["one", "two", "five"], "label_values": [1, 2, 5.0]}
DAYS = {"template": "{text}\nDays:", "kind": "generation", "answer_range": [0, 30]}


def files(folder, answers):
    for split in ("train", "test"):
        rows = (
            {
                "text": f"A {split} letter, number {i}.",
                **{key: value[i % len(value)] for key, value in answers.items()},
            }
            for i in range(30)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": "files", "path": str(folder)}


def test_classes_stand_for_numbers(tmp_path):
    spec = data_spec({**files(tmp_path, {"label": [0, 1, 2]}), **STARS})
    task = load_task_data(spec).task
    assert (task.label_values, task.numeric) == ((1.0, 2.0, 5.0), True)


def test_classes_may_be_named_by_the_files(tmp_path):
    given = files(tmp_path, {"label": [0, 1, 2]})
    (tmp_path / "meta.json").write_text(json.dumps({"label_names": ["a", "b", "c"]}))
    spec = data_spec({**given, "template": "{text}\nStars:", "label_values": [1, 2, 3]})
    assert load_task_data(spec).task.label_values == (1.0, 2.0, 3.0)
    spec = data_spec({**given, "template": "{text}\nStars:", "label_values": [1, 2]})
    with pytest.raises(InputError, match="label_values has 2 entries for 3 classes"):
        load_task_data(spec)


def test_generated_answers_are_numbers_of_a_range(tmp_path):
    spec = data_spec({**files(tmp_path, {"answer": ["3", "12.5"]}), **DAYS})
    task = load_task_data(spec).task
    assert (task.answer_range, task.numeric) == ((0.0, 30.0), True)


@pytest.mark.parametrize("wrong", ["soon", "31", "-1", "1e9"])
def test_a_true_answer_that_is_none_is_refused_where_it_stands(tmp_path, wrong):
    spec = data_spec({**files(tmp_path, {"answer": ["3", wrong]}), **DAYS})
    with pytest.raises(
        InputError, match=r"train.jsonl line 2: field 'answer' is no number within data.answer_range"
    ):
        load_task_data(spec)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({**STARS, "label_values": [1, 2]}, "label_values has 2 entries for 3 classes"),
        ({**STARS, "answer_range": [0, 5]}, "answer_range is set for a classification task"),
        ({**DAYS, "answer_range": [5]}, "the smallest and the largest"),
        ({**DAYS, "answer_range": [5, 5]}, "the smallest and the largest"),
        ({**DAYS, "label_values": [1, 2]}, "label_values has 2 entries for 0 classes"),
        ({**DAYS, "answer_range": [0, float("inf")]}, "answer_range"),
        ({**STARS, "label_values": [1, True, 3]}, "label_values"),
    ],
)
def test_half_a_declaration_is_refused(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        data_spec({"source": "files", "path": "somewhere", **changes})


def test_a_task_checks_itself():
    with pytest.raises(InputError, match="no finite number"):
        Task("t", "{text}", ("a", "b"), label_values=(0.0, float("nan")))
    assert not Task("t", "{text}", kind=TaskKind.GENERATION).numeric
    assert PRESETS["sst5"].label_values == (1.0, 2.0, 3.0, 4.0, 5.0)
