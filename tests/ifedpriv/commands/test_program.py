"""The program from end to end: what each verb writes, prints and returns."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from program import ROOT, called, environment, started
from runs import files
from tiny import WORDS, examples, tiny_config, write_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.commands import VERBS, main
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.predict import predict_labels, score_labels
from ifedpriv.report import canvas

TEXTS = [example.text for example in examples(12, 7)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_config(folder / "config.yaml", tiny_config(folder))
    return folder


@pytest.fixture(scope="module")
def first(world):
    """What a newcomer's run says; the folder is used by the tests of the other verbs."""
    return started("run", world / "config.yaml", "--out", world / "run")


@pytest.fixture
def run(world, first):
    assert first.code == 0, first
    return world / "run"


def by_hand(world, run, *, plain=False):
    """Answers of the Python interface to `TEXTS`."""
    from ifedpriv.experiment.facts import task_of

    injection = Injection.load(run / "injection.safetensors")
    backbone, task = Backbone.load(world / "model"), task_of(injection.facts)
    given = {} if plain else {"injection": injection}
    chosen = predict_labels(backbone, task, TEXTS, **given)
    return [task.label_words[int(i)] for i in chosen], score_labels(backbone, task, TEXTS, **given)


# ---- run


def test_run_prints_a_table_and_nothing_else(run, first):
    assert first.err == ""
    for name in ("zero-shot", "local ICL, up to 2 shots", "local injection", "global injection"):
        assert name in first.out
    assert "no privacy bound" in " ".join(first.out.split())
    assert first.out.splitlines()[-1] == f"Report: {run / 'report.html'}"


def test_run_leaves_whole_files(run, first):
    names = files(run)
    assert {"config.yaml", "rounds.jsonl", "report.json", "report.html", "injection.safetensors"} <= names
    assert {"view/view.json", "view/frames.bin", "checkpoint/state.safetensors"} <= names
    assert not [name for name in names if "part" in name.rpartition("/")[2].rpartition(".")[2]]
    assert (run / "report.html").read_text("utf-8").lower().startswith("<!doctype html>")
    lines = (run / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [0, 1, 2, 3, 4]


def test_run_with_json_prints_the_report(world, tmp_path):
    done = called("run", world / "config.yaml", "--out", tmp_path / "run", "--json")
    assert json.loads(done.out) == json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))


def test_run_from_a_checkout_that_was_never_installed(run):
    versions = json.loads((run / "report.json").read_text("utf-8"))["versions"]
    assert set(versions) >= {"ifedpriv", "torch", "transformers", "numpy", "python"}
    assert all(versions.values())


def test_a_run_can_leave_things_out(world, tmp_path):
    off = ["record_view=false", "evaluation.every_round=false", "evaluation.local_icl=false"]
    off += ["evaluation.local_injection=false", "method.guard=false", "method.calibration.rounds=0"]
    flags = [argument for value in off for argument in ("--set", value)]
    done = called("run", world / "config.yaml", "--out", tmp_path / "run", "--json", *flags)
    report = json.loads(done.out)
    assert [row["key"] for row in report["rows"]] == ["zero_shot", "global_injection"]
    assert report["guard"] is None
    assert report["round_summary"] is None
    assert not (tmp_path / "run" / "view").exists()


def test_clients_of_one_class_each_run(world, tmp_path):
    flags = ["--set", "partition={kind: pathological, clients: 4, classes_per_client: 1}"]
    done = called("run", world / "config.yaml", "--out", tmp_path / "run", "--json", *flags)
    assert done.code == 0, done
    counts = json.loads(done.out)["task"]["holdings"]["counts"]
    assert all(sorted(row)[0] == 0 < sorted(row)[1] for row in counts)
    flags += ["--set", "method.aggregation=class_balanced"]
    assert called("run", world / "config.yaml", "--out", tmp_path / "balanced", *flags).code == 0


def test_clients_of_one_example_each_run(world, tmp_path):
    """Nothing is left to hold out, so there is no verdict; and nothing fails."""
    flags = ["--set", "data.max_train=3"]
    done = called("run", world / "config.yaml", "--out", tmp_path / "run", "--json", *flags)
    assert done.code == 0, done
    assert json.loads(done.out)["guard"] is None


def test_a_loss_among_labels_that_cannot_be_is_told(tmp_path):
    """Labels of several tokens compete with the vocabulary, whatever the configuration asks for."""
    small = ["data.train=48", "data.validation=20", "data.test=20", "partition.clients=2"]
    quick = ["method.calibration={rounds: 1, steps: 1, loss: labels}", "evaluation.local_icl=false"]
    quick.append("controls.enabled=false")
    sets = [part for value in [*small, *quick] for part in ("--set", value)]
    for task, told in (("intake", True), ("tone", False)):
        done = called("run", "--set", f"data.name={task}", *sets, "--out", tmp_path / task)
        assert done.code == 0, done
        assert ("a label of this task has several tokens" in " ".join(done.out.split())) is told


