"""Runs made to be attacked: what is public is nobody's, long texts are left out, and pools hold every true text."""

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarked import benchmark

from attacks._base.attack import Knowledge
from attacks._judging.score import Subject
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.prompts import Position

attacked = benchmark("_attacked")
order = benchmark("epsilon_order")


@pytest.fixture(scope="module")
def backbone():
    return Backbone.load(MODEL_PATH)


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """A data set of 24 short texts to train on and 3 to test with, and one in each that no model here can take."""
    monkeypatch.setattr(attacked, "PUBLIC", 16)
    folder = tmp_path / "sst2"
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({"label_names": ["negative", "positive"]}))
    words = itertools.product(("awful", "dull", "fine"), ("slow", "sweet", "warm"), ("film", "plot", "song"))
    rows = [json.dumps({"text": " ".join(each), "label": i % 2}) for i, each in enumerate(words)]
    long = json.dumps({"text": "very " * 5000, "label": 0})
    (folder / "train.jsonl").write_text("\n".join([*rows[:6], long, *rows[6:24]]) + "\n")
    (folder / "test.jsonl").write_text("\n".join([*rows[24:], long]) + "\n")
    return folder


def source(data, to):
    parser = argparse.ArgumentParser()
    attacked.add_source(parser)
    options = parser.parse_args(["--model", str(MODEL_PATH), "--data", str(data)])
    return attacked.source_of(parser, options, to)


def test_public_texts_are_set_aside_and_long_ones_left_out(reviews, tmp_path):
    found = source(reviews, tmp_path / "copy")
    assert found.left_out == 2
    data = attacked.texts_of(found)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 16, 3)
    assert not {e.text for e in data.train} & {e.text for e in data.validation}
    assert found.suffix == f"_{MODEL_PATH.name}"


def test_a_real_set_is_run_whole_and_its_recording_says_how_many(reviews, tmp_path):
    """With privacy, whose public facts come from what was set aside."""
    found = source(reviews, tmp_path / "copy")
    defense = order.defense(found, 2, 8.0)
    config = attacked.configuration(found, 3, 2, defense=defense, counted=True)
    assert config.defense.privacy.public.path == str(tmp_path / "copy" / "validation.jsonl")
    assert config.method.aggregation == "count"
    assert order.defense(found, 2, float("inf")) is None
    run = attacked.record(tmp_path / "run", attacked.configuration(found, 3, 2, counted=True))
    assert (run / "view" / "frames.bin").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--model", "."], "--model and --data go together"),
        (["--model", ".", "--data", "/nowhere/sst2"], "is no folder"),
        (["--model", ".", "--data", "."], "the wording of"),
    ],
)
def test_a_source_that_cannot_be_is_refused(given, said, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    attacked.add_source(parser)
    with pytest.raises(SystemExit):
        attacked.source_of(parser, parser.parse_args(given), tmp_path)
    assert said in capsys.readouterr().err


def test_results_of_other_data_sets_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(attacked, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmark("_shared"), "RESULTS", tmp_path)
    here, there = (attacked.Source(name, MODEL_PATH, Path("copy")) for name in ("sst2", "trec"))
    attacked.keep("some", here, {"cells": [1]})
    attacked.keep("some", there, {"cells": [2]})
    attacked.keep("some", here, {"cells": [3]})
    assert attacked.stored("some", here) == {"cells": [3]}
    assert attacked.stored("some", there) == {"cells": [2]}
    assert attacked.stored("some", attacked.Source()) == {}


def test_a_smaller_pool_keeps_every_true_text(backbone):
    data = shipped.load("topic", train=40, validation=1, test=1)
    knowledge = Knowledge(data.task, Position.LABEL, pool=tuple(data.train))
    true = data.train[30:]
    subject = Subject(None, backbone, knowledge, {0: tuple(true[:5]), 1: tuple(true[5:])})
    pool = order.fewer(subject, 15)
    assert len(pool) == 15
    assert pool[5:] == tuple(true)
    assert order.fewer(subject, 4) == tuple(true)
    assert order.fewer(replace(subject, truth={0: tuple(true)}), 100) == knowledge.pool
