"""`defenses` stays light: no language model, no plots, and nothing of the pipeline comes with it."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib, pkgutil, sys
import defenses
names = [module.name for module in pkgutil.walk_packages(defenses.__path__, "defenses.")]
for name in names:
    importlib.import_module(name)
heavy = {"torch", "transformers", "matplotlib", "ifedpriv", "attacks", "safetensors", "tokenizers", "tenseal"}
print(len(names), sorted(heavy & set(sys.modules)))
for name in defenses.__all__:
    getattr(defenses, name)
"""


def test_importing_every_module_loads_nothing_heavy():
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True
    )
    count, _, heavy = run.stdout.strip().partition(" ")
    assert int(count) >= 12
    assert heavy == "[]"