def test_the_shipped_model_and_tasks_run_with_contradicting_groups(tmp_path):
    flags = [
        "data.name=remedy",
        "data.train=60",
        "data.test=12",
        "partition={kind: contradictory, clients: 2}",
    ]
    flags += ["method.calibration={rounds: 1, steps: 1}", "evaluation.local_injection=false", "threads=1"]
    flags.append("controls.enabled=false")
    given = [argument for value in flags for argument in ("--set", value)]
    done = called("run", "--out", tmp_path / "run", "--json", *given)
    assert done.code == 0, done
    assert sorted(json.loads(done.out)["task"]["holdings"]["groups"]) == ["group 0", "group 1"]


def test_a_generation_task_runs_and_predicts(tmp_path):
    flags = ["data.name=contact", "data.train=30", "data.test=4", "partition={kind: iid, clients: 2}"]
    flags += ["method.calibration={rounds: 1, steps: 1}", "evaluation.local_injection=false", "threads=1"]
    flags.append("controls.enabled=false")
    given = [argument for value in flags for argument in ("--set", value)]
    done = called("run", "--out", tmp_path / "run", "--json", *given)
    assert done.code == 0, done
    report = json.loads(done.out)
    assert report["primary_metric"] == "exact_match"
    assert report["task"]["holdings"]["counts"] == [[15], [15]]
    said = called("predict", tmp_path / "run", "--text", "Note by Ida Holt in Seaford.", "--json")
    assert set(json.loads(said.out)) == {"answer"}


# ---- predict


def test_predict_answers_texts_in_order(world, run):
    words, _ = by_hand(world, run)
    arguments = [argument for text in TEXTS for argument in ("--text", text)]
    done = called("predict", run, *arguments)
    assert done.out.splitlines() == words
    assert set(words) <= set(WORDS)


def test_predict_from_a_file_with_any_line_ends(world, run, tmp_path):
    words, _ = by_hand(world, run)
    for newline, mark in (("\n", ""), ("\r\n", "\ufeff")):
        (tmp_path / "texts").write_bytes((mark + newline.join(TEXTS) + newline).encode())
        assert called("predict", run, "--file", tmp_path / "texts").out.splitlines() == words


def test_one_line_is_one_text_whatever_is_in_it(run, tmp_path):
    """Form feeds, file separators and Unicode's own line ends are part of a text."""
    (tmp_path / "texts").write_bytes("one\x0ctwo\x1cthree\u2028four\x85five\n\nsix\n".encode())
    assert len(called("predict", run, "--file", tmp_path / "texts").out.splitlines()) == 2


def test_predict_from_standard_input_in_a_pipe(world, run):
    words, _ = by_hand(world, run)
    done = started("predict", run, "--file", "-", stdin="\n".join(TEXTS).encode())
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == words


def test_predict_plain_is_the_bare_model(world, run):
    arguments = [argument for text in TEXTS for argument in ("--text", text)]
    plain, scores = by_hand(world, run, plain=True)
    done = called("predict", run, "--plain", "--json", *arguments)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["answer"] for line in lines] == plain
    injected = called("predict", run, "--json", *arguments).out.splitlines()
    for line, other, row in zip(lines, injected, scores, strict=True):
        assert list(line["scores"]) == list(WORDS)
        assert list(line["scores"].values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert json.loads(other)["scores"] != line["scores"]


@pytest.mark.parametrize(("injected", "warned"), [(0.25, True), (0.75, False)])
def test_an_injection_that_the_guard_refused_is_used_with_a_warning(run, tmp_path, injected, warned):
    """On standard error, so that a program that reads the answers is not disturbed."""
    from ifedpriv.experiment.facts import guard_facts
    from ifedpriv.icl.guard import GuardVerdict

    other = tmp_path / "run"
    shutil.copytree(run, other)
    was = Injection.load(run / "injection.safetensors")
    facts = {**was.facts, **guard_facts(GuardVerdict(injected, 0.5, 8))}
    Injection(was.vector, was.coefficients, was.backbone, facts).save(other / "injection.safetensors")
    for command in (
        ["predict", other, "--text", TEXTS[0]],
        ["fold", other, "--out", tmp_path / "folded"],
    ):
        done = called(*command)
        assert done.code == 0, done
        assert ("does NOT improve the model" in done.err) is warned
        assert "does NOT" not in done.out
    assert called("predict", other, "--plain", "--text", TEXTS[0]).err == ""


def test_predict_without_a_text_or_with_one_that_is_none(run, tmp_path):
    assert "there is no text to answer" in called("predict", run).refusal()
    (tmp_path / "empty").write_text("\n \n")
    assert "there is no text" in called("predict", run, "--file", tmp_path / "empty").refusal()
    (tmp_path / "latin").write_bytes("fine\nZoë\n".encode("latin-1"))
    assert "is not UTF-8 at byte 7" in called("predict", run, "--file", tmp_path / "latin").refusal()
    assert "cannot be read" in called("predict", run, "--file", tmp_path / "none").refusal()
    assert "cannot be read" in called("predict", run, "--file", tmp_path).refusal()
    assert "context is 256" in called("predict", run, "--text", "secret " * 99).refusal()


# ---- fold


def test_fold_gives_a_plain_checkpoint_with_the_same_answers(world, run, tmp_path):
    out = tmp_path / "folded"
    done = called("fold", run, "--out", out)
    assert done.code == 0
    assert str(out) in done.out
    words, scores = by_hand(world, run)
    model = AutoModelForCausalLM.from_pretrained(out).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    columns = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in WORDS]
    for text, word, row in zip(TEXTS, words, scores, strict=True):
        ids = torch.tensor([tokenizer(f"Text: {text}\nLabel:").input_ids])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, -1, columns]
        assert logits.tolist() == pytest.approx(row.tolist(), abs=1e-4)
        assert WORDS[int(logits.argmax())] == word
    assert "is not empty" in called("fold", run, "--out", out).refusal()
    (tmp_path / "file").write_text("mine")
    assert "is a file" in called("fold", run, "--out", tmp_path / "file").refusal()
    assert "cannot be written" in called("fold", run, "--out", tmp_path / "file" / "deep").refusal()
    assert (tmp_path / "file").read_text() == "mine"


