"""Writes a finished training as the checkpoint that ships: half-size weights, tokenizer, configuration."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from ifedpriv.pretrain.train import Training


def publish(training: Training, out: Path) -> None:
    """Save model and tokenizer so that plain transformers loads both.

    bfloat16 halves the file; `Backbone.load` turns it into float32 again for computing on a CPU.
    """
    training.model.to(torch.bfloat16).save_pretrained(out)
    training.tokenizer.save_pretrained(out)
    facts = {"recipe": asdict(training.recipe), "seconds": round(training.progress.seconds)}
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
