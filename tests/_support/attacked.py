"""Recordings to attack: of given vectors on the tiny backbone, and of whole tiny runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny import LAYERS, WIDTH, examples, save_data, task, tiny_backbone, tiny_config, write_config

from defenses.codec import Precision
from defenses.frame import SERVER, encode
from defenses.session import RoundInfo
from defenses.specs import ClearSpec
from defenses.upload import Upload, UploadKind
from defenses.view import Direction, ServerView, ServerViewWriter
from ifedpriv.config import load_config
from ifedpriv.experiment.facts import task_hash
from ifedpriv.experiment.prepare import prepare
from ifedpriv.experiment.run import execute
from ifedpriv.experiment.rundir import RunDirectory


def frames_view(
    folder: Path,
    uploads: Sequence[dict[str, Any]],
    weights: Sequence[float] | None = None,
    summed: np.ndarray | None = None,
    fingerprint: str | None = None,
) -> ServerView:
    """A recording of one round of vectors on the tiny backbone, or another; of no round for no uploads."""
    made_with = fingerprint or tiny_backbone().fingerprint
    with ServerViewWriter.create(
        folder, backbone=made_with, task=task_hash(task()), defense=ClearSpec()
    ) as writer:
        given = weights or [1.0] * len(uploads)
        for number, (arrays, weight) in enumerate(zip(uploads, given, strict=True)):
            upload = Upload(arrays, weight, 0, UploadKind.VECTOR)
            if number == 0:
                writer.begin_round(RoundInfo(0, UploadKind.VECTOR, tuple(range(len(uploads))), upload.layout))
            frame = encode(upload, number, Precision.FP16)
            writer.append(Direction.UP, sender=number, recipient=SERVER, round_number=0, frame=frame)
        if summed is not None:
            sent = Upload({"vector": summed}, 1.0, 0, UploadKind.VECTOR)
            frame = encode(sent, SERVER, Precision.FP16)
            writer.append(Direction.COMPUTED, sender=SERVER, recipient=SERVER, round_number=0, frame=frame)
    return ServerView.open(folder)


def tiny_view(
    folder: Path, clients: int, weights: Sequence[float] | None = None, summed: bool = False
) -> tuple[ServerView, list[np.ndarray]]:
    """A recording of random vectors, and these."""
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(LAYERS, 2, WIDTH)).astype(np.float32) for _ in range(clients)]
    mean = np.mean(vectors, axis=0) if summed else None
    return frames_view(folder, [{"vector": vector} for vector in vectors], weights, mean), vectors


def attacked_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """A run of the tiny backbone in which only the vector matters."""
    base = tiny_config(folder)
    data = save_data(folder / "data", train=200, validation_fraction=0.4, attribute_columns=["day"])
    for split in ("train", "test"):
        path = folder / "data" / f"{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        # What attacks on attributes look for: whether a text speaks of a day.
        lines = [json.dumps({**row, "day": str("day" in row["text"])}) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        **base,
        "data": data,
        "partition": {"kind": "iid", "clients": 6},
        "method": {"kind": "ifed_icl", "guard": False, "calibration": {"rounds": 0}},
        "evaluation": {
            "local_icl": False,
            "local_injection": False,
            "every_round": False,
            "validation_fraction": 0,
        },
        **changes,
    }


def attacked_run(folder: Path, **changes: Any) -> Path:
    """Such a run, finished; its folder is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    return _finished(folder, attacked_config(folder, **changes))


def private_config(
    folder: Path, kind: str = "none", *, changes: dict[str, Any] | None = None, **privacy: Any
) -> dict[str, Any]:
    """Such a run's configuration with noise that each client adds for itself, or as ``privacy`` has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": example.text}) for example in examples(40, 9)]
    (folder / "public.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    section = {
        "epsilon": 4.0,
        "delta": 1e-3,
        "trust": "local",
        "max_examples": 64,
        "public": {"path": str(folder / "public.jsonl"), "texts": 32},
        **privacy,
    }
    # A client that is hidden cannot weigh more than another.
    weighed = "uniform" if section.get("unit") == "client" else "count"
    method = {"kind": "ifed_icl", "aggregation": weighed, "guard": False, "calibration": {"rounds": 0}}
    made = {"defense": {"kind": kind, "privacy": section}, "method": method, **(changes or {})}
    return attacked_config(folder, **made)


def private_run(
    folder: Path, kind: str = "none", *, changes: dict[str, Any] | None = None, **privacy: Any
) -> Path:
    """Such a run, finished; its folder is returned."""
    return _finished(folder, private_config(folder, kind, changes=changes, **privacy))


def _finished(folder: Path, made: dict[str, Any]) -> Path:
    config = load_config(write_config(folder / "config.yaml", made))
    execute(prepare(config), RunDirectory.create(folder / "run", config))
    return folder / "run"
