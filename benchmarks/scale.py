"""10, 100 and 1,000 clients simulated in one process: time and peak memory of every stage.

    python benchmarks/scale.py [--clients 10 100 1000]

Ten clients take part in each round of coefficients, however many there are; the vector round asks everybody, one
after the other. What must not grow with the clients that are not active is the memory of a round; what may grow is
the text that a simulation holds for all of them (a few hundred bytes an example), which `prepare` shows.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _shared import child, machine, peak, print_machine, reset_peak, resident, store

THREADS = 1
ACTIVE = 10
EXAMPLES = 16
ROUNDS = 10
SIZES = (10, 100, 1000)


def measure(clients: int) -> dict[str, Any]:
    """Every stage of one federation; memory is above what the process had when the stage began."""
    from defenses.entropy import InsecureSeeded
    from defenses.ledger import Ledger
    from defenses.upload import Upload
    from defenses.view import ServerViewWriter
    from ifedpriv.config import parse_config
    from ifedpriv.experiment.facts import task_hash
    from ifedpriv.experiment.prepare import load_backbone, prepare
    from ifedpriv.federation.cohort import Cohort
    from ifedpriv.federation.federation import Federation
    from ifedpriv.icl.evaluate import answer

    settings: dict[str, Any] = {
        "name": "scale",
        "threads": THREADS,
        "data": {
            "source": "embedded",
            "name": "topic",
            "train": clients * EXAMPLES,
            "validation": 50,
            "test": 200,
        },
        "partition": {"kind": "iid", "clients": clients, "examples_per_client": EXAMPLES},
        "cohort": {"participation": ACTIVE / clients},
        "method": {"kind": "ifed_icl", "calibration": {"rounds": ROUNDS}},
    }
    config = parse_config(settings, "scale")
    backbone = load_backbone(config)
    stages: list[dict[str, Any]] = []

    def stage(name: str, work: Callable[[], Any]) -> Any:
        gc.collect()
        reset_peak()
        before, wall, cpu = resident(), time.perf_counter(), time.process_time()
        result = work()
        stages.append(
            {
                "stage": name,
                "wall_seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
                "peak_above_start_bytes": max(peak() - before, 0),
                "kept_bytes": resident() - before,
            }
        )
        return result

    # Everything that is loaded or allocated once, so that the stages show their own needs.
    warm = prepare(
        parse_config({**settings, "partition": {**settings["partition"], "clients": 1}}, "warm"),
        backbone=backbone,
    )
    warm_state = warm.method.initial_state()
    for _ in range(2):
        step = warm.method.client_step(warm_state, warm.clients[0], _rng())
        if warm_state.round == 0:
            assert isinstance(step.upload, Upload)
            warm_state = warm_state.next(vector=step.upload.arrays["vector"])
    del warm, warm_state, step
    setup = stage("prepare", lambda: prepare(config, backbone=backbone))
    with tempfile.TemporaryDirectory() as folder:
        view = ServerViewWriter.create(
            Path(folder) / "view",
            backbone=backbone.fingerprint,
            task=task_hash(setup.data.task),
            defense=config.defense,
        )
        with view:
            play = Federation(
                setup.method,
                setup.defense,
                setup.clients,
                Cohort(config.cohort, config.seed),
                entropy=InsecureSeeded(config.seed, "scale"),
                ledger=Ledger(simulation=True),
                seed=config.seed,
                view=view,
            )
            state = setup.method.initial_state()
            took_part = []
            while state.round < setup.method.rounds:
                number = state.round
                name = (
                    "vector round"
                    if number == 0
                    else "guard round"
                    if number == setup.method.guard_round
                    else f"coefficient round {number}"
                )
                state, record = stage(name, partial(play.play_round, state))
                took_part.append(len(record.took_part))
        recorded = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    stage(
        "evaluation",
        lambda: answer(backbone, setup.data.task, setup.data.test, injection=setup.method.artifact(state)),
    )
    return {
        "clients": clients,
        "stages": stages,
        "took_part": took_part,
        "recording_bytes": recorded,
        "resident_bytes": resident(),
    }


def _rng() -> Any:
    import numpy as np

    return np.random.default_rng(0)


def summarise(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Stages with the coefficient rounds as one line: mean time, largest memory of a round, sum of what is kept."""
    lines: dict[str, dict[str, float]] = {}
    for name in ("prepare", "vector round", "coefficient round", "guard round", "evaluation"):
        stages = [s for s in found["stages"] if s["stage"].startswith(name)]
        lines[name] = {
            "cpu_seconds": sum(s["cpu_seconds"] for s in stages) / len(stages),
            "wall_seconds": sum(s["wall_seconds"] for s in stages) / len(stages),
            "peak_above_start_mib": max(s["peak_above_start_bytes"] for s in stages) / 2**20,
            "kept_mib": sum(s["kept_bytes"] for s in stages) / 2**20,
        }
    return lines


def report(result: dict[str, Any]) -> None:
    """The table on standard output."""
    print_machine(result["machine"])
    print(
        f"{ACTIVE} clients active in a round of coefficients (all in the vector round), {EXAMPLES} examples each, "
        f"{ROUNDS} rounds; means over rounds for time, largest for memory\n"
    )
    print(f"{'stage':<20}{'clients':>9}{'CPU s':>10}{'wall s':>10}{'MiB peak':>11}{'MiB kept':>11}")
    names = list(next(iter(result["sizes"].values()))["summary"])
    for name in names:
        for clients, found in result["sizes"].items():
            row = found["summary"][name]
            print(
                f"{name:<20}{clients:>9}{row['cpu_seconds']:>10.2f}{row['wall_seconds']:>10.2f}"
                f"{row['peak_above_start_mib']:>11.1f}{row['kept_mib']:>11.1f}"
            )
    print(
        "\nMiB peak: above the process's memory when the stage began; MiB kept: what it had more at the end."
    )


def main() -> None:
    """One process for each size, then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=list(SIZES), help="federation sizes")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return
    result: dict[str, Any] = {"machine": machine(THREADS), "active": ACTIVE, "seed": 0, "sizes": {}}
    for clients in options.clients:
        found = child(__file__, ["--child", str(clients)], THREADS)
        result["sizes"][str(clients)] = {**found, "summary": summarise(found)}
    store("scale", result)
    report(result)


if __name__ == "__main__":
    main()
