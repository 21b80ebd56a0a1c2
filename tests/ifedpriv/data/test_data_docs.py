"""What docs/data.md shows is read, loaded and run."""

import doctest
import re
from pathlib import Path

import pytest
from examples import data_spec, partition_spec
from ruamel.yaml import YAML

from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.partition import partition
from ifedpriv.data.presets import PRESETS

GUIDE = Path(__file__).parents[3] / "docs" / "data.md"


def blocks(language):
    return re.findall(
        rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def sections(name):
    loaded = [YAML(typ="safe", pure=True).load(block) for block in blocks("yaml")]
    return [section[name] for section in loaded if name in section]


def test_every_source_and_every_kind_is_shown_and_valid():
    assert {data_spec(section).source for section in sections("data")} == {
        "embedded",
        "files",
        "hub",
        "preset",
    }
    kinds = {"iid", "dirichlet", "pathological", "attribute", "contradictory"}
    assert {partition_spec(section).kind for section in sections("partition")} == kinds


def test_the_rows_shown_load_with_the_configuration_shown(tmp_path):
    (tmp_path / "visits").mkdir()
    (tmp_path / "visits" / "train.jsonl").write_text(*blocks("jsonl"), encoding="utf-8")
    (tmp_path / "visits" / "test.csv").write_text(*blocks("csv"), encoding="utf-8")
    spec = next(section for section in sections("data") if section.get("path") == "visits")
    data = load_task_data(data_spec(spec), tmp_path)
    assert [example.text for example in data.test][1] == 'They said "later" and never came.'
    assert [example.label for example in data.test] == [1, 0]
    held = partition(
        data.test, 2, partition_spec({"kind": "attribute", "name": "ward", "clients": 2}), seed=0
    )
    assert held.groups == ("A", "B")


def test_the_table_of_presets_is_the_table_in_the_code():
    rows = re.findall(
        r"^\| `(\w+)` \| `(.*?)` / `(.*?)` \| (.*?) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    )
    shown = {name: (f"{first}\n{second}", tuple(words.split(", "))) for name, first, second, words in rows}
    assert shown == {name: (spec.template, spec.label_words) for name, spec in PRESETS.items()}


def test_the_python_shown_runs():
    (code,) = blocks("python")
    shown = doctest.DocTestParser().get_doctest(code, {}, "docs/data.md", str(GUIDE), 0)
    failed, tried = doctest.DocTestRunner().run(shown)
    assert tried > 5
    assert failed == 0


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_can_be_asked_for_by_name_alone(name):
    assert data_spec({"source": "preset", "name": name}).name == name
