"""Which attack noise ends first: single uploads under a falling epsilon, and every attack told the noise.

    python benchmarks/epsilon_order.py [--examples 1 16] [--vectors 100] [--epsilons inf 50 ... 0.1]
    python benchmarks/epsilon_order.py --model DIR --data FOLDER/NAME [...]        another model, and real texts

Each cell is a real run in which every client adds the noise by itself (trust local, an example hidden, delta 1e-5, the
vector alone released, a clip about a public centre); at inf there is no defense and no clip. The number of examples is
what the wire says, with its noise where there is some. The attacker has 1,000 public texts and a pool of 1,000 that
holds every true text (2,000 where 1,600 are true). Cells have the same clients, texts and pool, and differ in epsilon
alone. Of the controls, *random vector* is left out: it costs as much as all else. Results go to
``results/epsilon_order.json``, or by data set to ``results/epsilon_order_<model>.json``, cell by cell.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from _attacked import Source, add_source, configuration, keep, source_of, stored
from _order_tables import headline
from _shared import machine, print_machine

from attacks import labels, membership
from attacks._base.attack import Guess, Scope
from attacks._base.targets import read_targets, read_told
from attacks._judging.finding import Finding
from attacks._judging.judge import score
from attacks._judging.rules import RULES
from attacks._judging.score import Subject
from attacks._program.answers import finding_to_json
from attacks._texts.corpus import identify
from attacks._texts.unmix import words
from attacks._whole_run.request import Request
from attacks._whole_run.subject import open_readings
from ifedpriv.data.task import Example, key_of
from ifedpriv.experiment.prepare import Material, gather, ground, protect
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

NAME = "epsilon_order"
FEWEST = 1000
"""Candidates, without which finding a text among them proves little."""
_ROOM = 1 << 30
"""Bytes of clients' activations that are kept from one epsilon to the next."""
EPSILONS = (math.inf, 50.0, 24.0, 8.0, 4.0, 1.0, 0.5, 0.25, 0.1)
"""Past some 51 the sampler's own distance times e^epsilon is above delta, and less noise has no bound."""


def defense(source: Source, examples: int, epsilon: float) -> dict[str, Any] | None:
    """As a configuration has it; None for none."""
    if math.isinf(epsilon):
        return None
    privacy = {
        "unit": "example",
        "trust": "local",
        "epsilon": epsilon,
        "delta": 1e-5,
        "max_examples": 2 * examples,
        "public": source.public,
    }
    return {"kind": "none", "privacy": privacy}


class Clients:
    """The same clients under one budget after the other.

    Args:
        source: model and texts.
        vectors: clients.
        examples: of each.
    """

    def __init__(self, source: Source, vectors: int, examples: int) -> None:
        self._source, self._vectors, self._examples = source, vectors, examples
        # The more of them are true, the less a blind choice is wrong.
        self._pool = max(FEWEST, round(1.25 * vectors * examples))
        self._material: Material | None = None

    def cell(self, epsilon: float) -> dict[str, Any]:
        """All findings at one epsilon."""
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            subject = self._opened(epsilon, Path(folder))
            rows = [finding_to_json(each) for each in findings(subject)]
        return {
            "epsilon": None if math.isinf(epsilon) else epsilon,
            "examples": self._examples,
            "vectors": self._vectors,
            "pool": len(subject.knowledge.pool),
            "noise": subject.knowledge.declared.noise,
            "findings": rows,
            "seconds": round(time.process_time() - started, 1),
        }

    def _opened(self, epsilon: float, folder: Path) -> Subject:
        """The uploads of a run; the noise is told."""
        config = configuration(
            self._source,
            self._vectors,
            self._examples,
            defense=defense(self._source, self._examples, epsilon),
            counted=True,
            train=self._pool,
        )
        material = self._material
        if material is None or material.ground != ground(config):
            material = self._material = gather(config, room=_ROOM)
        execute(protect(config, material), RunDirectory.create(folder / "run", config))
        request = Request(target=folder / "run", pool=self._pool)
        readings = open_readings(request, folder / "own", lambda *_: None)
        (subject,) = (reading.subject for reading in readings if Scope.UPLOADS in reading.scopes)
        # The aggregate is not asked for, and who knows all of its examples but one would have to read them all.
        others = {who: known for who, known in subject.knowledge.others.items() if who.client is not None}
        pool = fewer(subject, self._pool)
        return replace(subject, knowledge=replace(subject.knowledge, others=others, pool=pool))


def fewer(subject: Subject, size: int) -> tuple[Example, ...]:
    """The pool without some of the candidates that are nobody's; an audit draws as many of these as of true ones."""
    assert subject.truth is not None
    true = {key_of(example) for held in subject.truth.values() for example in held}
    pool = subject.knowledge.pool
    others = [i for i, example in enumerate(pool) if key_of(example) not in true]
    dropped = set(others[max(0, size - (len(pool) - len(others))) :])
    return tuple(example for i, example in enumerate(pool) if i not in dropped)


def findings(subject: Subject) -> Iterator[Finding]:
    """What every attack finds in single uploads."""
    backbone, knowledge = subject.backbone, subject.knowledge
    singles, _ = read_told(subject.view, backbone, knowledge.declared)
    uploads = {found.scope: found.targets for found in read_targets(subject.view, backbone)}
    read_off = words(backbone, knowledge, singles.targets)
    made = [Guess("invert", name, Scope.UPLOADS, answers) for name, answers in read_off.items()]
    made.append(Guess("invert", "corpus", Scope.UPLOADS, identify(backbone, knowledge, singles.targets)))
    made += labels.guess(subject.view, backbone, knowledge)
    # The other ways to tell members find no more than the likelihood ratio does.
    told = replace(knowledge, methods=(membership.RATIO, membership.STRONG))
    made += membership.guess(subject.view, backbone, told)
    found = score(subject, [guess for guess in made if guess.scope is Scope.UPLOADS], uploads)
    return (each for each in found if each.metric in RULES or each.metric == "corpus precision")


def show(found: Mapping[str, Any]) -> None:
    """A line a method."""
    print(f"epsilon {found['epsilon']}, {found['examples']} examples, {found['seconds']} CPU s", flush=True)
    for row in found["findings"]:
        if not headline(row):
            continue
        low, high = row["gain"]["interval"]
        print(
            f"  {row['method']:<17} {row['metric']:<18} {row['value']:.3f} {row['gain']['value']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}] over {row['gain']['control']}: {row['verdict']}",
            flush=True,
        )


def main() -> None:
    """Measure every cell, keep it and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--vectors", type=int, default=100)
    parser.add_argument("--epsilons", type=float, nargs="+", default=list(EPSILONS))
    add_source(parser)
    options = parser.parse_args()
    facts = machine(1)
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(parser, options, Path(folder))
        for examples in options.examples:
            clients = Clients(source, options.vectors, examples)
            for epsilon in options.epsilons:
                found = clients.cell(epsilon)
                show(found)
                cells = [
                    each for each in stored(NAME, source).get("cells", []) if place(each) != place(found)
                ]
                cells = sorted([*cells, found], key=place)
                told = {"machine": facts, "task": source.task, **source.facts(), "delta": 1e-5}
                keep(NAME, source, {**told, "cells": cells})


def place(found: Mapping[str, Any]) -> tuple[int, float]:
    """Where a cell stands: fewer examples first, then larger epsilons."""
    return found["examples"], -(found["epsilon"] or math.inf)


if __name__ == "__main__":
    main()
