"""Whether the attacks are resisted under (1, 1e-5) differential privacy of examples, with vectors enough to say so.

    python benchmarks/resisted.py [uploads] [aggregates] [unshrunk] [texts]

- ``uploads``: one run in which every client adds the noise by itself; each of its noised uploads is a vector.
- ``aggregates``: many runs in which a trusted server adds it, each over other clients of the same texts; the released
  mean of each is a vector.
- ``unshrunk``: the same, where the server leaves out James and Stein's shrinking, which attacks undo otherwise.
- ``texts``: as the first, of one example a client, attacked by those that look for whole texts.

All attacks know the mechanism, public texts, and a pool that holds every true text. For every metric that has a
threshold: its value, its difference to the best control with an interval over vectors, and the verdict by the rule of
`attacks._judging.metrics.judge`. Results go to ``results/attacks_resisted.json`` row by row; ``--only`` measures some
attacks anew and the others' rows stay.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from _attacked import TASK, Source, configuration
from _shared import RESULTS, machine, print_machine, store

from attacks import ATTACKS
from attacks._base.attack import Scope
from attacks._base.declared import Declared
from attacks._judging.controls import random_view
from attacks._judging.finding import Finding
from attacks._judging.rules import RULES
from attacks._judging.score import Subject, Wishes, all_but_one, open_subject
from attacks._program.launch import guess_and_judge
from attacks._program.layers_launch import by_part, named, targets_of
from attacks._program.small_run import PRIVATE
from attacks._readings.read_back import not_shrunk, released_sum
from attacks._whole_run.request import Request
from attacks._whole_run.subject import open_readings
from attacks.layers import parts_of
from attacks.membership import SOURCE
from defenses.codec import Precision
from defenses.dp.release import Bounded
from defenses.frame import SERVER, encode
from defenses.session import RoundInfo
from defenses.specs import ClearSpec
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig
from ifedpriv.data import shipped
from ifedpriv.data.task import TaskData
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory
from ifedpriv.methods.ifed_icl import IfedIcl

NAME = "attacks_resisted"
TEXTS = 3900
"""Texts of all clients of all runs, and candidates."""
UPLOADS = (120, 32)
AGGREGATES = (10, 4)
SINGLES = (240, 1)
"""Clients, and examples of each: the more members a vector has, the fewer vectors tell an area from a half."""
ATTACKED = ("labels", "invert", "attributes", "membership")
BY_LAYER = ("labels", "probe", "membership")
WHOLE = ("search", "trained")
RUNS = 120
Row = dict[str, Any]


@cache
def world() -> tuple[Backbone, TaskData]:
    """The model, and the texts that all runs share."""
    return Backbone.load(MODEL_PATH), shipped.load(TASK, train=TEXTS, validation=8, test=16)


def private(trust: str, clients: int, examples: int, seed: int, shrink: bool = True) -> RunConfig:
    """A run in which the vector is all that is released, with noise."""
    privacy = {**PRIVATE["privacy"], "trust": trust, "max_examples": 2 * examples}
    privacy |= {} if shrink else {"vector": {"shrink": False}}
    defense = {**PRIVATE, "privacy": privacy}
    return configuration(Source(), clients, examples, defense=defense, counted=True, train=TEXTS, seed=seed)


def attacked(config: RunConfig, scope: Scope, folder: Path) -> Subject:
    """A run, and what of it is attacked; the mechanism is known."""
    backbone, data = world()
    execute(prepare(config, backbone=backbone, data=data), RunDirectory.create(folder / "run", config))
    readings = open_readings(Request(target=folder / "run", pool=2), folder / "own", lambda *_: None)
    (subject,) = (reading.subject for reading in readings if scope in reading.scopes)
    return with_pool(subject)


def with_pool(subject: Subject) -> Subject:
    """The subject with all texts that any run could hold as candidates, in a drawn order."""
    data = world()[1]
    order = np.random.default_rng(0).permutation(len(data.train))
    pool = tuple(data.train[i] for i in order)
    return replace(subject, knowledge=replace(subject.knowledge, pool=pool))


def findings(
    subject: Subject, scope: Scope, folder: Path, names: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    """What some attacks find in one scope, by name of the attack."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name not in ATTACKED:
            continue
        started = time.process_time()
        _, found = guess_and_judge(import_module(ATTACKS[name]), subject, [scope], folder / name)
        print(f"{name}: {time.process_time() - started:.0f} CPU s", flush=True)
        yield from ((name, each) for each in found if each.verdict is not None)


