"""A small run on the embedded model, made on the spot for somebody who has none to attack.

The invariant: it is an ordinary run, which anybody could configure, and its truth is opened by the judge alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attacks._attack import Progress
from ifedpriv.config import parse_config
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

PRIVATE: Mapping[str, Any] = {
    "kind": "none",
    "privacy": {
        "unit": "example",
        "trust": "local",
        "epsilon": 1,
        "delta": 1e-5,
        "max_examples": 16,
        "public": {"texts": 256},
    },
}
"""Every client adds enough noise for each of its examples by itself."""


def small_run(folder: Path, defense: Mapping[str, Any], methods: Sequence[str], progress: Progress) -> Path:
    """A run on the embedded model, made to be attacked; of one example a client where whole texts are looked for."""
    examples = 1 if {"search", "soft"} & set(methods) else 8
    config = parse_config(
        {
            "name": "attacked",
            "data": {"name": "topic", "train": 400, "validation": 8, "test": 32},
            "partition": {"kind": "iid", "clients": 20, "examples_per_client": examples},
            "method": {
                "guard": False,
                "calibration": {"rounds": 0},
                **({"aggregation": "count"} if defense else {}),
            },
            **({"defense": dict(defense)} if defense else {}),
            "evaluation": {
                "local_icl": False,
                "local_injection": False,
                "every_round": False,
                "validation_fraction": 0,
            },
        },
        "the small run",
    )
    execute(prepare(config), RunDirectory.create(folder, config), progress)
    return folder
