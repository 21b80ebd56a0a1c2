"""What the documents tell a newcomer to type does what they say."""

import argparse
import re
import shutil
import textwrap
from importlib import import_module

import pytest
from documents import ROOT, blocks, commands, documents, name_of

from ifedpriv.commands import VERBS
from ifedpriv.config import load_config

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    pytest.param(words, id=f"{name_of(path)}: {' '.join(words)}")
    for path in documents()
    for words in commands(path.read_text(encoding="utf-8"), "ifedpriv")
]


def parse(words):
    """Read a command line as `ifedpriv` would, without running it."""
    verb, *rest = words
    parser = argparse.ArgumentParser(exit_on_error=False)
    import_module(f"ifedpriv.commands.{verb}").add_arguments(parser)
    return parser.parse_args(rest)


def test_readme_is_short():
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("words", COMMANDS)
def test_command_lines_parse(words):
    if words == ["--help"]:
        return
    assert words[0] in VERBS
    options = parse(words) if len(words) > 1 else None
    if words[0] == "run" and options and options.config and (ROOT / options.config).exists():
        load_config(ROOT / options.config, options.set)


def test_a_wrong_command_line_does_not_parse():
    with pytest.raises(SystemExit):
        parse(["run", "--resum", "a", "b", "c"])


def test_readme_shows_every_verb():
    assert {words[0] for words in commands(README, "ifedpriv")} == set(VERBS)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = [words[0] for path in documents() for words in commands(path.read_text(encoding="utf-8"), "make")]
    assert {"run", "test", "lint"} <= set(named) <= targets


def test_python_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples = blocks(README, "python")
    assert examples
    for source in examples:
        exec(compile(source, "README.md", "exec"), {})
    answers, verdict, statement = capsys.readouterr().out.splitlines()
    assert answers.count("'") == 2 * 8
    assert "held-out examples" in verdict
    assert statement.startswith("There is no privacy bound.")
    assert (tmp_path / "tone.safetensors").stat().st_size > 0


def test_configurations_load(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    examples = blocks(README, "yaml")
    assert examples
    for source in examples:
        path = tmp_path / "mine.yaml"
        path.write_text(textwrap.dedent(source))
        config = load_config(path)
        assert config.data.source == "files"
        assert config.partition.kind == "dirichlet"


def test_sentences_of_the_statement_are_quoted_as_they_are():
    from defenses import ClearSpec, Defense, Ledger

    text = Defense.from_spec(ClearSpec()).statement(Ledger(simulation=True)).text()
    privacy = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    quoted = blocks(privacy, "text")[0]
    shown = " ".join(quoted.split())
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", text):
        if not sentence.startswith("Releases"):
            assert sentence in shown


def test_counts_in_the_documents_are_right():
    from ifedpriv.backbone.families import FAMILIES
    from ifedpriv.data.presets import PRESETS
    from ifedpriv.data.shipped import task_names

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"{len(FAMILIES)} families" in README
    assert f"{len(FAMILIES)} families" in changes
    assert (len(PRESETS), len(task_names())) == (10, 10)
    assert "ten known sets, ten shipped tasks" in " ".join(changes.split())
    assert len(list((ROOT / "configs").glob("paper_*.yaml"))) == 7
