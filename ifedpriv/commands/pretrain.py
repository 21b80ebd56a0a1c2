"""Train the embedded model from scratch, or evaluate it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ifedpriv.commands.console import Stages, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ifedpriv pretrain`."""
    parser.add_argument(
        "--out", type=Path, default=Path("runs/pretrain"), help="folder of checkpoints and model"
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes texts, weights and batches")
    parser.add_argument("--evaluate", action="store_true", help="measure a model instead of training one")
    parser.add_argument("--model", type=Path, help="the model to evaluate (default: the embedded one)")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions of the evaluation")
    parser.add_argument("--queries", type=int, default=500, help="test queries a task and seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the evaluation's numbers there")
    parser.add_argument("--card", action="store_true", help="also write the model's card into its folder")


def run(options: argparse.Namespace) -> int:
    """Run the verb; returns the exit code."""
    return _evaluate(options) if options.evaluate else _train(options)


def _evaluate(options: argparse.Namespace) -> int:
    from ifedpriv.embedded import MODEL_PATH
    from ifedpriv.experiment.card_text import write_card
    from ifedpriv.experiment.model_card import evaluate_model, table

    model = options.model or MODEL_PATH
    with Stages() as stages:
        result = evaluate_model(model, seeds=options.seeds, queries=options.queries, report=stages.show)
    if options.card:
        write_card(result, model)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    say(table(result))
    return 0


def _train(options: argparse.Namespace) -> int:
    from ifedpriv.pretrain.publish import publish
    from ifedpriv.pretrain.train import HARD, Recipe, Training

    training = Training(Recipe(seed=options.seed), options.out)
    if training.resume():
        say(f"going on from step {training.progress.step} of stage {training.progress.stage}")
    names = ("labels", "copies", "few-shot", "hard few-shot")
    with Stages() as stages:
        training.run(
            lambda p, _: stages.show(
                f"stage {p.stage} of {HARD}, {names[p.stage - 1]}",
                p.step,
                training.recipe.steps[p.stage - 1],
            )
        )
    publish(training, options.out / "model")
    minutes = training.progress.seconds / 60
    say(
        f"Model: {options.out / 'model'} (trained in {minutes:.0f} minutes; `--evaluate --model` measures it)"
    )
    return 0
