"""Closed-world identification in a pool of 100,000 candidates: which are behind a vector, and how long that takes.

    python benchmarks/large_pool.py --cache FOLDER [--pool 100000] [--examples 1 4 8 32] [--vectors 10]

Every row is a real run of ``--vectors`` clients (one round, no calibration, fp16), attacked among distinct texts of the
shipped task of which all true ones are some. Reading the candidates takes most of the time and is done once: their
activations are kept in the folder, and identification is timed by itself, in a process of its own for each row. The
number of examples is not told. Results go to ``results/large_pool.json`` row by row.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _attacked import TASK, Source, configuration, record
from _shared import RESULTS, child, machine, peak, print_machine, reset_peak, store
from numpy.typing import NDArray

from attacks._base.attack import Members
from attacks._base.space import read
from attacks._base.targets import read_targets
from attacks._judging.score import Wishes, open_subject
from attacks._texts.corpus import among
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.data.task import Example, Task, key_of
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.icl.extract import activations

_SEED = 15_485_863
"""Of the writer of candidates; no run's and no public text's."""


def strangers(pool: int) -> tuple[Task, tuple[Example, ...]]:
    """So many distinct texts with labels, none of which a run was asked for."""
    data = shipped.load(TASK, seed=_SEED, train=pool, validation=1, test=1)
    return data.task, tuple(data.train)


def cached(folder: Path, backbone: Backbone, task: Task, texts: Sequence[Example]) -> NDArray[np.float32]:
    """Activations of the strangers, ``[n, layers, 2, width]``, read once and kept."""
    path = folder / f"{TASK}-{len(texts)}-{backbone.fingerprint[:12]}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        started, done = time.process_time(), 0
        shape = (len(texts), backbone.n_layers, 2, backbone.width)
        partial = path.with_suffix(".partial")
        table = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        for chosen, values in activations(backbone, task, texts, batch_size=64):
            table[chosen] = values
            if (done + len(chosen)) // 5000 > done // 5000:
                print(
                    f"{done + len(chosen)} of {len(texts)}, {time.process_time() - started:.0f} s", flush=True
                )
            done += len(chosen)
        table.flush()
        partial.replace(path)
    found: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return found


def cell(folder: Path, examples: int, vectors: int, pool: int) -> dict[str, Any]:
    """One row: a run, its candidates, and what is named among them; seconds are of identification alone."""
    with tempfile.TemporaryDirectory() as made:
        run = record(Path(made) / "run", configuration(Source(), vectors, examples))
        subject = open_subject(run, Wishes(pool=2))
        assert subject.truth is not None
        held = {n: {key_of(example) for example in texts} for n, texts in subject.truth.items()}
        true = {key_of(example): example for texts in subject.truth.values() for example in texts}
        task, texts = strangers(pool)
        others = [i for i, example in enumerate(texts) if key_of(example) not in true][: pool - len(true)]
        own = read(subject.backbone, subject.knowledge, tuple(true.values()), "")
        public = read(subject.backbone, subject.knowledge, subject.knowledge.public, "")
        candidates = np.concatenate([own, cached(folder, subject.backbone, task, texts)[others]])
        # In a drawn order, so that nothing can be read off places.
        order = np.random.default_rng(0).permutation(len(candidates))
        keys = [*true, *(key_of(texts[i]) for i in others)]
        candidates, keys = candidates[order], [keys[i] for i in order]
        found: dict[str, Any] = {"examples": examples, "vectors": vectors, "pool": len(candidates)}
        before = peak_after_reset()
        for targets in read_targets(subject.view, subject.backbone):
            wall, processor = time.perf_counter(), time.process_time()
            answers = among(public, candidates, targets.targets)
            right, named, members, certain = 0, 0, 0, 0
            seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
            for answer in answers:
                assert isinstance(answer.content, Members)
                whose = set(true) if answer.who.client is None else held[answer.who.client]
                said = {keys[i] for i in answer.content.ranked[: answer.content.chosen]}
                right, named, members = right + len(said & whose), named + len(said), members + len(whose)
                certain += answer.content.certain
            found[str(targets.scope)] = {
                "recall": right / members,
                "precision": right / max(named, 1),
                "certain": certain / len(answers),
                "seconds": {name: round(value, 1) for name, value in seconds.items()},
            }
        found["gib_beside_activations"] = round((peak() - before) / 2**30, 2)
        found["gib_of_activations"] = round(candidates.nbytes / 2**30, 2)
    return found


def peak_after_reset() -> int:
    """Bytes in memory now, from which on the peak is taken."""
    reset_peak()
    return peak()


def main() -> None:
    """Measure every row and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--pool", type=int, default=100_000)
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 4, 8, 32])
    parser.add_argument("--vectors", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(cell(options.cache, options.child, options.vectors, options.pool)))
        return
    facts = machine(options.threads)
    print_machine(facts)
    task, texts = strangers(options.pool)
    cached(options.cache, Backbone.load(MODEL_PATH), task, texts)
    path = RESULTS / "large_pool.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    shared = ["--cache", str(options.cache), "--pool", str(options.pool), "--vectors", str(options.vectors)]
    for examples in options.examples:
        found = child(__file__, ["--child", str(examples), *shared], options.threads)
        rows = sorted([r for r in rows if r["examples"] != examples] + [found], key=lambda r: r["examples"])
        store("large_pool", {"machine": facts, "task": TASK, "rows": rows})
        print(json.dumps(found))


if __name__ == "__main__":
    main()
