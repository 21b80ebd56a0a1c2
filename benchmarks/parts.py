"""How much each layer and branch of an undefended vector tells, and what its texts' attributes are.

    python benchmarks/parts.py [layers] [attributes] [--examples 8] [--vectors 20] [--pool 1000]
    python benchmarks/parts.py layers --model DIR --data FOLDER/NAME [...]      another model, and real texts

`ifedpriv attack layers` and `ifedpriv attack attributes` on real runs of one round without calibration, in which the
wire says how many examples a vector is the mean of. Attributes are measured for 1, 8 and 32 examples, on the shipped
task alone: real sets carry none. Results go to ``results/parts.json``, or by data set to
``results/parts_<model>.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from _attacked import Source, add_source, configuration, keep, record, source_of, stored
from _shared import machine, print_machine

from attacks import ATTACKS
from attacks._base.attack import Scope
from attacks._judging.score import Wishes, open_subject
from attacks._program import layers_launch
from attacks._program.answers import finding_to_json
from attacks._program.launch import add_arguments, guess_and_judge

NAME = "parts"
WHAT = ("layers", "attributes")
MIXED = (1, 8, 32)
"""Examples behind a vector whose attributes are guessed."""


def layers(source: Source, examples: int, vectors: int, pool: int) -> dict[str, Any]:
    """The curve, as ``ifedpriv attack layers --json`` prints it."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    layers_launch.add_arguments(parser)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder) / "run", configuration(source, vectors, examples, counted=True))
        options = parser.parse_args([str(run), "--pool", str(pool), "--vectors", str(vectors)])
        made = Path(folder) / "made"
        made.mkdir()
        found = layers_launch.found(run, options, made, lambda *_: None)
    return {"examples": examples, **found, "seconds": round(time.process_time() - started, 1)}


def attributes(source: Source, examples: int, vectors: int) -> dict[str, Any]:
    """All findings on attributes in single uploads."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder) / "run", configuration(source, vectors, examples, counted=True))
        subject = open_subject(run, Wishes(pool=2))
        place = Path(folder) / "random"
        place.mkdir()
        module = import_module(ATTACKS["attributes"])
        _, findings = guess_and_judge(module, subject, (Scope.UPLOADS,), place)
    rows = [finding_to_json(each) for each in findings]
    return {
        "examples": examples,
        "vectors": vectors,
        "findings": rows,
        "seconds": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Measure what is asked for, keep it and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help=f"of {', '.join(WHAT)} (default: all that the texts allow)")
    parser.add_argument("--examples", type=int, default=8, help="behind a vector whose layers are read")
    parser.add_argument("--vectors", type=int, default=20)
    parser.add_argument("--pool", type=int, default=1000)
    add_source(parser)
    options = parser.parse_args()
    for what in options.what:
        if what not in WHAT:
            parser.error(f"there is no {what!r}; choose among {', '.join(WHAT)}")
        if what == "attributes" and options.data is not None:
            parser.error("real sets carry no attributes; leave attributes out")
    facts = machine(1)
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(parser, options, Path(folder))
        asked = options.what or (WHAT if source.folder is None else WHAT[:1])
        found: dict[str, Any] = {}
        if "layers" in asked:
            found["layers"] = layers(source, options.examples, options.vectors, options.pool)
            print(layers_launch.render(found["layers"]))
        if "attributes" in asked:
            found["attributes"] = [attributes(source, examples, options.vectors) for examples in MIXED]
            print(json.dumps(found["attributes"], indent=1))
        told = {"machine": facts, "task": source.task, **source.facts()}
        keep(NAME, source, {**stored(NAME, source), **told, **found})


if __name__ == "__main__":
    main()
