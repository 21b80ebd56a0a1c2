"""What each attack on vectors costs: processor seconds a vector and at all, and sequences through the model.

    python benchmarks/attack_speed.py [--examples 1 8] [--vectors 20] [--pool 2000] [--only NAME ...] [--scripts ...]

Undefended vectors of the shipped model and task, on one thread. Each attack is started with nothing read and on a few
vectors; then twice more with public texts and candidates at hand, on a few and on all. The difference of the latter is
what a vector costs, and what is left of the first is what is spent whatever the number of vectors. With ``--scripts``
attacks are started as somebody does who gives them no argument, and the whole process is timed. Only processor seconds
are kept: on a machine that is shared, a clock says nothing. Results go to ``results/attack_speed.json`` row by row.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _attacked import TASK, Source, configuration, record
from _shared import RESULTS, machine, print_machine, store

from attacks import SCRIPTS
from attacks import membership as membership_attack
from attacks._base import space
from attacks._base.attack import Knowledge, Scope
from attacks._base.targets import Target, Targets, read_told
from attacks._judging.score import Subject, Wishes, open_subject
from attacks._mixes.attributes import attribute_mixes, names_of
from attacks._mixes.labels import label_mixes
from attacks._texts import trained as trained_attack
from attacks._texts.corpus import identify
from attacks._texts.few import MOST
from attacks._texts.search import search
from attacks._texts.soft import soft
from attacks._texts.trained import MOST_TRAINED, trained
from attacks._texts.unmix import words
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.backbone.count import counted

Run = Callable[[Backbone, Knowledge, Sequence[Target]], object]
FEW, SLOW, SLOW_FEW = 5, 5, 2
"""Vectors of the first two starts; all and those of attacks that take seconds for each."""


def _attributes(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> object:
    name, values = next(iter(names_of(knowledge).items()))
    return attribute_mixes(backbone, knowledge, targets, name, values)


def _membership(backbone: Backbone, knowledge: Knowledge, targets: Sequence[Target]) -> object:
    view = Targets(Scope.UPLOADS, tuple(targets))
    return membership_attack._scope(backbone, knowledge, view)


ATTACKS: dict[str, tuple[Run, int, bool]] = {
    "labels": (label_mixes, 0, False),
    "attributes": (_attributes, 0, False),
    "invert, unmix and probe": (words, 0, False),
    "invert, corpus": (identify, 0, False),
    "membership, all methods": (_membership, 0, False),
    "invert, search": (search, MOST, True),
    "invert, soft": (soft, MOST, True),
    "invert, trained": (trained, MOST_TRAINED, True),
}
"""By name: how to start it, the most examples that it looks behind (0 for any), and whether a vector takes seconds."""


def once(run: Run, subject: Subject, targets: Sequence[Target]) -> tuple[float, int]:
    """Processor seconds and sequences of one start."""
    with counted(subject.backbone) as seen:
        before = time.process_time()
        run(subject.backbone, subject.knowledge, targets)
        return time.process_time() - before, seen.count


def measured(name: str, subject: Subject, examples: int) -> dict[str, Any]:
    """One attack's costs."""
    run, _, slow = ATTACKS[name]
    singles, _ = read_told(subject.view, subject.backbone, subject.knowledge.declared)
    few, many = (SLOW_FEW, SLOW) if slow else (FEW, len(singles.targets))
    space._KEPT.clear()
    trained_attack._INVERTERS.clear()
    first, first_forwards = once(run, subject, singles.targets[:few])
    some, some_forwards = once(run, subject, singles.targets[:few])
    every, every_forwards = once(run, subject, singles.targets[:many])
    each = (every - some) / (many - few)
    forwards = (every_forwards - some_forwards) / (many - few)
    return {
        "attack": name,
        "examples": examples,
        "vectors": many,
        "seconds_a_vector": round(each, 3),
        "seconds_at_all": round(first - few * each, 1),
        "forwards_a_vector": round(forwards),
        "forwards_at_all": round(first_forwards - few * forwards),
    }


def script(name: str) -> dict[str, Any]:
    """Processor seconds of an attack's script without arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ifedpriv", "attack", name], env=environment, capture_output=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"attack {name} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"script": name, "seconds": round(spent)}


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--vectors", type=int, default=20)
    parser.add_argument("--pool", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=tuple(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--scripts", nargs="+", choices=sorted(SCRIPTS), help="time these, and nothing else")
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    path = RESULTS / "attack_speed.json"
    kept = json.loads(path.read_text()) if path.exists() else {"rows": [], "scripts": []}
    rows = {(row["attack"], row["examples"]): row for row in kept["rows"]}
    scripts = {row["script"]: row for row in kept["scripts"]}

    def keep() -> None:
        ordered = [rows[key] for key in sorted(rows, key=lambda key: (key[1], list(ATTACKS).index(key[0])))]
        told = {"task": TASK, "rows": ordered, "scripts": [scripts[name] for name in sorted(scripts)]}
        store("attack_speed", {"machine": facts, **told})

    for name in options.scripts or ():
        scripts[name] = script(name)
        print(scripts[name], flush=True)
        keep()
    for examples in [] if options.scripts else options.examples:
        with tempfile.TemporaryDirectory() as folder:
            run = record(Path(folder) / "run", configuration(Source(), options.vectors, examples))
            subject = open_subject(run, Wishes(pool=options.pool))
            for name in options.only:
                most = ATTACKS[name][1]
                if most and examples > most:
                    continue
                rows[name, examples] = measured(name, subject, examples)
                print(rows[name, examples], flush=True)
                keep()


if __name__ == "__main__":
    main()
