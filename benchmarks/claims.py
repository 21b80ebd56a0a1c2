"""The paper's claims on the shipped tasks: skew, ablations, and methods side by side; each cell over several seeds.

    python benchmarks/claims.py skew|ablations|methods|generation|groups [--seeds 5] [--tasks ...]

Every number is the last round's, on 500 test queries that no choice was made on. Results are added to
``benchmarks/results/claims_<part>.json`` cell by cell, so an interrupted sweep goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from _sweep import Cell, sweep, table
from numpy.typing import NDArray

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.config import parse_config
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment import baselines
from ifedpriv.experiment.figures import score
from ifedpriv.experiment.prepare import Setup, prepare
from ifedpriv.experiment.run import train
from ifedpriv.icl.evaluate import Answers, answer
from ifedpriv.methods.method import Artifact, Client, State

TASKS = ("urgency", "mood", "topic")
PROMPTED = 4
"""Clients whose own prompts stand for all, where every client is like every other: long prompts are slow."""


def build(
    backbone: Backbone,
    task: str,
    seed: int,
    partition: dict[str, Any],
    defense: dict[str, Any] | None = None,
    **method: Any,
) -> Setup:
    """An experiment of 8 clients with 32 examples each, unless the partition says otherwise."""
    data = {"source": "embedded", "name": task, "train": 600, "validation": 50, "test": 500, "seed": seed}
    held = {"clients": 8, "examples_per_client": 32, "min_examples": 4, **partition}
    config = {
        "name": "claims",
        # One thread: several sweeps run side by side, and a sum's rounding then does not depend on the machine.
        "threads": 1,
        "seed": seed,
        "data": data,
        "partition": held,
        "method": {"kind": "ifed_icl", **method},
    }
    config["evaluation"] = {"every_round": False}
    if defense is not None:
        config["defense"] = defense
    return prepare(parse_config(config, "claims"), backbone=backbone)


def dirichlet(alpha: float) -> dict[str, Any]:
    """The partition section for a Dirichlet split."""
    return {"kind": "dirichlet", "alpha": alpha}


def right(setup: Setup, answers: Answers) -> float:
    """The task's primary metric."""
    return score(setup.data.task.kind, answers)


def clients(setup: Setup) -> list[Client]:
    """Every client with examples."""
    return [setup.clients[number] for number in setup.clients.numbers(0)]


def with_vector(setup: Setup, make: Callable[[State], NDArray[np.float32]]) -> Artifact:
    """Train with another vector in place of the aggregated one: the control that the vector has to beat."""
    method, original = setup.method, setup.method.server_step

    def server_step(state: State, aggregate: Any) -> State:
        after = original(state, aggregate)
        return after.with_arrays({"vector": make(after)}) if state.round == 0 else after

    method.server_step = server_step  # type: ignore[method-assign]
    try:
        return train(setup)[1]
    finally:
        method.server_step = original  # type: ignore[method-assign]


def noise_like(state: State, seed: int) -> NDArray[np.float32]:
    """A random vector whose every block (layer, branch) has the norm of the real one."""
    real = state.arrays["vector"]
    noise = np.random.default_rng([seed, 77]).normal(size=real.shape)
    scale = np.linalg.norm(real, axis=-1, keepdims=True) / np.linalg.norm(noise, axis=-1, keepdims=True)
    vector: NDArray[np.float32] = (noise * scale).astype(np.float32)
    return vector


def skew_cell(task: str, alpha: float | None) -> Cell:
    """Global against mean-of-local injection for one skew; None is IID."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = build(backbone, task, seed, {"kind": "iid"} if alpha is None else dirichlet(alpha))
        _, injection = train(setup)
        local = [
            right(setup, baselines.local_injection(setup, baselines.train_alone(setup, c), c))
            for c in clients(setup)
        ]
        whole = right(setup, baselines.global_injection(setup, injection))
        return {"global": whole, "local": float(np.mean(local)), "gap": whole - float(np.mean(local))}

    return cell


ABLATIONS: dict[str, dict[str, Any]] = {
    "linear, both branches, all layers": {},
    "plain addition (beta = 1)": {"form": "add"},
    "attention only": {"branches": "attention"},
    "MLP only": {"branches": "mlp"},
    "early third": {"layers": "early"},
    "middle third": {"layers": "middle"},
    "late third": {"layers": "late"},
}


def ablation_cell(task: str, method: dict[str, Any]) -> Cell:
    """One variant of the injection."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = build(backbone, task, seed, dirichlet(0.5), **method)
        return {"accuracy": right(setup, baselines.global_injection(setup, train(setup)[1]))}

    return cell


