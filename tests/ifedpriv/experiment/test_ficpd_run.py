"""A run of soft prompts goes the road of every run: rounds, report, library, predictions; resumable to the byte."""

import json

import numpy as np
import pytest
from killed_run import kill_run
from program import called
from runs import found
from tiny import tiny_config, write_config

from defenses.view import ServerView
from ifedpriv.icl.soft_prompt.library import PromptLibrary
from ifedpriv.icl.soft_prompt.prompt import SoftPrompt
from ifedpriv.report.schema import Report

METHOD = {
    "kind": "ficpd",
    "length": 4,
    "clusters": 2,
    "min_members": 1,
    "warmup": 1,
    "splits": 1,
    "rounds": 1,
    "tuning": {"steps": 2, "batch_size": 4, "rate": 0.3},
    "meta": {"steps": 2, "inner_steps": 1, "new_tokens": 2, "public": {"path": "public.jsonl", "texts": 16}},
}


def configured(folder, name="config", method=None, **changes):
    texts = (f"a {word} day number {n}" for n in range(10) for word in ("fine", "dull"))
    (folder / "public.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = {
        **tiny_config(folder),
        "data_root": str(folder),
        "method": {**METHOD, **(method or {})},
        **changes,
    }
    return write_config(folder / f"{name}.yaml", config)


def lines(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text("utf-8").splitlines()]


def test_a_run_reports_prompts_and_writes_a_library(tmp_path):
    out = tmp_path / "run"
    done = called("run", configured(tmp_path), "--out", out)
    assert done.code == 0, done
    report = Report.load(out / "report.json")
    keys = ["zero_shot", "local_icl", "local_prompt", "meta_prompt", "prototype_prompt"]
    assert [row.key for row in report.rows] == keys
    assert report.coefficients is None and report.guard is None and report.controls is None
    assert "own cluster's prompt (FICPD)" in done.out
    written = lines(out)
    assert [line["kind"] for line in written] == ["prompts", "counts", "prompts", "counts", "prompts"]
    assert [line["test"] is not None for line in written] == [True, False, True, False, True]
    # Two steps of four examples for each of three clients, who choose by 15 texts each before they tune again.
    taken = len(PromptLibrary.load(out / "library.safetensors").prototypes)
    choice = 3 * 15 * taken if taken > 1 else 0
    assert [line["queries"] for line in written] == [24, 0, 0, 24 + choice, 0]
    assert [line["server_queries"] > 0 for line in written] == [False] * 4 + [True]
    assert [record.queries for record in report.rounds] == [line["queries"] for line in written]
    clients, server = (sum(line[key] for line in written) for key in ("queries", "server_queries"))
    said = f"{clients:,} by all clients together, {server:,} by the server"
    assert said in " ".join(done.out.split()) and said in (out / "report.html").read_text("utf-8")
    assert report.row("prototype_prompt").up_bytes_per_client.wire > 0
    said = report.row("prototype_prompt").inference_tokens_per_query
    assert said == pytest.approx(report.row("zero_shot").inference_tokens_per_query + 4)
    page = (out / "report.html").read_text("utf-8")
    assert 'id="coefficients"' not in page and "own cluster" in page
    library = PromptLibrary.load(out / "library.safetensors")
    assert library.backbone == report.backbone.fingerprint and "ifedpriv.privacy" in library.facts
    assert not (out / "injection.safetensors").exists()
    assert len(list(ServerView.open(out / "view").uploads())) == 3 * 5


def test_predictions_with_a_library(tmp_path):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path), "--out", out).code == 0
    count = len(PromptLibrary.load(out / "library.safetensors").prototypes)
    (tmp_path / "few.jsonl").write_text(
        '{"text": "a lovely one", "label": "A"}\n{"text": "sunny", "label": 0}\n'
    )
    scores = {}
    for name, more in {
        "meta": (),
        "first": ("--prototype", 1),
        "few": ("--examples", tmp_path / "few.jsonl"),
    }.items():
        done = called("predict", out, "--text", "sunny", "--json", *more)
        assert done.code == 0, done
        scores[name] = json.loads(done.out)["scores"]
        assert ("fits the labelled texts best" in done.err) is (name == "few")
    assert scores["meta"] != scores["first"]
    refused = called("predict", out, "--text", "x", "--prototype", count + 1)
    assert f"--prototype is {count + 1}, and the run has {count}" in refused.refusal()
    both = called("predict", out, "--text", "x", "--prototype", 1, "--examples", tmp_path / "few.jsonl")
    assert "--prototype and --examples are both given" in both.refusal()
    (tmp_path / "bad.jsonl").write_text('{"text": "sunny", "label": "C"}\n')
    bad = called("predict", out, "--text", "x", "--examples", tmp_path / "bad.jsonl")
    assert "line 1: field 'label' is 'C', which is no known label" in bad.refusal()
    (tmp_path / "bad.jsonl").write_text('{"words": "sunny"}\n')
    bad = called("predict", out, "--text", "x", "--examples", tmp_path / "bad.jsonl")
    assert "line 1: there is no text with its label" in bad.refusal()
    folded = called("fold", out, "--out", tmp_path / "folded")
    assert "is a run of method 'ficpd', which has no injection" in folded.refusal()


