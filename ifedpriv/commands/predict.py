"""Answer texts with a run's injection."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ifedpriv.commands.console import say
from ifedpriv.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv predict`."""
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument(
        "--text", action="append", metavar="TEXT", help="a text to answer; may be given again"
    )
    parser.add_argument("--file", type=Path, help="a file with one text a line; - for standard input")
    parser.add_argument("--plain", action="store_true", help="answer with the bare model, for comparison")
    parser.add_argument("--json", action="store_true", help="print one JSON object a text, with scores")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    texts = _texts(options)
    from ifedpriv.data.task import TaskKind
    from ifedpriv.experiment.artifact import load_run
    from ifedpriv.experiment.facts import guard_warning
    from ifedpriv.icl.predict import generate_answers, score_labels

    backbone, task, injection = load_run(options.run)
    used = None if options.plain else injection
    warning = guard_warning(injection.facts)
    if warning is not None and not options.plain:
        say(f"ifedpriv: warning: {warning}; --plain answers without it", sys.stderr)
    if task.kind is TaskKind.GENERATION:
        answers = generate_answers(backbone, task, texts, injection=used)
        lines = [{"answer": answer} for answer in answers]
    else:
        scores = score_labels(backbone, task, texts, injection=used)
        answers = [task.label_words[int(i)] for i in scores.argmax(axis=1)]
        lines = [
            {"answer": answer, "scores": dict(zip(task.label_words, map(float, row), strict=True))}  # type: ignore[dict-item]
            for answer, row in zip(answers, scores, strict=True)
        ]
    for answer, line in zip(answers, lines, strict=True):
        print(json.dumps(line) if options.json else answer)
    return 0


def _texts(options: argparse.Namespace) -> list[str]:
    texts = list(options.text or [])
    if options.file is not None:
        try:
            raw = sys.stdin.buffer.read() if str(options.file) == "-" else options.file.read_bytes()
            # Not splitlines: it would cut a text at a form feed or at any of seven other characters.
            lines = (line.removesuffix("\r") for line in raw.decode("utf-8-sig").split("\n"))
            texts.extend(line for line in lines if line.strip())
        except OSError as error:
            raise InputError(
                f"--file {options.file} cannot be read ({error.strerror or type(error).__name__})",
                "give a file with one text a line",
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"--file {options.file} is not UTF-8 at byte {error.start}", "save it as UTF-8"
            ) from error
    if not texts:
        raise InputError("there is no text to answer", "give --text or --file")
    return texts
