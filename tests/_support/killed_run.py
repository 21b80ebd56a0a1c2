"""The program in a process of its own, killed with SIGKILL just before its N-th file is put in place.

Every file of a run but the appended ones is written beside and moved over, so these are all the moments
between which what a crash leaves can differ. The processes are forked from a server that has the model
libraries loaded, since loading them takes longer than the run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

HEAVY = [
    "torch",
    "transformers.models.llama.modeling_llama",
    "ifedpriv.experiment.run",
    "ifedpriv.report.page",
]


def _run(kill_at: int, arguments: list[str]) -> None:
    from ifedpriv.commands import main

    move, moves = Path.replace, 0

    def counted(self: Path, target: str | os.PathLike[str]) -> Path:
        nonlocal moves
        moves += 1
        if moves == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return move(self, target)

    Path.replace = counted  # type: ignore[method-assign]
    raise SystemExit(main(arguments))


def kill_run(kill_at: int, *arguments: object) -> None:
    """Run ``ifedpriv ARGUMENTS`` and see it killed.

    Args:
        kill_at: which file it may no longer put in place, from 1.
        arguments: of the command line.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    process = context.Process(target=_run, args=(kill_at, [str(argument) for argument in arguments]))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"it ended by itself with {process.exitcode}"
