"""Which recordings sums are taken from: small ones made for the purpose, and what a run's folder says of its noise.

The invariant: what is worked out of a private run's configuration here is public: clip, steps and coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attacks._base.attack import Progress
from attacks._base.noised_sum import NoisedSum
from attacks._differences.sums import Private, PrivateMean
from attacks._judging.score import Subject
from attacks._readings.read_back import before_pulling, vector_of, vector_release
from defenses.dp.release import ARRAY
from defenses.frame import SERVER, DecodedFrame
from defenses.units import Trust
from defenses.view import ServerViewWriter
from ifedpriv.config import load_config, parse_config
from ifedpriv.experiment.facts import task_hash
from ifedpriv.experiment.play import federation_of, first_ledger
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.rundir import RunDirectory

_MISSING = (0.0, 0.1, 0.25)
"""Failure rates of the small runs: with their seed nobody, one of 12 clients and two are missing."""


def remarks(paths: Sequence[Path]) -> list[str]:
    """Where simulated randomness makes a difference more exact than it would be in a deployment."""

    configs = [load_config(path / "config.yaml") for path in paths if (path / "config.yaml").is_file()]
    seeds = [config.seed for config in configs if config.simulation]
    if len(set(seeds)) == len(seeds):
        return []
    return [
        "these runs are simulations that drew their noise and rounding from one seed: what they share of it cancels "
        "here, and would not in a deployment"
    ]


def private_reader(path: Path | None, subject: Subject) -> Private | None:
    """How a private run's frames are read, from the clip and the steps in its configuration.

    Under central trust a sum is read as it is released, with noise: whoever is to be kept from the sum that the server
    adds the noise to must not be that server.
    """

    if subject.view.facts.defense.privacy is None or path is None:
        return None
    backbone = subject.backbone
    release = vector_release(prepare(load_config(path), backbone=backbone))
    if release is None:
        return None
    shape = (backbone.n_layers, 2, backbone.width)
    rosters = {entry.number: len(entry.roster) for entry in subject.view.facts.rounds}

    central = release.trust is Trust.CENTRAL

    def reader(frame: DecodedFrame, clients: int) -> PrivateMean | None:
        upload, released = frame.upload, central and frame.sender == SERVER
        if ("vector" if released else ARRAY) not in upload.arrays:
            return None
        roster = rosters[upload.round]
        steps = release.deviation(release.lattice(roster), clients)
        if released:
            units = upload.weight
            vector = before_pulling(upload.arrays["vector"], units, release, roster, clients).reshape(-1)
        else:
            # Where the server adds the noise, a client adds none.
            steps = 0.0 if central else steps
            total = upload.arrays[ARRAY].astype("float64") * clients
            vector, units = vector_of(total, release, roster, upload.round)
        known = NoisedSum.of(release, shape, steps, roster)
        rounding = known.grain / np.sqrt(max(units, 1.0))
        return PrivateMean(vector.astype(np.float64), units, known.in_numbers(units), rounding)

    return reader


def small_runs(folder: Path, progress: Progress) -> list[Path]:
    """Recordings of one federation under secure aggregation, made to be attacked: each lacks one client more."""

    paths: list[Path] = []
    backbone = None
    for number, missing in enumerate(_MISSING):
        config = parse_config(
            {
                "name": f"run{number + 1}",
                "data": {"name": "topic", "train": 400, "validation": 8, "test": 32},
                "partition": {"kind": "iid", "clients": 12, "examples_per_client": 8},
                "method": {"guard": False, "calibration": {"rounds": 0}},
                "defense": {"kind": "masked"},
                "cohort": {"failure_rate": missing},
                "evaluation": {"validation_fraction": 0},
            },
            "the small runs",
        )
        setup = prepare(config, backbone=backbone)
        backbone = setup.backbone
        run_folder = RunDirectory.create(folder / f"run{number + 1}", config)
        with ServerViewWriter.create(
            run_folder.view,
            backbone=backbone.fingerprint,
            task=task_hash(setup.data.task),
            defense=config.defense,
        ) as view:
            # What is attacked is the round of vectors; what else a run does is left out.
            federation_of(setup, first_ledger(setup), view).play_round(setup.method.initial_state())
        progress("recording rounds", number + 1, len(_MISSING))
        paths.append(run_folder.path)
    return paths
