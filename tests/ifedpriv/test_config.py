"""A configuration is read by YAML 1.2, keeps what it was given, and every mistake is one sentence with its path."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifedpriv.config import RunConfig, load_config, parse_config
from ifedpriv.data.specs import EmbeddedData, FileData, IidPartition
from ifedpriv.errors import UserError
from ifedpriv.methods.specs import FedLoraSpec

CONFIGS = Path(__file__).parents[2] / "configs"


def written(folder, text, name="config.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def said(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    assert caught.value.exit_code == 2
    return text


# ---- defaults and files that ship


def test_the_defaults_round_trip(tmp_path):
    config = RunConfig()
    assert load_config(written(tmp_path, config.to_yaml())) == config


# What `ifedpriv curve` reads is no run's configuration.
RUNS = sorted(set(CONFIGS.glob("*.yaml")) - set(CONFIGS.glob("*curve*.yaml")))


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.name)
def test_every_shipped_configuration_loads_and_round_trips(path, tmp_path):
    config = load_config(path)
    assert load_config(written(tmp_path, config.to_yaml())) == config


def test_the_quickstart_is_the_defaults():
    assert load_config(CONFIGS / "quickstart.yaml") == RunConfig() == load_config(None)


@given(
    st.integers(0, 2**40),
    st.floats(1e-12, 1e3, allow_nan=False),
    st.sampled_from(["off", "no", "1e-5", "null", "~", "0x1F", "1_000", "y", "012", "2024-01-01", "ünï: #x"]),
)
def test_any_number_and_any_word_round_trips(tmp_path_factory, seed, rate, word):
    data = {
        "seed": seed,
        "method": {"kind": "ifed_icl", "calibration": {"rate": rate}},
        "data": {"source": "files", "path": word, "template": "{text}:", "label_words": [word, "other"]},
    }
    config = parse_config(data, "test")
    path = written(tmp_path_factory.mktemp("config"), config.to_yaml())
    again = load_config(path)
    assert again == config
    assert again.method.calibration.rate == rate
    assert again.data.label_words == (word, "other")


# ---- YAML 1.2


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "0.00001", "1.0e-5"])
def test_exponents_are_numbers(tmp_path, text):
    path = written(tmp_path, f"method:\n  calibration:\n    rate: {text}\n")
    assert load_config(path).method.calibration.rate == 1e-5
    assert load_config(None, [f"method.calibration.rate={text}"]).method.calibration.rate == 1e-5


@pytest.mark.parametrize("word", ["off", "no", "yes", "on", "y", "n"])
def test_words_are_text_and_no_truth_values(tmp_path, word):
    assert load_config(written(tmp_path, f"name: {word}\n")).name == word
    assert load_config(None, [f"name={word}"]).name == word


def test_true_and_false_are_truth_values(tmp_path):
    assert load_config(written(tmp_path, "simulation: false\n")).simulation is False
    assert load_config(written(tmp_path, "simulation: true\n")).simulation is True


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(written(tmp_path, "# nothing\n")) == RunConfig()


# ---- sections


def test_a_section_without_its_kind_changes_the_default_one(tmp_path):
    path = written(tmp_path, "data:\n  train: 60\npartition:\n  clients: 3\nmethod:\n  guard: false\n")
    config, default = load_config(path), RunConfig()
    assert config.data == default.data.model_copy(update={"train": 60})
    assert config.partition == default.partition.model_copy(update={"clients": 3})
    assert config.method == default.method.model_copy(update={"guard": False})


def test_a_section_with_its_kind_stands_for_itself(tmp_path):
    path = written(tmp_path, "partition:\n  kind: dirichlet\n  clients: 3\n")
    assert load_config(path).partition.examples_per_client is None


# ---- --set


def test_set_changes_one_value_of_the_defaults():
    config = load_config(
        None,
        ["seed=7", "data.train=60", "partition.clients=3", "method.calibration.rounds=2", "data.name=mood"],
    )
    assert config.seed == 7
    assert config.data == EmbeddedData(name="mood", train=60)
    assert config.partition.clients == 3
    assert config.method.calibration.rounds == 2
    assert config.method.calibration.steps == RunConfig().method.calibration.steps


def test_set_goes_over_the_file_and_the_last_one_wins(tmp_path):
    path = written(tmp_path, "seed: 1\nname: file\n")
    config = load_config(path, ["seed=2", "seed=3"])
    assert (config.seed, config.name) == (3, "file")


def test_set_takes_yaml_values():
    config = load_config(
        None,
        [
            "data={source: files, path: x, template: 'T: {text}', label_words: [a, b]}",
            "record_view=false",
            "name='12'",
            "data_root=",
        ],
    )
    assert isinstance(config.data, FileData)
    assert config.data.label_words == ("a", "b")
    assert (config.record_view, config.name, config.data_root) == (False, "12", "")


def test_set_of_another_kind_starts_the_section_anew():
    """Otherwise Dirichlet's alpha would be an unknown field of the even partition."""
    config = load_config(CONFIGS / "quickstart.yaml", ["partition.kind=iid", "partition.clients=3"])
    assert config.partition == IidPartition(clients=3)
    config = load_config(CONFIGS / "quickstart.yaml", ["method.kind=fed_lora"])
    assert config.method == FedLoraSpec()


