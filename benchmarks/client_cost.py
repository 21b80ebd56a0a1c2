"""Client processor time, memory, bytes and accuracy: IFed-ICL against FedAvg-LoRA in one run.

    python benchmarks/client_cost.py            every missing cell, then the table (resumes where it stopped)
    python benchmarks/client_cost.py --tune     search LoRA's rate and alpha on clients' held-out examples

Same model, data, clients, rounds, batch size and loss for all. Each method has two rows: *4 steps* takes 4 local
steps of 16 examples a round, *epoch* one full pass over the client's examples. The IFed-ICL paper (arXiv 2511.06757)
states neither method's local work and reports 9 to 41 times less time; the row that comes nearest to fine-tuning as
it is usually done, and so to the paper's ratio, is IFed-ICL with 4 steps against LoRA with an epoch.

Every cell is a process of its own, seeds outside and methods inside, so that a change of the machine's speed
meets all methods alike. Times are processor time of the client steps alone. Accuracy is that of the last round.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _shared import RESULTS, child, machine, peak, print_machine, reset_peak, resident, store
from scipy import stats

THREADS = 1
SEEDS = 5
TUNING_SEEDS = (1000, 1001)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
ALPHAS = (16.0,)
MEMORY_ROUNDS = 3
TASK = "topic"
CLIENTS, EXAMPLES, ROUNDS, STEPS, BATCH, TEST = 8, 200, 10, 4, 16, 500

ARMS: dict[str, dict[str, Any]] = {
    "ifed_icl, 4 steps": {"kind": "ifed_icl"},
    "ifed_icl, epoch": {"kind": "ifed_icl", "epoch": True},
    "lora, 4 steps": {"kind": "fed_lora"},
    "lora, epoch": {"kind": "fed_lora", "epoch": True},
}
REFERENCE = "ifed_icl, 4 steps"


def config(arm: dict[str, Any], seed: int) -> dict[str, Any]:
    """The run's configuration for one arm; only the method differs between arms."""
    held = int(0.2 * EXAMPLES)
    epoch_steps = math.ceil((EXAMPLES - held) / BATCH)
    if arm["kind"] == "ifed_icl":
        # As many steps as an epoch of the largest client has.
        steps = epoch_steps if arm.get("epoch") else STEPS
        method: dict[str, Any] = {
            "kind": "ifed_icl",
            "guard": False,
            "calibration": {"rounds": ROUNDS, "steps": steps, "batch_size": BATCH},
        }
    else:
        method = {
            "kind": "fed_lora",
            "rounds": ROUNDS,
            "steps": STEPS,
            "epochs": 1 if arm.get("epoch") else 0,
            "batch_size": BATCH,
            "rate": arm["rate"],
            "alpha": arm["alpha"],
        }
    return {
        "name": "client_cost",
        "seed": seed,
        "threads": THREADS,
        "record_view": False,
        "data": {
            "source": "embedded",
            "name": TASK,
            "train": CLIENTS * EXAMPLES,
            "validation": 50,
            "test": TEST,
            "seed": seed,
        },
        "partition": {
            "kind": "dirichlet",
            "alpha": 0.5,
            "clients": CLIENTS,
            "examples_per_client": EXAMPLES,
            "min_examples": BATCH,
        },
        "method": method,
        "evaluation": {"validation_fraction": 0.2},
    }


def federation(settings: dict[str, Any]) -> Any:
    """A setup, and its federation with nothing recorded."""
    from defenses.entropy import InsecureSeeded
    from defenses.ledger import Ledger
    from ifedpriv.config import parse_config
    from ifedpriv.experiment.prepare import prepare
    from ifedpriv.federation.cohort import Cohort
    from ifedpriv.federation.federation import Federation

    setup = prepare(parse_config(settings, "client_cost"))
    return setup, Federation(
        setup.method,
        setup.defense,
        setup.clients,
        Cohort(setup.config.cohort, setup.config.seed),
        entropy=InsecureSeeded(setup.config.seed, "run"),
        ledger=Ledger(simulation=True),
        seed=setup.config.seed,
    )


