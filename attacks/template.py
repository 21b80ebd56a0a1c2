"""A server that chooses the template: what honest clients tell it under crafted wording, beside the shipped one.

Needs no run and no recording: it words a shipped task in a small family of ways, tries each on its own public texts,
and measures the best on clients that it never saw, with the very code that clients run. The invariant: nothing that is
measured was used to choose.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from attacks._program.played import Played
from ifedpriv.errors import InputError

if TYPE_CHECKING:
    from attacks._server.templates import Agreed, Told
    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.data.task import Example, Task

NAME = "template"
LEAKS = 1
"""Exit code where a crafted template tells more and clients that pin nothing take it."""
ENOUGH = 0.05
"""What a crafted template must tell more, of one of four kinds, to be said to."""
METRICS = ("labels", "words", "strings", "members")
_WIDTH = 98
_PINNED = (
    "pin.task and pin.position in a client's own configuration refuse any other wording before a text is read"
)
_UNPINNED = (
    "No frame carries a template: each end has it from its configuration, and the context that masked sums are bound "
    "to only tells that all ends have the same. A client whose configuration is the server's takes what it is given."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv attack template`."""
    parser.add_argument(
        "--task", default="topic", help="the shipped task that is worded anew (default: topic)"
    )
    parser.add_argument("--examples", type=int, default=2, metavar="K", help="of each client (default: 2)")
    parser.add_argument(
        "--clients", type=int, default=20, metavar="N", help="that are measured (default: 20)"
    )
    parser.add_argument("--endings", type=int, default=4, metavar="N", help="that are tried (default: 4)")
    parser.add_argument(
        "--public-texts", type=int, default=600, metavar="N", help="of the server (default: 600)"
    )
    parser.add_argument("--pool", type=int, default=400, metavar="N", help="candidates (default: 400)")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="noise in each number, as a share of the spread of single texts as shipped (default: 0, rounding alone)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of every text and draw")


def play(options: argparse.Namespace, progress: Callable[[str, int, int], None]) -> Played:
    """Search and measure; the code is `LEAKS` if the best template tells more than the shipped one.

    Raises:
        InputError: a number is too small to measure anything.
    """
    for name, least in (("examples", 1), ("clients", 5), ("endings", 0), ("public_texts", 50)):
        if getattr(options, name) < least:
            raise InputError(
                f"--{name.replace('_', '-')} is {getattr(options, name)}", f"give {least} or more"
            )
    if not (math.isfinite(options.noise) and options.noise >= 0):
        raise InputError(f"--noise is {options.noise}", "give a share, 0 for none")
    if options.pool < options.clients * options.examples:
        raise InputError(
            f"--pool is {options.pool}, fewer than the {options.clients * options.examples} texts of the clients",
            "raise it",
        )
    from ifedpriv.backbone.backbone import Backbone
    from ifedpriv.data import shipped
    from ifedpriv.embedded import MODEL_PATH

    data = shipped.load(
        options.task,
        seed=options.seed,
        train=options.public_texts,
        validation=options.pool,
        test=options.pool,
    )
    document = measure(
        Backbone.load(MODEL_PATH), data.task, data.train, data.validation, data.test, options, progress
    )
    return Played(document, render(document), LEAKS if document["verdict"] == "works" else 0)


def measure(
    backbone: Backbone,
    task: Task,
    public: Sequence[Example],
    trial: Sequence[Example],
    fresh: Sequence[Example],
    options: argparse.Namespace,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The search and what comes of it, as plain data.

    Args:
        backbone: the public model.
        task: as shipped.
        public: the server's texts, to fit its attacks on.
        trial: the server's own, to choose a template by.
        fresh: the clients', among candidates that are nobody's.
        options: of the command line.
        progress: told of progress.
    """
    from attacks._server.templates import SHIPPED, family, measured, noise_of, search
    from ifedpriv.icl.prompts import Position

    family_ = family(task, Position.LABEL, public, options.endings)
    noise = noise_of(backbone, family_[0], public, options.noise) if options.noise else 0.0
    number = options.clients * options.examples
    terms = (options.examples, noise, options.seed)
    best, tried = search(backbone, family_, public, trial[:number], trial, *terms, progress)
    shipped = measured(backbone, family_[0], public, fresh[:number], fresh, *terms)
    crafted = (
        shipped if best.name == SHIPPED else measured(backbone, best, public, fresh[:number], fresh, *terms)
    )
    gains = _gains(shipped, crafted)
    more = [name for name, gain in gains.items() if gain["interval"][0] > 0 and gain["value"] >= ENOUGH]
    return {
        "schema": 1,
        "attack": NAME,
        "task": task.name,
        "clients": options.clients,
        "examples": options.examples,
        "noise": noise,
        "pool": len(fresh),
        "tried": [_row(each, tried[each.name]) for each in family_],
        "chosen": best.name,
        "template": best.task.template,
        "position": str(best.position),
        "shipped": _values(shipped),
        "crafted": _values(crafted),
        "gains": gains,
        "verdict": "works" if more else "resisted" if best.name == SHIPPED else "inconclusive",
        "why": f"the chosen template tells more of {', '.join(more)} than the shipped one"
        if more
        else "no template of the family was seen to tell more than the shipped one",
        "accepted": _UNPINNED,
        "stopped_by": _PINNED,
    }


def _values(told: Told) -> dict[str, float]:
    return {name: getattr(told, name) for name in METRICS}


def _row(each: Agreed, told: Told) -> dict[str, Any]:
    return {
        "name": each.name,
        "template": each.task.template,
        "position": str(each.position),
        **_values(told),
    }


def _gains(shipped: Told, crafted: Told) -> dict[str, dict[str, Any]]:
    """What the crafted template tells more, on the very same clients, with a bootstrap over these."""
    from ifedpriv.measure.intervals import bootstrap_mean

    found = {}
    for column, name in enumerate(METRICS):
        difference = (crafted.by_vector - shipped.by_vector)[:, column]
        interval = bootstrap_mean(difference.tolist())
        found[name] = {"value": float(difference.mean()), "interval": [interval.low, interval.high]}
    return found


def render(document: dict[str, Any]) -> str:
    """The result for a person."""
    lines = [
        f"ifedpriv attack {NAME}: {document['verdict'].upper()}, {document['why']}",
        f"task {document['task']}, {document['clients']} clients of {document['examples']} examples, noise "
        f"{document['noise']:.3g} in each number, pool of {document['pool']}",
        "",
        f"{'tried on public texts':<34}" + "".join(f"{name:<10}" for name in METRICS),
    ]
    lines += [
        f"{row['name'][:32]:<34}" + "".join(f"{row[name]:<10.3f}" for name in METRICS)
        for row in document["tried"]
    ]
    lines += [
        "",
        f"chosen: {document['chosen']}, read at {document['position']}; on clients that were not used to choose",
    ]
    for name in METRICS:
        gain = document["gains"][name]
        low, high = gain["interval"]
        lines.append(
            f"  {name:<10}shipped {document['shipped'][name]:.3f}, crafted {document['crafted'][name]:.3f}, "
            f"difference {gain['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    lines += [
        "",
        *wrap(document["accepted"], _WIDTH),
        *wrap(f"What stops it: {document['stopped_by']}.", _WIDTH),
    ]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    from attacks._program.launch import main

    raise SystemExit(main(NAME))
