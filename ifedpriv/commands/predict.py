"""Answer texts with what a run has made: an injection, or one of its clusters'."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ifedpriv.commands.console import say
from ifedpriv.errors import InputError

if TYPE_CHECKING:
    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.data.task import Task
    from ifedpriv.icl.predict import Adaptation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv predict`."""
    parser.add_argument("run", type=Path, help="a finished run's folder")
    parser.add_argument(
        "--text", action="append", metavar="TEXT", help="a text to answer; may be given again"
    )
    parser.add_argument("--file", type=Path, help="a file with one text a line; - for standard input")
    parser.add_argument(
        "--prototype",
        type=int,
        metavar="N",
        help="of a run with clusters, the N-th cluster's, from 1; 0 is for all",
    )
    parser.add_argument(
        "--examples",
        type=Path,
        metavar="FILE",
        help="of its clusters, the one that fits these labelled texts best",
    )
    parser.add_argument(
        "--prompt", type=Path, metavar="FILE", help="what `ifedpriv adapt` made of the run's library"
    )
    parser.add_argument("--plain", action="store_true", help="answer with the bare model, for comparison")
    parser.add_argument("--json", action="store_true", help="print one JSON object a text, with scores")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    texts = _texts(options)
    from ifedpriv.data.task import TaskKind
    from ifedpriv.experiment.facts import guard_warning
    from ifedpriv.icl.predict import generate_answers, score_labels

    backbone, task, found, facts = _adaptation(options)
    used = None if options.plain else found
    warning = guard_warning(facts)
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


def _adaptation(options: argparse.Namespace) -> tuple[Backbone, Task, Adaptation, Mapping[str, str]]:
    """What a run has made, on what and for what, and the facts that travel with it."""
    from ifedpriv.experiment.artifact import (
        has_library,
        has_prototypes,
        load_library,
        load_prompt,
        load_run,
        nearest_prompt,
    )

    _one_way(options)
    if options.prompt is not None:
        backbone, task, prompt = load_prompt(options.run, options.prompt)
        return backbone, task, prompt, prompt.facts
    if has_prototypes(options.run):
        return _prototype(options)
    if not has_library(options.run):
        for name in ("prototype", "examples"):
            if getattr(options, name) is not None:
                raise InputError(
                    f"--{name} is given, and {options.run} is no run with clusters", "leave it out"
                )
        backbone, task, injection = load_run(options.run)
        return backbone, task, injection, injection.facts
    backbone, task, library = load_library(options.run)
    number = _numbered(options, len(library.prototypes))
    if options.examples is not None:
        number = nearest_prompt(library, backbone, task, options.examples)
        chosen = f"prototype {number}" if number else "the prompt that is for all"
        say(f"ifedpriv: {chosen} fits the labelled texts best", sys.stderr)
    return backbone, task, library.prompt(number), library.facts


def _prototype(options: argparse.Namespace) -> tuple[Backbone, Task, Adaptation, Mapping[str, str]]:
    """One cluster's injection, or all in equal shares."""
    from ifedpriv.experiment.artifact import load_prototypes, nearest_prototype

    backbone, task, bank = load_prototypes(options.run)
    number = _numbered(options, len(bank))
    if options.examples is not None:
        number = nearest_prototype(bank, backbone, task, options.examples)
        say(f"ifedpriv: prototype {number} fits the labelled texts best", sys.stderr)
    return backbone, task, bank.injection(number - 1) if number else bank, bank.facts


def _one_way(options: argparse.Namespace) -> None:
    given = [name for name in ("prototype", "examples", "prompt") if getattr(options, name) is not None]
    if len(given) > 1:
        raise InputError(f"--{given[0]} and --{given[1]} are both given", "give one: each names what to use")


def _numbered(options: argparse.Namespace, there: int) -> int:
    number: int = options.prototype or 0
    if not 0 <= number <= there:
        raise InputError(
            f"--prototype is {number}, and the run has {there}",
            f"use 1 to {there}, or 0 for what is for all",
        )
    return number


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
