"""The program as a user starts it: in a process of its own, or (many times faster) inside this one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """What the program answered."""

    code: int
    out: str
    err: str

    def refusal(self) -> str:
        """The error's sentence and hint, checked to be a user's error and nothing else."""
        assert self.code == 2, self
        assert self.out == ""
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        assert len(lines) in (1, 2), lines
        assert lines[0].startswith("ifedpriv: error: ")
        assert all(line.startswith("ifedpriv: hint: ") for line in lines[1:])
        assert not lines[0].endswith(".")
        return "\n".join(lines)


def environment() -> dict[str, str]:
    """This process's, less what the program is to do for itself."""
    kept = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def started(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> Said:
    """Run ``python -m ifedpriv`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ifedpriv", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd or ROOT,
        env=environment(),
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def called(*arguments: object, main: Callable[[list[str]], int] | None = None) -> Said:
    """Run the same command line in this process, with its models already imported."""
    from ifedpriv.commands import main as real_main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = (main or real_main)([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
    return Said(code, out.getvalue(), err.getvalue())
