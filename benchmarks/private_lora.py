"""DP-SGD over LoRA adapters: what one would do for privacy if one did not release a vector.

    python benchmarks/private_lora.py tune [--seeds 1] [--recipes ...]     the whole grid, on seeds 100, 101, ...
    python benchmarks/private_lora.py curve [--seeds 2] [--tasks ...]      accuracy by examples and epsilon

All clients' examples are pooled, which no federation may do and which is at least as good as any federated form of it:
one noise for all, and no drift between clients. Everything else is that of ``one_shot.py curve``: data, seeds, queries.
Examples are Poisson-sampled, clipped one by one and noised by Opacus; the noise is found by our own accounting, and a
test holds it against Opacus's. Recipes are chosen for two numbers of examples and three budgets on other seeds than
the results', on as many queries, and on one task; what that choice would cost is charged to nobody's budget, nor is it
for IFed-ICL.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from _sweep import Cell, sweep, table
from numpy.typing import NDArray
from one_shot import QUERIES, configuration, data_of
from torch import nn

from defenses.accounting import Plan, Planned, SampledGaussian
from defenses.units import Neighbouring, Unit
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.embedded import MODEL_PATH
from ifedpriv.experiment.prepare import gather
from ifedpriv.icl.evaluate import answer
from ifedpriv.icl.objective import Loss, Objective
from ifedpriv.methods.lora_adapter import Adapters, LoraAdapter

DELTA = 1e-5
EPSILONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
EXAMPLES = (100, 500, 2000, 5000, 20000)
TUNED, TUNED_ON = (0.25, 1.0, 8.0), (500, 5000)
"""Budgets and numbers of examples at which recipes are chosen."""
TUNED_TASK, TUNING_SEED = "mood", 100
_TARGETS = ("q_proj", "v_proj")
_MICRO = 32
# Noise, samples and the first A draw from streams of their own.
_STREAM = 61


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way of training privately.

    Attributes:
        rate: Adam's first learning rate; a cosine ends at a twentieth of it.
        clip: norm of one example's gradient over all adapters.
        batch: examples that a step samples on average.
        steps: how many.
        rank: of the adapters; they are scaled by 2, as by default.
        frozen: A stays as it was drawn and B alone is trained (FFA-LoRA, arXiv 2403.12313).
        loss: what an answer competes with.
    """

    rate: float
    clip: float = 0.03
    batch: int = 64
    steps: int = 30
    rank: int = 8
    frozen: bool = False
    loss: Loss = Loss.VOCABULARY

    @property
    def alpha(self) -> float:
        """α, twice the rank."""
        return 2.0 * self.rank


RECIPES: dict[str, Recipe] = {
    "rate 0.01": Recipe(0.01),
    "rate 0.03": Recipe(0.03),
    "rate 0.03, clip 0.3": Recipe(0.03, clip=0.3),
    "rate 0.03, clip 0.003": Recipe(0.03, clip=0.003),
    "rate 0.03, rank 2": Recipe(0.03, rank=2),
    "rate 0.03, 60 steps": Recipe(0.03, steps=60),
    "rate 0.03, batch 256": Recipe(0.03, batch=256),
    "rate 0.03, loss among labels": Recipe(0.03, loss=Loss.LABELS),
    "rate 0.02, A frozen": Recipe(0.02, frozen=True),
    "rate 0.05, A frozen": Recipe(0.05, frozen=True),
    "rate 0.1, A frozen": Recipe(0.1, frozen=True),
    "rate 0.05, A frozen, batch 256": Recipe(0.05, frozen=True, batch=256),
}


@lru_cache
def multiplier(examples: int, recipe: Recipe, epsilon: float) -> float:
    """Noise over clip at which all steps together cost this epsilon; 0 for none."""
    if math.isinf(epsilon):
        return 0.0
    steps = SampledGaussian(1.0, min(1.0, recipe.batch / examples), recipe.steps)
    plan = Plan((Planned(steps, fixed=False),), DELTA, Unit.EXAMPLE, Neighbouring.ADD_OR_REMOVE, examples)
    found, _ = plan.calibrated(epsilon)
    return float(found.releases[0].mechanism.spread)