def by_layer(subject: Subject, folder: Path) -> Iterator[tuple[str, Finding]]:
    """What is found in each branch, and in each layer by itself."""
    targets = targets_of(subject, None)
    control = random_view(subject.view, subject.backbone, subject.knowledge, folder / "layers")
    random = targets_of(replace(subject, view=control), None)
    parts = [
        part
        for part in parts_of(subject.backbone.n_layers)
        if part.group == "branch" or (part.group == "single" and part.sites.branches == "both")
    ]
    for part, found in by_part(subject, targets, parts, BY_LAYER, random=random, progress=lambda *_: None):
        told = named({"group": part.group, "at": part.at, "branches": part.sites.branches})
        for each in found:
            if each.metric in RULES:
                yield "layers", replace(each, method=f"{each.method}, {told}")


def row(name: str, found: Finding) -> Row:
    """A finding as it is kept."""
    return {
        "attack": name,
        "method": found.method,
        "metric": found.metric,
        "vectors": found.vectors,
        "value": found.value,
        "interval": found.interval,
        "controls": dict(found.controls),
        "gain": asdict(found.gain) if found.gain else None,
        "verdict": str(found.verdict),
        "why": found.why,
    }


def uploads(folder: Path, only: Sequence[str]) -> Iterator[Row]:
    """Every attack on the uploads of one run."""
    subject = attacked(private("local", *UPLOADS, 0), Scope.UPLOADS, folder)
    for name, found in findings(subject, Scope.UPLOADS, folder, only):
        yield row(name, found)
    if "layers" in only:
        for name, found in by_layer(subject, folder):
            yield row(name, found)


def texts(folder: Path, only: Sequence[str]) -> Iterator[Row]:
    """Attacks that look for whole texts, on uploads that stand for one."""
    subject = attacked(private("local", *SINGLES, 0), Scope.UPLOADS, folder)
    for method in WHOLE if "invert" in only else ():
        told = replace(subject, knowledge=replace(subject.knowledge, methods=(method,)))
        for name, found in findings(told, Scope.UPLOADS, folder / method, ("invert",)):
            yield row(name, found)


def unshrunk(folder: Path, only: Sequence[str]) -> Iterator[Row]:
    """The same where means are not pulled toward the centre, and so none is lost that was pulled all the way."""
    yield from aggregates(folder, only, shrink=False)


