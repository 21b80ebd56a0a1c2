"""List the shipped tasks, or show examples of one."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv tasks`."""
    parser.add_argument("name", nargs="?", help="a task to show")
    parser.add_argument("--examples", type=int, default=5, help="how many examples to show")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    from ifedpriv.data.shipped import load, recipes

    if options.name is None:
        summaries = {name: recipe.summary for name, recipe in recipes().items()}
        if options.json:
            print(json.dumps(summaries, indent=1))
        else:
            for name, summary in summaries.items():
                print(f"{name:10} {summary}")
        return 0
    data = load(options.name, train=max(options.examples, 1), validation=1, test=1)
    for example in data.train[: options.examples]:
        if options.json:
            print(json.dumps({"text": example.text, "answer": data.task.answer(example).strip()}))
        else:
            print(data.task.prompt(example.text) + data.task.answer(example))
    return 0
