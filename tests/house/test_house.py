"""The rules of the house that no other tool keeps."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from program import ROOT, environment

PACKAGES = ("ifedpriv", "attacks", "defenses")
LONGEST = 400
# Longer files, with what keeps each of them in one piece.
LONGER = {
    "tests/ifedpriv/data/test_partition.py": "one property a kind of partition",
    "tests/ifedpriv/data/test_loaders.py": "one test a way to give a file",
}


def modules():
    """Every Python file of the project, tests and benchmarks included."""
    folders = [*PACKAGES, "tests", "benchmarks"]
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path):
    return str(path.relative_to(ROOT))


def test_imports_run_one_way():
    """The contracts in pyproject.toml, by import-linter."""
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


def test_tests_are_no_packages():
    """A tests/defenses/__init__.py would make pytest import the tests as `defenses`."""
    assert [name(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


def test_no_attack_is_named_like_a_module_of_others():
    """A script's folder comes first on the path: attacks/inspect.py would break dataclasses for everybody."""
    ours = {path.stem for path in (ROOT / "attacks").glob("*.py")} - {"__init__", "__main__"}
    dependencies = re.findall(r'"([A-Za-z0-9_-]+)[>\[]', (ROOT / "pyproject.toml").read_text())
    taken = set(sys.stdlib_module_names) | {each.replace("-", "_") for each in dependencies} | set(PACKAGES)
    assert {"inspect", "torch", "numpy", "ifedpriv"} <= taken
    assert not ours & taken


@pytest.mark.parametrize("package", ["ifedpriv", "defenses"])
def test_public_names_can_be_imported(package):
    module = import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public).__doc__, public
    with pytest.raises(AttributeError):
        _ = module.nothing_of_this_name


def test_importing_the_packages_loads_no_model_library():
    code = (
        "import sys, ifedpriv, ifedpriv.config, ifedpriv.errors, attacks, defenses, defenses.defense\n"
        "heavy = {'torch', 'transformers', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loads {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", modules(), ids=name)
def test_files_say_why_they_exist_and_stay_short(path):
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "a module's docstring says why the file exists"
    assert docstring.splitlines()[0].strip()
    lines = len(text.splitlines())
    assert lines <= LONGEST or name(path) in LONGER, f"{lines} lines: give each job its own file"


def test_exceptions_from_the_rule_are_still_needed():
    for path in LONGER:
        assert len((ROOT / path).read_text().splitlines()) > LONGEST, path


def test_nothing_is_pickled():
    """Neither here nor in a file that somebody sends: reading a pickle runs its author's code."""
    banned = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [(node.module or "").partition(".")[0]]
            assert not banned & set(imported), name(path)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("torch", "load"), name(path)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_every_default_test_is_offline():
    """`conftest.py` sees to it before any library is imported."""
    import os

    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_test_files_mirror_packages_that_exist():
    for folder in sorted((ROOT / "tests").rglob("test_*.py")):
        parent = Path(name(folder.parent)).relative_to("tests")
        if parent.parts and parent.parts[0] in PACKAGES:
            assert (ROOT / parent).is_dir(), name(folder)