def aggregates(folder: Path, only: Sequence[str], shrink: bool = True) -> Iterator[Row]:
    """Every attack on the released means of many runs, which are put into one recording as if each were an upload."""
    backbone, data = world()
    vectors, truth, known = [], {}, {}
    shape = (backbone.n_layers, 2, backbone.width)
    for seed in range(RUNS):
        config = private("central", *AGGREGATES, seed, shrink)
        setup = prepare(config, backbone=backbone, data=data)
        made = folder / f"run{seed}"
        execute(setup, RunDirectory.create(made, config))
        assert isinstance(setup.method, IfedIcl)
        number = setup.method.vector_round
        release = setup.defense.release(*setup.method.asks(number))
        assert isinstance(release, Bounded)
        roster = len(setup.clients.numbers(number))
        view = ServerView.open(made / "view")
        mechanism = released_sum(view, release, shape)
        assert mechanism is not None
        known[mechanism.key] = mechanism
        # As whoever attacks one of the runs reads it.
        (frame,) = not_shrunk(view, release, folder / f"read{seed}").computed(UploadKind.VECTOR)
        vectors.append(frame.upload)
        truth[seed] = tuple(example for n in range(roster) for example in setup.clients[n].train)
    print(f"{RUNS} runs: {time.process_time():.0f} CPU s", flush=True)
    # The first run's own subject holds what is public, and all have one mechanism.
    (mechanism,) = known.values()
    wishes = Wishes(pool=2, declared=Declared(mechanism=mechanism))
    first = with_pool(open_subject(folder / "run0", wishes))
    view = _recording(vectors, first.view, folder / "means")
    others = all_but_one(view, truth, first.knowledge.pool, 0)
    subject = replace(first, view=view, truth=truth, knowledge=replace(first.knowledge, others=others))
    for name, found in findings(subject, Scope.UPLOADS, folder / "attacked", only):
        # Runs share texts, so that no text is of one of them alone.
        if found.method != SOURCE:
            yield row(name, found)


def _recording(uploads: Sequence[Upload], like: ServerView, folder: Path) -> ServerView:
    """One round of vectors, each upload of a sender of its own."""
    facts = like.facts
    with ServerViewWriter.create(
        folder, backbone=facts.backbone, task=facts.task, defense=ClearSpec()
    ) as writer:
        senders = tuple(range(len(uploads)))
        for number, upload in enumerate(uploads):
            told = Upload({"vector": upload.arrays["vector"]}, upload.weight, 0, UploadKind.VECTOR)
            if number == 0:
                writer.begin_round(RoundInfo(0, UploadKind.VECTOR, senders, told.layout))
            sent = encode(told, number, Precision.FP32)
            writer.append(Direction.UP, sender=number, recipient=SERVER, round_number=0, frame=sent)
    return ServerView.open(folder)


KINDS: Mapping[str, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
    "uploads": uploads,
    "aggregates": aggregates,
    "unshrunk": unshrunk,
    "texts": texts,
}


def keep(what: str, found: Row, facts: Mapping[str, Any], *, first: bool) -> None:
    """Put a row behind all others; with the first one of an attack and method, their older rows go."""
    path = RESULTS / f"{NAME}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    of = (found["attack"], found["method"])
    rows = [each for each in kept.get(what, ()) if not first or (each["attack"], each["method"]) != of]
    told = {"machine": dict(facts), "task": TASK, "pool": TEXTS, "privacy": dict(PRIVATE["privacy"])}
    store(NAME, {**kept, **told, what: [*rows, found]})


def show(found: Row) -> None:
    """A line a metric."""
    gain = found["gain"]
    interval = gain["interval"] if gain else None
    told = (
        f"{gain['value']:+.4f} [{interval[0]:+.4f}, {interval[1]:+.4f}] over {gain['control']}"
        if gain and interval
        else ""
    )
    value = "none" if found["value"] is None else f"{found['value']:.4f}"
    print(
        f"{found['attack']:<11} {found['method']:<32} {found['metric']:<19} {value:<8} {told} "
        f"{found['verdict']} ({found['vectors']} vectors)",
        flush=True,
    )


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument(
        "--only", nargs="+", choices=(*ATTACKED, "layers"), help="measure these attacks alone"
    )
    options = parser.parse_args()
    unknown = set(options.what) - set(KINDS)
    if unknown:
        parser.error(f"there is no {unknown.pop()!r}; choose among {', '.join(KINDS)}")
    facts = machine(1)
    print_machine(facts)
    for what in options.what or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            seen: set[tuple[str, str]] = set()
            for found in KINDS[what](Path(folder), options.only or (*ATTACKED, "layers")):
                show(found)
                of = (found["attack"], found["method"])
                keep(what, found, facts, first=of not in seen)
                seen.add(of)


if __name__ == "__main__":
    main()
