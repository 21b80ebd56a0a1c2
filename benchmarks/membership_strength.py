"""What else tells members: coefficients of rounds, near duplicates, and the finished injection; on one small run.

    python benchmarks/membership_strength.py [--shadows 64] [--pool 400] [--run RUN] [--only near deployed]

An undefended run of the shipped model: 20 iid clients of 8 texts of task ``topic``, 5 rounds of coefficients, fp16. The
attacks are those of `ifedpriv attack`, judged against the truth, without their random control. Seconds are of the
processor. ``--run`` attacks the folder of such a run that is there already; with ``--only`` the others' numbers stay.
Results go to ``results/membership.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _shared import RESULTS, machine, print_machine, store

from attacks import ATTACKS
from attacks._base.targets import read_targets
from attacks._judging.judge import score
from attacks._judging.rules import interval_of
from attacks._judging.score import Subject, Wishes, open_subject
from attacks._members.likelihood import Population, likelihood_ratio
from attacks._members.near import near_pool, paraphrase_pool
from attacks._mixes.labels import counted
from attacks._statistics.roc import auc
from ifedpriv.config import parse_config
from ifedpriv.data.task import key_of
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory

ROUNDS, CLIENTS, EXAMPLES = 5, 20, 8
PARTS = ("near", "coefficients", "deployed")


def small_run(folder: Path) -> Path:
    """The run that is attacked."""
    config = parse_config(
        {
            "name": "attacked",
            "threads": 1,
            "data": {"name": "topic", "train": 400, "validation": 8, "test": 32},
            "partition": {"kind": "iid", "clients": CLIENTS, "examples_per_client": EXAMPLES},
            "method": {"guard": False, "calibration": {"rounds": ROUNDS}},
            "evaluation": {
                "local_icl": False,
                "local_injection": False,
                "every_round": False,
                "validation_fraction": 0,
                "membership": False,
            },
            "controls": {"enabled": False},
        },
        "the small run",
    )
    execute(prepare(config), RunDirectory.create(folder, config))
    return folder


def attacked(name: str, subject: Subject) -> dict[str, Any]:
    """Every number of one attack with its interval and controls, and what it cost."""
    started = time.process_time()
    guesses = import_module(ATTACKS[name]).guess(subject.view, subject.backbone, subject.knowledge)
    seconds = time.process_time() - started
    targets = {each.scope: each.targets for each in read_targets(subject.view, subject.backbone)}
    found: dict[str, Any] = {"seconds": round(seconds, 1)}
    for finding in score(subject, guesses, targets):
        if finding.value is None:
            continue
        row: Mapping[str, Any] = {
            "value": round(finding.value, 4),
            "interval": finding.interval and [round(end, 4) for end in finding.interval],
            **{control: round(value, 4) for control, value in finding.controls},
        }
        found[f"{finding.method}, {finding.scope}, {finding.metric}"] = row
        if finding.metric in ("AUC", "TPR at 1% FPR", "total variation", "re-identification"):
            print(f"{name}: {finding.method}, {finding.scope}, {finding.metric}: {row}", flush=True)
    return found


def near_duplicates(subject: Subject) -> dict[str, Any]:
    """Mean area of the likelihood ratio over vectors, of candidates, their near duplicates and their paraphrases."""
    known, truth = subject.knowledge, subject.truth
    assert truth is not None
    at = {key_of(example): i for i, example in enumerate(known.pool)}
    found: dict[str, Any] = {}
    for targets in read_targets(subject.view, subject.backbone):
        population = Population.of(subject.backbone, known, targets.targets)
        near = population.with_candidates(subject.backbone, known, near_pool(known))
        reworded = population.with_candidates(subject.backbone, known, paraphrase_pool(known))
        told = counted(subject.backbone, known, targets.targets)
        for name, of in (("candidates", population), ("near duplicates", near), ("paraphrases", reworded)):
            areas = []
            for target in told:
                numbers = truth if target.who.client is None else [target.who.client]
                members = [at[key_of(e)] for n in numbers for e in truth[n] if key_of(e) in at]
                scores, held = likelihood_ratio(of, target), np.isin(np.arange(len(at)), members)
                areas.append(auc(scores[held], scores[~held]))
            found[f"{name}, {targets.scope}, AUC"] = round(float(np.mean(areas)), 4)
            found[f"{name}, {targets.scope}, interval"] = interval_of(areas)
    print(found, flush=True)
    return found


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shadows", nargs="*", type=int, default=(64,))
    parser.add_argument("--pool", type=int, default=400)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(1)
    print_machine(facts)
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or small_run(Path(folder) / "run")
        subject = open_subject(run, Wishes(pool=options.pool))
        path = RESULTS / "membership.json"
        result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        result |= {"machine": facts, "pool": options.pool, "rounds": ROUNDS}
        if "near" in options.only:
            result["near duplicates"] = near_duplicates(subject)
        for count in options.shadows if "coefficients" in options.only else ():
            known = replace(subject.knowledge, shadows=count)
            result[f"coefficients, {count} shadows"] = attacked(
                "coefficients", replace(subject, knowledge=known)
            )
        if "deployed" in options.only:
            result["deployed"] = attacked("deployed", subject)
    store("membership", result)


if __name__ == "__main__":
    main()
