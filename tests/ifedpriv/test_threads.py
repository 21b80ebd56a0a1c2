"""Threads that wait do not spin, whatever door the program is entered by: torch must find that said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_WATCHED = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("torch finds", os.environ.get("OMP_WAIT_POLICY"), flush=True)
            # What is said later is too late for it, and loading it takes seconds.
            os._exit(0)
        return None
sys.meta_path.insert(0, Watch())
"""


def said(code, **more):
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env = {**kept, "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED + code],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import ifedpriv.backbone.backbone",
        "from ifedpriv import IFedICL",
        "import attacks.invert",
        "import attacks._program.launch, attacks._judging.score",
    ],
)
def test_torch_is_loaded_with_patient_threads(code):
    assert "torch finds PASSIVE" in said(code)


def test_whoever_has_said_otherwise_is_left_alone():
    assert "torch finds ACTIVE" in said("import ifedpriv.backbone.backbone", OMP_WAIT_POLICY="ACTIVE")
