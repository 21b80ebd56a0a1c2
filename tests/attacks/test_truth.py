"""That no attack can reach the truth: shown by what is opened, by what is imported, and by what changes nothing."""

import ast
import shutil
import sys
from importlib import import_module

import pytest
from attacked import attacked_run
from program import ROOT

from attacks import ATTACKS
from attacks._base.attack import Knowledge
from attacks._judging.score import Wishes, open_subject
from defenses.view import ServerView

WISHES = Wishes(pool=150, shadows=6)
ROOMS = ("_base", "_differences", "_members", "_mixes", "_texts")
"""Rooms of attacks; what is read off recordings is read there."""
BLIND = (
    *(name.rpartition(".")[2] for name in ATTACKS.values()),
    "diff",
    "layers",
    *sorted(f"{room}/{path.stem}" for room in ROOMS for path in (ROOT / "attacks" / room).glob("*.py")),
)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    calibration = {"rounds": 2, "steps": 1, "batch_size": 4}
    method = {"kind": "ifed_icl", "guard": False, "calibration": calibration}
    return open_subject(attacked_run(tmp_path_factory.mktemp("run"), method=method), WISHES)


class Opened:
    """Paths that Python opens while this is on; an audit hook cannot be taken off, so it is switched."""

    def __init__(self):
        self.on, self.paths = False, []
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if self.on and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "socket.connect"):
            self.paths.append((event, str(arguments[0])))

    def __enter__(self):
        self.on = True
        return self

    def __exit__(self, *_):
        self.on = False


OPENED = Opened()


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_opens_the_recording_and_nothing_else(name, subject):
    module = import_module(ATTACKS[name])
    OPENED.paths.clear()
    with OPENED:
        guesses = module.guess(subject.view, subject.backbone, subject.knowledge)
    assert any(guess.answers for guess in guesses)
    libraries = (
        sys.prefix,
        sys.base_prefix,
        str(ROOT / "attacks"),
        str(ROOT / "ifedpriv"),
        str(ROOT / "defenses"),
    )
    strange = [
        path
        for event, path in OPENED.paths
        if not (path.startswith(libraries) and path.endswith((".py", ".pyc", ".so"))) and "/proc/" not in path
    ]
    folder = str(subject.view.folder)
    assert strange, "the recording is read while guessing"
    assert set(strange) <= {f"{folder}/frames.bin", f"{folder}/view.json"}


def test_the_hook_hears(tmp_path):
    OPENED.paths.clear()
    with OPENED:
        (tmp_path / "x").write_text("y")
    assert ("open", str(tmp_path / "x")) in OPENED.paths


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_guess_is_the_same_without_the_run_around_the_recording(name, subject, tmp_path):
    shutil.copytree(subject.view.folder, tmp_path / "alone")
    module = import_module(ATTACKS[name])
    with_run = module.guess(subject.view, subject.backbone, subject.knowledge)
    alone = module.guess(ServerView.open(tmp_path / "alone"), subject.backbone, subject.knowledge)
    assert [(g.method, g.scope, g.answers, g.refused) for g in with_run] == [
        (g.method, g.scope, g.answers, g.refused) for g in alone
    ]


@pytest.mark.parametrize("name", BLIND)
def test_no_attack_imports_what_opens_the_truth(name):
    tree = ast.parse((ROOT / "attacks" / f"{name}.py").read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    banned = (
        "attacks._judging",
        "ifedpriv.experiment",
        "ifedpriv.config",
        "pathlib",
        "os",
        "io",
    )
    assert not [each for each in imported if each.startswith(banned)]
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "eval", "exec", "__import__"}


def test_every_file_of_an_attack_is_looked_at():
    sees_the_truth = {"_judging", "_program", "_readings", "_server", "_whole_run"}
    reads_no_recording = {"_mechanisms", "_statistics"}
    rooms = {path.parent.name for path in (ROOT / "attacks").glob("*/*.py")}
    assert rooms == {*ROOMS, *sees_the_truth, *reads_no_recording}
    plays = {"__init__", "audit", "server", "template"}
    assert {path.stem for path in (ROOT / "attacks").glob("*.py")} == plays | {
        n for n in BLIND if "/" not in n
    }


def test_knowledge_holds_no_private_text_but_in_the_pool(subject):
    private = {example.text for held in subject.truth.values() for example in held}
    assert private
    assert not private & {example.text for example in subject.knowledge.public}
    assert private <= {example.text for example in subject.knowledge.pool}
    assert not {"truth", "clients", "config"} & set(Knowledge.__slots__)


def test_reprs_show_no_text(subject):
    guesses = import_module("attacks.invert").guess(subject.view, subject.backbone, subject.knowledge)
    said = repr(subject.knowledge) + repr(subject) + repr(guesses)
    for example in subject.knowledge.pool:
        assert example.text not in said
