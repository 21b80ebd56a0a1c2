"""The embedded model's card: its text, with the numbers that an evaluation measured put in.

The card is made, never typed, so that what it says is what was measured.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from ifedpriv import embedded
from ifedpriv.data.shipped import recipes
from ifedpriv.experiment.model_card import COPY_QUERIES, METHODS, Score, mean_over_tasks
from ifedpriv.experiment.rundir import write_whole
from ifedpriv.pretrain.train import Recipe

_NAMES = {
    "chance": "chance",
    "zero_shot": "zero-shot",
    "instructed": "instructed",
    "few_shot": "8-shot prompt",
    "ifed_icl": "IFed-ICL",
}

_TEMPLATE = Path(embedded.__file__).parent / "card_template.md"


def write_card(result: dict[str, Any], model: Path) -> None:
    """Write ``README.md`` into a model's folder, from what an evaluation of it measured."""
    weights = model / "model.safetensors"
    with safe_open(weights, "numpy") as file:
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    training = json.loads((model / "training.json").read_text(encoding="utf-8"))
    facts = {
        "parameters": parameters,
        "bytes": weights.stat().st_size,
        "vocabulary": config["vocab_size"],
        "context": config["max_position_embeddings"],
        "minutes": training["seconds"] / 60,
    }
    write_whole(model / "README.md", card(result, Recipe(**training["recipe"]), facts))


def card(result: dict[str, Any], recipe: Recipe, facts: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        result: what `model_card.evaluate_model` measured.
        recipe: how the model was trained.
        facts: ``parameters``, ``bytes``, ``vocabulary``, ``context`` and ``minutes`` of the trained model.
    """
    means = mean_over_tasks(result)
    agreeing = {
        name: by for name, by in result["accuracies"].items() if len(recipes()[name].conventions) == 1
    }
    return _TEMPLATE.read_text(encoding="utf-8").format(
        millions=facts["parameters"] / 1e6,
        megabytes=facts["bytes"] / 1e6,
        vocabulary=facts["vocabulary"],
        context=facts["context"],
        minutes=facts["minutes"],
        steps=sum(recipe.steps),
        queries=result["queries"],
        seeds=result["seeds"],
        table=_table({**result["accuracies"], "**mean**": means}, METHODS),
        others=_table(result["others"], ("chance", "zero_shot", "few_shot")),
        copy_queries=min(result["queries"], COPY_QUERIES),
        recovered=_recovered(means),
        recovered_agreeing=_recovered(mean_over_tasks({"accuracies": agreeing})),
        **{key: value for key, value in asdict(recipe).items() if not key.endswith("_steps")},
    )


def _recovered(means: dict[str, list[float]]) -> float:
    """Share of the few-shot gain that IFed-ICL has, as a ratio of means; above 1 where it has more."""
    zero, few, ours = (float(np.mean(means[m])) for m in ("zero_shot", "few_shot", "ifed_icl"))
    return (ours - zero) / (few - zero)


def _table(rows: dict[str, dict[str, list[float]]], methods: tuple[str, ...]) -> str:
    lines = ["| | " + " | ".join(_NAMES[m] for m in methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for name, by_method in rows.items():
        cells = [
            Score.of(by_method[m]).text() if m != "chance" else f"{by_method[m][0]:.3f}" for m in methods
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