@contextmanager
def gradients_of_each(backbone: Backbone, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Backward passes leave each example's own gradient in ``grad_sample`` of the adapters' weights.

    Losses have to be sums over the batch, and every adapted map has to see the batch in front.

    Args:
        backbone: with adapters on.
        parameters: their weights, those that are trained.
    """
    from opacus.grad_sample import GradSampleModule

    wanted = {id(parameter) for parameter in parameters}
    maps = nn.ModuleList(
        module
        for module in backbone.model.modules()
        if isinstance(module, nn.Linear) and id(module.weight) in wanted
    )
    # Opacus looks at modules in training alone; a linear map does the same in both modes.
    hooked = GradSampleModule(maps.train(), batch_first=True, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook")
            yield
    finally:
        hooked.remove_hooks()
        maps.eval()


def train(
    backbone: Backbone, task: Task, examples: Sequence[Example], recipe: Recipe, epsilon: float, seed: int
) -> LoraAdapter:
    """An adapter that is (ε, 1e-5)-private for one example, but for noise in floating point from a seed.

    Args:
        backbone: the frozen model.
        task: the task's wording.
        examples: of all clients.
        recipe: how.
        epsilon: the budget of all steps; infinite for neither clip nor noise.
        seed: of the first A, the samples and the noise.
    """
    from opacus.optimizers import DPOptimizer

    objective = Objective(backbone, task, examples)
    adapters = Adapters(backbone, recipe.rank, recipe.alpha, _TARGETS)
    rng = np.random.default_rng([seed, _STREAM])
    sampled, private = min(1.0, recipe.batch / len(examples)), math.isfinite(epsilon)
    noise = multiplier(len(examples), recipe, epsilon)
    with adapters.on(adapters.start(rng)) as weights:
        chosen = [w for w, name in zip(weights, adapters.shapes, strict=True) if not _fixed(name, recipe)]
        for weight in weights:
            weight.requires_grad_(any(weight is other for other in chosen))
        adam = torch.optim.Adam(chosen, lr=recipe.rate)
        optimizer = DPOptimizer(
            adam,
            noise_multiplier=noise,
            max_grad_norm=recipe.clip if private else 1e6,
            expected_batch_size=max(1, round(sampled * len(examples))),
            loss_reduction="mean",
            generator=torch.Generator().manual_seed(int(rng.integers(2**31))),
        )
        with gradients_of_each(backbone, chosen):
            for step in range(recipe.steps):
                adam.param_groups[0]["lr"] = recipe.rate * _cosine(step, recipe.steps)
                some = np.flatnonzero(rng.random(len(examples)) < sampled)
                _backward(objective, some, recipe.loss, chosen)
                optimizer.step()
                optimizer.zero_grad()
        arrays = adapters.values()
        for weight in weights:
            weight.requires_grad_(True)
    return LoraAdapter(arrays, recipe.rank, recipe.alpha, _TARGETS, backbone.fingerprint)


def _fixed(name: str, recipe: Recipe) -> bool:
    return recipe.frozen and name.endswith("/A")


def _cosine(step: int, steps: int) -> float:
    return 0.05 + 0.95 * (1 + math.cos(math.pi * step / max(steps - 1, 1))) / 2


def _backward(
    objective: Objective, some: NDArray[np.int64], loss: Loss, weights: Sequence[nn.Parameter]
) -> None:
    """Leave each example's gradient in ``grad_sample``; batches of like length waste less on padding."""
    by_length = sorted((int(i) for i in some), key=lambda i: len(objective.demonstrations[i].ids))
    for start in range(0, len(by_length), _MICRO):
        batch = by_length[start : start + _MICRO]
        if all(objective.demonstrations[i].answer_length == 1 for i in batch):
            summed = objective.loss_of(batch, loss) * len(batch)
        else:
            # A batch's mean over tokens would weigh examples by their lengths; such labels compete with all words.
            summed = objective.losses_of(batch).sum()
        summed.backward()  # type: ignore[no-untyped-call]
    if not by_length:
        for weight in weights:
            weight.grad_sample = torch.zeros(0, *weight.shape)  # type: ignore[attr-defined]


def measured(
    backbone: Backbone, name: str, examples: int, recipe: Recipe, epsilon: float, seed: int
) -> float:
    """Accuracy on a task after the last step, on the queries of ``one_shot.py curve``."""
    task, held, queries = pooled(backbone, name, examples, seed)
    adapter = train(backbone, task, held, recipe, epsilon, seed)
    return answer(backbone, task, queries, injection=adapter).share_correct


@lru_cache(maxsize=1)
def pooled(
    backbone: Backbone, name: str, examples: int, seed: int
) -> tuple[Task, list[Example], Sequence[Example]]:
    """The task, all clients' examples, and the queries."""
    config = configuration(name, seed, examples, {"coefficients": "public"})
    material = gather(config, backbone=backbone, data=data_of(name, config))
    held = [example for client in material.clients for example in client.train]
    assert (len(held), len(material.data.test)) == (examples, QUERIES)
    return material.data.task, held, material.data.test


def trial(recipe: Recipe, situations: Sequence[tuple[int, float]]) -> Cell:
    """One recipe of the grid, on a seed of the grid's own."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        return {
            situation(examples, epsilon): measured(
                backbone, TUNED_TASK, examples, recipe, epsilon, TUNING_SEED + seed
            )
            for examples, epsilon in situations
        }

    return cell


def situation(examples: float, epsilon: float) -> str:
    """What a recipe is chosen for."""
    return f"{examples} examples, epsilon {epsilon:g}"


def best(grid: Mapping[str, Any], examples: int, epsilon: float) -> str:
    """The recipe for a number of examples and a budget: the best mean over the places of the grid next to them.

    That is the place itself where the grid has it; else the ones on either side, of which there is one at the ends.
    Among the recipes that were tried there on the most seeds.
    """
    keys = [situation(n, e) for n in _beside(examples, TUNED_ON) for e in _beside(epsilon, TUNED)]
    tried: dict[str, list[float]] = {}
    for name in RECIPES:
        seeds = [figures for figures in grid.get(name, {}).values() if all(key in figures for key in keys)]
        if seeds:
            tried[name] = [float(np.mean([figures[key] for key in keys])) for figures in seeds]
    most = max(len(values) for values in tried.values())
    return max((name for name in tried if len(tried[name]) == most), key=lambda n: float(np.mean(tried[n])))


def _beside(value: float, places: Sequence[float]) -> list[float]:
    """The place that a value is at, or the nearest below and above it."""
    below = [place for place in places if place <= value]
    above = [place for place in places if place >= value]
    return sorted({*below[-1:], *above[:1]})


def curve_cell(grid: Mapping[str, Any], task: str, examples: int, epsilon: float) -> Cell:
    """Accuracy on a task at one budget, with the recipe that the grid says."""

    def cell(backbone: Backbone, seed: int) -> dict[str, float]:
        recipe = RECIPES[best(grid, examples, epsilon)]
        found = measured(backbone, task, examples, recipe, epsilon, seed)
        return {"accuracy": found, "noise multiplier": multiplier(examples, recipe, epsilon)}

    return cell


def main() -> None:
    """Tune, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=("tune", "curve"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--recipes", nargs="*", default=())
    parser.add_argument("--tasks", nargs="*", default=(TUNED_TASK,), help="of the curve")
    parser.add_argument("--examples", nargs="*", type=int)
    parser.add_argument("--epsilons", nargs="*", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = Backbone.load(str(MODEL_PATH))
    if options.part == "tune":
        situations = [(n, e) for n in options.examples or TUNED_ON for e in options.epsilons or TUNED]
        cells = {name: trial(RECIPES[name], situations) for name in options.recipes or RECIPES}
        print(table(sweep("private_lora_grid", backbone, cells, options.seeds)))
        return
    grid = sweep("private_lora_grid", backbone, {}, 0)
    cells = {
        f"{task}, {n} examples, epsilon {e:g}, {best(grid, n, e)}": curve_cell(grid, task, n, e)
        for task in options.tasks
        for n in options.examples or EXAMPLES
        for e in options.epsilons or EPSILONS
    }
    print(table(sweep("private_lora", backbone, cells, options.seeds)))


if __name__ == "__main__":
    main()
