"""Whole runs with answers in text and in numbers, and an attack that finds what there is to find."""

import json
from dataclasses import replace

import numpy as np
import pytest
from program import called
from tiny import tiny_config, write_config

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.data.shipped import load
from ifedpriv.data.task import TaskData
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment import membership
from ifedpriv.experiment.play import play
from ifedpriv.experiment.prepare import prepare
from ifedpriv.report.schema import Report

ANSWERS = {
    "numbers": ("7", "12", "40"),
    "sentences": ("it rained the whole day long", "the sun came out at noon", "nobody knew what to say"),
}


@pytest.fixture(scope="module", autouse=True)
def pictures():
    """Pages with their pictures, as the reports of these runs have other numbers."""


def generation(folder, answers, **data):
    """A run of three clients whose answers are these in turn."""
    config = tiny_config(folder)
    place = folder / "texts"
    place.mkdir()
    for split, size in (("train", 45), ("test", 24)):
        rows = ({"text": f"{split} day {i}", "answer": answers[i % 3]} for i in range(size))
        (place / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config["data"] = {
        "source": "files", "path": str(place), "template": "Text: {text}\nAnswer:", "kind": "generation",
        "max_new_tokens": 3, **data,
    }  # fmt: skip
    config["method"]["calibration"] = {"rounds": 1, "steps": 1, "batch_size": 4}
    config["evaluation"] |= {"local_icl": False, "local_injection": False}
    done = called("run", write_config(folder / "config.yaml", config), "--out", folder / "run")
    assert done.code == 0, done
    return Report.load(folder / "run" / "report.json"), " ".join(done.out.split())


def test_answers_that_are_no_numbers_are_counted_and_cost_the_most(tmp_path):
    """A random model says hardly any number: such answers are off by the way to the far end of 0 to 50."""
    report, text = generation(tmp_path, ANSWERS["numbers"], answer_range=[0, 50])
    found = report.row("zero_shot").numbers
    kept = json.loads((tmp_path / "run" / "checkpoint" / "zero_shot.json").read_text())
    silent = [not any(mark.isdigit() for mark in said) for said in kept["predicted"]]
    assert found.n == 24 and found.unread >= sum(silent) > 12
    worst = [max(int(wanted), 50 - int(wanted)) ** 2 for wanted in kept["truth"]]
    assert found.rmse >= np.sqrt(np.mean(np.where(silent, worst, 0)))
    assert f"({found.unread} of 24 no number, {found.outside} out of range)" in text
    assert "RMSE (0 is best): zero-shot" in text
    assert "bleu" not in report.row("zero_shot").figures
    assert set(report.signatures) == {"rouge_l"}
    # One list for all clients, and no classes to weigh by: nothing is known of single clients.
    assert report.row("zero_shot").fairness is None
    assert report.membership.measured


def test_sentences_have_bleu_with_its_signature(tmp_path):
    report, text = generation(tmp_path, ANSWERS["sentences"])
    assert 0 <= report.row("global_injection").figures["bleu"].value <= 1
    assert "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp" in report.signatures["bleu"]
    assert "BLEU: zero-shot" in text
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "tok:13a" in page and "a hundred times this number" in page


@pytest.mark.slow
def test_labels_that_were_learned_by_heart_give_their_examples_away():
    """Random labels can only be learned by heart; an adapter that does so is told by its losses, the bare model not.

    Measured with this seed: an AUC of 0.84 with the adapter and 0.43 without, 31 examples of each kind.
    """
    rng = np.random.default_rng(0)
    data = load("tone", train=64, validation=4, test=128)
    train, test = (
        tuple(replace(example, label=int(rng.integers(2))) for example in split)
        for split in (data.train, data.test)
    )
    method = {
        "kind": "fed_lora", "rank": 16, "alpha": 32, "rounds": 4, "steps": 20, "rate": 5e-3,
        "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }  # fmt: skip
    config = parse_config(
        {
            "threads": 1,
            "partition": {"kind": "iid", "clients": 1},
            "evaluation": {"validation_fraction": 0.0},
            "method": method,
        },
        "test",
    )
    backbone = Backbone.load(MODEL_PATH)
    setup = prepare(config, backbone=backbone, data=TaskData(data.task, train, data.validation, test))
    state, _ = play(setup)
    learned = membership.record(membership.losses(setup, setup.method.artifact(state)))
    bare = membership.record(membership.losses(setup, None))
    assert learned.auc.low > 0.6 and learned.advantage.value > 0.2
    assert bare.auc.low < 0.5 < bare.auc.high