def test_set_of_the_same_kind_changes_nothing():
    quickstart = CONFIGS / "quickstart.yaml"
    assert load_config(quickstart, ["partition.kind=dirichlet"]) == load_config(quickstart)
    assert load_config(None, ["data.source=embedded", "data.name=topic"]) == load_config(None)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "--set is 'seed'; write it as section.field=value"),
        ("=3", "--set is '=3'"),
        ("", "--set is ''"),
        ("seed=[1", "--set seed is '[1', which is not YAML"),
        ("seed.more=1", "seed is {'more': 1}"),
        ("data.name.more=1", "data.name is {'more': 1}"),
        ("nothing=1", "nothing is not a field of the configuration"),
        ("data.nothing=1", "data.nothing is not a field"),
        ("method.calibration.nothing=1", "method.calibration.nothing is not a field"),
        (".=1", "is not a field"),
        ("seed=x", "seed is 'x': input should be a valid integer"),
        ("seed=", "seed is ''"),
    ],
)
def test_a_bad_set_is_one_sentence(override, expected):
    assert expected in said(load_config, None, [override])


def test_set_through_a_value_of_the_file(tmp_path):
    path = written(tmp_path, "seed: 1\n")
    assert "--set seed.x goes through seed, which is a value" in said(load_config, path, ["seed.x=1"])


# ---- extends


def test_a_chain_of_files_later_over_earlier(tmp_path):
    (tmp_path / "deep").mkdir()
    written(tmp_path, "seed: 1\nname: bottom\nmethod:\n  calibration: {rounds: 2, steps: 7}\n", "a.yaml")
    written(tmp_path, "extends: ../a.yaml\nname: middle\nthreads: 1\n", "deep/b.yaml")
    top = written(
        tmp_path, "extends: deep/b.yaml\nthreads: 3\nmethod:\n  calibration: {rounds: 5}\n", "c.yaml"
    )
    config = load_config(top)
    assert (config.seed, config.name, config.threads) == (1, "middle", 3)
    assert (config.method.calibration.rounds, config.method.calibration.steps) == (5, 7)


def test_another_kind_replaces_the_section(tmp_path):
    written(tmp_path, "partition: {kind: dirichlet, alpha: 3.0, clients: 4}\n", "a.yaml")
    config = load_config(written(tmp_path, "extends: a.yaml\npartition: {kind: iid}\n"))
    assert config.partition == IidPartition()
    same = load_config(written(tmp_path, "extends: a.yaml\npartition: {kind: dirichlet, clients: 5}\n"))
    assert (same.partition.alpha, same.partition.clients) == (3.0, 5)


def test_the_kind_of_task_is_not_the_kind_of_section(tmp_path):
    """``data.kind`` says what is predicted; where the data comes from is ``data.source``."""
    written(tmp_path, "data: {source: files, path: x, template: '{text}:', kind: classification}\n", "a.yaml")
    config = load_config(written(tmp_path, "extends: a.yaml\ndata: {kind: generation}\n"))
    assert (config.data.path, str(config.data.kind)) == ("x", "generation")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_circle(tmp_path, length):
    for number in range(length):
        written(tmp_path, f"extends: {(number + 1) % length}.yaml\n", f"{number}.yaml")
    assert "extends runs in a circle" in said(load_config, tmp_path / "0.yaml")


@pytest.mark.parametrize("base", ["none.yaml", "''", ".", "[1]", "12"])
def test_a_base_that_is_not_there(tmp_path, base):
    assert "does not exist" in said(load_config, written(tmp_path, f"extends: {base}\n"))


