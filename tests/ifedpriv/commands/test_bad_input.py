"""Whatever a user gets wrong is one sentence and a remedy, exit code 2, and nothing on disk."""

import json
import shutil

import numpy as np
import pytest
from program import called, started
from tiny import save_checkpoint, tiny_config, tiny_model, write_config
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from ifedpriv.icl.injection import Injection
from ifedpriv.icl.vectors import Coefficients, ContextVector


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    config = tiny_config(folder)
    write_config(folder / "config.yaml", config)
    return folder, config


@pytest.fixture
def refused(good, tmp_path):
    """Run with some values changed; the sentence, after a look at what is on disk."""

    def refuse(*settings, program=called):
        flags = [argument for value in settings for argument in ("--set", value)]
        done = program("run", good[0] / "config.yaml", "--out", tmp_path / "run", *flags)
        assert not (tmp_path / "run").exists()
        return done.refusal()

    return refuse


@pytest.fixture(scope="module")
def finished(good, tmp_path_factory):
    """A finished run, copied afresh for each test that spoils it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    quick = ["evaluation.local_icl=false", "evaluation.local_injection=false", "method.calibration.rounds=1"]
    flags = [argument for value in quick for argument in ("--set", value)]
    assert called("run", good[0] / "config.yaml", "--out", out, *flags).code == 0
    return out


@pytest.fixture
def spoilt(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "spoilt")
    return tmp_path / "spoilt"


def changed_data(tmp_path, good, change):
    """A copy of the data with its training file changed; the setting that reads it."""
    folder = tmp_path / "data"
    shutil.copytree(good[0] / "data", folder)
    path = folder / "train.jsonl"
    path.write_bytes(change(path.read_bytes()))
    return f"data.path={folder}"


# ---- configuration (a process of its own: nothing heavy is loaded)


def test_a_wrong_key(refused):
    said = refused("method.calibraton.rounds=3", program=started)
    assert "method.calibraton is not a field of the configuration" in said


def test_a_wrong_value(refused):
    said = refused("partition.clients=none", program=started)
    assert "partition.clients is 'none': input should be a valid integer" in said


def test_a_configuration_that_is_not_there(tmp_path):
    said = started("run", tmp_path / "none.yaml", "--out", tmp_path / "run").refusal()
    assert "none.yaml does not exist" in said


# ---- data


def test_missing_files(refused, tmp_path):
    assert "data.path is" in refused(f"data.path={tmp_path / 'nowhere'}")


def test_a_missing_column(refused):
    said = refused("data.label_column=mood")
    assert "mood" in said
    assert "train.jsonl" in said


def test_a_label_that_is_no_class(refused, good, tmp_path):
    said = refused(changed_data(tmp_path, good, lambda b: b.replace(b'"label": 1', b'"label": 7', 1)))
    assert "7" in said
    assert "train.jsonl" in said


def test_a_file_that_is_not_utf_8(refused, good, tmp_path):
    said = refused(changed_data(tmp_path, good, lambda b: b"\xff\xfe" + b))
    assert "UTF-8" in said
    assert "train.jsonl" in said


def test_more_clients_than_examples(refused):
    """Of 60 rows, a tenth is set aside for validation."""
    said = refused("partition.clients=61")
    assert "partition.clients is 61 with at least 1 examples each, but there are 54 examples" in said


def test_an_attribute_that_no_text_has(refused):
    assert "'region'" in refused("partition={kind: attribute, name: region}")


def test_an_unknown_task(refused):
    assert "data.name is 'nothing', which is not shipped" in refused("data={source: embedded, name: nothing}")


def test_a_training_text_longer_than_the_context(refused, good, tmp_path):
    long = json.dumps({"text": "secret " * 100, "label": 0}).encode() + b"\n"
    said = refused(changed_data(tmp_path, good, lambda b: b + long))
    assert "an example of task data of 699 characters has" in said
    assert "context is 256" in said
    assert "secret" not in said


def test_a_test_text_longer_than_the_context(refused, good, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(good[0] / "data", folder)
    with (folder / "test.jsonl").open("a") as file:
        file.write(json.dumps({"text": "secret " * 100, "label": 0}) + "\n")
    said = refused(f"data.path={folder}")
    assert "a test example of task data of 699 characters has" in said
    assert "secret" not in said


# ---- words


def word_checkpoint(folder):
    """A model whose tokenizer knows ten words, folds case, and knows what it does not know."""
    words = ["<unk>", "<s>", "<pad>", "text", "label", ":", "red", "blue", "day", "good"]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.normalizer = normalizers.Lowercase()
    tiny_model().save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", pad_token="<pad>"
    ).save_pretrained(folder)
    return folder


def test_label_words_that_the_tokenizer_does_not_know(refused, tmp_path):
    model = word_checkpoint(tmp_path / "model")
    said = refused(f"backbone.path={model}", "data.label_words=[red, purple]", "data.gap=' '")
    assert "task.label_words[1] is 'purple', which the tokenizer does not know" in said


def test_label_words_with_the_same_tokens(refused, tmp_path):
    model = word_checkpoint(tmp_path / "model")
    said = refused(f"backbone.path={model}", "data.label_words=[red, RED]", "data.gap=' '")
    assert "'RED', which has the same tokens as 'red'" in said


def test_label_words_that_merge_with_the_template(refused):
    said = refused("data.label_words=[good, bad]", "data.template='Text: {text} Label: '")
    assert "merges with the end of task.template" in said


# ---- models


def test_a_model_that_is_not_there(refused, tmp_path):
    assert "no model was found at" in refused(f"backbone.path={tmp_path / 'nowhere'}")


def test_a_folder_that_is_no_model(refused, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    refused(f"backbone.path={tmp_path}")
    (tmp_path / "config.json").write_text("not JSON")
    refused(f"backbone.path={tmp_path}")


def test_a_model_without_its_weights(refused, tmp_path):
    folder = save_checkpoint(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"torn")
    assert "cannot be read" in refused(f"backbone.path={folder}")
    (folder / "model.safetensors").unlink()
    assert "cannot be read" in refused(f"backbone.path={folder}")


def test_a_device_that_is_not_there(refused):
    assert "the device 'warp' cannot be used here" in refused("backbone.device=warp")


# ---- folders


def test_a_file_where_the_run_should_go(good, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert "cannot be written" in called("run", good[0] / "config.yaml", "--out", out).refusal()
    assert (tmp_path / "file").read_text() == "mine"


def test_nobody_answers(good, tmp_path):
    """A mischance of the draw, found when the first round is played."""
    flags = ["--set", "cohort.failure_rate=0.999"]
    said = called("run", good[0] / "config.yaml", "--out", tmp_path / "run", *flags).refusal()
    assert "no client answered in round 0 (3 failed)" in said


# ---- artifacts


@pytest.mark.parametrize("verb", ["predict", "fold"])
def test_a_corrupt_injection(spoilt, tmp_path, verb):
    path = spoilt / "injection.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    extra = ["--text", "x"] if verb == "predict" else ["--out", tmp_path / "out"]
    said = called(verb, spoilt, *extra).refusal()
    assert "cannot be read" in said
    assert "make it again" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["predict", "fold"])
def test_a_model_of_another_shape(spoilt, tmp_path, verb):
    Injection(ContextVector(np.zeros((2, 2, 24)), 1), Coefficients.identity(2)).save(
        spoilt / "injection.safetensors"
    )
    extra = ["--text", "x"] if verb == "predict" else ["--out", tmp_path / "out"]
    said = called(verb, spoilt, *extra).refusal()
    assert "the injection is for 2 layers of width 24, the model has 2 of width 16" in said
    assert not (tmp_path / "out").exists()


def test_a_model_that_was_trained_on_since(spoilt, tmp_path):
    other = save_checkpoint(tmp_path / "model", seed=8)
    config = spoilt / "config.yaml"
    lines = config.read_text("utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("  path: ") and line.endswith("/model"))
    lines[place] = f"  path: {other}"
    config.write_text("\n".join(lines), "utf-8")
    said = called("predict", spoilt, "--text", "x").refusal()
    assert "was made for the model with fingerprint" in said


def test_an_injection_that_does_not_say_its_task(spoilt):
    path = spoilt / "injection.safetensors"
    whole = Injection.load(path)
    for facts in ({}, {"task": "nonsense"}, {"task": '{"kind": "dance"}'}, {"task": "[]"}, {"task": "{}"}):
        Injection(whole.vector, whole.coefficients, whole.backbone, facts).save(path)
        assert "does not say its task" in called("predict", spoilt, "--text", "x").refusal()


def test_a_run_that_was_not_finished(spoilt):
    (spoilt / "injection.safetensors").unlink()
    assert "does not exist" in called("predict", spoilt, "--text", "x").refusal()
