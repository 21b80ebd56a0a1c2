"""Tiny runs with their controls: public texts and another task, in files of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny import examples, save_data, tiny_config

PUBLIC = 32


def save_public(folder: Path) -> Path:
    """Forty public texts without labels."""
    path = folder / "public.jsonl"
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def save_other(folder: Path) -> dict[str, Any]:
    """Another task over files, as a ``data`` section: other words for the labels, and another template."""
    section = save_data(folder / "another", train=50)
    return {**section, "label_words": ["C", "D"], "template": "Review: {text}\nMark:", "name": "another"}


def controls_section(folder: Path, **changes: Any) -> dict[str, Any]:
    """The ``controls`` section with everything that four controls need."""
    public = {"path": str(save_public(folder)), "texts": PUBLIC}
    return {"public": public, "other": save_other(folder), **changes}


def controlled_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """The tiny run with four controls, and no comparison that the tests of them do not need."""
    return {
        **tiny_config(folder),
        "controls": controls_section(folder),
        "evaluation": {"local_icl": False, "local_injection": False, "every_round": False, "batch_size": 32},
        **changes,
    }
