"""Whole texts out of undefended and noised vectors, by number of examples behind a vector.

    python benchmarks/text_attacks.py [--examples 1 2 4] [--vectors 100] [--methods search soft trained] [--noises open]
    python benchmarks/text_attacks.py --model DIR --data FOLDER/NAME [...]      another model, and real texts

A line is one vector: the mean activations of so many texts of task `topic` at fp16, with Gaussian noise of a declared
size or without, attacked by a method that is told the number of examples. Lines go to ``results/text_attacks.jsonl``
(or ``text_attacks_<model>.jsonl``) as they are measured, so an interrupted sweep goes on. Beside every figure stand
those of random public texts (``prior``).

``trained`` trains once for each cell and process, before its first vector. How long that took, and how likely held-out
public texts were to it, stands beside every vector of the cell; ``--inverters FOLDER`` keeps what it trained.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _attacked import PUBLIC, Source, add_source, source_of, texts_of
from _cells import Cell, Figures, measure, text_table

from attacks._base.attack import Answer, Knowledge, Texts, Who
from attacks._base.declared import Declared
from attacks._base.space import read
from attacks._base.targets import Target, rounding_variance
from attacks._base.tokens import inner_tokens
from attacks._judging.text_metrics import text_metrics
from attacks._program.shelf import FolderShelf
from attacks._texts.few import Told
from attacks._texts.search import search
from attacks._texts.soft import soft
from attacks._texts.trained import EFFORT, inverter_of, trained
from attacks._texts.wording import Encoder, Wording
from defenses.codec import Precision
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data import shipped
from ifedpriv.data.task import Example, Task
from ifedpriv.icl.prompts import Position

PUBLIC_SEED = 1_000_003
METHODS = ("search", "soft", "trained")
NOISES = {"open": 0.0, "noised": 1.0}
"""Noise in each number, in units of what one text's activations spread about the mean."""


@cache
def world(source: Source) -> tuple[Backbone, Task, tuple[Example, ...], float]:
    """The model, the task, public texts, and the root mean square of what their activations spread."""
    backbone = Backbone.load(source.model)
    if source.folder is None:
        made = shipped.load(source.task, seed=PUBLIC_SEED, train=PUBLIC, validation=1, test=1)
        task, public = made.task, tuple(made.train)
    else:
        data = texts_of(source)
        task, public = data.task, tuple(data.validation)
    knowledge = Knowledge(task, Position.LABEL, public)
    values = read(backbone, knowledge, knowledge.public, "")
    return backbone, task, public, float(np.sqrt(np.mean(values.std(axis=0) ** 2)))


def private_texts(source: Source, examples: int, seed: int) -> Sequence[Example]:
    """Texts behind the vector of a seed, none of them public."""
    if source.folder is None:
        made = shipped.load(source.task, seed=seed, train=max(6, examples), validation=1, test=1)
        return made.train[:examples]
    train = texts_of(source).train
    return [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:examples]]


def run(
    method: str, backbone: Backbone, knowledge: Knowledge, target: Target
) -> tuple[Answer, Mapping[str, float]]:
    """What a method makes of one vector, and what it says of itself."""
    if method == "trained":
        (answer,), facts = trained(backbone, knowledge, [target])
        return answer, {"held-out loss": dict(facts)["held-out loss"]}
    (answer,) = {"search": search, "soft": soft}[method](backbone, knowledge, [target])
    return answer, {}


_TRAINING: dict[tuple[int, float], float] = {}


def prepare(backbone: Backbone, knowledge: Knowledge, target: Target) -> Mapping[str, float]:
    """Have the inverter of a cell trained, and how long that took when it was."""
    wording = Wording.of(backbone, knowledge)
    started = time.process_time()
    told = Told(target, (0,) * (target.examples or 1))
    inverter_of(Encoder(backbone, knowledge, wording), wording, [told])
    key = (target.examples or 1, knowledge.declared.noise)
    return {"training seconds": _TRAINING.setdefault(key, time.process_time() - started)}