def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path):
    config = configured(tmp_path)
    assert called("run", config, "--out", tmp_path / "whole").code == 0
    kill_run(8, "run", config, "--out", tmp_path / "cut")
    assert not (tmp_path / "cut" / "report.json").exists()
    assert called("run", "--resume", tmp_path / "cut").code == 0
    whole, cut = found(tmp_path / "whole"), found(tmp_path / "cut")
    assert whole == cut


def test_compressed_private_and_masked_at_once(tmp_path):
    """Bytes shrink with the rows that are kept, the whole budget is spent, and every release is in the ledger."""
    privacy = {
        "unit": "client",
        "trust": "distributed",
        "epsilon": 30,
        "delta": 0.1,
        "prompts": {"clip": 2.0},
    }
    defense = {"kind": "masked", "privacy": privacy}
    for name, more in (("plain", {}), ("short", {"compression": {"kind": "rows", "keep": 1}})):
        config = configured(tmp_path, name, defense={**defense, **more})
        done = called("run", config, "--out", tmp_path / name)
        assert done.code == 0, done
    before, after = lines(tmp_path / "plain"), lines(tmp_path / "short")
    for b, a in zip(before, after, strict=True):
        # Of each of two clusters 4 x 16 numbers become 1 x 16, of four bytes, for each of three clients.
        saved = 3 * 4 * 2 * 3 * 16 if b["kind"] == "prompts" else 0
        assert b["up"]["wire"] - a["up"]["wire"] == saved
    for name in ("plain", "short"):
        statement = Report.load(tmp_path / name / "report.json").privacy.statement
        assert 15 < statement["epsilon"] <= 30 and statement["unit"] == "client"
        assert statement["releases"] == 5
    text = Report.load(tmp_path / "short" / "report.json").privacy.text
    assert "the random projection of prompts" in text
    assert np.isfinite(PromptLibrary.load(tmp_path / "short" / "library.safetensors").prompts()).all()


def test_a_curve_measures_what_clients_answer_with_their_clusters_prompts(tmp_path):
    run = json.loads(configured(tmp_path).read_text("utf-8"))
    run["defense"] = {"kind": "none", "privacy": {"unit": "client", "delta": 0.1}}
    curve = {"run": run, "epsilons": [8], "units": ["client"], "repeats": 1, "workers": 1}
    done = called("curve", write_config(tmp_path / "curve.yaml", curve), "--out", tmp_path / "curve")
    assert done.code == 0, done
    (line,) = [
        x for x in (tmp_path / "curve" / "points.jsonl").read_text("utf-8").splitlines() if '"private"' in x
    ]
    point = json.loads(line)
    # Three clients' answers to 20 texts each, and noise for both kinds of upload.
    assert point["queries"] == 60 and set(point["noise"]) == {"prompts", "counts"}
    assert 4 < point["spent_epsilon"] <= 8