def run_cell(settings: dict[str, Any]) -> dict[str, Any]:
    """All rounds of one arm and seed; tested after every round, which is not timed and decides nothing."""
    from ifedpriv.icl.evaluate import answer

    setup, play = federation(settings)
    state, up, down = setup.method.initial_state(), 0, 0
    seconds: list[float] = []
    accuracy: list[float | None] = []
    while state.round < setup.method.rounds:
        state, record = play.play_round(state)
        seconds.append(record.client_seconds)
        up, down = up + record.up.totals()[1], down + record.down.totals()[1]
        if record.kind.value == "vector":
            accuracy.append(None)
            continue
        found = answer(
            setup.backbone, setup.data.task, setup.data.test, injection=setup.method.artifact(state)
        )
        accuracy.append(found.share_correct)
    bare = answer(setup.backbone, setup.data.task, setup.data.test).share_correct
    return {
        "client_seconds_by_round": seconds,
        "accuracy_by_round": accuracy,
        "zero_shot": bare,
        "up_bytes_per_client": up / CLIENTS,
        "down_bytes_per_client": down / CLIENTS,
        "backbone": setup.backbone.fingerprint,
        "examples": [len(c.train) for c in (setup.clients[n] for n in setup.clients.numbers(0))],
    }


def memory_cell(settings: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of the first rounds above what model, data and method take before them."""
    _, play = federation(settings)
    state = play.method.initial_state()
    gc.collect()
    reset_peak()
    baseline = resident()
    for _ in range(MEMORY_ROUNDS):
        state, _ = play.play_round(state)
    return {"baseline_bytes": baseline, "peak_bytes": peak(), "above_baseline_bytes": peak() - baseline}


def tune_cell(settings: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on what clients hold out of their own examples: the only data that a choice may look at."""
    from ifedpriv.icl.evaluate import answer

    setup, play = federation(settings)
    state = setup.method.initial_state()
    while state.round < setup.method.rounds:
        state, _ = play.play_round(state)
    held = [e for n in setup.clients.numbers(0) for e in setup.clients[n].validation]
    found = answer(setup.backbone, setup.data.task, held, injection=setup.method.artifact(state))
    return {"accuracy": found.share_correct, "queries": len(held), "backbone": setup.backbone.fingerprint}


def in_child(mode: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One cell in a fresh process."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(settings, file)
        file.flush()
        return child(__file__, ["--child", mode, file.name], THREADS)


def load(name: str) -> dict[str, Any]:
    """Stored results, or none."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def tune() -> dict[str, Any]:
    """The grid over LoRA's rate and alpha, for each amount of local work, on seeds that no result uses."""
    result = load("lora_grid") or {"machine": machine(THREADS), "task": TASK, "cells": {}}
    result["grid"] = {"rates": RATES, "alphas": ALPHAS, "seeds": TUNING_SEEDS, "rank": 8}
    result["data"] = "held-out fifth of every client's own training examples, pooled; never test data"
    for name, arm in ARMS.items():
        if arm["kind"] != "fed_lora":
            continue
        for alpha in ALPHAS:
            for rate in RATES:
                for seed in TUNING_SEEDS:
                    key = f"{name} | alpha {alpha:g} | rate {rate:g} | seed {seed}"
                    if key not in result["cells"]:
                        chosen = {**arm, "rate": rate, "alpha": alpha}
                        result["cells"][key] = in_child("tune", config(chosen, seed))
                        print(key, f"{result['cells'][key]['accuracy']:.3f}", flush=True)
                        store("lora_grid", result)
    result["best"] = {name: _best(result["cells"], name) for name in ARMS if name.startswith("lora")}
    store("lora_grid", result)
    return result


def _best(cells: dict[str, Any], name: str) -> dict[str, float]:
    """The setting with the highest mean over the tuning seeds; the smaller rate on a tie."""
    means = {
        (alpha, rate): float(
            np.mean(
                [
                    cells[f"{name} | alpha {alpha:g} | rate {rate:g} | seed {s}"]["accuracy"]
                    for s in TUNING_SEEDS
                ]
            )
        )
        for alpha in ALPHAS
        for rate in RATES
    }
    alpha, rate = max(means, key=lambda k: (means[k], -k[1]))
    return {"alpha": alpha, "rate": rate, "accuracy": means[alpha, rate]}


def measure(seeds: int) -> dict[str, Any]:
    """Every missing cell; seeds outside, methods inside."""
    grid = load("lora_grid")
    if "best" not in grid:
        raise SystemExit("LoRA is not tuned yet: run this script with --tune first")
    result = load("client_cost") or {"machine": machine(THREADS), "cells": {}}
    result["setting"] = {
        "task": TASK,
        "clients": CLIENTS,
        "examples_per_client": EXAMPLES,
        "held_out_share": 0.2,
        "partition": "dirichlet 0.5",
        "rounds": ROUNDS,
        "steps": STEPS,
        "batch_size": BATCH,
        "test_queries": TEST,
        "lora": {
            name: {k: grid["best"][name][k] for k in ("alpha", "rate")} | {"rank": 8} for name in grid["best"]
        },
    }
    for seed in range(seeds):
        for name, arm in ARMS.items():
            chosen = {**arm, **{k: v for k, v in grid["best"].get(name, {}).items() if k != "accuracy"}}
            for mode in ("run", "memory"):
                key = f"{name} | {mode} | seed {seed}"
                if key in result["cells"]:
                    continue
                cell = in_child(mode, config(chosen, seed))
                result["cells"][key] = cell
                if mode == "run" and cell["backbone"] != next(iter(result["cells"].values()))["backbone"]:
                    raise SystemExit(
                        "results/client_cost.json was measured on another model; delete it first"
                    )
                print(key, _short(cell), flush=True)
                store("client_cost", result)
    result["summary"] = summarise(result["cells"], seeds)
    store("client_cost", result)
    return result


def _short(cell: dict[str, Any]) -> str:
    if "above_baseline_bytes" in cell:
        return f"{cell['above_baseline_bytes'] / 2**20:.1f} MiB above baseline, load {cell['load']}"
    total = sum(cell["client_seconds_by_round"])
    return f"{total:.1f} s, accuracy {cell['accuracy_by_round'][-1]:.3f}, load {cell['load']}"


def summarise(cells: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Means over seeds with 95% Student intervals; ratios on the log scale, seed by seed."""
    runs = {name: [cells[f"{name} | run | seed {s}"] for s in range(seeds)] for name in ARMS}
    memory = {name: [cells[f"{name} | memory | seed {s}"] for s in range(seeds)] for name in ARMS}
    totals = {name: [sum(c["client_seconds_by_round"]) for c in found] for name, found in runs.items()}
    rows = {
        name: {
            "client_seconds": student([t / CLIENTS for t in totals[name]]),
            "time_over_reference": student(np.log(np.divide(totals[name], totals[REFERENCE])), np.exp),
            "accuracy": student([c["accuracy_by_round"][-1] for c in found]),
            "above_baseline_mib": student([c["above_baseline_bytes"] / 2**20 for c in memory[name]]),
            "up_bytes_per_client": float(np.mean([c["up_bytes_per_client"] for c in found])),
            "down_bytes_per_client": float(np.mean([c["down_bytes_per_client"] for c in found])),
        }
        for name, found in runs.items()
    }
    reach = {
        f"{mover} reaches {goal}": [
            reached(m, g["accuracy_by_round"][-1]) for m, g in zip(runs[mover], runs[goal], strict=True)
        ]
        for mover in ARMS
        for goal in ARMS
        if mover.split(",")[0] != goal.split(",")[0]
    }
    return {
        "zero_shot": student([c["zero_shot"] for c in runs[REFERENCE]]),
        "rows": rows,
        "reach": {
            name: _reach_row(found, totals[name.split(" reaches ")[1]]) for name, found in reach.items()
        },
        "busiest_load": max(max(c["load"]) for c in cells.values()),
    }


def reached(cell: dict[str, Any], goal: float) -> dict[str, Any] | None:
    """Client time up to the first round at which the accuracy is at least ``goal``, or None if it never is."""
    spent = np.cumsum(cell["client_seconds_by_round"])
    for number, value in enumerate(cell["accuracy_by_round"]):
        if value is not None and value >= goal:
            return {"round": number, "client_seconds": float(spent[number])}
    return None


def _reach_row(found: Sequence[dict[str, Any] | None], goal_totals: Sequence[float]) -> dict[str, Any]:
    ratios = [t / f["client_seconds"] for f, t in zip(found, goal_totals, strict=True) if f is not None]
    return {
        "by_seed": list(found),
        "reached": len(ratios),
        "seeds": len(found),
        "times_faster": student(np.log(ratios), np.exp) if len(ratios) > 1 else None,
    }


def student(values: Any, back: Any = lambda x: x) -> dict[str, float]:
    """Mean and 95% Student interval over seeds; ``back`` undoes a transformation of the values."""
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    half = float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array)))
    return {
        "mean": float(back(mean)),
        "low": float(back(mean - half)),
        "high": float(back(mean + half)),
        "seeds": len(array),
    }


def report(result: dict[str, Any]) -> None:
    """The table on standard output."""
    s, found = result["setting"], result["summary"]
    print_machine(result["machine"])
    print(
        f"task {s['task']}, {s['clients']} clients of up to {s['examples_per_client']} examples "
        f"({s['partition']}, a fifth held out), {s['rounds']} rounds, batches of {s['batch_size']}; "
        f"busiest load while measuring {found['busiest_load']}"
    )
    print(
        f"LoRA rank 8 on q_proj and v_proj, tuned on held-out examples (results/lora_grid.json): {s['lora']}"
    )
    print(f"zero-shot accuracy {_interval(found['zero_shot'], 3)}; all intervals 95% Student over seeds\n")
    print(
        f"{'method, local work':<20}{'client CPU s':>22}{'time / ours':>22}{'accuracy':>24}"
        f"{'MiB above base':>24}{'up B':>11}{'down B':>11}"
    )
    for name, row in found["rows"].items():
        print(
            f"{name:<20}{_interval(row['client_seconds'], 2):>22}{_interval(row['time_over_reference'], 2):>22}"
            f"{_interval(row['accuracy'], 3):>24}{_interval(row['above_baseline_mib'], 1):>24}"
            f"{row['up_bytes_per_client']:>11,.0f}{row['down_bytes_per_client']:>11,.0f}"
        )
    print(
        "\n4 steps: 4 local steps of 16 examples a round; epoch: one pass over the client's examples a round."
    )
    print("client CPU s: processor time of one client over all rounds; IFed-ICL's includes the extraction.")
    print("\nClient time until a method first reaches the other's last-round accuracy (read off the curves):")
    for name, row in found["reach"].items():
        ratio = (
            "" if row["times_faster"] is None else f", {_interval(row['times_faster'], 2)} times less time"
        )
        print(f"  {name}: in {row['reached']} of {row['seeds']} seeds{ratio}")


def _interval(v: dict[str, float], digits: int) -> str:
    return f"{v['mean']:.{digits}f} [{v['low']:.{digits}f}, {v['high']:.{digits}f}]"


def main() -> None:
    """Tune, or measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tune", action="store_true", help="search LoRA's rate and alpha first")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="repetitions (at least 2)")
    parser.add_argument("--child", nargs=2, metavar=("MODE", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        mode, path = options.child
        cell = {"run": run_cell, "memory": memory_cell, "tune": tune_cell}[mode]
        print(json.dumps(cell(json.loads(Path(path).read_text()))))
        return
    if options.tune:
        for name, best in tune()["best"].items():
            print(f"{name}: alpha {best['alpha']:g}, rate {best['rate']:g}, held-out {best['accuracy']:.3f}")
        return
    report(measure(options.seeds))


if __name__ == "__main__":
    main()