def control_cell(task: str, kind: str) -> Cell:
    """The injection with a vector that knows nothing: noise of the same norm, or zero."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = build(backbone, task, seed, dirichlet(0.5))
        make = (
            (lambda s: noise_like(s, seed))
            if kind == "noise"
            else (lambda s: np.zeros_like(s.arrays["vector"]))
        )
        return {"accuracy": right(setup, baselines.global_injection(setup, with_vector(setup, make)))}

    return cell


def methods_cell(task: str) -> Cell:
    """Zero-shot, ICL with own and with everybody's demonstrations, task vector, IFed-ICL."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = build(backbone, task, seed, dirichlet(0.5))
        _, injection = train(setup)
        own = [right(setup, baselines.local_icl(setup, c)) for c in clients(setup)[:PROMPTED]]
        return {
            "zero-shot": right(setup, baselines.zero_shot(setup)),
            "ICL, 8 own demonstrations": float(np.mean(own)),
            "ICL, 8 of all clients": right(setup, pooled_icl(setup, seed)),
            "task vector": right(setup, task_vector(setup, seed)),
            "local injection": float(
                np.mean(
                    [
                        right(setup, baselines.local_injection(setup, baselines.train_alone(setup, c), c))
                        for c in clients(setup)
                    ]
                )
            ),
            "IFed-ICL": right(setup, baselines.global_injection(setup, injection)),
        }

    return cell


def pooled_icl(setup: Setup, seed: int) -> Answers:
    """Eight demonstrations drawn from all clients together: what a prompt could do if texts might move."""
    pool = [example for client in clients(setup) for example in client.train]
    return answer(setup.backbone, setup.data.task, setup.data.test, context=_shots(setup, pool, seed))


def _shots(setup: Setup, pool: Sequence[Any], seed: int) -> str:
    chosen = np.random.default_rng([seed, 41]).choice(len(pool), size=8, replace=False)
    return "".join(setup.data.task.demonstration(pool[i]) for i in chosen)


def task_vector(setup: Setup, seed: int) -> Answers:
    """Hendel et al. (arXiv 2310.15916): the residual stream of a few-shot prompt's last token, at one layer, put in
    place of the query's; the layer is chosen on training texts of all clients, never on test data."""
    pool = [example for client in clients(setup) for example in client.train]
    held = pool[:64]
    context = _shots(setup, pool[64:], seed)
    backbone, task = setup.backbone, setup.data.task
    states = _last_states(backbone, context + task.prompt(pool[-1].text))
    found = [right(setup, _patched(setup, held, layer, states[layer])) for layer in range(backbone.n_layers)]
    best = int(np.argmax(found))
    return _patched(setup, setup.data.test, best, states[best])


def _last_states(backbone: Backbone, prompt: str) -> list[torch.Tensor]:
    kept: list[torch.Tensor] = []
    handles = [
        place.block.register_forward_hook(lambda _m, _a, out: kept.append(_stream(out)[0, -1].clone()))
        for place in backbone.sites.layers
    ]
    with torch.inference_mode():
        backbone.hidden(backbone.make_batch([backbone.encode_prompt(prompt)]))
    for handle in handles:
        handle.remove()
    return kept


def _stream(output: Any) -> torch.Tensor:
    stream: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return stream


