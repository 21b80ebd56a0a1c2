"""Runs that are made to be attacked, each of one round without calibration: on the shipped model and task, or on a
model and a data set on disk.

The one invariant: what is public (1,000 texts that no client holds) is the same in all runs of one source.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _shared import RESULTS, store

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import RunConfig, parse_config
from ifedpriv.data.loaders import load_task_data
from ifedpriv.data.presets import PRESETS, resolve
from ifedpriv.data.specs import PresetData
from ifedpriv.data.task import Example, TaskData
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.prepare import data_root, prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

TASK = "topic"
PUBLIC = 1000
"""Texts of a real data set that are set aside for the attacker and for the public facts of a private run."""
SPARE = 60
"""Examples of the shipped task that are nobody's."""
_TEST = 16


@dataclass(frozen=True, slots=True)
class Source:
    """A model and texts.

    Attributes:
        task: of the shipped world, or the data set's name.
        model: a folder with a causal LM.
        folder: the data set, as `copied` leaves it; None for the shipped task.
        left_out: texts that are longer than the model's context.
    """

    task: str = TASK
    model: Path = MODEL_PATH
    folder: Path | None = None
    left_out: int = 0

    @property
    def suffix(self) -> str:
        """What a result's name ends in."""
        return "" if self.folder is None else f"_{self.model.name}"

    def sections(self, train: int) -> dict[str, Any]:
        """What a configuration says about model and data.

        Args:
            train: texts of the shipped task that are made; a real set is used whole.
        """
        if self.folder is None:
            return {"data": {"name": self.task, "train": train, "validation": 8, "test": _TEST}}
        data = {"source": "preset", "name": self.task, "path": str(self.folder), "max_test": _TEST}
        return {"backbone": {"path": str(self.model)}, "data": data}

    @property
    def public(self) -> dict[str, Any]:
        """What a private run's configuration says about public texts."""
        if self.folder is None:
            return {"texts": 256}
        return {"path": str(self.folder / "validation.jsonl"), "texts": PUBLIC}

    def facts(self) -> dict[str, Any]:
        """What a reader has to know, without where files lie."""
        backbone = Backbone.load(self.model)
        return {
            "model": "the shipped one" if self.folder is None else self.model.name,
            "fingerprint": backbone.fingerprint,
            "context": backbone.max_length,
            "left_out": self.left_out,
        }


def add_source(parser: argparse.ArgumentParser) -> None:
    """Arguments that name a model and a data set, in place of the shipped ones."""
    parser.add_argument(
        "--model", type=Path, help="a directory with a causal LM, in place of the shipped one"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER/NAME", help=f"with --model: one of {', '.join(PRESETS)}"
    )


def source_of(parser: argparse.ArgumentParser, options: argparse.Namespace, folder: Path) -> Source:
    """The source that the options name.

    Args:
        parser: that made them, which reports a mistake.
        options: with ``model`` and ``data``.
        folder: an empty one, for a copy of the data.
    """
    if (options.model is None) != (options.data is None):
        parser.error("--model and --data go together")
    if options.model is None:
        return Source()
    for name, path in (("--model", options.model), ("--data", options.data)):
        if not path.is_dir():
            parser.error(f"{name} {path} is no folder")
    if options.data.name not in PRESETS:
        parser.error(f"--data names {options.data.name!r}; the wording of {', '.join(PRESETS)} is known")
    left_out = copied(Backbone.load(options.model), options.data, folder)
    return Source(options.data.name, options.model, folder, left_out)


def copied(backbone: Backbone, data: Path, to: Path) -> int:
    """Copy a data set with `PUBLIC` texts set aside, and without texts that do not fit the model.

    A run refuses a text that is longer than the context, and cuts none.

    Returns:
        How many texts were left out.
    """
    spec = resolve(PresetData(source="preset", name=data.name))
    task = spec.task(data.name, spec.label_words)
    answer = max((task.answer(Example("", label=i)) for i in range(task.n_classes)), key=len)
    left_out = 0
    to.mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "meta.json", to / "meta.json")
    for split in ("train", "test"):
        lines = (data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [task.prompt(json.loads(line)["text"]) + answer + task.separator for line in lines]
        fits = [len(ids) <= backbone.max_length for ids in backbone.encode_prompts(texts)]
        kept = [line for line, fit in zip(lines, fits, strict=True) if fit]
        left_out += len(lines) - len(kept)
        if split == "train":
            order = np.random.default_rng(0).permutation(len(kept))
            public, kept = [kept[i] for i in order[:PUBLIC]], [kept[i] for i in order[PUBLIC:]]
            _write(to / "validation.jsonl", public)
        _write(to / f"{split}.jsonl", kept)
    return left_out


@cache
def texts_of(source: Source) -> TaskData:
    """Task and splits of a real data set; the validation split is what is public."""
    config = configuration(source, 1, 1)
    return load_task_data(config.data, data_root(config))


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def configuration(
    source: Source,
    clients: int,
    examples: int,
    *,
    defense: Mapping[str, Any] | None = None,
    counted: bool = False,
    train: int | None = None,
    seed: int = 0,
    rounds: int = 0,
) -> RunConfig:
    """A run of so many clients with so many examples each, whose vector is released first.

    Args:
        source: model and texts.
        clients: iid.
        examples: of each.
        defense: as a configuration has it; None for none.
        counted: send the number of examples, too, which privacy needs.
        train: texts of the shipped task that are made; as many as are needed, where None.
        seed: of the run.
        rounds: of coefficients, after the vector.
    """
    off = {"local_icl": False, "local_injection": False, "every_round": False, "membership": False}
    return parse_config(
        {
            "name": f"k{examples}",
            "seed": seed,
            "threads": 1,
            **source.sections(train or clients * examples + SPARE),
            "partition": {"kind": "iid", "clients": clients, "examples_per_client": examples},
            "method": {
                "guard": False,
                "calibration": {"rounds": rounds},
                **({"aggregation": "count"} if counted else {}),
            },
            **({"defense": dict(defense)} if defense else {}),
            "evaluation": {**off, "validation_fraction": 0},
            "controls": {"enabled": False},
        },
        "the benchmark",
    )


def record(folder: Path, config: RunConfig) -> Path:
    """The folder of a run that was just made, with its recording."""
    execute(prepare(config), RunDirectory.create(folder, config))
    return folder


def _document(name: str, source: Source) -> dict[str, Any]:
    path = RESULTS / f"{name}{source.suffix}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def stored(name: str, source: Source) -> dict[str, Any]:
    """What was measured before; on real texts, of this data set.

    Args:
        name: of the result.
        source: what it is about.
    """
    found = _document(name, source)
    kept: dict[str, Any] = found if source.folder is None else found.get(source.task, {})
    return kept


def keep(name: str, source: Source, result: dict[str, Any]) -> None:
    """Write a result; those of other data sets stay."""
    whole = result if source.folder is None else {**_document(name, source), source.task: result}
    store(f"{name}{source.suffix}", whole)
