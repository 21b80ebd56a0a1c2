"""A data or partition spec that exists is well formed; every other is refused by field name."""

import pytest
from examples import TWO_WORDS, data_spec, partition_spec
from pydantic import TypeAdapter, ValidationError

from ifedpriv.data.presets import PRESETS
from ifedpriv.data.specs import DataSpec, PartitionSpec
from ifedpriv.data.task import TaskKind


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "embedded", "name": "topics", "train": 10, "seed": 3},
        {"source": "files", "path": "subj", **TWO_WORDS, "attribute_columns": ["lang"]},
        {
            "source": "files",
            "train": "a.jsonl",
            "test": "b.csv",
            "template": "{text} =",
            "kind": "generation",
        },
        {"source": "hub", "name": "SetFit/subj", "revision": "abc", **TWO_WORDS},
        {"source": "preset", "name": "subj", "max_test": 500, "balance_test": True},
    ],
)
def test_a_data_spec_survives_the_way_to_json_and_back(fields):
    spec = data_spec(fields)
    assert TypeAdapter(DataSpec).validate_json(TypeAdapter(DataSpec).dump_json(spec)) == spec


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "iid"},
        {"kind": "dirichlet", "alpha": 1, "by": "lang"},
        {"kind": "pathological", "classes_per_client": 1},
        {"kind": "attribute", "name": "lang", "values": ["de", "fr"]},
        {"kind": "contradictory", "groups": 3, "clients": 3, "mode": "permute"},
    ],
)
def test_a_partition_spec_survives_the_way_to_json_and_back(fields):
    spec = partition_spec(fields)
    assert TypeAdapter(PartitionSpec).validate_json(TypeAdapter(PartitionSpec).dump_json(spec)) == spec


FILES = {"source": "files", "path": "x", **TWO_WORDS}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({**FILES, "colour": "red"}, "colour"),
        ({**FILES, "source": "ftp"}, "'embedded', 'files', 'hub', 'preset'"),
        ({**FILES, "template": "no input"}, "holds {text} 0 times; write {text} once"),
        ({**FILES, "template": "{text} {text}"}, "holds {text} 2 times"),
        ({**FILES, "label_words": ["only"]}, "has 1 entries; a classification task needs at least two"),
        ({**FILES, "label_words": ["a", "a"]}, "repeats a word"),
        ({**FILES, "label_words": ["a", " b"]}, "label word ' b' begins or ends with a space"),
        ({**FILES, "label_words": ["a", ""]}, "at least 1 character"),
        ({**FILES, "label_names": ["a", "b", "c"]}, "label_words has 2 entries and label_names 3"),
        ({**FILES, "label_names": ["a", "a"]}, "repeats a name"),
        ({**FILES, "attribute_columns": ["lang", "lang"]}, "repeats a name"),
        ({**FILES, "kind": "generation"}, "label_words is set, but kind is generation"),
        ({**FILES, "label_words": [], "kind": "generation", "balance_test": True}, "balance_test is set"),
        ({**FILES, "train": "a.jsonl"}, "path and train are both set"),
        ({"source": "files", **TWO_WORDS}, "neither path nor both train and test"),
        ({"source": "files", "train": "a.jsonl", **TWO_WORDS}, "neither path nor both train and test"),
        ({**FILES, "path": "a\0b"}, "match pattern"),
        ({**FILES, "max_train": 0}, "greater than or equal to 1"),
        ({**FILES, "max_train": True}, "valid integer"),
        ({**FILES, "max_train": "10"}, "valid integer"),
        ({**FILES, "seed": -1}, "greater than or equal to 0"),
        ({**FILES, "validation_fraction": 0}, "greater than 0"),
        ({**FILES, "validation_fraction": 1.0}, "less than 1"),
        ({"source": "hub", "name": "x", "test_split": "train", **TWO_WORDS}, "name one split twice"),
        ({"source": "preset", "name": "imdb"}, "there is no preset 'imdb'; the presets are agnews"),
        ({"source": "preset", "name": "subj", "template": "{text}"}, "template"),
    ],
)
def test_a_data_spec_that_makes_no_sense_is_refused_by_name(fields, says):
    with pytest.raises(ValidationError) as caught:
        data_spec(fields)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": "iid", "clients": 0}, "greater than or equal to 1"),
        ({"kind": "iid", "clients": True}, "valid integer"),
        ({"kind": "iid", "alpha": 1.0}, "alpha"),
        ({"kind": "stripes"}, "'iid', 'dirichlet', 'pathological', 'attribute', 'contradictory'"),
        ({"kind": "dirichlet", "alpha": 0}, "greater than or equal to 0.0001"),
        ({"kind": "dirichlet", "alpha": float("nan")}, "finite number"),
        (
            {"kind": "iid", "min_examples": 5, "examples_per_client": 4},
            "examples_per_client is 4, below min_examples 5",
        ),
        ({"kind": "attribute"}, "name"),
        ({"kind": "attribute", "name": "lang", "values": ["de", "de"]}, "repeats a value"),
        ({"kind": "contradictory", "groups": 3, "clients": 2}, "groups is 3, above clients 2"),
        ({"kind": "contradictory", "groups": 1}, "greater than or equal to 2"),
    ],
)
def test_a_partition_spec_that_makes_no_sense_is_refused_by_name(fields, says):
    with pytest.raises(ValidationError) as caught:
        partition_spec(fields)
    assert says in str(caught.value)


def test_a_spec_cannot_be_changed():
    spec = data_spec(FILES)
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 2


def test_the_wording_reaches_the_task():
    spec = data_spec({**FILES, "separator": "\n\n", "gap": "", "max_new_tokens": 4})
    task = spec.task("films", ("bad", "good"))
    assert (task.name, task.separator, task.gap, task.max_new_tokens) == ("films", "\n\n", "", 4)
    assert task.kind is TaskKind.CLASSIFICATION
    assert task.prompt("x") == "Review: x\nSentiment:"


def test_every_preset_has_a_word_for_each_name():
    for name, preset in PRESETS.items():
        assert len(preset.label_words) == len(preset.label_names), name
        assert preset.path == name