def _patched(setup: Setup, queries: Sequence[Any], layer: int, state: torch.Tensor) -> Answers:
    """Label the queries with their last token's stream replaced after ``layer``; single-token labels only."""
    from ifedpriv.icl.labels import label_tokens

    backbone, task = setup.backbone, setup.data.task
    words = torch.tensor([label[0] for label in label_tokens(backbone, task).tokens])
    predicted: list[int] = []
    for start in range(0, len(queries), 64):
        some = queries[start : start + 64]
        batch = backbone.make_batch([backbone.encode_prompt(task.prompt(q.text)) for q in some])
        rows = torch.arange(len(some))

        def replace(
            _m: Any, _a: Any, out: Any, last: torch.Tensor = batch.last, rows: torch.Tensor = rows
        ) -> Any:
            stream = _stream(out).clone()
            stream[rows, last] = state
            return (stream, *out[1:]) if isinstance(out, tuple) else stream

        handle = backbone.sites.layers[layer].block.register_forward_hook(replace)
        with torch.inference_mode():
            hidden = backbone.hidden(batch)
        handle.remove()
        predicted.extend(backbone.logits(hidden[rows, batch.last], words).argmax(dim=1).tolist())
    return Answers(tuple(q.label for q in queries), tuple(predicted))


def generation_cell(backbone: Backbone, seed: int) -> dict[str, float]:
    """Open question 1: a generated answer of two copied words, exact match."""
    setup = build(backbone, "contact", seed, {"kind": "iid"})
    _, injection = train(setup)
    own = clients(setup)[:4]
    zero = with_vector(setup, lambda s: np.zeros_like(s.arrays["vector"]))
    noise = with_vector(setup, lambda s: noise_like(s, seed))
    return {
        "zero-shot": right(setup, baselines.zero_shot(setup)),
        "ICL, 8 own demonstrations": float(
            np.mean([right(setup, baselines.local_icl(setup, c)) for c in own])
        ),
        "local injection": float(
            np.mean(
                [
                    right(setup, baselines.local_injection(setup, baselines.train_alone(setup, c), c))
                    for c in own
                ]
            )
        ),
        "IFed-ICL": right(setup, baselines.global_injection(setup, injection)),
        "control: v = 0": right(setup, baselines.global_injection(setup, zero)),
        "control: noise vector": right(setup, baselines.global_injection(setup, noise)),
    }


GROUPS: dict[str, tuple[str, dict[str, Any]]] = {
    "2 classes a client": ("mood", {"kind": "pathological", "classes_per_client": 2}),
    "1 class a client": ("mood", {"kind": "pathological", "classes_per_client": 1}),
    "two groups with opposed labels": ("remedy", {"kind": "contradictory", "groups": 2}),
}


def groups_cell(task: str, partition: dict[str, Any]) -> Cell:
    """Open question 3: global against local where clients hold one class, or mean opposite things."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        setup = build(backbone, task, seed, partition)
        _, injection = train(setup)
        alone = [
            right(setup, baselines.local_injection(setup, baselines.train_alone(setup, c), c))
            for c in clients(setup)
        ]
        own = [right(setup, baselines.local_icl(setup, c)) for c in clients(setup)]
        return {
            "zero-shot": right(setup, baselines.zero_shot(setup)),
            "ICL, 8 own demonstrations": float(np.mean(own)),
            "local injection": float(np.mean(alone)),
            "global injection": right(setup, baselines.global_injection(setup, injection)),
        }

    return cell


def cells(part: str, tasks: Sequence[str]) -> dict[str, Cell]:
    """The cells of one part, by name."""
    match part:
        case "skew":
            skews: tuple[float | None, ...] = (0.1, 0.5, None)
            return {
                f"{task}, {'IID' if a is None else f'Dirichlet({a})'}": skew_cell(task, a)
                for task in tasks
                for a in skews
            }
        case "ablations":
            variants = {
                f"{t}, {name}": ablation_cell(t, method) for t in tasks for name, method in ABLATIONS.items()
            }
            controls = {
                f"{t}, {kind} vector": control_cell(t, kind) for t in tasks for kind in ("noise", "zero")
            }
            return {**variants, **controls}
        case "methods":
            return {task: methods_cell(task) for task in tasks}
        case "generation":
            return {"contact": generation_cell}
        case _:
            return {name: groups_cell(task, partition) for name, (task, partition) in GROUPS.items()}


def main() -> None:
    """Run one part's missing cells and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("skew", "ablations", "methods", "generation", "groups"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    options = parser.parse_args()
    backbone = Backbone.load(MODEL_PATH)
    print(table(sweep(f"claims_{options.part}", backbone, cells(options.part, options.tasks), options.seeds)))


if __name__ == "__main__":
    main()