# ---- mistakes in files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: [1\n", "line 2 is not YAML"),
        ("a: b: c\n", "line 1 is not YAML"),
        ("seed: 1\nseed: 2\n", "is not YAML"),
        ("\tseed: 1\n", "is not YAML"),
        ("- 1\n", "holds a list"),
        ("hello\n", "holds a str"),
        ("sead: 1\n", "sead is not a field of the configuration; remove it or mend its spelling"),
        ("1: 2\n", "1"),
        ("backbone:\n  paht: x\n", "backbone.paht is not a field"),
        ("defense:\n  wire:\n    vector: fp8\n", "defense.wire.vector is 'fp8': input should be 'fp32'"),
        ("defense: {kind: magic}\n", "defense.kind is 'magic'; use one of 'none', 'masked', 'ckks', 'bfv'"),
        ("defense: {grid: {bits: 12}}\n", "defense.grid is not a field"),
        ("defense: {kind: bfv, grid: {bits: 99}}\n", "defense.grid.bits is 99: input should be less than"),
        ("defense: {kind: ckks, grid: {scale: {vector: 0}}}\n", "defense.grid.scale.vector is 0"),
        ("defense: {kind: ckks, encryption: secret}\n", "defense.encryption is 'secret': input should be 'public'"),
        ("seed: -1\n", "seed is -1: input should be greater than or equal to 0"),
        ("seed: 1.5\n", "seed is 1.5"),
        ("threads: 0\n", "threads is 0"),
        ("name: a/b\n", "name is 'a/b'"),
        ("name: ''\n", "name is ''"),
        ("simulation: maybe\n", "simulation is 'maybe'"),
        ("cohort: {participation: 0}\n", "cohort.participation is 0"),
        ("cohort: {failure_rate: 1}\n", "cohort.failure_rate is 1"),
        ("evaluation: {shots: 0}\n", "evaluation.shots is 0"),
        ("evaluation: 3\n", "evaluation is 3"),
        ("method: {kind: magic}\n", "method.kind is 'magic'; use one of 'ifed_icl', 'prototype_icl', 'fed_lora'"),
        ("data: {source: csv}\n", "data.source is 'csv'; use one of 'embedded', 'files'"),
        ("data: {source: embedded}\n", "data.name"),
        ("data: {train: yes}\n", "data.train is 'yes'"),
        ("data: {train: true}\n", "data.train is True"),
        ("data: {train: '60'}\n", "data.train is '60'"),
        ("partition: {clients: 0}\n", "partition.clients is 0"),
        ("partition: {min_examples: 50}\n", "partition: examples_per_client is 32, below min_examples 50"),
        ("method: {calibration: {rate: .nan}}\n", "method.calibration.rate is nan"),
        ("method: {calibration: {rate: .inf}}\n", "method.calibration.rate is inf"),
        ("method: {calibration: {start_beta: .nan}}\n", "method.calibration.start_beta is nan"),
        ("schema_version: 2\n", "schema_version is 2"),
        ("evaluation: {validation_fraction: 0}\n", "method.guard is on and evaluation.validation_fraction is 0"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_one_sentence_with_its_path(tmp_path, text, expected):
    assert expected in said(load_config, written(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    assert "nowhere.yaml does not exist" in said(load_config, tmp_path / "nowhere.yaml")
    assert "does not exist" in said(load_config, tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Zoë\n".encode("latin-1"))
    assert "is not UTF-8 at byte 8; save it as UTF-8" in said(load_config, tmp_path / "latin.yaml")


def test_a_long_value_is_cut():
    assert len(said(load_config, None, ["seed=" + "x" * 500])) < 200


def test_nothing_can_be_changed_afterwards():
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        RunConfig().seed = 3


def test_a_defense_of_another_kind_starts_anew_and_comes_back(tmp_path):
    base = written(tmp_path, "defense: {kind: bfv, min_clients: 5, wire: {vector: int8}}\n")
    config = load_config(base, ["defense.grid.clip.vector=3", "defense.encryption=symmetric"])
    assert (config.defense.kind, config.defense.min_clients) == ("bfv", 5)
    assert config.defense.grid.clip.vector == 3 and config.defense.grid.clip.scores == 1
    assert parse_config(config.model_dump(mode="json"), "again") == config
    other = load_config(base, ["defense.kind=ckks"])
    assert (other.defense.min_clients, other.defense.wire.vector) == (3, "fp16")


# ---- controls


def test_controls_are_on_and_their_parts_can_be_set():
    assert load_config(None).controls.enabled
    config = load_config(None, ["controls.other.source=embedded", "controls.other.name=mood"])
    assert (config.controls.other.source, config.controls.other.name) == ("embedded", "mood")
    assert load_config(None, ["controls.public.texts=40"]).controls.public.texts == 40
    assert not load_config(None, ["controls.enabled=false"]).controls.enabled
    assert parse_config(config.model_dump(mode="json"), "again") == config


def test_another_source_starts_the_other_task_anew(tmp_path):
    written(tmp_path, "controls:\n  other: {source: embedded, name: mood, train: 60}\n", "a.yaml")
    same = load_config(written(tmp_path, "extends: a.yaml\ncontrols:\n  other: {name: tone}\n"))
    assert (same.controls.other.name, same.controls.other.train) == ("tone", 60)
    preset = "extends: a.yaml\ncontrols:\n  enabled: true\n  other: {source: preset, name: subj}\n"
    assert load_config(written(tmp_path, preset)).controls.other.source == "preset"
    base = tmp_path / "a.yaml"
    changed = load_config(base, ["controls.other.source=preset", "controls.other.name=subj"])
    assert changed.controls.other.source == "preset"
    assert load_config(base, ["controls.other=null"]).controls.other is None


@pytest.mark.parametrize(
    ("data", "other"),
    [
        ({"source": "embedded", "name": "topic"}, {"source": "embedded", "name": "topic", "seed": 3}),
        ({"source": "preset", "name": "subj"}, {"source": "preset", "name": "subj", "max_train": 9}),
        (
            {"source": "files", "path": "a", "template": "{text}:", "label_words": ["x", "y"]},
            {"source": "files", "path": "a", "template": "{text}?", "label_words": ["u", "v"]},
        ),
    ],
)
def test_the_runs_own_task_is_no_other_task(data, other):
    config = {"data": data, "controls": {"other": other}}
    assert "controls.other reads the texts of data" in said(parse_config, config, "test")
