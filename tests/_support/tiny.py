"""A whole experiment in miniature: a two-layer backbone, a two-class task, clients, and a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from toys import SIZE, toy_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task, TaskKind
from ifedpriv.icl.injection import Injection
from ifedpriv.icl.vectors import Coefficients, ContextVector

LAYERS, WIDTH = 2, 16
TEMPLATE = "Text: {text}\nLabel:"
# Single letters are single tokens, whatever the toy tokenizer has merged.
WORDS = ("A", "B")
_SAID = (
    ("good", "fine", "sunny", "a lovely one", "the best day of them all"),
    ("bad", "dull", "rainy", "a dreadful one", "the worst day of them all"),
)


def tiny_model(seed: int = 7, *, width: int = WIDTH, layers: int = LAYERS) -> Any:
    """A random Llama of a few thousand weights, every one of which matters."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=SIZE,
            hidden_size=width,
            intermediate_size=24,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.25)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@cache
def tiny_backbone(seed: int = 7) -> Backbone:
    """One backbone for many tests; none of them may change it."""
    return Backbone.wrap(tiny_model(seed), toy_tokenizer())


def task(words: Sequence[str] = WORDS, **changes: Any) -> Task:
    """A classification task with single-letter labels, or with others."""
    return Task(**{"name": "tiny", "template": TEMPLATE, "label_words": tuple(words), "gap": "", **changes})


def generation_task() -> Task:
    return Task("tiny", TEMPLATE, kind=TaskKind.GENERATION, max_new_tokens=4)


def examples(size: int, seed: int = 0, *, only: int | None = None) -> tuple[Example, ...]:
    """Distinct texts of unequal length, classes in turn (or one class only)."""
    rng = np.random.default_rng(seed)
    labels = [i % 2 if only is None else only for i in range(size)]
    return tuple(
        Example(f"{_SAID[label][int(rng.integers(5))]} {seed}.{i}", label) for i, label in enumerate(labels)
    )


def injection(backbone: Backbone | None = None, seed: int = 3, **changes: Any) -> Injection:
    """A random injection that moves the tiny backbone's answers."""
    rng = np.random.default_rng(seed)
    vector = ContextVector(rng.normal(size=(LAYERS, 2, WIDTH)), 12)
    coefficients = Coefficients(rng.normal(size=(LAYERS, 2, 2)) * 0.3 + [0.2, 1.0])
    fingerprint = "" if backbone is None else backbone.fingerprint
    return Injection(vector, coefficients, **{"backbone": fingerprint, "facts": {"note": "x"}, **changes})


def save_checkpoint(folder: Path, seed: int = 7, **sizes: int) -> Path:
    """A checkpoint that `Backbone.load` and plain transformers load."""
    tiny_model(seed, **sizes).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder


def save_data(folder: Path, train: int = 60, test: int = 20, **others: Any) -> dict[str, Any]:
    """JSONL files in ``folder``, and the ``data`` section that reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("train", examples(train, 1)), ("test", examples(test, 2))):
        lines = [json.dumps({"text": e.text, "label": e.label}) for e in chosen]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "source": "files",
        "path": str(folder),
        "template": TEMPLATE,
        "label_words": list(WORDS),
        "gap": "",
        **others,
    }


def tiny_config(folder: Path) -> dict[str, Any]:
    """A configuration over a checkpoint and files in ``folder``, as JSON, which is YAML too."""
    return {
        "name": "tiny",
        "threads": 1,
        "backbone": {"path": str(save_checkpoint(folder / "model"))},
        "data": save_data(folder / "data"),
        "partition": {"kind": "iid", "clients": 3},
        "method": {
            "kind": "ifed_icl",
            "calibration": {"rounds": 3, "steps": 2, "batch_size": 4},
        },
        "evaluation": {"shots": 2, "batch_size": 32},
        # They are most of a run's work; tests of theirs switch them on.
        "controls": {"enabled": False},
    }


def write_config(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(json.dumps(config), encoding="utf-8")
    return path
