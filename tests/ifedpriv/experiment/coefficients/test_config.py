"""What `ifedpriv coefficients` is asked: defaults, changes from the command line, and refusals in one sentence."""

import json

import pytest
from program import called
from tiny_public import save_tasks

from ifedpriv.errors import UserError
from ifedpriv.experiment.coefficients.config import (
    CoefficientsConfig,
    load_coefficients_config,
    parse_coefficients_config,
)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return save_tasks(tmp_path_factory.mktemp("tasks"))


def test_embedded_tasks_are_the_defaults():
    config = load_coefficients_config("embedded", "embedded")
    assert config == CoefficientsConfig()
    assert config.noise == (0.0, 0.03, 0.1)
    assert load_coefficients_config("embedded", "embedded", ["seed=3", "noise=[0.2, 0]"]).noise == (0.0, 0.2)


def test_a_file_of_tasks_is_read_and_changed(tasks):
    config = load_coefficients_config("somewhere", str(tasks), ["seed=9", "backbone.dtype=bfloat16"])
    assert (config.backbone.path, config.backbone.dtype) == ("somewhere", "bfloat16")
    assert (config.seed, config.noise) == (9, (0.0, 0.05))
    assert [spec.kind for spec in config.tasks] == ["first"] * 3 + ["second"] * 2
    assert {spec.data.source for spec in config.tasks} == {"files"}


def test_the_digest_names_what_numbers_depend_on(tasks):
    base = load_coefficients_config("m", str(tasks))
    assert load_coefficients_config("m", str(tasks), ["threads=7"]).digest() == base.digest()
    # The order in which levels are given does not matter.
    assert load_coefficients_config("m", str(tasks), ["noise=[0, 0.05]"]).digest() == base.digest()
    for change in ("seed=1", "steps=4", "noise=[0]", "kept_apart=0", "rate=0.1", "backbone.dtype=bfloat16"):
        assert load_coefficients_config("m", str(tasks), [change]).digest() != base.digest()
    assert load_coefficients_config("n", str(tasks)).digest() != base.digest()


DATA = {"source": "files", "path": "x", "template": "{text}:", "label_words": ["A", "B"]}
REFUSED = {
    "unknown field": ({"stepz": 3}, "stepz is not a field of the configuration"),
    "no tasks": ({"tasks": []}, "tasks is empty; give at least one, or 'embedded'"),
    "a word": ({"tasks": "embeded"}, "tasks is 'embeded': input should be 'embedded'"),
    "a number": ({"tasks": 5}, "tasks is 5"),
    "a task that is none": ({"tasks": [3]}, "tasks.0 is 3"),
    "no kind": ({"tasks": [{"data": DATA}]}, "tasks.0.kind is"),
    "a kind of several words": ({"tasks": [{"kind": "a b", "data": DATA}]}, "tasks.0.kind is 'a b'"),
    "no data": ({"tasks": [{"kind": "a"}]}, "tasks.0.data is"),
    "unknown field of a task": (
        {"tasks": [{"kind": "a", "data": DATA, "weight": 2}]},
        "tasks.0.weight is not a field",
    ),
    "unknown field of the data": (
        {"tasks": [{"kind": "a", "data": {**DATA, "labels": 2}}]},
        "tasks.0.data.labels is not a field",
    ),
    "unknown source": (
        {"tasks": [{"kind": "a", "data": {"source": "web"}}]},
        "tasks.0.data.source is 'web'; use one of",
    ),
    "fewest above most": ({"fewest": 9, "most": 8}, "fewest is 9 and most is 8"),
    "fewest above examples": ({"fewest": 9, "examples": 8}, "fewest is 9 and examples is 8"),
    "a level twice": ({"noise": [0.1, 0.1]}, "noise: give at least one level, and each once"),
    "no level": ({"noise": []}, "noise: give at least one level"),
    "a level below zero": ({"noise": [-0.1]}, "noise.0 is -0.1"),
    "a level without end": ({"noise": [float("inf")]}, "noise.0 is inf"),
    "all kept apart": ({"kept_apart": 1}, "kept_apart is 1"),
    "no step": ({"steps": 0}, "steps is 0"),
    "position": ({"position": "middle"}, "position is 'middle'"),
    "another version": ({"schema_version": 2}, "schema_version is 2"),
    "a backbone that is a word": ({"backbone": "embedded"}, "backbone is 'embedded'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_sentence(case):
    changes, said = REFUSED[case]
    with pytest.raises(UserError) as caught:
        parse_coefficients_config({"tasks": [{"kind": "a", "data": DATA}], **changes}, "tasks.yaml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "literal" not in str(caught.value)


# ---- by the program: mistakes that are found when tasks are read


def with_data(tasks, name, number=0, **changes):
    """The file of tasks with one task's data section changed."""
    config = json.loads(tasks.read_text())
    config["tasks"][number]["data"].update(changes)
    path = tasks.parent / f"{name}.yaml"
    path.write_text(json.dumps(config))
    return path


def refusal(tasks, file, *changes, out=None):
    """What the program says; nothing may be written."""
    out = tasks.parent / "no" / "made.safetensors" if out is None else out
    done = called(
        *("coefficients", tasks.parent / "model", "--tasks", file, "--out", out),
        *(part for change in changes for part in ("--set", change)),
    )
    said = done.refusal()
    assert not (tasks.parent / "no").exists()
    return said


def test_tasks_that_are_not_usable_are_refused_and_leave_no_folder(tasks):
    alone = tasks.parent / "alone"
    alone.mkdir()
    (alone / "train.jsonl").write_text((tasks.parent / "plain-0" / "train.jsonl").read_text())
    assert "test" in refusal(tasks, with_data(tasks, "untested", path=str(alone)))
    few = refusal(tasks, tasks, "fewest=14", "most=14", "examples=20")
    assert "of kind first has 13 train texts, and a vector takes 14 at least" in few
    generates = {"kind": "generation", "label_words": [], "answer_column": "text"}
    mixed = with_data(tasks, "mixed", **generates)
    assert "kind first has tasks that classify and tasks that generate" in refusal(tasks, mixed)
    config = json.loads(tasks.read_text())
    for number, each in enumerate(config["tasks"]):
        each["kind"] = ("one", "two")[number % 2]
        each["data"] = {**each["data"], **generates}
        del each["data"]["label_words"]
    several = tasks.parent / "several.yaml"
    several.write_text(json.dumps(config))
    assert "the kinds one, two all generate" in refusal(tasks, several)
    assert "nowhere is not a directory" in refusal(tasks, with_data(tasks, "lost", path="nowhere"))
    long = tasks.parent / "long"
    long.mkdir()
    for split in ("train", "test"):
        rows = [{"text": f"{split} day " * 200 + str(i), "label": i % 2} for i in range(12)]
        (long / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "tokens" in refusal(tasks, with_data(tasks, "long", path=str(long)))


def test_a_file_that_is_no_list_of_tasks(tasks, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("seed: 3\n")
    assert "has no field tasks" in refusal(tasks, path)
    path.write_text("tasks: [\n")
    assert "is not YAML" in refusal(tasks, path)
    assert "does not exist" in refusal(tasks, tmp_path / "none.yaml")
    assert "write it as section.field=value" in refusal(tasks, tasks, "seed")


def test_what_is_there_already_is_kept(tasks, tmp_path):
    out = tmp_path / "made.safetensors"
    out.write_text("mine")
    assert "exists already" in refusal(tasks, tasks, out=out)
    assert out.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_place_that_cannot_be_written(tasks, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = refusal(tasks, tasks, out=tmp_path / "file" / "made.safetensors")
    assert "cannot be written" in said
