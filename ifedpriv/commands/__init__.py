"""The roof: one file a verb, one parser, one place where errors become sentences and exit codes.

A verb's module is imported only when it is asked for, so that `ifedpriv --help` loads nothing heavy.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from ifedpriv.errors import IfedprivError

VERBS: dict[str, str] = {
    "run": "run one experiment and report on it",
    "curve": "measure accuracy against epsilon, with intervals over seeds",
    "coefficients": "calibrate coefficients on public tasks, for runs that release nothing but a vector",
    "adapt": "tune a prompt of one's own from a run's library, on a few labelled texts",
    "predict": "answer texts with what a run has made: an injection, or one of its clusters'",
    "fold": "write a run's injection into a plain checkpoint",
    "report": "print a finished run's table, or write its page anew",
    "account": "say which noise a budget asks for, or what given noise costs, before anyone spends it",
    "attack": "attack a run's recording and say what it leaks; audit a mechanism; or play a cheating server",
    "audit": "try everything on a run that can be tried, and report what leaks and whether its bound holds",
    "keys": "make the key files of an encrypted run: the key holder's, the server's, and one for each client",
    "tasks": "list the shipped tasks, or show examples of one",
    "pretrain": "train the embedded model from scratch, or evaluate it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    0: done. 2: something the user can mend. 70: a fault of ours, with its traceback. 130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not sys.stderr.isatty():
        # Read when transformers is imported, which then draws no bars into a pipe.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    parser = argparse.ArgumentParser(
        prog="ifedpriv",
        description="Federated in-context learning, with a record of what every party reveals.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(verb, help=summary, description=summary)
        if arguments[:1] == [verb]:
            import_module(f"ifedpriv.commands.{verb}").add_arguments(sub)
    options = parser.parse_args(arguments)
    try:
        code: int = import_module(f"ifedpriv.commands.{options.verb}").run(options)
        return code
    except IfedprivError as error:
        from ifedpriv.commands.console import fail

        return fail(error)
    except KeyboardInterrupt:
        print("ifedpriv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has left; what is still in the buffer would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception:
        traceback.print_exc()
        return 70