def test_attacks_on_vectors_have_nothing_to_read(tmp_path):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path), "--out", out).code == 0
    for attack in ("labels", "invert", "membership"):
        done = called("attack", attack, out)
        assert done.code in (0, 2) and "Traceback" not in done.err
        assert "the recording holds no round of context vectors" in done.out + done.err


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ({"clusters": 4}, {}, "method.clusters is 4, and a round asks 3 of 3 clients; use at most 3"),
        ({"min_members": 4}, {}, "method.min_members is 4, and a round asks 3 of 3 clients"),
        (
            {"access": "black_box"},
            {},
            "method: access is 'black_box' and tuning.estimator is 'gradient', which a black box does not give",
        ),
        (
            {},
            {"defense": {"kind": "none", "compression": {"kind": "rows", "keep": 5}}},
            "defense.compression.keep is 5, and array 'slot.00' has 4 rows",
        ),
        (
            {},
            {"defense": {"kind": "none", "privacy": {"epsilon": 1.0}}},
            "defense.privacy.unit is 'example', and method.kind 'ficpd' does not bound what one example does",
        ),
        (
            {"meta": {}},
            {},
            "method.meta.public.path is not set, and only the shipped tasks come with public texts",
        ),
        (
            {"length": 250},
            {},
            "an example of client 0 behind 250 tokens of method.length has 266 tokens",
        ),
        ({"tuning": {"optimiser": "lion"}}, {}, "method.tuning.optimiser is 'lion'"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_written(tmp_path, method, changes, said):
    refused = called("run", configured(tmp_path, method=method, **changes), "--out", tmp_path / "run")
    assert said in refused.refusal()
    assert not (tmp_path / "run").exists()


FEW = (
    ("a lovely one", "yes"),
    ("a sunny one", "yes"),
    ("a grim one", "no"),
    ("a bleak one", "no"),
    ("a dull day", "no"),
)


def labelled(path, rows):
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path


@pytest.mark.parametrize(
    "method",
    [
        {},
        {
            "access": "black_box",
            "tuning": {"steps": 1, "batch_size": 4, "rate": 0.3, "estimator": "zeroth_order"},
        },
    ],
    ids=["gradients", "losses alone"],
)
def test_a_newcomer_tunes_a_prompt_for_a_task_of_its_own(tmp_path, method):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path, method=method), "--out", out).code == 0
    few = labelled(tmp_path / "few.jsonl", FEW)
    given = (
        "adapt",
        out,
        "--examples",
        few,
        "--template",
        "Is this nice? {text}\nAnswer:",
        "--labels",
        "yes",
    )
    given += ("no", "--test", few, "--steps", 12, "--json")
    made = {}
    for name, more in {"one": (), "same": (), "other": ("--seed", 1)}.items():
        done = called(*given, "--out", tmp_path / f"{name}.safetensors", *more)
        assert done.code == 0, done
        made[name] = json.loads(done.out)
    assert made["one"] == {**made["same"], "file": made["one"]["file"]}
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "same.safetensors").read_bytes()
    assert (tmp_path / "one.safetensors").read_bytes() != (tmp_path / "other.safetensors").read_bytes()
    prompt = SoftPrompt.load(tmp_path / "one.safetensors")
    library = PromptLibrary.load(out / "library.safetensors")
    assert prompt.values.shape == library.meta.shape
    assert not any(np.array_equal(prompt.values, start) for start in library.prompts())
    # A finished library, each of its prompts, and the wording of the task.
    assert len(made["one"]["losses"]) == len(library) + 1
    said = json.loads(prompt.facts["adapted"])
    assert said["examples"] == 5 and said["steps"] == 12 and said["protection"].startswith("none")
    assert "lovely" not in json.dumps(dict(prompt.facts))
    answers = called("predict", out, "--prompt", tmp_path / "one.safetensors", "--text", "a sunny one")
    assert answers.code == 0 and answers.out.strip() in ("yes", "no")
    assert made["one"]["tested"]["texts"] == 5


def test_tuning_fits_the_newcomers_examples(tmp_path):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path), "--out", out).code == 0
    few = labelled(tmp_path / "few.jsonl", [(text, "A" if label == "yes" else "B") for text, label in FEW])
    done = called("adapt", out, "--examples", few, "--test", few, "--steps", 60, "--out", tmp_path / "p")
    assert done.code == 0, done
    assert "1.000 adapted" in done.out and "protected by nothing" in done.out
    assert json.loads(SoftPrompt.load(tmp_path / "p").facts["task"])["label_words"] == ["A", "B"]


def test_what_a_newcomer_may_not_ask(tmp_path):
    out = tmp_path / "run"
    assert called("run", configured(tmp_path), "--out", out).code == 0
    few = labelled(tmp_path / "few.jsonl", FEW)
    given = ("adapt", out, "--examples", few, "--out")
    refusals = {
        "line 1: field 'label' is 'yes', which is no known label": (tmp_path / "p",),
        "--steps is 0": (tmp_path / "p", "--steps", 0),
        "--seed is -1": (tmp_path / "p", "--seed", -1),
        f"--out {tmp_path} is a folder": (tmp_path,),
        "template": (tmp_path / "p", "--template", "no place", "--labels", "yes", "no"),
        "does not exist": (tmp_path / "p", "--labels", "yes", "no", "--test", tmp_path / "none.jsonl"),
    }
    for said, more in refusals.items():
        assert said in called(*given, *more).refusal()
        assert not (tmp_path / "p").exists()
    both = called("predict", out, "--text", "x", "--prototype", 1, "--prompt", tmp_path / "p")
    assert "--prototype and --prompt are both given" in both.refusal()
    missing = called("predict", out, "--text", "x", "--prompt", tmp_path / "p")
    assert "p" in missing.refusal()