def one(
    source: Source, method: str, examples: int, noise: float, seed: int, inverters: Path | None = None
) -> Figures:
    """The figures of one vector."""
    backbone, task, public, spread = world(source)
    sigma = noise * spread
    private = private_texts(source, examples, seed)
    # The seed of an attack is that of its training, too: one inverter for all vectors of a cell.
    chosen = 0 if method == "trained" else seed
    shelf = FolderShelf(inverters) if inverters is not None else None
    knowledge = Knowledge(task, Position.LABEL, public, declared=Declared(sigma), seed=chosen, shelf=shelf)
    mean = read(backbone, knowledge, private, "").astype(np.float64).mean(axis=0)
    drawn = mean + sigma * np.random.default_rng(seed).normal(size=mean.shape)
    sent = drawn.astype(np.float16).astype(np.float64)
    target = Target(Who(0), sent, rounding_variance(sent, Precision.FP16) + sigma**2, examples)
    before = prepare(backbone, knowledge, target) if method == "trained" else {}
    started = time.process_time()
    answer, facts = run(method, backbone, knowledge, target)
    seconds = time.process_time() - started
    assert isinstance(answer.content, Texts)
    true = inner_tokens(backbone, task, private)
    some = np.random.default_rng([seed, 1]).permutation(len(public))[:examples]
    blind = inner_tokens(backbone, task, [public[i] for i in some])

    def decode(ids: Any) -> str:
        return str(backbone.tokenizer.decode(list(ids)))

    found = {
        **text_metrics(answer.content.texts, true, decode),
        "token F1": f1(answer.content.texts, true),
        "certain": float(answer.content.certain),
    }
    control = {**text_metrics(blind, true, decode), "token F1": f1(blind, true)}
    return {
        **found,
        **{f"{name}, prior": value for name, value in control.items()},
        **facts,
        **before,
        "forwards": float(answer.forwards),
        "seconds": seconds,
    }


def f1(guessed: Any, true: Any) -> float:
    """Of different tokens, all texts together."""
    said, meant = ({token for text in texts for token in text} for texts in (guessed, true))
    return 2 * len(said & meant) / max(1, len(said) + len(meant))


def cell(source: Source, method: str, examples: int, noise: float, inverters: Path | None) -> Cell:
    """One point of the sweep; its seeds are its vectors."""
    settings = {"method": method, "examples": examples, "noise": noise, "task": source.task, "public": PUBLIC}
    if method == "trained":
        settings["effort"] = asdict(EFFORT)
    return Cell(settings, lambda seed: one(source, method, examples, noise, seed, inverters))


def main() -> None:
    """Measure what is missing and print all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--vectors", type=int, default=100)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=["search"])
    parser.add_argument("--noises", nargs="+", choices=list(NOISES), default=list(NOISES))
    parser.add_argument("--inverters", type=Path, metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1)
    add_source(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(parser, options, Path(folder))
        whose = "" if source.folder is None else f"{source.task}: "
        cells = {
            f"{whose}{method}, {count} examples, {name}": cell(
                source, method, count, NOISES[name], options.inverters
            )
            for method in options.methods
            for count in options.examples
            for name in options.noises
        }
        seeds = range(7, 7 + options.vectors)
        # One cell after the other: an inverter serves all vectors of its cell, and few are kept at once.
        found: dict[str, Mapping[str, Figures]] = {}
        for name, each in cells.items():
            found[name] = measured(source, name, each, seeds)
    print(text_table(found))


def measured(source: Source, name: str, one_cell: Cell, seeds: Sequence[int]) -> Mapping[str, Figures]:
    """The vectors of one cell."""
    fingerprint = world(source)[0].fingerprint
    return measure(f"text_attacks{source.suffix}", fingerprint, {name: one_cell}, seeds)[name]


if __name__ == "__main__":
    main()