# ---- report


def test_report_prints_the_table_again_and_writes_the_page_anew(run, first, tmp_path, pictures, monkeypatch):
    # The first page was drawn by a process of its own.
    monkeypatch.setattr(canvas, "_rendered", pictures)
    page = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert called("report", run).out == first.out
    assert (run / "report.html").read_bytes() == page
    done = called("report", run, "--html", tmp_path / "deep" / "page.html", "--json")
    assert json.loads(done.out) == json.loads((run / "report.json").read_text("utf-8"))
    assert (tmp_path / "deep" / "page.html").read_bytes() == page
    assert "cannot be written" in called("report", run, "--html", run).refusal()


def test_report_of_what_is_none(tmp_path):
    assert "is no run" in called("report", tmp_path).refusal()
    (tmp_path / "config.yaml").write_text("")
    assert "report.json cannot be read" in called("report", tmp_path).refusal()
    (tmp_path / "report.json").write_text("{}")
    assert "is not a report" in called("report", tmp_path).refusal()


# ---- tasks


def test_tasks_lists_and_shows():
    listed = json.loads(called("tasks", "--json").out)
    assert list(listed) == [line.split()[0] for line in called("tasks").out.splitlines()]
    for name in listed:
        shown = called("tasks", name, "--examples", 3).out.splitlines()
        assert len(shown) == 3
        assert all(" => " in line for line in shown)
        lines = [
            json.loads(line) for line in called("tasks", name, "--examples", 3, "--json").out.splitlines()
        ]
        assert [f"{line['text']} => {line['answer']}" for line in lines] == shown
    assert "'nothing', which is not shipped" in called("tasks", "nothing").refusal()


# ---- the roof


@pytest.mark.parametrize("arguments", [["--help"], *[[verb, "--help"] for verb in VERBS]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys\nfrom ifedpriv.commands import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as left:\n    assert left.code == 0\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'tokenizers', 'scipy', 'datasets'} & set(sys.modules)\n"
        "sys.exit(f'loads {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage: ifedpriv" in done.stdout


def test_a_users_mistake_is_told_before_anything_heavy_is_loaded():
    code = (
        "import sys\nfrom ifedpriv.commands import main\n"
        "assert main(['run', '--set', 'seed=x']) == 2\nassert main(['predict', '.']) == 2\n"
        "sys.exit('loads torch' if 'torch' in sys.modules else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [[], ["dance"], ["run", "--dance"], ["predict"], ["fold", "x"]])
def test_a_wrong_command_line_is_told_with_the_usage(arguments):
    done = called(*arguments)
    assert done.code == 2
    assert done.err.startswith("usage: ifedpriv")
    assert "Traceback" not in done.err


def test_every_verb_exists_and_its_help_is_its_docstring():
    from importlib import import_module

    for verb, summary in VERBS.items():
        module = import_module(f"ifedpriv.commands.{verb}")
        first_line = module.__doc__.splitlines()[0]
        assert first_line.rstrip(".").lower() == summary.lower()
        assert callable(module.add_arguments)
        assert callable(module.run)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("ifedpriv.commands.tasks.run", lambda _: 1 // 0)
    done = called("tasks")
    assert done.code == 70
    assert "Traceback" in done.err
    assert "ZeroDivisionError" in done.err


def test_an_interrupt_is_no_fault(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ifedpriv.commands.tasks.run", interrupted)
    done = called("tasks")
    assert (done.code, done.err) == (130, "ifedpriv: interrupted\n")


def test_a_reader_that_leaves_is_no_fault():
    """As in `ifedpriv tasks topic --examples 4000 | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ifedpriv", "tasks", "topic", "--examples", "4000"],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), error) == (141, b"")


def test_main_is_what_the_package_offers():
    assert main(["tasks", "--json"]) == 0
