"""Small runs on the embedded model, made on the spot for somebody who has none to attack, and attacked.

The invariant: they are ordinary runs, which anybody could configure; their truth is opened by the judge alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from attacks import ATTACKS
from attacks._base.attack import Attack, Progress
from attacks._judging.finding import Finding
from defenses.upload import UploadKind
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


ROUNDS = 2
"""Of coefficients, for an attack that reads those: the fewest that can be linked."""


def small_run(
    folder: Path, defense: Mapping[str, Any], methods: Sequence[str], progress: Progress, rounds: int = 0
) -> Path:
    """A run on the embedded model, made to be attacked; of one example a client where whole texts are looked for.

    Args:
        folder: where it is made.
        defense: as a configuration has it; empty for none.
        methods: of the attack.
        progress: told of progress.
        rounds: of coefficients.
    """
    examples = 1 if {"search", "soft", "trained"} & set(methods) else 8
    config = parse_config(
        {
            "name": "attacked",
            # So few texts a client are slower on several.
            "threads": 1,
            "data": {"name": "topic", "train": 400, "validation": 8, "test": 32},
            "partition": {"kind": "iid", "clients": 20, "examples_per_client": examples},
            "method": {
                "guard": False,
                "calibration": {"rounds": rounds},
                **({"aggregation": "count"} if defense else {}),
            },
            **({"defense": dict(defense)} if defense else {}),
            "evaluation": {
                "local_icl": False,
                "local_injection": False,
                "every_round": False,
                "validation_fraction": 0,
                "membership": False,
            },
            # What matters here is what the run has sent, and not how well it answers.
            "controls": {"enabled": False},
        },
        "the small run",
    )
    execute(prepare(config), RunDirectory.create(folder, config), progress)
    return folder


def both_ways(
    name: str, options: argparse.Namespace, folder: Path, progress: Progress
) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """A small run without a defense and the same run under differential privacy, both attacked.

    Of the second, the attacker reads each noised upload as the server can, and knows the mechanism.
    """
    from attacks._base.attack import reads_of
    from attacks._program.answers import to_json
    from attacks._program.launch import attack, methods_of

    module: Attack = import_module(ATTACKS[name])
    methods = methods_of(module, options.methods)

    def said(which: str) -> Progress:
        return lambda stage, done, total: progress(f"{which}: {stage}", done, total)

    rounds = ROUNDS if reads_of(module) is UploadKind.COEFFICIENTS else 0
    open_run = small_run(folder / "open", {}, methods, said("without a defense"), rounds)
    made = attack(name, open_run, options, folder / "undefended", said("without a defense"))
    result = to_json(made, reveal=options.reveal)
    private = small_run(folder / "private", PRIVATE, methods, said("with a defense"), rounds)
    defended = attack(name, private, options, folder / "defended", said("with a defense"))
    result["defended"] = to_json(defended, reveal=options.reveal)
    return result, made.findings
