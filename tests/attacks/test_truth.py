"""That no attack can reach the truth: shown by what is opened, by what is imported, and by what changes nothing."""

import ast
import shutil
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module

import pytest
from attacked import attacked_run
from program import ROOT

from attacks import ATTACKS, layers
from attacks._base.attack import Knowledge, Scores
from attacks._base.targets import read_told
from attacks._judging.score import Wishes, open_subject
from attacks._texts import search, soft, trained
from attacks._texts.decoder import Effort
from attacks.diff import diff
from attacks.membership import STRONG
from defenses.view import ServerView

WISHES = Wishes(pool=150, shadows=6, strong=True)
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


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Two clients of one example each, behind whose vectors whole texts are looked for."""
    partition = {"kind": "iid", "clients": 2, "examples_per_client": 1}
    return open_subject(attacked_run(tmp_path_factory.mktemp("run"), partition=partition), WISHES)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What takes seconds for each vector, made short: what is opened hangs on no number of steps."""
    effort = Effort(recombined=1, steps=4, batch=8, every=2, width=16, layers=1)
    for module, changes in (
        (
            search,
            {"_CHAINS": 4, "_KEPT": 2, "_BEGINNINGS": 1, "_ROUNDS": 1, "_FIRST": (0.1,), "_THEN": (0.01,)},
        ),
        (soft, {"_STEPS": 4, "_RESTARTS": 2, "_SWEEPS": 1}),
        (trained, {"EFFORT": effort, "_INVERTERS": {}, "_PAIRS": {}, "_SAMPLES": 4, "_SWEEPS": 1}),
    ):
        for name, value in changes.items():
            monkeypatch.setattr(module, name, value)


# ---- every way to attack a recording, each from a view, the model and what is known


def by_attack(name, view, backbone, knowledge):
    return import_module(ATTACKS[name]).guess(view, backbone, knowledge)


def by_method(name, view, backbone, knowledge):
    found = by_attack("invert", view, backbone, replace(knowledge, methods=(name,)))
    assert {guess.method for guess in found if guess.answers} == {name}
    return found


def by_all_others(view, backbone, knowledge):
    found = [guess for guess in by_attack("membership", view, backbone, knowledge) if guess.method == STRONG]
    assert all(guess.answers for guess in found)
    return found


def by_layer(view, backbone, knowledge):
    singles, _ = read_told(view, backbone, knowledge.declared)
    return [
        guess
        # Everything, a layer's branch, a layer, and layers up to one.
        for part in layers.parts_of(backbone.n_layers)[::4]
        for guess in layers.guesses(backbone, knowledge, singles, part, tuple(layers.MEASURES))
    ]


def by_difference(view, backbone, knowledge):
    made, _ = diff([view, view], backbone, minimum=3)
    assert made.sums
    return [made]


ON_MANY = {
    **{name: partial(by_attack, name) for name in sorted(ATTACKS)},
    "membership, all others known": by_all_others,
    "layers": by_layer,
    "diff": by_difference,
}
ON_FEW = {f"invert, {name}": partial(by_method, name) for name in ("search", "soft", "trained")}
WAYS = {**ON_MANY, **ON_FEW}


def test_every_attack_and_every_method_of_a_recording_is_among_the_ways():
    from attacks import SCRIPTS
    from attacks.invert import DEFAULT, METHODS

    needs_none = {"audit", "server", "template"}
    assert {name.partition(",")[0] for name in WAYS} == set(SCRIPTS) - needs_none
    assert {name.partition(", ")[2] for name in ON_FEW} == set(METHODS) - set(DEFAULT)


@pytest.fixture
def attacked(request, subject, few):
    """The subject that a way needs."""
    return few if request.getfixturevalue("way") in ON_FEW else subject


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


@pytest.mark.parametrize("way", WAYS)
def test_an_attack_opens_the_recording_and_nothing_else(way, attacked):
    subject = attacked
    OPENED.paths.clear()
    with OPENED:
        guesses = WAYS[way](subject.view, subject.backbone, subject.knowledge)
    assert any(getattr(guess, "answers", True) for guess in guesses)
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


@pytest.mark.parametrize("way", [name for name in WAYS if name != "diff"])
def test_a_guess_is_the_same_without_the_run_around_the_recording(way, attacked, tmp_path):
    shutil.copytree(attacked.view.folder, tmp_path / "alone")
    with_run, alone = (
        WAYS[way](view, attacked.backbone, attacked.knowledge)
        for view in (attacked.view, ServerView.open(tmp_path / "alone"))
    )
    assert [said(guess) for guess in with_run] == [said(guess) for guess in alone]


def said(guess):
    """A guess as something to compare; of scores by their digits, since one that is no number equals nothing."""
    contents = [
        tuple(map(repr, answer.content.values)) if isinstance(answer.content, Scores) else answer.content
        for answer in guess.answers
    ]
    return guess.method, guess.scope, [answer.who for answer in guess.answers], contents, guess.refused


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
